// Figures of single tables and indexes: of the largest ones, so that a database with a hundred thousand costs no more
// than one with a thousand. No function here opens a relation that somebody may hold an exclusive lock on: a scrape
// that waited for it would be blind exactly when one looks.
#include <fmt/format.h>

#include "monitor/collectors.h"

namespace cairn::monitor {
namespace {

using namespace std::chrono_literals;

constexpr int kMostTables = 500;
constexpr int kMostIndexes = 1000;
constexpr int kMostBloat = 50;
constexpr int kMeasured = 100;

// Relations of users by kind, the largest first; relpages is of the last VACUUM or ANALYZE.
std::string largest(const char* kinds, int most) {
  return fmt::format(
      "(SELECT c.oid, c.relname, n.nspname, c.relpages, c.reltuples, c.reltoastrelid FROM pg_class c JOIN pg_namespace "
      "n ON"
      " n.oid = c.relnamespace WHERE c.relkind IN ({}) AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog',"
      " 'information_schema', 'pg_toast') ORDER BY c.relpages DESC, c.oid LIMIT {})",
      kinds, most);
}

constexpr const char* kLocked =
    "WITH locked AS MATERIALIZED (SELECT relation FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation IS NOT "
    "NULL"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) ";

// The view pg_stat_user_tables would count for every table; its functions are asked for the largest alone. What is a
// numeric by nature (a sum of bigint, extract) is asked for as float8: that conversion would be the larger part.
Collector user_tables() {
  Collector collector{
      "stat_user_tables",
      "SELECT ARRAY[current_database(), t.nspname, t.relname], ARRAY[pg_stat_get_numscans(t.oid),"
      " pg_stat_get_tuples_returned(t.oid), i.scans, i.fetched + pg_stat_get_tuples_fetched(t.oid),"
      " pg_stat_get_tuples_inserted(t.oid), pg_stat_get_tuples_updated(t.oid), pg_stat_get_tuples_deleted(t.oid),"
      " pg_stat_get_tuples_hot_updated(t.oid), pg_stat_get_live_tuples(t.oid), pg_stat_get_dead_tuples(t.oid),"
      " pg_stat_get_mod_since_analyze(t.oid), coalesce(date_part('epoch', pg_stat_get_last_vacuum_time(t.oid)), 0),"
      " coalesce(date_part('epoch', pg_stat_get_last_autovacuum_time(t.oid)), 0),"
      " coalesce(date_part('epoch', pg_stat_get_last_analyze_time(t.oid)), 0),"
      " coalesce(date_part('epoch', pg_stat_get_last_autoanalyze_time(t.oid)), 0), pg_stat_get_vacuum_count(t.oid),"
      " pg_stat_get_autovacuum_count(t.oid), pg_stat_get_analyze_count(t.oid), pg_stat_get_autoanalyze_count(t.oid),"
      " pg_stat_get_blocks_fetched(t.oid) - pg_stat_get_blocks_hit(t.oid), pg_stat_get_blocks_hit(t.oid), i.read, "
      "i.hit,"
      " pg_stat_get_blocks_fetched(t.reltoastrelid) - pg_stat_get_blocks_hit(t.reltoastrelid),"
      " pg_stat_get_blocks_hit(t.reltoastrelid)]::float8[] FROM " +
          largest("'r', 'm'", kMostTables) +
          " t LEFT JOIN LATERAL (SELECT sum(pg_stat_get_numscans(indexrelid)::float8) AS scans,"
          " coalesce(sum(pg_stat_get_tuples_fetched(indexrelid)::float8), 0) AS fetched, "
          "sum((pg_stat_get_blocks_fetched(indexrelid) -"
          " pg_stat_get_blocks_hit(indexrelid))::float8) AS read, sum(pg_stat_get_blocks_hit(indexrelid)::float8) AS "
          "hit FROM pg_index"
          " WHERE indrelid = t.oid) i ON true",
      {"datname", "schemaname", "relname"},
      {{"pg_stat_user_tables_seq_scan", "counter", "Sequential scans."},
       {"pg_stat_user_tables_seq_tup_read", "counter", "Rows that they read."},
       {"pg_stat_user_tables_idx_scan", "counter", "Index scans."},
       {"pg_stat_user_tables_idx_tup_fetch", "counter", "Rows that they fetched."},
       {"pg_stat_user_tables_n_tup_ins", "counter", "Rows inserted."},
       {"pg_stat_user_tables_n_tup_upd", "counter", "Rows updated."},
       {"pg_stat_user_tables_n_tup_del", "counter", "Rows deleted."},
       {"pg_stat_user_tables_n_tup_hot_upd", "counter", "Rows updated without touching an index."},
       {"pg_stat_user_tables_n_live_tup", "gauge", "Rows, estimated."},
       {"pg_stat_user_tables_n_dead_tup", "gauge", "Dead rows, estimated."},
       {"pg_stat_user_tables_n_mod_since_analyze", "gauge", "Rows changed since ANALYZE."},
       {"pg_stat_user_tables_last_vacuum", "gauge", "When VACUUM ran; 0: never."},
       {"pg_stat_user_tables_last_autovacuum", "gauge", "When autovacuum ran; 0: never."},
       {"pg_stat_user_tables_last_analyze", "gauge", "When ANALYZE ran; 0: never."},
       {"pg_stat_user_tables_last_autoanalyze", "gauge", "When autovacuum ran ANALYZE; 0: never."},
       {"pg_stat_user_tables_vacuum_count", "counter", "Runs of VACUUM."},
       {"pg_stat_user_tables_autovacuum_count", "counter", "Runs of autovacuum."},
       {"pg_stat_user_tables_analyze_count", "counter", "Runs of ANALYZE."},
       {"pg_stat_user_tables_autoanalyze_count", "counter", "Runs of autovacuum's ANALYZE."},
       {"pg_statio_user_tables_heap_blocks_read", "counter", "Blocks of the table read."},
       {"pg_statio_user_tables_heap_blocks_hit", "counter", "Blocks of it found in the shared buffers."},
       {"pg_statio_user_tables_idx_blocks_read", "counter", "Blocks of its indexes read."},
       {"pg_statio_user_tables_idx_blocks_hit", "counter", "Blocks of them found."},
       {"pg_statio_user_tables_toast_blocks_read", "counter", "Blocks of its TOAST table read."},
       {"pg_statio_user_tables_toast_blocks_hit", "counter", "Blocks of it found."}}};
  return collector;
}

// Measured where it matters: of the largest, and of those that ANALYZE has not seen. Asking the file system for all
// would cost more than all the rest. A relation that is locked exclusively is left alone, too.
Collector table_sizes() {
  return {
      "table_sizes",
      fmt::format(
          "{}SELECT ARRAY[nspname || '.' || relname, current_database(), nspname, relname], ARRAY[size, size, size] "
          "FROM"
          " (SELECT t.nspname, t.relname, CASE WHEN place <= {} AND t.oid NOT IN (SELECT relation FROM locked) AND"
          " t.reltoastrelid NOT IN (SELECT relation FROM locked) AND NOT coalesce(i.locked, false) THEN"
          " pg_total_relation_size(t.oid) ELSE (t.relpages + coalesce(toast.relpages, 0) + coalesce(i.pages, 0)) *"
          " current_setting('block_size')::float8 END AS size FROM (SELECT *, row_number() OVER (PARTITION BY "
          "reltuples < 0"
          " ORDER BY relpages DESC, oid DESC) AS place FROM {} c) t LEFT JOIN pg_class toast ON toast.oid ="
          " t.reltoastrelid LEFT JOIN (SELECT i.indrelid, sum(c.relpages) AS pages, bool_or(i.indexrelid IN (SELECT"
          " relation FROM locked)) AS locked FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid GROUP BY 1) i ON"
          " i.indrelid = t.oid) x",
          kLocked, kMeasured, largest("'r', 'm'", kMostTables)),
      {"table_name", "datname", "schemaname", "relname"},
      {{"pg_table_sizes", "gauge", "A table's size with its indexes.", 0, 1},
       {"pg_table_sizes_bytes", "gauge", "The same.", 0, 1},
       {"pg_stat_user_tables_size_bytes", "gauge", "The same.", 1}},
      60s};
}

// Invalid ones first: there are few, and they are what is looked for.
Collector indexes() {
  return {"index_usage",
          fmt::format(
              "{}SELECT ARRAY[nspname || '.' || relname, current_database(), nspname, tablename, relname], "
              "ARRAY[scans, scans,"
              " size, size, scans, CASE WHEN NOT indisvalid THEN 1 END] FROM (SELECT i.*, t.relname AS tablename,"
              " pg_stat_get_numscans(indexrelid)::float8 AS scans, CASE WHEN place <= {} AND indexrelid NOT IN (SELECT "
              "relation"
              " FROM locked) THEN pg_relation_size(indexrelid) ELSE i.relpages * current_setting('block_size')::float8 "
              "END AS"
              " size FROM (SELECT i.indexrelid, i.indrelid, i.indisvalid, c.relname, n.nspname, c.relpages, "
              "row_number() OVER"
              " w AS place FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid ="
              " c.relnamespace WHERE c.relkind = 'i' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog',"
              " 'information_schema', 'pg_toast') WINDOW w AS (ORDER BY i.indisvalid, c.relpages DESC, c.oid) ORDER BY "
              "place"
              " LIMIT {}) i JOIN pg_class t ON t.oid = i.indrelid) x",
              kLocked, kMeasured, kMostIndexes),
          {"index_name", "datname", "schemaname", "relname", "indexrelname"},
          {{"pg_index_usage", "counter", "Scans of an index.", 0, 1},
           {"pg_index_usage_scans", "counter", "The same.", 0, 1},
           {"pg_index_usage_bytes", "gauge", "Its size.", 0, 1},
           {"pg_general_index_info_pg_relation_size", "gauge", "Its size.", 1},
           {"pg_general_index_info_idx_scan", "counter", "Its scans.", 1},
           {"pg_index_invalid", "gauge", "1 for an index that a build left unfinished.", 1}},
          60s};
}

// Rows as ANALYZE saw them, packed; what the table has beyond that is bloat. 28 bytes are a row's head and pointer.
Collector table_bloat() {
  return {"bloat_table",
          fmt::format(
              "SELECT ARRAY[current_database(), nspname, relname], ARRAY[pages * bs, extra * bs, 100 * extra / "
              "pages]::float8[]"
              " FROM (SELECT t.*, t.relpages::float8 AS pages, current_setting('block_size')::float8 AS bs, greatest(0,"
              " t.relpages - ceil(t.reltuples * (28 + ceil(w.width / 8) * 8) / (current_setting('block_size')::float8 "
              "- 24)))"
              " AS extra FROM {} t CROSS JOIN LATERAL (SELECT sum((1 - null_frac) * avg_width)::float8 AS width FROM "
              "pg_stats"
              " WHERE schemaname = t.nspname AND tablename = t.relname AND NOT inherited) w WHERE t.relpages > 128 AND"
              " t.reltuples >= 0 AND w.width IS NOT NULL) b",
              largest("'r', 'm'", kMostBloat)),
          {"datname", "schemaname", "relname"},
          {{"pg_bloat_table_real_size", "gauge", "A table's size without its indexes."},
           {"pg_bloat_table_bloat_size", "gauge", "How much of it rows do not need, estimated."},
           {"pg_bloat_table_bloat_pct", "gauge", "The same in percent."}},
          600s};
}

// An entry of a B-tree: 12 bytes and the keys; pages are filled to nine tenths. Equal keys are stored once, so this
// finds too little rather than too much.
Collector index_bloat() {
  return {
      "bloat_btree",
      fmt::format(
          "SELECT ARRAY[current_database(), nspname, tablename, relname], ARRAY[pages * bs, extra * bs, 100 * extra /"
          " pages]::float8[] FROM (SELECT t.*, p.relname AS tablename, t.relpages::float8 AS pages,"
          " current_setting('block_size')::float8 AS bs, greatest(0, t.relpages - 1 - ceil(t.reltuples * (12 +"
          " ceil(w.width / 8) * 8) / (current_setting('block_size')::float8 * 0.9))) AS extra FROM {} t JOIN pg_index "
          "i ON"
          " i.indexrelid = t.oid JOIN pg_class p ON p.oid = i.indrelid CROSS JOIN LATERAL (SELECT sum((1 - "
          "s.null_frac) *"
          " s.avg_width)::float8 AS width, count(*) AS n FROM pg_attribute a JOIN pg_stats s ON s.schemaname ="
          " t.nspname AND s.tablename = p.relname AND s.attname = a.attname AND NOT s.inherited WHERE a.attrelid ="
          " i.indrelid AND a.attnum = ANY (i.indkey)) w WHERE t.relpages > 128 AND t.reltuples >= 0 AND w.n = "
          "i.indnatts"
          " AND (SELECT am.amname FROM pg_class c JOIN pg_am am ON am.oid = c.relam WHERE c.oid = t.oid) = 'btree') b",
          largest("'i'", kMostBloat)),
      {"datname", "schemaname", "tblname", "idxname"},
      {{"pg_bloat_btree_real_size", "gauge", "An index's size."},
       {"pg_bloat_btree_bloat_size", "gauge", "How much of it its entries do not need, estimated."},
       {"pg_bloat_btree_bloat_pct", "gauge", "The same in percent."}},
      600s};
}

}  // namespace

std::vector<Collector> table_collectors() {
  return {user_tables(), table_sizes(), indexes(), table_bloat(), index_bloat()};
}

}  // namespace cairn::monitor
