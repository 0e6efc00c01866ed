#include "tuner/catalog/index_size.h"

#include <fmt/format.h>

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

// Bytes of an index for each entry, row or byte of a key; measured on indexes of 20,000 rows.
constexpr double kGinEntry = 8;
constexpr double kLexemeWidth = 14;  // of a tsvector, its positions included
constexpr double kElementWidth = 12;
constexpr double kTrigram = 4.6;  // a character has one
constexpr double kDocument = 1;   // a byte of jsonb: keys and values
constexpr double kPaths = 0.7;    // a byte of jsonb: hashes of paths
constexpr double kGistFilled = 0.45;
constexpr double kHashRow = 35;
constexpr double kNeighbours = 32;  // edges of a node of Cairn's hnsw
constexpr double kNodeHeader = 88;  //   and what precedes them
constexpr double kStockNode = 300;  // beside the vector in pgvector's
constexpr double kListFilled = 0.85;
constexpr double kPage = 8192;
constexpr double kPageUsable = 8100;

double gin_bytes_a_row(const IndexKey& key, const Column& column, std::string& how) {
  if (key.operator_class == "gin_trgm_ops") {
    how = fmt::format("{} characters each", column.width);
    return column.width * kTrigram;
  }
  if (column.type == "jsonb") {
    how = fmt::format("documents of {} bytes", column.width);
    return column.width * (key.operator_class == "jsonb_path_ops" ? kPaths : kDocument);
  }
  const bool words = column.type == "tsvector";
  const double elements = column.elements > 0 ? column.elements : column.width / (words ? kLexemeWidth : kElementWidth);
  how = fmt::format("{:.1f} {} each", elements, words ? "words" : "elements");
  return std::max(elements, 1.0) * kGinEntry;
}

double vector_width(const Column& column) {
  const double dimensions = column.modifier;
  if (dimensions <= 0) return column.width;
  if (column.type == "vector") return 4 * dimensions + 8;
  if (column.type == "halfvec") return 2 * dimensions + 8;
  return column.type == "bit" ? dimensions / 8 + 8 : column.width;
}

// A node lies on one page, if a page holds it.
double whole_nodes(double width) {
  return width > kPageUsable ? std::ceil(width / kPageUsable) * kPage : kPage / std::floor(kPageUsable / width);
}

}  // namespace

EstimatedSize estimated_size(const IndexDefinition& index, const Table& table, const Catalog& catalog) {
  const Column* known = table.column(index.keys.at(0).text);
  // An expression's values are not known: about as wide as a short text.
  const Column unknown{.type = "text", .width = 32};
  const Column& column = known == nullptr ? unknown : *known;
  std::string how = fmt::format("keys of {} bytes", column.width);
  double row = 0;
  if (index.method == "gin") {
    row = gin_bytes_a_row(index.keys[0], column, how);
  } else if (index.method == "gist") {
    row = (kTupleHeader + std::ceil(column.width / 8.0) * 8) / kGistFilled;
  } else if (index.method == "hash") {
    row = kHashRow;
    how = "four bytes of a key each";
  } else {
    const double width = vector_width(column);
    how = fmt::format("vectors of {:.0f} bytes", width);
    const double codes = kNodeHeader + kNeighbours * (16 + std::max(0, column.modifier) / 8.0);
    row = index.method == "hnsw" ? whole_nodes(width + (catalog.has_neighbour_codes ? codes : kStockNode))
                                 : width / kListFilled;
  }
  return {.bytes = static_cast<int64_t>(table.rows * row + kPage),
          .how = fmt::format("{:.0f} rows, {}", table.rows, how)};
}

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
