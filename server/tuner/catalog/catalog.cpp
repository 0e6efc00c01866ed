#include "tuner/catalog/catalog.h"

#include <algorithm>
#include <utility>

#include "db/transaction.h"

namespace cairn::tuner {
namespace {

using db::Rows;
using db::Statement;

// A table that was never analysed: about this many rows fit on a page.
constexpr double kRowsPerPage = 60;
constexpr size_t kNamesShown = 5;

// Of a relation c in a namespace n: the user's own, and not of one session.
#define CAIRN_OWN "c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"

constexpr Statement kServer{
    "tuner_server",
    "/* cairn tune */ SELECT current_setting('server_version_num')::int8, current_schemas(false)::text[], "
    "current_user::text, "
    "EXISTS (SELECT FROM pg_opclass WHERE opcname = 'gin_trgm_ops' AND pg_opclass_is_visible(oid)), "
    "(SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()), "
    "greatest((SELECT count(*) FROM pg_stat_replication), "
    "(SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical')), pg_is_in_recovery(), now(), "
    "EXISTS (SELECT FROM pg_proc WHERE proname = 'vector_index_check')"};

// Rows as the planner scales them: as many a page as when the table was last analysed, on the pages that it has now.
constexpr Statement kTables{
    "tuner_tables",
    "/* cairn tune */ SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, "
    "has_any_column_privilege(c.oid, 'SELECT'), coalesce(s.rows, -1)::float8, coalesce(s.pages, 0)::int8, "
    "c.relkind = 'r' AND c.relhassubclass "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN LATERAL ("
    "SELECT sum(CASE WHEN l.relpages > 0 THEN l.reltuples / l.relpages * b.pages ELSE l.reltuples END) AS rows, "
    "sum(b.pages) AS pages "
    "FROM (SELECT c.oid AS relid WHERE c.relkind IN ('r', 'm') "
    "UNION ALL SELECT t.relid FROM pg_partition_tree(c.oid) t WHERE c.relkind = 'p' AND t.isleaf) part "
    "JOIN pg_class l ON l.oid = part.relid "
    "CROSS JOIN LATERAL (SELECT pg_relation_size(l.oid) / current_setting('block_size')::int8 AS pages) b) s ON true "
    "WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f') AND " CAIRN_OWN " ORDER BY c.oid"};

constexpr Statement kColumns{
    "tuner_columns",
    "/* cairn tune */ SELECT c.oid::int8, a.attname::text, t.typname::text, t.typcategory::text, "
    "t.typcategory IN ('A', 'B', 'D', 'E', 'I', 'N', 'R', 'S', 'T', 'V') OR EXISTS (SELECT FROM pg_opclass o "
    "JOIN pg_am m ON m.oid = o.opcmethod WHERE m.amname = 'btree' AND o.opcdefault AND o.opcintype = t.oid), "
    "a.attnotnull, a.attcollation IN (950, 951) OR (a.attcollation = 100 AND (SELECT d.datcollate IN ('C', 'POSIX') "
    "AND coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c' FROM pg_database d WHERE datname = "
    "current_database())), "
    "s.attname IS NOT NULL, coalesce(s.n_distinct, 0)::float8, coalesce(s.null_frac, 0)::float8, "
    "coalesce(s.correlation, 0)::float8, coalesce(s.avg_width, 0)::int8, "
    "(s.most_common_vals::text::text[])[1:50], s.most_common_freqs[1:50]::float8[], "
    "coalesce(s.elem_count_histogram[array_upper(s.elem_count_histogram, 1)], 0)::float8, a.atttypmod::int8 "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "JOIN pg_type d ON d.oid = a.atttypid "
    "JOIN pg_type t ON t.oid = CASE d.typtype WHEN 'd' THEN d.typbasetype ELSE d.oid END "
    "LEFT JOIN LATERAL ("
    "SELECT * FROM pg_stats v WHERE v.schemaname = n.nspname AND v.tablename = c.relname AND v.attname = a.attname "
    "ORDER BY v.inherited = (c.relkind = 'p') DESC LIMIT 1) s ON true "
    "WHERE c.relkind IN ('r', 'p', 'm') AND " CAIRN_OWN " ORDER BY c.oid, a.attnum"};

// Of each key column: its name or expression, whether it is an expression, an operator class that is not its type's
// own, pg_index.indoption.
#define CAIRN_KEYS(what, from) \
  "array(SELECT " what " FROM generate_series(1, i.indnkeyatts::int) k " from " ORDER BY k)"
#define CAIRN_KEY_COLUMN "LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k - 1]"
constexpr Statement kIndexes{
    "tuner_indexes",
    "/* cairn tune */ SELECT i.indexrelid::int8, i.indrelid::int8, x.relname::text, m.amname::text, pg_get_indexdef(i.indexrelid), "
    "i.indisunique, i.indisprimary, i.indisvalid AND i.indisready, i.indisreplident, "
    "coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false), "
    "EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid), "
    "coalesce((SELECT h.inhparent FROM pg_inherits h WHERE h.inhrelid = i.indexrelid), 0)::int8, "
    "coalesce(u.bytes, 0)::int8, coalesce(u.scans, 0)::int8, u.last, "
    CAIRN_KEYS("coalesce(a.attname::text, pg_get_indexdef(i.indexrelid, k, false))", CAIRN_KEY_COLUMN) ", "
    CAIRN_KEYS("(i.indkey[k - 1] = 0)::int", "") ", "
    CAIRN_KEYS("CASE WHEN o.opcdefault THEN '' ELSE o.opcname::text END",
               "JOIN pg_opclass o ON o.oid = i.indclass[k - 1]") ", "
    CAIRN_KEYS("i.indoption[k - 1]::int", "") ", "
    "array(SELECT a.attname::text FROM generate_series(i.indnkeyatts::int + 1, i.indnatts::int) k "
    "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k - 1] ORDER BY k), "
    "coalesce(pg_get_expr(i.indpred, i.indrelid), ''), coalesce(array_to_string(x.reloptions, ', '), ''), "
    "NOT EXISTS (SELECT FROM generate_series(1, i.indnkeyatts::int) k " CAIRN_KEY_COLUMN
    " WHERE i.indcollation[k - 1] NOT IN (0, coalesce(a.attcollation, 100))) "
    "AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indexrelid AND a.attoptions IS NOT NULL), "
    "i.indimmediate "
    "FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam "
    "JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL ("
    "SELECT sum(pg_relation_size(p.relid)) AS bytes, sum(pg_stat_get_numscans(p.relid)) AS scans, "
    "max((to_jsonb(s) ->> 'last_idx_scan')::timestamptz) AS last "
    "FROM (SELECT i.indexrelid AS relid WHERE x.relkind = 'i' "
    "UNION ALL SELECT t.relid FROM pg_partition_tree(i.indexrelid) t WHERE x.relkind = 'I' AND t.isleaf) p "
    "LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = p.relid) u "
    "WHERE c.relkind IN ('r', 'p', 'm') AND " CAIRN_OWN " ORDER BY i.indrelid, i.indexrelid"};

constexpr Statement kForeignKeys{
    "tuner_foreign_keys",
    "/* cairn tune */ SELECT f.conname::text, f.conrelid::int8, array(SELECT a.attname::text FROM unnest(f.conkey) "
    "WITH ORDINALITY u(n, "
    "k) "
    "JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = u.n ORDER BY u.k), f.confrelid::int8 "
    "FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE f.contype = 'f' AND f.conparentid = 0 AND " CAIRN_OWN " ORDER BY f.oid"};

constexpr Statement kFunctions{"tuner_functions",
                               "/* cairn tune */ SELECT p.proname::text, bool_or(p.provolatile = 'v'), "
                               "bool_or(p.prokind IN ('a', 'w')), bool_or(p.proretset) "
                               "FROM pg_proc p GROUP BY 1 UNION ALL "
                               "SELECT o.oprname::text, bool_or(p.provolatile = 'v'), false, false "
                               "FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode GROUP BY 1"};

Table read_table(const Rows& rows, int row) {
  Table table{.oid = rows.integer(row, 0),
              .name = {rows.text(row, 1), rows.text(row, 2)},
              .kind = rows.text(row, 3)[0],
              .readable = rows.boolean(row, 4),
              .has_children = rows.boolean(row, 7),
              .rows = rows.number(row, 5),
              .pages = rows.integer(row, 6)};
  if (table.rows <= 0) table.rows = static_cast<double>(table.pages) * kRowsPerPage;
  return table;
}

Column read_column(const Rows& rows, int row, double table_rows) {
  Column column{.name = rows.text(row, 1),
                .type = rows.text(row, 2),
                .category = rows.text(row, 3)[0],
                .ordered = rows.boolean(row, 4),
                .modifier = static_cast<int>(rows.integer(row, 15)),
                .not_null = rows.boolean(row, 5),
                .c_collation = rows.boolean(row, 6),
                .has_statistics = rows.boolean(row, 7),
                .distinct = rows.number(row, 8),
                .null_fraction = rows.number(row, 9),
                .correlation = rows.number(row, 10),
                .width = static_cast<int>(rows.integer(row, 11)),
                .elements = rows.number(row, 14)};
  if (column.distinct < 0) column.distinct *= -table_rows;  // pg_stats: a share of the rows
  const std::vector<std::string> values = rows.texts(row, 12);
  const std::vector<double> frequencies = rows.numbers(row, 13);
  for (size_t i = 0; i < std::min(values.size(), frequencies.size()); ++i)
    column.common.push_back({values[i], frequencies[i]});
  return column;
}

// pg_get_indexdef brackets an expression that is no plain call of a function.
std::string without_brackets(std::string expression) {
  if (!expression.starts_with('(')) return expression;
  return expression.substr(1, expression.size() - 2);
}

std::vector<IndexKey> read_keys(const Rows& rows, int row) {
  const std::vector<std::string> texts = rows.texts(row, 15);
  const std::vector<int64_t> expressions = rows.integers(row, 16);
  const std::vector<std::string> classes = rows.texts(row, 17);
  const std::vector<int64_t> options = rows.integers(row, 18);
  std::vector<IndexKey> keys;
  for (size_t i = 0; i < texts.size(); ++i) {
    const bool is_expression = expressions.at(i) != 0;
    keys.push_back({.text = is_expression ? without_brackets(texts[i]) : texts[i],
                    .is_expression = is_expression,
                    .operator_class = classes.at(i),
                    .descending = (options.at(i) & 1) != 0,
                    .nulls_first = (options.at(i) & 2) != 0});
  }
  return keys;
}

Index read_index(const Rows& rows, int row, const TableName& table) {
  return {.oid = rows.integer(row, 0),
          .name = rows.text(row, 2),
          .definition = {.table = table,
                         .method = rows.text(row, 3),
                         .keys = read_keys(rows, row),
                         .include = rows.texts(row, 19),
                         .predicate = rows.text(row, 20),
                         .options = rows.text(row, 21),
                         .unique = rows.boolean(row, 5)},
          .statement = rows.text(row, 4),
          .complete = rows.boolean(row, 22),
          .primary = rows.boolean(row, 6),
          .constraint = rows.boolean(row, 10),
          .valid = rows.boolean(row, 7),
          .immediate = rows.boolean(row, 23),
          .replica_identity = rows.boolean(row, 8),
          .nulls_not_distinct = rows.boolean(row, 9),
          .parent = rows.integer(row, 11),
          .bytes = rows.integer(row, 12),
          .scans = rows.integer(row, 13),
          .last_scan_ms = rows.optional_timestamp_ms(row, 14)};
}

std::string some_of(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kNamesShown); ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kNamesShown) text += " and " + std::to_string(names.size() - kNamesShown) + " more";
  return text;
}

void say_what_is_missing(Catalog& catalog, const std::string& role) {
  std::vector<std::string> unreadable, unanalysed;
  for (const Table& table : catalog.tables) {
    if (!table.indexable()) continue;
    const std::string name = db::quote_identifier(table.name.schema) + "." + db::quote_identifier(table.name.name);
    if (!table.readable) unreadable.push_back(name);
    const auto known = [](const Column& column) { return column.has_statistics; };
    if (table.readable && table.pages > 0 && std::ranges::none_of(table.columns, known)) unanalysed.push_back(name);
  }
  if (!unreadable.empty())
    catalog.missing.push_back("The role " + role + " may not read " + some_of(unreadable) +
                              ", so their statistics are not known: GRANT SELECT ON them TO " +
                              db::quote_identifier(role) + ", or GRANT pg_read_all_data TO it.");
  if (!unanalysed.empty())
    catalog.missing.push_back("There are no statistics of " + some_of(unanalysed) +
                              ": run ANALYZE on them (or row security hides them from the role " + role + ").");
  if (catalog.is_replica)
    catalog.missing.push_back("This server is a replica: how often indexes are used on the primary is not known here.");
}

}  // namespace

const Column* Table::column(std::string_view wanted) const {
  const auto found = std::ranges::find(columns, wanted, &Column::name);
  return found == columns.end() ? nullptr : &*found;
}

double Table::fraction(const Column& column, const std::optional<std::string>& value) const {
  if (!column.has_statistics) return 1;
  double rest = 1 - column.null_fraction;
  if (value) {
    double common = 0;
    const bool padded = column.type == "bpchar";  // char(n): blanks at the end are no part of the value
    const auto without_blanks = [&](const std::string& text) {
      return padded ? text.substr(0, text.find_last_not_of(' ') + 1) : text;
    };
    const std::string wanted = without_blanks(*value);
    for (const CommonValue& known : column.common) {
      if (without_blanks(known.text) == wanted) return known.frequency;
      common += known.frequency;
    }
    rest = std::max(0.0, rest - common);
    const double others = column.distinct - static_cast<double>(column.common.size());
    return std::min(1.0, rest / std::max(1.0, others));
  }
  return std::min(1.0, rest / std::max(1.0, column.distinct));
}

const Table* Catalog::table(int64_t oid) const {
  const auto found = std::ranges::lower_bound(tables, oid, {}, &Table::oid);
  return found == tables.end() || found->oid != oid ? nullptr : &*found;
}

const Table* Catalog::find(std::string_view schema, std::string_view name) const {
  const auto in = [&](std::string_view wanted) -> const Table* {
    const auto found = std::ranges::find_if(
        tables, [&](const Table& table) { return table.name.name == name && table.name.schema == wanted; });
    return found == tables.end() ? nullptr : &*found;
  };
  if (!schema.empty()) return in(schema);
  for (const std::string& searched : search_path)
    if (const Table* found = in(searched)) return found;
  return nullptr;
}

task<Catalog> read_catalog(db::Pool& pool) {
  auto body = [](db::Transaction& transaction) -> task<std::vector<Rows>> {
    std::vector<db::Query> queries{{kServer, {}},  {kTables, {}},      {kColumns, {}},
                                   {kIndexes, {}}, {kForeignKeys, {}}, {kFunctions, {}}};
    co_return co_await transaction.run_and_commit(std::move(queries));
  };
  const std::vector<Rows> read = co_await db::with_transaction(pool, db::Isolation::kRepeatableReadOnly, body);
  const Rows &server = read.at(0), &tables = read.at(1), &columns = read.at(2), &indexes = read.at(3),
             &foreign_keys = read.at(4), &functions = read.at(5);

  Catalog catalog{.version = static_cast<int>(server.integer(0, 0)),
                  .read_at_ms = server.timestamp_ms(0, 7),
                  .search_path = server.texts(0, 1),
                  .has_trigrams = server.boolean(0, 3),
                  .has_neighbour_codes = server.boolean(0, 8),
                  .statistics_since = server.optional_timestamp_ms(0, 4),
                  .replicas = server.integer(0, 5),
                  .is_replica = server.boolean(0, 6)};
  for (int row = 0; row < tables.size(); ++row) catalog.tables.push_back(read_table(tables, row));
  const auto owner = [&](int64_t oid) { return const_cast<Table*>(catalog.table(oid)); };
  for (int row = 0; row < columns.size(); ++row)
    if (Table* table = owner(columns.integer(row, 0))) table->columns.push_back(read_column(columns, row, table->rows));
  for (int row = 0; row < indexes.size(); ++row)
    if (Table* table = owner(indexes.integer(row, 1))) table->indexes.push_back(read_index(indexes, row, table->name));
  for (int row = 0; row < foreign_keys.size(); ++row)
    catalog.foreign_keys.push_back({.name = foreign_keys.text(row, 0),
                                    .table = foreign_keys.integer(row, 1),
                                    .columns = foreign_keys.texts(row, 2),
                                    .referenced = foreign_keys.integer(row, 3)});
  for (int row = 0; row < functions.size(); ++row) {
    Function& function = catalog.functions[functions.text(row, 0)];
    function.is_volatile |= functions.boolean(row, 1);
    function.aggregate |= functions.boolean(row, 2);
    function.returns_set |= functions.boolean(row, 3);
  }
  say_what_is_missing(catalog, server.text(0, 2));
  co_return catalog;
}

}  // namespace cairn::tuner
