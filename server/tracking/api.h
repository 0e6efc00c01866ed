// The tracking module, as the rest of the server sees it.
#pragma once

#include <memory>

#include "db/pool.h"
#include "http/router.h"

namespace cairn::tracking {

class RunWriter;

// Everything of MLflow's tracking API. Holds what the handlers share; pool and router must outlive it.
class Tracking {
 public:
  Tracking(http::Router& router, db::Pool& pool);
  ~Tracking();

 private:
  std::unique_ptr<RunWriter> writer_;
};

}  // namespace cairn::tracking
