#include "tuner/catalog/index_relations.h"

#include <algorithm>

namespace cairn::tuner {
namespace {

constexpr size_t kKeysMax = 4;

bool is_prefix(const std::vector<IndexKey>& prefix, const std::vector<IndexKey>& keys) {
  return prefix.size() <= keys.size() && std::equal(prefix.begin(), prefix.end(), keys.begin());
}

bool holds_column(const IndexDefinition& index, const std::string& column) {
  const auto is_key = [&](const IndexKey& key) { return !key.is_expression && key.text == column; };
  return std::any_of(index.keys.begin(), index.keys.end(), is_key) ||
         std::find(index.include.begin(), index.include.end(), column) != index.include.end();
}

}  // namespace

bool covers(const IndexDefinition& wide, const IndexDefinition& narrow) {
  const auto held = [&](const std::string& column) { return holds_column(wide, column); };
  return wide.table == narrow.table && wide.method == "btree" && narrow.method == "btree" && !narrow.unique &&
         wide.predicate == narrow.predicate && is_prefix(narrow.keys, wide.keys) &&
         std::all_of(narrow.include.begin(), narrow.include.end(), held);
}

std::optional<IndexDefinition> merged(const IndexDefinition& first, const IndexDefinition& second) {
  if (first.table != second.table || first.keys.front() != second.keys.front() || first.method != "btree" ||
      second.method != "btree" || first.predicate != second.predicate || first.unique || second.unique)
    return std::nullopt;
  IndexDefinition both = first;
  both.include.clear();
  for (const IndexKey& key : second.keys) {
    if (key.is_expression || !holds_column(both, key.text)) both.keys.push_back(key);
  }
  if (both.keys.size() > kKeysMax) return std::nullopt;
  for (const auto* index : {&first, &second}) {
    for (const std::string& column : index->include) {
      if (!holds_column(both, column)) both.include.push_back(column);
    }
  }
  return both;
}

std::optional<IndexDefinition> narrower(IndexDefinition index) {
  if (index.method != "btree" || index.unique || (index.keys.size() == 1 && index.include.empty())) return std::nullopt;
  if (index.include.empty()) index.keys.pop_back();
  index.include.clear();
  return index;
}

}  // namespace cairn::tuner
