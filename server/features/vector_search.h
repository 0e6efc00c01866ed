// The entities whose vector is nearest to a given one, with the extension `vector`. Exact: every latest value is looked
// at.
#pragma once

#include <string>
#include <vector>

#include "features/values.h"

namespace cairn::features {

struct VectorSearch {
  std::vector<Reference> references;  // of one feature view, a vector among them
  std::string query;                  // "[0.5,1]", of the vector's length
  const Feature* vector = nullptr;
  std::string metric;
  int64_t top_k = 0;
};

// The feature that is searched, and its metric where none is asked for. Throws Error(kInvalidParameterValue).
VectorSearch vector_search_of(std::vector<Reference> references, simdjson::dom::element query,
                              const std::optional<std::string>& metric, int64_t top_k);

// In Feast's form: join keys, features and a column `distance`, the nearest first. Values older than the view's ttl do
// not count. Throws Error(kInvalidState) where the extension is missing.
task<std::string> search_vectors(db::Pool& pool, VectorSearch search);

}  // namespace cairn::features
