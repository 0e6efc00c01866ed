#include "tuner/advise/candidate_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "db/statement.h"

namespace cairn::tuner::rules {
namespace {

constexpr double kFewValues = 100;     // a column of at most so many may be what a partial index is limited by
constexpr double kPartialShare = 0.5;  // a partial index holds at most this share of the rows
constexpr double kAloneShare = 0.1;    // one that has nothing but its predicate, this
constexpr size_t kIncludeColumnsMax = 5;
constexpr int kIncludeBytesMax = 128;
constexpr size_t kJoinsMax = 4;
constexpr double kRecurring = 2;  // a constant asked for so often
constexpr double kUnevenShare =
    0.5;  // of what each value would have if all had as many rows: a value below it is special

bool can_be_key(const Expression& operand, const Table& table) {
  if (operand.type == "jsonb" || operand.type == "json" || operand.type == "tsvector") return false;
  if (!operand.is_column) return true;
  const Column* column = table.column(operand.sql);
  return column != nullptr && column->ordered && column->category != 'A';
}

IndexKey key_of(const Expression& operand) { return {.text = operand.sql, .is_expression = !operand.is_column}; }

// LIKE 'x%' is a range only where text is compared byte by byte.
std::string pattern_class(const Expression& operand, const Table& table) {
  const Column* column = operand.is_column ? table.column(operand.sql) : nullptr;
  if (column != nullptr && column->c_collation) return {};
  if (operand.type == "varchar") return "varchar_pattern_ops";
  return operand.type == "bpchar" ? "bpchar_pattern_ops" : "text_pattern_ops";
}

struct Key {
  IndexKey key;
  double fraction = 1;  // of the rows that one value has
  std::string reason;
  bool list = false;  // IN: what comes after it is not in order
};

// The parts of a use out of which B-trees are made, each key once.
struct Parts {
  std::vector<Key> equal, joins, ranges;
  std::vector<Key> order;  // or grouping
  std::string order_reason;
};

bool holds(const std::vector<Key>& keys, const std::string& text) {
  return std::ranges::any_of(keys, [&](const Key& key) { return key.key.text == text; });
}

std::string selectivity(const Expression& operand, const Table& table) {
  const Column* column = operand.is_column ? table.column(operand.sql) : nullptr;
  if (column == nullptr || !column->has_statistics || table.rows <= 0) return {};
  return fmt::format(" (selectivity {:.3g})", std::min(1.0, column->distinct / table.rows));
}

void add_predicate(const Predicate& predicate, const Table& table, Parts& parts) {
  const Expression& operand = predicate.operand;
  if (!can_be_key(operand, table)) return;
  const Column* column = operand.is_column ? table.column(operand.sql) : nullptr;
  const auto value = predicate.constant ? std::optional(predicate.constant->text) : std::nullopt;
  Key key{.key = key_of(operand), .fraction = column != nullptr ? table.fraction(*column, value) : 0.01, .reason = {}};
  const std::string name = operand.sql + selectivity(operand, table);
  switch (predicate.test) {
    case Test::kEqual:
    case Test::kIn:
    case Test::kNull:
      key.list = predicate.test == Test::kIn;
      key.reason = predicate.join                  ? "joined by " + name
                   : predicate.test == Test::kNull ? operand.sql + " IS NULL"
                                                   : name + (key.list ? " in a list" : " =");
      if (predicate.test == Test::kNull && column != nullptr) key.fraction = column->null_fraction;
      if (auto& list = predicate.join ? parts.joins : parts.equal; !holds(list, operand.sql)) list.push_back(key);
      break;
    case Test::kRange:
    case Test::kPrefix:
      if (predicate.test == Test::kPrefix) key.key.operator_class = pattern_class(operand, table);
      key.reason = (predicate.test == Test::kPrefix ? "the beginning of " : "a range of ") + name;
      if (!holds(parts.ranges, operand.sql)) parts.ranges.push_back(key);
      break;
    default:
      break;
  }
}

Parts parts_of(const TableUse& use) {
  Parts parts;
  for (const Predicate& predicate : use.predicates) add_predicate(predicate, *use.table, parts);
  std::erase_if(parts.joins, [&](const Key& key) { return holds(parts.equal, key.key.text); });
  if (parts.joins.size() > kJoinsMax) parts.joins.resize(kJoinsMax);
  std::ranges::stable_sort(parts.equal, {}, &Key::fraction);
  std::string words;
  for (const SortKey& sort : use.order) {
    if (!can_be_key(sort.operand, *use.table)) break;
    Key key{.key = key_of(sort.operand), .reason = {}};
    key.key.descending = sort.descending;
    key.key.nulls_first = sort.nulls_first;
    words += (words.empty() ? "" : ", ") + sort.operand.sql + (sort.descending ? " DESC" : "");
    parts.order.push_back(std::move(key));
  }
  if (!parts.order.empty()) {
    parts.order_reason = "in the order of " + words + (use.limited ? ", of which only the first rows are wanted" : "");
    return parts;
  }
  for (const Expression& operand : use.grouping) {
    if (!can_be_key(operand, *use.table)) return parts;
    parts.order.push_back({.key = key_of(operand), .reason = {}});
    words += (words.empty() ? "" : ", ") + operand.sql;
  }
  if (!words.empty()) parts.order_reason = "grouped by " + words + " without a sort";
  return parts;
}

class BTrees {
 public:
  BTrees(const TableUse& use, const Workload& workload) : use_(use), workload_(workload) {}

  std::vector<Proposal> all() {
    const Parts parts = parts_of(use_);
    if (names_one_row(parts.equal)) return {};
    from(parts, {}, {});
    for (const Key& key : parts.equal)
      if (parts.equal.size() > 1) add({key}, 1, {}, false, {}, {});
    partial(parts);
    return std::move(proposals_);
  }

 private:
  struct Limit {
    std::string predicate;
    std::string column;
    double share = 1;
  };

  // Whether a unique index leads to the one row already.
  bool names_one_row(const std::vector<Key>& keys) const {
    return std::ranges::any_of(use_.table->indexes, [&](const Index& index) {
      return index.valid && index.definition.unique && index.definition.predicate.empty() &&
             std::ranges::all_of(index.definition.keys, [&](const IndexKey& key) { return holds(keys, key.text); });
    });
  }

  // Every base (the equalities, with and without one join) with every tail (one range, the order, both).
  void from(const Parts& parts, const std::vector<Limit>& limits, const std::string& why) {
    std::vector<std::vector<Key>> bases{parts.equal};
    for (const Key& join : parts.joins) {
      bases.push_back(parts.equal);
      bases.back().push_back(join);
      std::ranges::stable_sort(bases.back(), {}, &Key::fraction);
      if (!parts.equal.empty() && limits.empty()) bases.push_back({join});
    }
    std::erase_if(bases, [&](const std::vector<Key>& base) { return names_one_row(base); });
    for (const std::vector<Key>& base : bases) tails(base, parts, limits, why);
    const auto is_list = [](const Key& key) { return key.list; };
    if (!parts.order.empty() && std::ranges::any_of(parts.equal, is_list)) {
      std::vector<Key> single = parts.equal;
      std::erase_if(single, is_list);
      tails(single, parts, limits, why);
    }
  }

  void tails(const std::vector<Key>& base, const Parts& parts, const std::vector<Limit>& limits,
             const std::string& why) {
    std::vector<Key> order = parts.order;
    std::erase_if(order, [&](const Key& key) { return holds(base, key.key.text); });
    bool any = false;
    for (const Key& range : parts.ranges) {
      if (holds(base, range.key.text)) continue;
      any = true;
      const bool sorted = !order.empty() && order[0].key.text == range.key.text && range.key.operator_class.empty();
      if (sorted) continue;  // the order below is the range's own
      add(base, base.size(), {range}, false, limits, why);
      if (order.empty()) continue;
      std::vector<Key> both = order;
      if (!holds(order, range.key.text)) both.push_back(range);
      add(base, base.size(), both, true, limits, why + parts.order_reason);
    }
    if (!order.empty()) add(base, base.size(), order, true, limits, why + parts.order_reason);
    if (!base.empty() && (limits.empty() || (!any && order.empty()))) add(base, base.size(), {}, false, limits, why);
  }

  void add(const std::vector<Key>& base, size_t equalities, const std::vector<Key>& tail, bool ordered,
           const std::vector<Limit>& limits, const std::string& why) {
    Proposal proposal{.index = {.table = use_.table->name}, .equalities = equalities, .ordered = ordered};
    std::set<std::string> held;
    for (const auto* keys : {&base, &tail})
      for (const Key& key : *keys) {
        proposal.index.keys.push_back(key.key);
        held.insert(key.key.text);
        if (!key.reason.empty()) proposal.reason += (proposal.reason.empty() ? "" : ", ") + key.reason;
      }
    if (proposal.index.keys.empty()) return;
    if (!why.empty()) proposal.reason += (proposal.reason.empty() ? "" : ", ") + why;
    double share = 1;
    std::set<std::string> predicates;
    for (const Limit& limit : limits) {
      predicates.insert(limit.predicate);
      held.insert(limit.column);
      share *= limit.share;
    }
    for (const std::string& part : predicates)
      proposal.index.predicate += (proposal.index.predicate.empty() ? "" : " AND ") + part;
    if (!limits.empty() && share < 1)
      proposal.reason += fmt::format("; only the {:.2g} % of the rows that are asked for", share * 100);
    cover(proposal, held);
    proposals_.push_back(std::move(proposal));
  }

  // Beside the plain index one that holds all that is read, where that is little.
  void cover(const Proposal& plain, const std::set<std::string>& held) {
    const auto& keys = plain.index.keys;
    if (use_.whole_row || std::ranges::any_of(keys, &IndexKey::is_expression)) return;
    Proposal proposal = plain;
    int bytes = 0;
    std::string names;
    for (const std::string& name : use_.columns) {
      if (held.contains(name)) continue;
      proposal.index.include.push_back(name);
      bytes += use_.table->column(name)->width;
      names += (names.empty() ? "" : ", ") + name;
    }
    const size_t count = proposal.index.include.size();
    if (count == 0 || count > kIncludeColumnsMax || bytes > kIncludeBytesMax) return;
    proposal.reason += "; with " + names + " in it the table need not be read";
    proposals_.push_back(std::move(proposal));
  }

  // A column and value that most rows do not have, written in the statement. A constant that was seen once may be
  // another one tomorrow, so the value must recur, or be one that stands out: of two, or much rarer than the others.
  std::optional<Limit> limit_of(const Predicate& predicate) const {
    const Column* column = predicate.operand.is_column ? use_.table->column(predicate.operand.sql) : nullptr;
    if (column == nullptr || predicate.join) return std::nullopt;
    const std::string name = db::quote_identifier(column->name);
    if (predicate.test == Test::kNull || predicate.test == Test::kNotNull) {
      const bool null = predicate.test == Test::kNull;
      const double share = null ? column->null_fraction : 1 - column->null_fraction;
      if (!column->has_statistics || share > kPartialShare) return std::nullopt;
      return Limit{name + (null ? " IS NULL" : " IS NOT NULL"), column->name, share};
    }
    if (predicate.test != Test::kEqual || !predicate.constant || predicate.constant->is_null) return std::nullopt;
    const Literal& constant = *predicate.constant;
    const double share = use_.table->fraction(*column, constant.text);
    const auto count = workload_.constants.find({use_.table, column->name, constant.sql});
    const bool recurs = count != workload_.constants.end() && count->second >= kRecurring;
    const bool rare = column->distinct <= kFewValues && share <= kPartialShare;
    const bool stands_out = column->type == "bool" || share <= kUnevenShare / std::max(1.0, column->distinct);
    if (column->has_statistics ? !rare || !(recurs || stands_out) : !recurs) return std::nullopt;
    if (column->type == "bool") return Limit{(constant.text == "t" ? "" : "NOT ") + name, column->name, share};
    return Limit{name + " = " + constant.sql, column->name, share};
  }

  void partial(const Parts& parts) {
    std::vector<Limit> limits;
    for (const Predicate& predicate : use_.predicates)
      if (auto limit = limit_of(predicate)) limits.push_back(std::move(*limit));
    std::vector<std::vector<Limit>> sets;
    for (const Limit& limit : limits) sets.push_back({limit});
    if (limits.size() > 1) sets.push_back(limits);
    for (const std::vector<Limit>& set : sets) {
      Parts rest = parts;
      for (const Limit& limit : set)
        for (auto* keys : {&rest.equal, &rest.order, &rest.ranges})
          std::erase_if(*keys, [&](const Key& key) { return key.key.text == limit.column; });
      if (rest.equal.empty() && rest.joins.empty() && rest.ranges.empty() && rest.order.empty()) {
        if (set.size() == 1 && set[0].share <= kAloneShare && !parts.equal.empty())
          add({parts.equal[0]}, 1, {}, false, set, {});
        continue;
      }
      from(rest, set, {});
    }
  }

  const TableUse& use_;
  const Workload& workload_;
  std::vector<Proposal> proposals_;
};

// An index that exists with its expressions as proposals have them.
std::vector<IndexKey> canonical_keys(const Index& index, const Table& table) {
  std::vector<IndexKey> keys = index.definition.keys;
  for (IndexKey& key : keys)
    if (key.is_expression) key.text = canonical(key.text, table);
  return keys;
}

bool same_key(const IndexKey& one, const IndexKey& other) {
  return one.is_expression == other.is_expression && one.text == other.text &&
         one.operator_class == other.operator_class;
}

// The tails from position `from` on, one as long as the other or longer.
bool in_order(const std::vector<IndexKey>& have, const std::vector<IndexKey>& want, size_t from, bool ordered) {
  if (have.size() < want.size()) return false;
  bool straight = true, mirrored = true;
  for (size_t i = from; i < want.size(); ++i) {
    if (!same_key(have[i], want[i])) return false;
    const bool direction = have[i].descending == want[i].descending, nulls = have[i].nulls_first == want[i].nulls_first;
    if (!direction || !nulls) straight = false;
    if (direction || nulls) mirrored = false;
  }
  return !ordered || straight || mirrored;
}

bool same_beginning(const std::vector<IndexKey>& have, const std::vector<IndexKey>& want, size_t count) {
  return have.size() >= count &&
         std::is_permutation(have.begin(), have.begin() + static_cast<ptrdiff_t>(count), want.begin(),
                             want.begin() + static_cast<ptrdiff_t>(count), same_key);
}

bool holds_all(const IndexDefinition& index, const std::vector<std::string>& columns) {
  return std::ranges::all_of(columns, [&](const std::string& column) {
    const auto is_it = [&](const IndexKey& key) { return !key.is_expression && key.text == column; };
    return std::ranges::find(index.include, column) != index.include.end() || std::ranges::any_of(index.keys, is_it);
  });
}

bool has_placeholder(const std::string& text) {
  const auto begins_one = [](char dollar, char digit) { return dollar == '$' && digit >= '1' && digit <= '9'; };
  return std::ranges::adjacent_find(text, begins_one) != text.end();
}

}  // namespace

Workload summarise(std::span<const StatementUse> uses, std::span<const WorkloadStatement> statements) {
  Workload workload;
  for (size_t i = 0; i < uses.size(); ++i) {
    std::set<std::tuple<const Table*, std::string, std::string>> constants;
    for (const TableUse& use : uses[i].tables)
      for (const Predicate& predicate : use.predicates) {
        if (predicate.test == Test::kHasKey) workload.asked_for_keys.insert({use.table, predicate.operand.sql});
        if (predicate.test == Test::kEqual && predicate.constant)
          constants.insert({use.table, predicate.operand.sql, predicate.constant->sql});
      }
    const double count = has_placeholder(statements[i].text) ? kRecurring : statements[i].calls;
    for (const auto& constant : constants) workload.constants[constant] += count;
  }
  return workload;
}

std::vector<Proposal> proposals(const TableUse& use, const Workload& workload, const Catalog& catalog) {
  std::vector<Proposal> all = BTrees(use, workload).all();
  for (Proposal& proposal : special_proposals(use, workload, catalog)) all.push_back(std::move(proposal));
  return all;
}

bool covers(const Index& index, const Table& table, const Proposal& proposal) {
  const IndexDefinition &have = index.definition, &want = proposal.index;
  if (!index.valid || !index.complete) return false;
  if (!have.predicate.empty() && canonical(have.predicate, table) != want.predicate) return false;
  const std::vector<IndexKey> keys = canonical_keys(index, table);
  if (want.method == "hash" && have.method == "btree") return same_key(keys[0], want.keys[0]);
  const auto is_vector = [](const std::string& method) { return method == "hnsw" || method == "ivfflat"; };
  if (have.method != want.method && !(is_vector(have.method) && is_vector(want.method))) return false;
  if (want.method == "gin" && want.keys[0].operator_class == "jsonb_path_ops") {
    IndexKey wider = want.keys[0];
    wider.operator_class = {};
    if (same_key(keys[0], wider)) return true;
  }
  return same_beginning(keys, want.keys, proposal.equalities) &&
         in_order(keys, want.keys, proposal.equalities, proposal.ordered) && holds_all(have, want.include);
}

bool same(const Proposal& one, const Proposal& other) {
  const IndexDefinition &a = one.index, &b = other.index;
  if (a == b) return true;
  if (a.table != b.table || a.method != b.method || a.predicate != b.predicate || a.options != b.options ||
      a.include != b.include || a.keys.size() != b.keys.size() || one.equalities != other.equalities)
    return false;
  return same_beginning(a.keys, b.keys, one.equalities) &&
         in_order(a.keys, b.keys, one.equalities, one.ordered && other.ordered);
}

}  // namespace cairn::tuner::rules
