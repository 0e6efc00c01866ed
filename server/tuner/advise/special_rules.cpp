// The rules for what is no B-tree: GIN, GiST, BRIN, hash, and vectors' indexes.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>

#include "tuner/advise/candidate_rules.h"

namespace cairn::tuner::rules {
namespace {

constexpr double kBrinCorrelation = 0.9;
constexpr int64_t kBrinPagesMin = 1024;  // 8 MB: below, a B-tree is small too
constexpr int64_t kBrinRanges = 4096;    // about so many summaries, which one scan of the index reads
constexpr uint64_t kBrinPagesPerRange[] = {16, 128};
constexpr int kHashWidthMin = 48;          // bytes; a hash index holds four of a key
constexpr double kVectorRowsMin = 10'000;  // below, comparing all of them is as fast
constexpr double kIvfflatRowsMin = 1'000'000;

Proposal proposal_of(const TableUse& use, std::string method, const Expression& operand, std::string operator_class,
                     std::string reason) {
  return {.index = {.table = use.table->name,
                    .method = std::move(method),
                    .keys = {{.text = operand.sql,
                              .is_expression = !operand.is_column,
                              .operator_class = std::move(operator_class)}}},
          .equalities = 1,
          .reason = std::move(reason)};
}

std::optional<Proposal> inverted(const Predicate& predicate, const TableUse& use, const Workload& workload,
                                 const Catalog& catalog) {
  const Expression& operand = predicate.operand;
  const bool array = operand.category == 'A', range = operand.category == 'R', json = operand.type == "jsonb";
  switch (predicate.test) {
    case Test::kContains:
      if (json && !workload.asked_for_keys.contains({use.table, operand.sql}))
        return proposal_of(use, "gin", operand, "jsonb_path_ops",
                           operand.sql + " @>, and no question for keys: paths are the smaller index");
      [[fallthrough]];
    case Test::kHasKey:
      if (json) return proposal_of(use, "gin", operand, {}, "what " + operand.sql + " contains, and its keys");
      [[fallthrough]];
    case Test::kContained:
    case Test::kOverlap:
      if (array) return proposal_of(use, "gin", operand, {}, "elements of " + operand.sql);
      if (range) return proposal_of(use, "gist", operand, {}, "ranges of " + operand.sql);
      return std::nullopt;
    case Test::kTextSearch:
      return proposal_of(use, "gin", operand, {}, "words of " + operand.sql);
    case Test::kPattern:
      if (!catalog.has_trigrams || (operand.type != "text" && operand.type != "varchar")) return std::nullopt;
      return proposal_of(use, "gin", operand, "gin_trgm_ops", "text anywhere in " + operand.sql);
    default:
      return std::nullopt;
  }
}

std::optional<Proposal> brin(const Predicate& predicate, const TableUse& use) {
  const Column* column = predicate.operand.is_column ? use.table->column(predicate.operand.sql) : nullptr;
  if (predicate.test != Test::kRange || predicate.join || column == nullptr || !column->ordered) return std::nullopt;
  if (use.table->pages < kBrinPagesMin || std::abs(column->correlation) <= kBrinCorrelation) return std::nullopt;
  if (column->category != 'N' && column->category != 'D' && column->category != 'S') return std::nullopt;
  const auto [least, most] = std::pair{kBrinPagesPerRange[0], kBrinPagesPerRange[1]};
  const uint64_t pages = std::clamp(std::bit_ceil(static_cast<uint64_t>(use.table->pages / kBrinRanges)), least, most);
  Proposal proposal = proposal_of(
      use, "brin", predicate.operand, {},
      fmt::format("a range of {}, whose rows lie in order (correlation {:.2f}) on {} pages: tiny, and cheap to keep",
                  column->name, column->correlation, use.table->pages));
  proposal.index.options = fmt::format("pages_per_range = {}", pages);
  return proposal;
}

// For one long key, compared for equality and nothing else.
std::optional<Proposal> hash(const TableUse& use) {
  if (use.predicates.size() != 1 || !use.order.empty() || !use.grouping.empty()) return std::nullopt;
  const Predicate& only = use.predicates[0];
  const Column* column = only.operand.is_column ? use.table->column(only.operand.sql) : nullptr;
  if (only.test != Test::kEqual || column == nullptr || column->width < kHashWidthMin) return std::nullopt;
  if (column->type != "text" && column->type != "varchar" && column->type != "bytea") return std::nullopt;
  return proposal_of(
      use, "hash", only.operand, {},
      fmt::format("{} =, never a range or an order, of {} bytes each: a hash holds four", column->name, column->width));
}

std::string vector_class(const std::string& type, const std::string& distance) {
  if (type == "bit") return distance == "<~>" ? "bit_hamming_ops" : distance == "<%>" ? "bit_jaccard_ops" : "";
  if (type != "vector" && type != "halfvec" && type != "sparsevec") return {};
  if (distance == "<->") return type + "_l2_ops";
  if (distance == "<=>") return type + "_cosine_ops";
  if (distance == "<#>") return type + "_ip_ops";
  return distance == "<+>" ? type + "_l1_ops" : "";
}

void vectors(const TableUse& use, std::vector<Proposal>& all) {
  const Column* column = use.distance ? use.table->column(use.distance->column) : nullptr;
  if (column == nullptr || use.table->rows < kVectorRowsMin) return;
  const std::string operators = vector_class(column->type, use.distance->operator_name);
  if (operators.empty()) return;
  const Expression operand{.sql = column->name, .is_column = true};
  const std::string what =
      fmt::format("the nearest of {:.0f} rows by {} {}", use.table->rows, column->name, use.distance->operator_name);
  all.push_back(proposal_of(use, "hnsw", operand, operators, what + ": the best recall for its time"));
  if (use.table->rows < kIvfflatRowsMin || column->type == "sparsevec") return;
  all.push_back(proposal_of(use, "ivfflat", operand, operators, what + ": built much faster than hnsw, less recall"));
  all.back().index.options = fmt::format("lists = {:.0f}", std::sqrt(use.table->rows));
}

}  // namespace

std::vector<Proposal> special_proposals(const TableUse& use, const Workload& workload, const Catalog& catalog) {
  std::vector<Proposal> all;
  for (const Predicate& predicate : use.predicates) {
    if (auto found = inverted(predicate, use, workload, catalog)) all.push_back(std::move(*found));
    if (auto found = brin(predicate, use)) all.push_back(std::move(*found));
  }
  if (auto found = hash(use)) all.push_back(std::move(*found));
  vectors(use, all);
  return all;
}

}  // namespace cairn::tuner::rules
