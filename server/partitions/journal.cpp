#include "partitions/journal.h"

#include "base/error.h"

namespace cairn::partitions {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

constexpr const char* kFormat1 = "cairn partitions, format 1";  // without the table kept
constexpr const char* kFormat2 = "cairn partitions, format 2";

// Statements that were written down are run with the rights of whoever goes on: so they must be one's own, a
// superuser's or the database owner's.
constexpr Statement kExists{"partitions_journal", R"(
SELECT coalesce(obj_description(c.oid, 'pg_class'), ''), c.relowner::regrole::text,
       bool_and(o.oid = u.oid OR o.rolsuper OR o.oid = d.datdba)
FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'conversions'
JOIN pg_database d ON d.datname = current_database() JOIN pg_roles u ON u.rolname = current_user
JOIN pg_roles o ON o.oid IN (n.nspowner, c.relowner)
WHERE n.nspname = 'cairn_partitions' GROUP BY 1, 2)"};

// By is checked where it is read.
constexpr const char* kMake[] = {
    "CREATE SCHEMA IF NOT EXISTS cairn_partitions",
    R"(CREATE TABLE cairn_partitions.conversions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  table_oid bigint NOT NULL, table_schema text NOT NULL, table_name text NOT NULL,
  column_name text NOT NULL, divided_by text NOT NULL, step bigint NOT NULL, ahead bigint NOT NULL,
  keep_months bigint NOT NULL,
  signature text NOT NULL,
  state text NOT NULL CHECK (state IN ('created', 'capturing', 'copied', 'indexed', 'keyed', 'swapped', 'done', 'undoing',
                                       'undone')),
  last_key text[], max_key text[], copied bigint NOT NULL DEFAULT 0,
  after_swap text[] NOT NULL DEFAULT '{}', after_done bigint NOT NULL DEFAULT 0,
  key_tables text[] NOT NULL DEFAULT '{}',
  role text NOT NULL DEFAULT session_user,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(), finished_at timestamptz))",
    "CREATE UNIQUE INDEX conversions_under_way ON cairn_partitions.conversions (table_schema, table_name)"
    " WHERE state NOT IN ('done', 'undone')",
    R"(CREATE TABLE cairn_partitions.managed (
  table_schema text, table_name text, column_name text NOT NULL, column_type text NOT NULL, divided_by text NOT NULL,
  step bigint NOT NULL, ahead bigint NOT NULL, keep_months bigint NOT NULL, storage text NOT NULL,
  PRIMARY KEY (table_schema, table_name)))",
    R"(CREATE TABLE cairn_partitions.keys (
  table_schema text, table_name text, key_table text, columns text[] NOT NULL,
  PRIMARY KEY (table_schema, table_name, key_table),
  FOREIGN KEY (table_schema, table_name) REFERENCES cairn_partitions.managed ON UPDATE CASCADE ON DELETE CASCADE))",
    R"(CREATE TABLE cairn_partitions.detached (
  table_schema text, table_name text, partition text, bounds text NOT NULL, lower_bound text NOT NULL,
  upper_bound text NOT NULL,
  detached_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  archived_at timestamptz, archive text, rows bigint, sha256 text, restored_at timestamptz,
  PRIMARY KEY (table_schema, partition)))",
};

constexpr const char* kBringTo2[] = {
    R"(CREATE TABLE cairn_partitions.kept (
  conversion bigint PRIMARY KEY REFERENCES cairn_partitions.conversions, before text[] NOT NULL, after text[] NOT NULL,
  validations text[] NOT NULL, validated bigint NOT NULL DEFAULT 0, returned boolean NOT NULL DEFAULT false,
  signature text NOT NULL DEFAULT ''))",
    "COMMENT ON TABLE cairn_partitions.conversions IS 'cairn partitions, format 2'"};

// 0: there is none.
task<int> journal_format(Session& session) {
  const Rows rows = co_await session.query(kExists);
  if (rows.empty()) co_return 0;
  const std::string format = rows.text(0, 0);
  if (format != kFormat1 && format != kFormat2)
    throw Error(ErrorCode::kInvalidState, "cairn_partitions.conversions is not of this version (its comment is not '" +
                                              std::string(kFormat2) + "'): use the version that made it");
  if (!rows.boolean(0, 2))
    throw Error(ErrorCode::kPermissionDenied, "the journal cairn_partitions.conversions belongs to role " +
                                                  rows.text(0, 1) +
                                                  ", and its statements would be run with your rights: connect as "
                                                  "that role");
  co_return format == kFormat1 ? 1 : 2;
}

}  // namespace

task<bool> journal_exists(Session& session) { co_return co_await journal_format(session) > 0; }

task<> make_journal(Session& session) {
  const int format = co_await journal_format(session);
  if (format == 2) co_return;
  const Session::Body make = [&]() -> task<> {
    if (format == 0)
      for (const char* statement : kMake) co_await session.run(statement);
    for (const char* statement : kBringTo2) co_await session.run(statement);
  };
  co_await session.transaction(make);
}

constexpr Statement kConversions{"partitions_conversions", R"(
SELECT id, table_oid, table_schema, table_name, column_name, divided_by, step, ahead, keep_months, signature, state,
       coalesce(last_key, '{}'), coalesce(max_key, '{}'), copied, after_swap, after_done,
       to_char(started_at, 'YYYY-MM-DD HH24:MI:SS"Z"'), key_tables
FROM cairn_partitions.conversions ORDER BY id)"};

task<std::vector<Conversion>> conversions(Session& session) {
  const Rows rows = co_await session.query(kConversions);
  std::vector<Conversion> all;
  for (int i = 0; i < rows.size(); ++i) {
    Conversion one;
    one.id = rows.integer(i, 0);
    one.table_oid = rows.integer(i, 1);
    one.schema = rows.text(i, 2);
    one.table = rows.text(i, 3);
    one.options = {rows.text(i, 4), by_of(rows.text(i, 5)), rows.integer(i, 6), rows.integer(i, 7), rows.integer(i, 8)};
    one.signature = rows.text(i, 9);
    one.state = rows.text(i, 10);
    one.last_key = rows.texts(i, 11);
    one.max_key = rows.texts(i, 12);
    one.copied = rows.integer(i, 13);
    one.after_swap = rows.texts(i, 14);
    one.after_done = rows.integer(i, 15);
    one.started_at = rows.text(i, 16);
    one.key_tables = rows.texts(i, 17);
    all.push_back(std::move(one));
  }
  co_return all;
}

task<std::optional<Conversion>> conversion_of(Session& session, const std::string& schema, const std::string& table) {
  const std::vector<Conversion> all = co_await conversions(session);
  for (const Conversion& one : all) {
    if (one.is_under_way() && one.schema == schema && one.table == table) co_return one;
  }
  co_return std::nullopt;
}

constexpr Statement kMd5{"partitions_md5", "SELECT md5($1)"};

task<std::string> md5(Session& session, std::string text) {
  Params params = Params::of(text);
  const Rows rows = co_await session.query(kMd5, std::move(params));
  co_return rows.text(0, 0);
}

constexpr Statement kAdd{"partitions_add_conversion", R"(
INSERT INTO cairn_partitions.conversions
  (table_oid, table_schema, table_name, column_name, divided_by, step, ahead, keep_months, signature, state)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'created') RETURNING id)"};

task<> add_conversion(Session& session, Conversion& conversion, std::string signature) {
  const PlanOptions& o = conversion.options;
  conversion.signature = signature;
  conversion.state = "created";
  Params params = Params::of(conversion.table_oid, conversion.schema, conversion.table, o.column, by_name(o.by), o.step,
                             o.ahead, o.keep_months, signature);
  const Rows rows = co_await session.query(kAdd, std::move(params));
  conversion.id = rows.integer(0, 0);
}

constexpr Statement kSetState{"partitions_set_state", R"(
UPDATE cairn_partitions.conversions SET state = $2,
  finished_at = CASE WHEN $2 IN ('done', 'undone') THEN clock_timestamp() END WHERE id = $1)"};

task<> set_state(Session& session, Conversion& conversion, std::string state) {
  Params params = Params::of(conversion.id, state);
  co_await session.query(kSetState, std::move(params));
  conversion.state = state;
}

constexpr Statement kKept{"partitions_kept", R"(
SELECT before, after, validations, validated, returned, signature FROM cairn_partitions.kept WHERE conversion = $1)"};

task<std::optional<Kept>> kept_of(Session& session, const Conversion& conversion) {
  const int format = co_await journal_format(session);
  if (format < 2) co_return std::nullopt;
  Params params = Params::of(conversion.id);
  const Rows rows = co_await session.query(kKept, std::move(params));
  if (rows.empty()) co_return std::nullopt;
  co_return Kept{rows.texts(0, 0),   rows.texts(0, 1),   rows.texts(0, 2),
                 rows.integer(0, 3), rows.boolean(0, 4), rows.text(0, 5)};
}

constexpr Statement kSignature{"partitions_kept_signature", R"(
SELECT md5(concat_ws(E'\n',
  (SELECT concat_ws(' ', relowner, relacl) FROM pg_class WHERE oid = t.oid),
  (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attacl,
                               pg_get_expr(adbin, adrelid)), E'\n' ORDER BY attnum)
   FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
   WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped),
  (SELECT string_agg(pg_get_indexdef(indexrelid), E'\n' ORDER BY indexrelid) FROM pg_index WHERE indrelid = t.oid),
  (SELECT string_agg(concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)), E'\n' ORDER BY oid)
   FROM pg_constraint WHERE conparentid = 0 AND (conrelid = t.oid OR contype = 'f' AND confrelid IN
     (SELECT t.oid UNION SELECT to_regclass(k) FROM unnest($2::text[]) k))),
  (SELECT string_agg(concat_ws(' ', pg_get_triggerdef(oid), tgenabled), E'\n' ORDER BY tgname) FROM pg_trigger
   WHERE tgrelid = t.oid AND NOT tgisinternal)))
FROM (SELECT $1::text::regclass::oid) t (oid))"};

task<std::string> signature_of(Session& session, const Conversion& conversion) {
  Params params = Params::of(conversion.full_name(), conversion.key_tables);
  const Rows rows = co_await session.query(kSignature, std::move(params));
  co_return rows.text(0, 0);
}

constexpr Statement kManaged{"partitions_managed", R"(
SELECT table_schema, table_name, column_name, column_type, divided_by, step, ahead, keep_months, storage
FROM cairn_partitions.managed ORDER BY 1, 2)"};

task<std::vector<Managed>> managed_tables(Session& session) {
  const Rows rows = co_await session.query(kManaged);
  std::vector<Managed> all;
  for (int i = 0; i < rows.size(); ++i)
    all.push_back({rows.text(i, 0),
                   rows.text(i, 1),
                   {rows.text(i, 2), rows.text(i, 3), by_of(rows.text(i, 4)), rows.integer(i, 5), rows.integer(i, 6),
                    rows.integer(i, 7)},
                   rows.text(i, 8)});
  co_return all;
}

task<std::optional<Managed>> managed_table(Session& session, std::string table) {
  std::optional<Managed> found;
  const std::vector<Managed> all = co_await managed_tables(session);
  for (const Managed& one : all) {
    if (one.full_name() == table || one.schema + "." + one.table == table) co_return one;
    if (one.table != table) continue;
    if (found) throw invalid("there are two tables '" + table + "' that are looked after: name it with its schema");
    found = one;
  }
  co_return found;
}

constexpr Statement kKeys{"partitions_keys", R"(
SELECT format('%I.%I', table_schema, key_table), columns FROM cairn_partitions.keys
WHERE table_schema = $1 AND table_name = $2 ORDER BY key_table)"};

task<std::vector<ManagedKey>> keys_of(Session& session, const Managed& managed) {
  Params params = Params::of(managed.schema, managed.table);
  const Rows rows = co_await session.query(kKeys, std::move(params));
  std::vector<ManagedKey> keys;
  for (int i = 0; i < rows.size(); ++i) keys.push_back({rows.text(i, 0), rows.texts(i, 1)});
  co_return keys;
}

}  // namespace cairn::partitions
