// The feature store: definitions at /api/v1/features, and the endpoints of Feast's feature server.
#pragma once

#include "db/pool.h"
#include "features/definitions.h"
#include "features/health.h"
#include "features/values.h"
#include "http/router.h"

namespace cairn::features {

class FeatureStore {
 public:
  // `pool` must outlive it, and it the router.
  FeatureStore(http::Router& router, db::Pool& pool);

  // Without end: what is to be done from time to time.
  task<> keep_up();
  // Without end: looks at the features for metrics().
  task<> watch_health();
  // For Prometheus, as of a few minutes ago; empty before the first look.
  std::string metrics() const;

  db::Pool& pool;
  DefinitionStore definitions;
  FeatureReader reader;
  std::map<std::string, std::shared_ptr<const FeatureQuery>> queries;  // the last ones, by what was asked for
  int streams_under_way = 0;  // training sets, and rows in bulk: each has a connection of its own

 private:
  std::vector<ViewHealth> health_;
};

}  // namespace cairn::features
