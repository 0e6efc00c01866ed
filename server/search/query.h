// Searching a collection: by vector, by text, or by both (docs/reference/search.md).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "search/collections.h"

namespace cairn::search {

enum class Mode { kAuto, kVector, kText, kHybrid };

struct SearchRequest {
  std::string text;
  std::optional<std::vector<float>> vector;
  std::string embedder;     // whose the vector is, where the query was embedded
  Mode mode = Mode::kAuto;  // what the request and the collection allow: hybrid, else the one there is
  int k = 10;
  std::string filter;  // JSON as filter.h has it; empty: none
  std::optional<double> max_distance;
  bool weighted = false;       // else reciprocal rank fusion
  double vector_weight = 0.5;  // of the weighted fusion; the text has the rest
  int candidates = 0;          // of each part, before they are fused; 0: ten times k, at least 100
  bool highlight = false;
  std::string page_token;
};

struct Hit {
  int64_t chunk_id = 0;
  int64_t document_id = 0;
  std::string source, title, content, metadata, highlight;
  int64_t ordinal = 0;
  double score = 0;
  std::optional<double> distance, text_score;
  std::optional<int64_t> vector_rank, text_rank;
};

struct SearchResult {
  Mode mode = Mode::kText;
  std::vector<Hit> hits;
  std::string next_page_token;  // empty at the end
};

// {"query", "vector", "mode", "k", "filter", "max_distance", "fusion": "rrf" | "weighted", "vector_weight",
// "candidates", "highlight", "page_token"}. Throws Error(kInvalidParameterValue).
SearchRequest request_of(const json::Fields& fields);

// One statement. Throws Error(kInvalidParameterValue) for what the collection cannot answer.
task<SearchResult> search(db::Pool& pool, Collection collection, SearchRequest request);

// With `explain`: of each hit its rank and score in each part.
std::string as_json(const SearchResult& result, bool highlight, bool explain);

}  // namespace cairn::search
