#include "tuner/advise/drops.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "db/statement.h"
#include "tuner/sql/expression.h"

namespace cairn::tuner {
namespace {

constexpr int64_t kMsPerDay = 86'400'000;
constexpr int64_t kObservedDaysMin = 30;  // before that, what runs once a month has not run

// What no other index can stand in for.
bool is_bound(const Index& index) { return index.primary || index.constraint || index.replica_identity; }

std::string day(int64_t ms) { return fmt::format("{:%Y-%m-%d}", fmt::gmtime(static_cast<time_t>(ms / 1000))); }

struct Shape {
  std::vector<IndexKey> keys;
  std::set<std::string> include;
  std::string predicate;
};

Shape shape_of(const Index& index, const Table& table) {
  const IndexDefinition& definition = index.definition;
  Shape shape{.keys = definition.keys,
              .include = {definition.include.begin(), definition.include.end()},
              .predicate = definition.predicate.empty() ? "" : canonical(definition.predicate, table)};
  for (IndexKey& key : shape.keys)
    if (key.is_expression) key.text = canonical(key.text, table);
  return shape;
}

IndexKey mirrored(IndexKey key) {
  key.descending = !key.descending;
  key.nulls_first = !key.nulls_first;
  return key;
}

// Whether whatever `narrow` finds `wide` finds too, in the same order.
bool includes(const Index& wide, const Index& narrow, const Table& table) {
  const IndexDefinition &a = wide.definition, &b = narrow.definition;
  if (!wide.valid || !wide.complete || !narrow.complete || a.method != b.method) return false;
  const Shape ours = shape_of(wide, table), theirs = shape_of(narrow, table);
  if (ours.predicate != theirs.predicate || ours.keys.size() < theirs.keys.size()) return false;
  if (ours.keys.size() > theirs.keys.size() && a.method != "btree") return false;
  bool straight = true, backward = a.method == "btree";
  for (size_t i = 0; i < theirs.keys.size(); ++i) {
    if (ours.keys[i] != theirs.keys[i]) straight = false;
    if (ours.keys[i] != mirrored(theirs.keys[i])) backward = false;
  }
  return (straight || backward) && std::ranges::all_of(theirs.include, [&](const std::string& column) {
           const auto is_it = [&](const IndexKey& key) { return !key.is_expression && key.text == column; };
           return ours.include.contains(column) || std::ranges::any_of(ours.keys, is_it);
         });
}

// Whether it enforces what the other one enforces.
bool enforces(const Index& one, const Index& other) {
  if (!other.definition.unique) return true;
  return one.definition.unique && one.definition.keys.size() == other.definition.keys.size() &&
         one.nulls_not_distinct == other.nulls_not_distinct;
}

// Of two that are the same, the one to keep: bound, unique, more used, smaller, older.
bool keeps(const Index& one, const Index& other) {
  const auto rank = [](const Index& index) {
    return std::tuple(!is_bound(index), !index.definition.unique, -index.scans, index.bytes, index.oid);
  };
  return rank(one) < rank(other);
}

class Search {
 public:
  explicit Search(const Catalog& catalog) : catalog_(catalog) {}

  std::vector<Drop> all() {
    for (const Table& table : catalog_.tables) {
      dropped_.clear();
      for (const Index& index : table.indexes)
        if (!index.valid && !is_bound(index) && index.parent == 0 && table.kind != 'p')
          add(table, index, DropKind::kInvalid,
              "invalid: a build that was broken off, written to and never read (unless one is under way: see "
              "pg_stat_progress_create_index)");
      for (const Index& index : table.indexes) redundant(table, index);
      for (const Index& index : table.indexes) unused(table, index);
    }
    std::ranges::stable_sort(drops_, std::greater<>(), &Drop::bytes);
    return std::move(drops_);
  }

 private:
  bool can_go(const Index& index) const {
    return index.valid && !is_bound(index) && index.parent == 0 && !dropped_.contains(index.oid);
  }

  void redundant(const Table& table, const Index& index) {
    if (!can_go(index)) return;
    for (const Index& other : table.indexes) {
      if (other.oid == index.oid || dropped_.contains(other.oid)) continue;
      if (!includes(other, index, table) || !enforces(other, index)) continue;
      const bool both = includes(index, other, table) && enforces(index, other) && can_go(other);
      if (both && keeps(index, other)) continue;
      const bool same = includes(index, other, table);
      const std::string name = db::quote_identifier(other.name);
      if (same)
        add(table, index, DropKind::kDuplicate, "a duplicate of " + name);
      else
        add(table, index, DropKind::kCovered,
            fmt::format("covered by {}, which begins with the same columns ({:.1f} times its size; used {} times, that "
                        "one {})",
                        name, static_cast<double>(other.bytes) / static_cast<double>(std::max<int64_t>(1, index.bytes)),
                        index.scans, other.scans));
      return;
    }
  }

  void unused(const Table& table, const Index& index) {
    if (!can_go(index) || index.definition.unique || index.scans > 0) return;
    std::string reason = "never used since ";
    if (catalog_.statistics_since) {
      const int64_t days = (catalog_.read_at_ms - *catalog_.statistics_since) / kMsPerDay;
      reason += fmt::format("statistics began on {} ({} days)", day(*catalog_.statistics_since), days);
      if (days < kObservedDaysMin)
        reason += fmt::format(": wait until it is {}, for what runs once a month", kObservedDaysMin);
    } else {
      reason += "statistics began (when is not recorded: they were never reset)";
    }
    if (catalog_.is_replica) reason += "; this is a replica: look on the primary too";
    if (catalog_.replicas > 0)
      reason +=
          fmt::format("; there {} {} replica{}, whose own pg_stat_user_indexes must be looked at first",
                      catalog_.replicas == 1 ? "is" : "are", catalog_.replicas, catalog_.replicas == 1 ? "" : "s");
    for (const ForeignKey& key : catalog_.foreign_keys)
      if (key.table == table.oid && !index.definition.keys.empty() && !key.columns.empty() &&
          index.definition.keys[0].text == key.columns[0])
        reason += "; the foreign key " + db::quote_identifier(key.name) +
                  " would be without an index: deleting what it refers to would read the whole table";
    add(table, index, DropKind::kUnused, std::move(reason));
  }

  void add(const Table& table, const Index& index, DropKind kind, std::string reason) {
    // PostgreSQL can neither drop nor make a partitioned table's index without blocking writers.
    const bool concurrently = table.kind != 'p';
    const std::string name = db::quote_identifier(table.name.schema) + "." + db::quote_identifier(index.name);
    dropped_.insert(index.oid);
    drops_.push_back(
        {.kind = kind,
         .oid = index.oid,
         .table = table.name,
         .index = index.name,
         .bytes = index.bytes,
         .reason = std::move(reason),
         .statement = std::string("DROP INDEX ") + (concurrently ? "CONCURRENTLY " : "") + name,
         .undo = index.complete ? create_statement(index.definition, index.name, concurrently) : index.statement});
  }

  const Catalog& catalog_;
  std::set<int64_t> dropped_;
  std::vector<Drop> drops_;
};

}  // namespace

std::vector<Drop> propose_drops(const Catalog& catalog) { return Search(catalog).all(); }

}  // namespace cairn::tuner
