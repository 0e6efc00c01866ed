// Searches over models and versions: MLflow's filter strings (with OR and parentheses besides), order and keyset pages.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "db/pool.h"

namespace cairn::registry {

struct Search {
  std::string filter;
  std::vector<std::string> order_by;
  int64_t max_results = 0;
  std::string page_token;
  std::vector<std::string> hidden = {};  // names of models that are not there for who asks
};

// The whole answers: {"registered_models": […], "next_page_token": …} and {"model_versions": …}.
task<std::string> search_models(db::Pool& pool, Search search);
task<std::string> search_versions(db::Pool& pool, Search search);

}  // namespace cairn::registry
