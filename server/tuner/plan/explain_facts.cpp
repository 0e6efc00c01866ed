// What the catalog knows of the tables in a plan. pg_class, pg_index and the settings are open to every role.
#include <algorithm>
#include <charconv>
#include <set>

#include "tuner/plan/explain.h"

namespace cairn::tuner {
namespace {

constexpr db::Statement kSettings{"", "/* cairn tune */ SELECT name, setting FROM pg_settings WHERE name = ANY ($1)"};
constexpr db::Statement kTables{
    "",
    "/* cairn tune */ SELECT n.nspname::text, c.relname::text, c.reltuples::float8, c.relpages::int8, "
    "coalesce(s.n_mod_since_analyze, 0)::int8, greatest(s.last_analyze, s.last_autoanalyze), "
    "ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "ORDER BY a.attnum), "
    "ARRAY(SELECT t.typname::text FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
    "WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) "
    "FROM unnest($1::text[], $2::text[]) AS wanted (schema, name) "
    "JOIN pg_namespace n ON n.nspname = wanted.schema "
    "JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name "
    "LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid"};
constexpr db::Statement kIndexes{
    "",
    "/* cairn tune */ SELECT n.nspname::text, c.relname::text, ic.relname::text, "
    "i.indisvalid AND i.indpred IS NULL AND am.amname = 'btree', "
    "ARRAY(SELECT coalesce(a.attname::text, pg_get_indexdef(i.indexrelid, k, true)) "
    "FROM generate_series(1, i.indnkeyatts) AS k "
    "LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[k - 1] AND a.attnum > 0 ORDER BY k) "
    "FROM unnest($1::text[], $2::text[]) AS wanted (schema, name) "
    "JOIN pg_namespace n ON n.nspname = wanted.schema "
    "JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name "
    "JOIN pg_index i ON i.indrelid = c.oid JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am am ON am.oid = "
    "ic.relam "
    "ORDER BY 1, 2, 3"};

void take_setting(PlanFacts& facts, const std::string& name, const std::string& value) {
  double number = 0;
  std::from_chars(value.data(), value.data() + value.size(), number);
  if (name == "work_mem") facts.work_mem_kb = static_cast<int64_t>(number);
  if (name == "hash_mem_multiplier") facts.hash_mem_multiplier = number;
  if (name == "jit") facts.jit = value == "on";
  if (name == "jit_above_cost") facts.jit_above_cost = number;
  if (name == "max_parallel_workers_per_gather") facts.max_parallel_workers_per_gather = static_cast<int>(number);
  if (name == "max_parallel_workers") facts.max_parallel_workers = static_cast<int>(number);
  if (name == "cpu_operator_cost") facts.cpu_operator_cost = number;
  if (name == "max_worker_processes") facts.max_worker_processes = static_cast<int>(number);
}

void take_tables(PlanFacts& facts, const db::Rows& rows) {
  for (int row = 0; row < rows.size(); ++row) {
    TableFacts& table = facts.tables[{rows.text(row, 0), rows.text(row, 1)}];
    table.rows = rows.number(row, 2);
    table.pages = rows.integer(row, 3);
    table.changed_since_analyze = static_cast<double>(rows.integer(row, 4));
    table.analyzed_at_ms = rows.optional_timestamp_ms(row, 5);
    const auto columns = rows.texts(row, 6), types = rows.texts(row, 7);
    for (size_t i = 0; i < std::min(columns.size(), types.size()); ++i) table.column_types[columns[i]] = types[i];
  }
}

}  // namespace

task<PlanFacts> read_facts(db::Connection& connection, const Plan& plan, std::vector<std::string>& notes) {
  PlanFacts facts;
  std::set<TableName> wanted;
  for (const PlanNode* node : plan_nodes(plan)) {
    if (node->is_scan() && !node->schema.empty()) wanted.insert({node->schema, node->relation});
  }
  std::vector<std::string> schemas, names;
  for (const TableName& table : wanted) schemas.push_back(table.schema), names.push_back(table.name);
  const std::vector<std::string> settings = {"work_mem",
                                             "hash_mem_multiplier",
                                             "jit",
                                             "jit_above_cost",
                                             "max_parallel_workers_per_gather",
                                             "max_parallel_workers",
                                             "max_worker_processes",
                                             "cpu_operator_cost"};
  std::vector<db::Query> queries;
  queries.push_back({kSettings, db::Params::of(settings)});
  queries.push_back({kTables, db::Params::of(schemas, names)});
  queries.push_back({kIndexes, db::Params::of(schemas, names)});
  try {
    const std::vector<db::Rows> results = co_await connection.run(std::move(queries));
    for (int row = 0; row < results[0].size(); ++row)
      take_setting(facts, results[0].text(row, 0), results[0].text(row, 1));
    take_tables(facts, results[1]);
    for (int row = 0; row < results[2].size(); ++row) {
      IndexFacts index{
          .name = results[2].text(row, 2), .keys = results[2].texts(row, 4), .usable = results[2].boolean(row, 3)};
      facts.tables[{results[2].text(row, 0), results[2].text(row, 1)}].indexes.push_back(std::move(index));
    }
  } catch (const db::DbError& error) {
    notes.push_back("the catalog could not be read, so existing indexes and statistics are not known: " +
                    std::string(error.what()));
  }
  for (const auto& [name, value] : plan.settings) {
    if (name == "jit" || name == "jit_above_cost") take_setting(facts, name, value);
  }
  co_return facts;
}

}  // namespace cairn::tuner
