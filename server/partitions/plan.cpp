#include "partitions/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace cairn::partitions {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

bool contains(const std::vector<std::string>& columns, const std::string& column) {
  return std::find(columns.begin(), columns.end(), column) != columns.end();
}

bool same_set(std::vector<std::string> a, std::vector<std::string> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

std::string joined(const std::vector<std::string>& columns) {
  std::string text;
  for (const std::string& column : columns) text += (text.empty() ? "" : "_") + column;
  return text;
}

// For reading only.
std::string unquoted(std::string text) {
  std::erase(text, '"');
  return text;
}

// Whether a column of this type can be divided so.
bool fits(By by, const std::string& type) {
  if (by == By::kList) return true;
  if (by == By::kNumber) return type == "bigint" || type == "integer" || type == "smallint";
  return type == "date" || type.starts_with("timestamp");
}

void check_column(Plan& plan) {
  const Scheme& scheme = plan.scheme;
  const Column* column = plan.facts.find(scheme.column);
  if (column == nullptr) {
    std::string known;
    for (const Column& c : plan.facts.columns) {
      if (fits(scheme.by, c.type) && !c.generated) known += (known.empty() ? "" : ", ") + c.name;
    }
    throw invalid(plan.facts.shown_name() + " has no column '" + scheme.column + "'; it can be divided by " +
                  std::string(by_name(scheme.by)) + " on: " + (known.empty() ? "none" : known));
  }
  plan.scheme.type = column->type;
  if (column->generated)
    plan.refusals.push_back("column " + scheme.column + " is generated, and PostgreSQL takes no such partition key");
  if (!fits(scheme.by, column->type))
    plan.refusals.push_back(fmt::format("column {} is of type {}, which cannot be divided by {}", scheme.column,
                                        column->type, by_name(scheme.by)));
  if (!column->not_null)
    plan.refusals.push_back(
        fmt::format("column {0} may be NULL, and a row without it belongs to no partition: ALTER "
                    "TABLE {1} ALTER COLUMN {0} SET NOT NULL",
                    scheme.column, plan.facts.shown_name()));
}

void check_table(Plan& plan) {
  const TableFacts& facts = plan.facts;
  std::vector<std::string>& refusals = plan.refusals;
  if (facts.kind == "p") refusals.push_back("it is partitioned already: see cairn partitions status");
  if (facts.kind != "r" && facts.kind != "p") refusals.push_back("it is not a table");
  if (facts.persistence != "p")
    refusals.push_back("it is unlogged or temporary: what a crash empties is not converted");
  if (facts.inherits) refusals.push_back("it is part of an inheritance tree, a partition, or of a composite type");
  if (facts.row_security) refusals.push_back("it has row security policies, which are not carried over");
  if (!facts.may_alter) refusals.push_back("only its owner (" + facts.owner + ") or a superuser may convert it");
  for (const std::string& other : facts.others)
    refusals.push_back("not carried over, and it depends on the table: " + other + "; drop it first and make it again");
  for (const View& view : facts.views) {
    if (view.kind != "v")
      refusals.push_back("the materialized view " + view.name +
                         " reads it, and would have to be filled anew while nobody can read it: drop it first and make "
                         "it again");
  }
  if (!facts.triggers.empty())
    plan.notes.push_back(
        "an UPDATE that moves a row to another partition fires DELETE and INSERT triggers too: for "
        "PostgreSQL it is both");
  for (const Trigger& trigger : facts.triggers) {
    if (trigger.impossible)
      refusals.push_back("trigger " + trigger.name +
                         " is FOR EACH ROW with a transition table, which PostgreSQL refuses on a partitioned table");
  }
}

void divide_keys(Plan& plan) {
  const std::string& column = plan.scheme.column;
  for (const Index& index : plan.facts.indexes) {
    if (!index.valid)
      plan.refusals.push_back("index " + index.name + " is not valid: drop it, or build it again (REINDEX)");
    if (index.exclusion)
      plan.refusals.push_back("exclusion constraint " + index.name +
                              ": PostgreSQL has none on partitioned tables before version 17");
    if (index.constraint && index.unique && !index.plain)
      plan.refusals.push_back("constraint " + index.name +
                              " has INCLUDE or NULLS NOT DISTINCT, which is not carried over");
    if (!index.unique || index.exclusion || contains(index.columns, column)) continue;
    if (!index.plain) {
      plan.refusals.push_back(fmt::format(
          "unique index {} does not hold {}, and has a predicate, an expression, INCLUDE, NULLS NOT DISTINCT or an "
          "operator class of its own: its uniqueness cannot be kept; drop it first",
          index.name, column));
      continue;
    }
    const bool known = std::any_of(plan.keys.begin(), plan.keys.end(),
                                   [&](const KeyTable& k) { return same_set(k.columns, index.columns); });
    if (known) continue;
    const std::string name = fitted(plan.facts.name + "_" + joined(index.columns), "_keys");
    plan.keys.push_back({name, index.name, index.deferrable, index.columns});
    plan.notes.push_back(fmt::format(
        "{0} becomes unique together with {1}, as PostgreSQL demands; ({2}) alone stays unique by table {3}, kept by "
        "triggers. INSERT ... ON CONFLICT ({2}) is refused by PostgreSQL from then on",
        index.name, column, unquoted(column_list(index.columns)), plan.facts.schema + "." + name));
  }
}

void check_foreign_keys(Plan& plan) {
  for (const OutgoingKey& key : plan.facts.outgoing) {
    if (!key.valid)
      plan.refusals.push_back("foreign key " + key.name +
                              " is NOT VALID, which a partitioned table cannot have: "
                              "VALIDATE CONSTRAINT first");
  }
  for (const IncomingKey& key : plan.facts.incoming) {
    if (key.of_itself) {
      plan.refusals.push_back("foreign key " + key.name +
                              " refers to the table itself: it cannot be made without a "
                              "lock on all rows; drop it first");
    } else if (key.kind == "p") {
      plan.refusals.push_back("foreign key " + key.name + " of the partitioned table " + key.table +
                              " cannot be made without a lock on all of its rows; drop it first");
    } else {
      plan.notes.push_back(fmt::format("foreign key {} of {} refers to {} from then on", key.name, key.table,
                                       unquoted(plan.target_of(key.references))));
    }
  }
}

constexpr Statement kTaken{"partitions_taken", R"(
SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = ANY($2::text[]))"};

task<> check_names(Session& session, Plan& plan) {
  std::vector<std::string> names{plan.shadow_name(), default_name(plan.facts.name)};
  for (const KeyTable& key : plan.keys) names.push_back(key.name);
  for (const Range& range : plan.ranges) names.push_back(range.name);
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    plan.refusals.push_back("its name is so long that its partitions' names would not differ: rename it first");
  Params params = Params::of(plan.facts.schema, names);
  const Rows taken = co_await session.query(kTaken, std::move(params));
  for (int i = 0; i < taken.size(); ++i)
    plan.refusals.push_back("there is " + plan.facts.schema + "." + taken.text(i, 0) +
                            " already, and a table of that name would be made: rename or drop it");
}

}  // namespace

std::vector<std::string> Plan::written() const {
  std::vector<std::string> names;
  for (const Column& column : facts.columns) {
    if (!column.generated) names.push_back(column.name);
  }
  return names;
}

std::string Plan::target_of(const std::vector<std::string>& columns) const {
  for (const KeyTable& table : keys) {
    if (same_set(table.columns, columns)) return qualified(facts.schema, table.name);
  }
  return facts.full_name();
}

std::vector<std::string> row_key(const TableFacts& facts) {
  for (const Index& index : facts.indexes) {
    const bool never_null = std::all_of(index.columns.begin(), index.columns.end(), [&](const std::string& name) {
      const Column* column = facts.find(name);
      return column != nullptr && column->not_null && !column->generated;
    });
    if (!index.unique || !index.valid || !never_null || !index.deferrable.empty()) continue;
    if (index.primary || index.plain) return index.columns;
  }
  return {};
}

task<Plan> make_plan(Session& session, int64_t oid, const PlanOptions& options, bool with_ranges) {
  Plan plan;
  plan.facts = co_await read_facts(session, oid);
  plan.scheme = {options.column, "", options.by, options.step, options.ahead, options.keep_months};
  if (!plan.scheme.of_time()) plan.scheme.keep_months = 0;
  check_table(plan);
  check_column(plan);
  plan.key = row_key(plan.facts);
  if (plan.key.empty())
    plan.refusals.push_back(
        "it has no primary key, and no unique key of NOT NULL columns: its rows cannot be told apart");
  divide_keys(plan);
  check_foreign_keys(plan);
  if (with_ranges && plan.refusals.empty()) {
    plan.ranges = co_await wanted_ranges(session, plan.facts, plan.scheme);
    co_await check_names(session, plan);
  }
  co_return plan;
}

void require_possible(const Plan& plan) {
  if (plan.refusals.empty()) return;
  std::string text = plan.facts.shown_name() + " cannot be converted:";
  for (const std::string& refusal : plan.refusals) text += "\n  " + refusal;
  throw Error(ErrorCode::kInvalidState, text);
}

}  // namespace cairn::partitions
