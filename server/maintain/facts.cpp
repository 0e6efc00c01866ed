// What the plan is made from: PostgreSQL's counters, the catalog, and bloat as pgstattuple measures it where it is
// there and may be used. Measuring reads: of a table only pages that the visibility map does not know, of an index all;
// so it has a time limit, and the largest ones come first.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>

#include "base/error.h"
#include "db/transaction.h"
#include "maintain/plan.h"
#include "triage/api.h"

namespace cairn::maintain {
namespace {

using db::Params;
using db::Rows;
using db::Statement;
using Clock = std::chrono::steady_clock;

constexpr int64_t kMeasuredBytesMin = 1 << 20;  // what is smaller is no matter

constexpr Statement kServer{"maintain_server", R"(/* cairn tune */
SELECT name, setting FROM pg_settings WHERE name IN ('autovacuum', 'track_counts', 'autovacuum_vacuum_threshold',
  'autovacuum_vacuum_scale_factor', 'autovacuum_vacuum_insert_threshold', 'autovacuum_vacuum_insert_scale_factor',
  'autovacuum_analyze_threshold', 'autovacuum_analyze_scale_factor', 'autovacuum_freeze_max_age',
  'autovacuum_multixact_freeze_max_age'))"};

constexpr Statement kFind{"maintain_find", R"(/* cairn tune */
SELECT t.relid::int8 FROM (SELECT to_regclass($1) AS oid) c, LATERAL (SELECT c.oid AS relid WHERE c.oid IS NOT NULL
  UNION SELECT p.relid FROM pg_partition_tree(c.oid) p) t)"};

constexpr Statement kTables{"maintain_tables", R"(/* cairn tune */
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.reltuples::float8,
       CASE WHEN c.relkind = 'p' THEN 0 ELSE pg_table_size(c.oid) END::int8,
       coalesce(s.n_live_tup, 0)::int8, coalesce(s.n_dead_tup, 0)::int8, coalesce(s.n_mod_since_analyze, 0)::int8,
       coalesce(s.n_ins_since_vacuum, 0)::int8,
       extract(epoch FROM clock_timestamp() - greatest(s.last_vacuum, s.last_autovacuum))::float8,
       extract(epoch FROM clock_timestamp() - greatest(s.last_analyze, s.last_autoanalyze))::float8,
       CASE WHEN c.relkind = 'p' THEN (SELECT extract(epoch FROM clock_timestamp() - max(greatest(l.last_analyze, l.last_autoanalyze)))
         FROM pg_partition_tree(c.oid) p JOIN pg_stat_all_tables l ON l.relid = p.relid WHERE p.isleaf) END::float8,
       CASE WHEN c.relkind = 'p' THEN 0 ELSE greatest(age(c.relfrozenxid), coalesce(age(t.relfrozenxid), 0)) END::int8,
       CASE WHEN c.relkind = 'p' THEN 0 ELSE greatest(mxid_age(c.relminmxid), coalesce(mxid_age(t.relminmxid), 0)) END::int8,
       coalesce(c.reloptions, '{}'),
       pg_has_role(c.relowner, 'USAGE') OR (SELECT pg_has_role(d.datdba, 'USAGE') FROM pg_database d WHERE d.datname = current_database())
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema'
  AND n.nspname NOT LIKE 'pg\_%' AND (cardinality($1::int8[]) = 0 OR c.oid::int8 = ANY ($1)) ORDER BY c.oid)"};

constexpr Statement kOwned{"maintain_owned", R"(/* cairn tune */
SELECT c.oid::int8, pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid::int8 = ANY ($1))"};

constexpr Statement kExtension{"maintain_extension", R"(/* cairn tune */
SELECT n.nspname::text, bool_and(has_function_privilege(p.oid, 'EXECUTE'))
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname IN ('pgstattuple_approx', 'pgstatindex')
WHERE e.extname = 'pgstattuple' GROUP BY 1)"};

constexpr Statement kHistory{"maintain_has_history",
                             "/* cairn tune */ SELECT to_regclass('maintenance.actions') IS NOT NULL"};
constexpr Statement kRebuilt{"maintain_rebuilt", R"(/* cairn tune */
SELECT DISTINCT object FROM maintenance.actions
WHERE kind = 'reindex' AND state = 'done' AND started_at > now() - interval '30 days')"};

void take_settings(const Rows& rows, Facts& facts) {
  AutovacuumSettings& settings = facts.settings;
  for (int i = 0; i < rows.size(); ++i) {
    const std::string name = rows.text(i, 0), value = rows.text(i, 1);
    double number = 0;
    std::from_chars(value.data(), value.data() + value.size(), number);
    if (name == "autovacuum") settings.on = value == "on";
    if (name == "track_counts") facts.counts = value == "on";
    if (name == "autovacuum_vacuum_threshold") settings.vacuum_threshold = number;
    if (name == "autovacuum_vacuum_scale_factor") settings.vacuum_scale = number;
    if (name == "autovacuum_vacuum_insert_threshold") settings.insert_threshold = number;
    if (name == "autovacuum_vacuum_insert_scale_factor") settings.insert_scale = number;
    if (name == "autovacuum_analyze_threshold") settings.analyze_threshold = number;
    if (name == "autovacuum_analyze_scale_factor") settings.analyze_scale = number;
    if (name == "autovacuum_freeze_max_age") settings.freeze_max_age = static_cast<int64_t>(number);
    if (name == "autovacuum_multixact_freeze_max_age") settings.multixact_freeze_max_age = static_cast<int64_t>(number);
  }
}

std::optional<double> optional_number(const Rows& rows, int row, int column) {
  if (rows.is_null(row, column)) return std::nullopt;
  return rows.number(row, column);
}

TableState table_of(const Rows& rows, int i) {
  TableState table{.oid = rows.integer(i, 0),
                   .name = {rows.text(i, 1), rows.text(i, 2)},
                   .kind = rows.text(i, 3).at(0),
                   .rows = rows.number(i, 4),
                   .bytes = rows.integer(i, 5),
                   .live = static_cast<double>(rows.integer(i, 6)),
                   .dead = static_cast<double>(rows.integer(i, 7)),
                   .changed = static_cast<double>(rows.integer(i, 8)),
                   .inserted = static_cast<double>(rows.integer(i, 9)),
                   .vacuumed_s = optional_number(rows, i, 10),
                   .analyzed_s = optional_number(rows, i, 11),
                   .partition_analyzed_s = optional_number(rows, i, 12),
                   .age = rows.integer(i, 13),
                   .multixact_age = rows.integer(i, 14),
                   .may_vacuum = rows.boolean(i, 16)};
  for (const std::string& option : rows.texts(i, 15)) {
    const size_t equals = option.find('=');
    double number = 0;
    if (equals == std::string::npos) continue;
    const auto [end, error] = std::from_chars(option.data() + equals + 1, option.data() + option.size(), number);
    if (error == std::errc()) table.options[option.substr(0, equals)] = number;
  }
  return table;
}

class Measure {
 public:
  Measure(db::Pool& pool, double seconds)
      : pool_(pool), deadline_(Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(1000 * seconds))) {}

  // False where pgstattuple cannot be used; a note says why.
  task<bool> prepare(Facts& facts) {
    const Rows extension = co_await pool_.query(kExtension);
    if (extension.empty()) {
      facts.notes.emplace_back("bloat is estimated: CREATE EXTENSION pgstattuple, and it is measured");
    } else if (!extension.boolean(0, 1)) {
      facts.notes.emplace_back(
          "bloat is estimated: pgstattuple may not be used by this role: GRANT pg_stat_scan_tables TO it");
    } else {
      schema_ = db::quote_identifier(extension.text(0, 0));
    }
    co_return !schema_.empty();
  }

  task<> table(TableState& table) {
    const std::string sql = "/* cairn tune */ SELECT approx_free_percent, dead_tuple_percent FROM " + schema_ +
                            ".pgstattuple_approx($1::int8::oid::regclass)";
    const auto rows = co_await ask(sql, table.oid);
    if (!rows || rows->empty() || rows->is_null(0, 0)) co_return;
    table.free_percent = rows->number(0, 0);
    table.dead_percent = rows->number(0, 1);
  }

  task<> index(IndexState& index) {
    const std::string sql =
        "/* cairn tune */ SELECT CASE WHEN avg_leaf_density = 'NaN' THEN 0 ELSE avg_leaf_density END, "
        "100.0::float8 * (empty_pages + deleted_pages) / greatest(1, index_size / 8192) FROM " +
        schema_ + ".pgstatindex($1::int8::oid::regclass)";
    const auto rows = co_await ask(sql, index.oid);
    if (!rows || rows->empty() || rows->is_null(0, 0)) co_return;
    index.leaf_density = rows->number(0, 0);
    index.empty_percent = rows->number(0, 1);
  }

  int left_out() const { return left_out_; }

 private:
  // Nothing where the time is up, or the object is gone or of a kind that is not measured.
  task<std::optional<Rows>> ask(std::string sql, int64_t oid) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    if (left <= 0) {
      ++left_out_;
      co_return std::nullopt;
    }
    const std::string timeout = fmt::format("/* cairn tune */ SET LOCAL statement_timeout = {}", left);
    const Statement limit{"", timeout}, measure{"", sql};
    try {
      db::Transaction transaction(co_await pool_.acquire(), db::Isolation::kReadCommitted);
      co_await transaction.query(limit);
      Params params = Params::of(oid);
      Rows rows = co_await transaction.query(measure, std::move(params));
      co_await transaction.commit();
      co_return std::optional<Rows>(std::move(rows));
    } catch (const db::DbError& error) {
      if (error.is_unavailable()) throw;
      if (error.is_statement_timeout()) ++left_out_;
    }
    co_return std::nullopt;
  }

  db::Pool& pool_;
  Clock::time_point deadline_;
  std::string schema_;
  int left_out_ = 0;
};

struct Wanted {
  TableState* table = nullptr;
  IndexState* index = nullptr;
  int64_t bytes = 0;
};

std::vector<Wanted> worth_measuring(Facts& facts) {
  std::vector<Wanted> wanted;
  for (TableState& table : facts.tables)
    if (table.kind != 'p' && table.bytes >= kMeasuredBytesMin) wanted.push_back({&table, nullptr, table.bytes});
  for (const tuner::Table& table : facts.catalog.tables)
    for (const tuner::Index& index : table.indexes) {
      const auto found = facts.indexes.find(index.oid);
      if (found != facts.indexes.end() && index.definition.method == "btree")
        wanted.push_back({nullptr, &found->second, index.bytes});
    }
  std::stable_sort(wanted.begin(), wanted.end(), [](const Wanted& a, const Wanted& b) { return a.bytes > b.bytes; });
  return wanted;
}

task<> measure_all(db::Pool& pool, Facts& facts, double seconds) {
  Measure measure(pool, seconds);
  const bool possible = co_await measure.prepare(facts);
  if (!possible) co_return;
  for (const Wanted& wanted : worth_measuring(facts)) {
    if (wanted.table != nullptr)
      co_await measure.table(*wanted.table);
    else
      co_await measure.index(*wanted.index);
  }
  if (measure.left_out() > 0)
    facts.notes.push_back(
        fmt::format("the time for measuring was up: of {} tables and indexes bloat is estimated "
                    "(--measure-s gives more)",
                    measure.left_out()));
}

task<std::vector<int64_t>> find_tables(db::Pool& pool, const std::vector<std::string>& names) {
  std::vector<int64_t> oids;
  for (const std::string& name : names) {
    Params params = Params::of(name);
    const Rows rows = co_await pool.query(kFind, std::move(params));
    if (rows.empty()) throw not_found("there is no table " + name + " in this database");
    for (int i = 0; i < rows.size(); ++i) oids.push_back(rows.integer(i, 0));
  }
  co_return oids;
}

// Indexes that are large enough, of tables that are looked at.
task<> choose_indexes(db::Pool& pool, Facts& facts) {
  std::map<std::string, int64_t> names;
  std::vector<int64_t> oids;
  for (const TableState& state : facts.tables) {
    const tuner::Table* table = facts.catalog.table(state.oid);
    if (table == nullptr || table->kind == 'p') continue;
    for (const tuner::Index& index : table->indexes) {
      if (index.bytes < kMeasuredBytesMin) continue;
      facts.indexes[index.oid].oid = index.oid;
      names[db::quote_identifier(table->name.schema) + "." + db::quote_identifier(index.name)] = index.oid;
      oids.push_back(index.oid);
    }
  }
  Params params = Params::of(oids);
  const Rows owned = co_await pool.query(kOwned, std::move(params));
  for (int i = 0; i < owned.size(); ++i) facts.indexes[owned.integer(i, 0)].may_rebuild = owned.boolean(i, 1);
  const Rows history = co_await pool.query(kHistory);
  if (!history.boolean(0, 0)) co_return;
  const Rows rebuilt = co_await pool.query(kRebuilt);
  for (int i = 0; i < rebuilt.size(); ++i) {
    const auto found = names.find(rebuilt.text(i, 0));
    if (found != names.end()) facts.indexes[found->second].rebuilt_lately = true;
  }
}

// What keeps dead rows from being removed, and numbers of transactions from being used again.
task<std::vector<std::string>> what_holds_back(db::Pool& pool) {
  std::vector<std::string> notes;
  db::Lease lease = co_await pool.acquire();
  const triage::State state = co_await triage::read_state(*lease);
  for (const triage::Finding& finding : triage::find_trouble(state))
    if (finding.subject == "transaction" || finding.subject == "wraparound" || finding.subject == "disk")
      notes.push_back(finding.what + ": " + finding.to_do);
  co_return notes;
}

}  // namespace

task<Facts> read_facts(db::Pool& pool, const PlanOptions& options) {
  Facts facts;
  const Rows settings = co_await pool.query(kServer);
  take_settings(settings, facts);
  const std::vector<int64_t> oids = co_await find_tables(pool, options.tables);
  Params only = Params::of(oids);
  const Rows tables = co_await pool.query(kTables, std::move(only));
  for (int i = 0; i < tables.size(); ++i) facts.tables.push_back(table_of(tables, i));
  facts.catalog = co_await tuner::read_catalog(pool);
  co_await choose_indexes(pool, facts);
  if (options.measure_s > 0) co_await measure_all(pool, facts, options.measure_s);
  const std::vector<std::string> holding = co_await what_holds_back(pool);
  facts.notes.insert(facts.notes.end(), holding.begin(), holding.end());
  co_return facts;
}

constexpr Statement kDatabase{"maintain_database", "/* cairn tune */ SELECT current_database()::text"};

task<Plan> plan(db::Pool& pool, PlanOptions options) {
  const Facts facts = co_await read_facts(pool, options);
  Plan made = make_plan(facts, options);
  const Rows database = co_await pool.query(kDatabase);
  made.database = database.text(0, 0);
  co_return made;
}

}  // namespace cairn::maintain
