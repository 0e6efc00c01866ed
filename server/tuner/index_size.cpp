#include "tuner/index_size.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace cairn::tuner {
namespace {

constexpr double kTupleHeader = 12;  // with its line pointer
constexpr double kRowPointer = 6;
// Row pointers of one key that share a tuple: a sixth of a page is the most that deduplication makes of it.
constexpr double kPointersInTuple = 220;

// Types whose equal values may look different: PostgreSQL keeps each of them.
bool is_kept_apart(std::string_view type) {
  constexpr std::array<std::string_view, 4> kTypes{"numeric", "float4", "float8", "jsonb"};
  return std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end();
}

}  // namespace

double deduplicated_share(const IndexDefinition& index, const Table& table) {
  if (index.method != "btree" || index.unique || !index.include.empty() || table.rows <= 0) return 1;
  double groups = 1, width = 0;
  for (const IndexKey& key : index.keys) {
    const Column* column = key.is_expression ? nullptr : table.column(key.text);
    if (column == nullptr || !column->has_statistics || is_kept_apart(column->type)) return 1;
    groups *= std::max(1.0, column->distinct);
    width += column->width;
  }
  groups = std::min(groups, table.rows);
  const double key_bytes = kTupleHeader + std::ceil(width / 8) * 8;
  const double tuples = std::max(groups, table.rows / kPointersInTuple);
  return std::min(1.0, (tuples * key_bytes + table.rows * kRowPointer) / (table.rows * key_bytes));
}

}  // namespace cairn::tuner
