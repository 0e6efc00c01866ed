#include "partitions/facts.h"

#include <fmt/format.h>

#include "base/error.h"

namespace cairn::partitions {

using db::Params;
using db::Rows;
using db::Statement;

std::string qualified(const std::string& schema, const std::string& name) {
  return db::quote_identifier(schema) + "." + db::quote_identifier(name);
}

std::string column_list(const std::vector<std::string>& columns, const std::string& prefix) {
  std::string text;
  for (const std::string& column : columns) text += (text.empty() ? "" : ", ") + prefix + db::quote_identifier(column);
  return text;
}

std::string fitted(const std::string& name, const std::string& suffix) {
  constexpr size_t kMost = 63;
  if (name.size() + suffix.size() <= kMost) return name + suffix;
  size_t end = kMost - suffix.size();
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;
  return name.substr(0, end) + suffix;
}

const Column* TableFacts::find(const std::string& column) const {
  for (const Column& known : columns) {
    if (known.name == column) return &known;
  }
  return nullptr;
}

std::string TableFacts::signature() const {
  std::string text = fmt::format("{} {} {}\n", oid, full_name(), storage);
  for (const Column& c : columns)
    text += fmt::format("{} {} {} {} {}\n", c.name, c.type, c.not_null, c.generated, c.identity);
  for (const Index& i : indexes) text += fmt::format("{} {} {}\n", i.name, i.unique, i.body);
  for (const IncomingKey& k : incoming) text += fmt::format("{} {} {}\n", k.name, k.table, k.actions);
  for (const OutgoingKey& k : outgoing) text += fmt::format("{} {}\n", k.name, k.definition);
  for (const std::string& other : others) text += other + "\n";
  return text;
}

namespace {

constexpr Statement kTable{"partitions_table", R"(
SELECT n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, pg_get_userbyid(c.relowner)::text,
       coalesce(' WITH (' || nullif(concat_ws(', ', array_to_string(c.reloptions, ', '),
         (SELECT string_agg('toast.' || o, ', ') FROM pg_class t, unnest(t.reloptions) o WHERE t.oid = c.reltoastrelid)), '')
         || ')', '') || coalesce((SELECT ' TABLESPACE ' || quote_ident(s.spcname) FROM pg_tablespace s
                                  WHERE s.oid = c.reltablespace), ''),
       c.relrowsecurity OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid),
       c.relispartition OR c.reloftype <> 0 OR EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)),
       pg_has_role(c.relowner, 'USAGE'), greatest(c.reltuples, 0)::float8, pg_total_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::int8)"};

constexpr Statement kColumns{"partitions_columns", R"(
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated <> '', a.attidentity <> '',
       coalesce(s.nspname, '')::text, coalesce(s.relname, '')::text
FROM pg_attribute a LEFT JOIN LATERAL (
  SELECT n.nspname, c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid
    AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i') LIMIT 1) s ON true
WHERE a.attrelid = $1::int8 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)"};

// pg_get_indexdef begins with the names, which are exchanged, up to USING. An INCLUDE column is no key.
constexpr Statement kIndexes{"partitions_indexes", R"(
SELECT i.indexrelid::int8, c.relname::text, i.indisunique, i.indisprimary, k.oid IS NOT NULL, i.indisexclusion, i.indisvalid,
       i.indpred IS NULL AND i.indexprs IS NULL AND i.indnatts = i.indnkeyatts
         AND coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) IS FALSE
         AND NOT EXISTS (SELECT FROM unnest(i.indclass::oid[]) o JOIN pg_opclass p ON p.oid = o AND NOT p.opcdefault),
       CASE WHEN k.condeferrable THEN ' DEFERRABLE' || CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END
            ELSE '' END,
       ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY u (n, place)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.n WHERE u.place <= i.indnkeyatts
             ORDER BY u.place),
       substr(pg_get_indexdef(i.indexrelid), 1 + length(format('CREATE %sINDEX %I ON %I.%I USING ',
         CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, c.relname, n.nspname, t.relname)))
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x') AND k.conrelid = i.indrelid
WHERE i.indrelid = $1::int8 ORDER BY i.indisprimary DESC, c.relname)"};

constexpr Statement kIncoming{"partitions_incoming", R"(
SELECT q.conname::text, format('%I.%I', n.nspname, c.relname), c.relkind::text, q.conrelid::int8 = $1::int8, q.cols, q.refs,
       replace(substr(pg_get_constraintdef(q.oid), 1 + length(format('FOREIGN KEY (%s) REFERENCES %s(%s)',
         (SELECT string_agg(quote_ident(x), ', ' ORDER BY o) FROM unnest(q.cols) WITH ORDINALITY u (x, o)), q.target,
         (SELECT string_agg(quote_ident(x), ', ' ORDER BY o) FROM unnest(q.refs) WITH ORDINALITY u (x, o))))),
         ' NOT VALID', ''), q.convalidated
FROM (SELECT k.oid, k.conname, k.conrelid, k.convalidated, (SELECT format('%I.%I', tn.nspname, t.relname) FROM pg_class t
               JOIN pg_namespace tn ON tn.oid = t.relnamespace WHERE t.oid = k.confrelid) AS target,
             ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u (n, o)
                   JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY o) AS cols,
             ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u (n, o)
                   JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY o) AS refs
      FROM pg_constraint k WHERE k.contype = 'f' AND k.confrelid = $1::int8 AND k.conparentid = 0) q
JOIN pg_class c ON c.oid = q.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY 2, 1)"};

constexpr Statement kOutgoing{"partitions_outgoing", R"(
SELECT k.conname::text, replace(pg_get_constraintdef(k.oid), ' NOT VALID', ''), format('%I.%I', n.nspname, c.relname),
       k.convalidated
FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conrelid = $1::int8 ORDER BY 1)"};

constexpr Statement kTriggers{"partitions_triggers", R"(
SELECT tgname::text, pg_get_triggerdef(oid), tgenabled::text,
       (tgtype & 1) = 1 AND (tgoldtable IS NOT NULL OR tgnewtable IS NOT NULL)
FROM pg_trigger WHERE tgrelid = $1::int8 AND NOT tgisinternal AND tgname NOT LIKE 'zz\_cairn\_%' ORDER BY tgname)"};

constexpr Statement kViews{"partitions_views", R"(
SELECT DISTINCT c.oid::int8, format('%I.%I', n.nspname, c.relname), c.relkind::text,
       coalesce(array_to_string(c.reloptions, ', '), '')
FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class c ON c.oid = r.ev_class
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::int8
  AND r.ev_class <> d.refobjid ORDER BY 2)"};

constexpr Statement kStatistics{"partitions_statistics",
                                "SELECT n.nspname::text, s.stxname::text, pg_get_statisticsobjdef(s.oid)"
                                " FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace"
                                " WHERE stxrelid = $1::int8 ORDER BY stxname"};

// Rules of its own, publications, functions whose body or signature names it, columns of its row type, views that are
// grouped by its primary key alone.
constexpr Statement kOthers{"partitions_others", R"(
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d
LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
WHERE (d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::int8 AND d.deptype IN ('n', 'a')
       AND d.classid NOT IN ('pg_attrdef'::regclass, 'pg_constraint'::regclass, 'pg_trigger'::regclass,
                             'pg_statistic_ext'::regclass)
       AND NOT (d.classid = 'pg_class'::regclass AND c.relkind IN ('i', 'S', 't'))
       AND NOT (d.classid = 'pg_rewrite'::regclass AND r.ev_class <> d.refobjid))
   OR (d.refclassid = 'pg_type'::regclass AND d.deptype = 'n' AND d.refobjid IN (
         SELECT t.oid FROM pg_type t WHERE t.typrelid = $1::int8
         UNION SELECT t.typarray FROM pg_type t WHERE t.typrelid = $1::int8))
   OR (d.refclassid = 'pg_constraint'::regclass AND d.classid = 'pg_rewrite'::regclass
       AND d.refobjid IN (SELECT oid FROM pg_constraint WHERE conrelid = $1::int8)) ORDER BY 1)"};

task<Rows> of(Session& session, Statement statement, int64_t oid) {
  Params params = Params::of(oid);
  co_return co_await session.query(statement, std::move(params));
}

task<> read_table(Session& session, TableFacts& facts) {
  const Rows rows = co_await of(session, kTable, facts.oid);
  facts.schema = rows.text(0, 0);
  facts.name = rows.text(0, 1);
  facts.kind = rows.text(0, 2);
  facts.persistence = rows.text(0, 3);
  facts.owner = rows.text(0, 4);
  facts.storage = rows.text(0, 5);
  facts.row_security = rows.boolean(0, 6);
  facts.inherits = rows.boolean(0, 7);
  facts.may_alter = rows.boolean(0, 8);
  facts.rows = rows.number(0, 9);
  facts.bytes = rows.integer(0, 10);
}

task<> read_columns(Session& session, TableFacts& facts) {
  const Rows columns = co_await of(session, kColumns, facts.oid);
  for (int i = 0; i < columns.size(); ++i)
    facts.columns.push_back({columns.text(i, 0), columns.text(i, 1), columns.boolean(i, 2), columns.boolean(i, 3),
                             columns.boolean(i, 4), columns.text(i, 5), columns.text(i, 6)});
  const Rows indexes = co_await of(session, kIndexes, facts.oid);
  for (int i = 0; i < indexes.size(); ++i)
    facts.indexes.push_back({indexes.integer(i, 0), indexes.text(i, 1), indexes.boolean(i, 2), indexes.boolean(i, 3),
                             indexes.boolean(i, 4), indexes.boolean(i, 5), indexes.boolean(i, 6), indexes.boolean(i, 7),
                             indexes.text(i, 8), indexes.texts(i, 9), indexes.text(i, 10)});
}

task<> read_keys(Session& session, TableFacts& facts) {
  const Rows incoming = co_await of(session, kIncoming, facts.oid);
  for (int i = 0; i < incoming.size(); ++i)
    facts.incoming.push_back({incoming.text(i, 0), incoming.text(i, 1), incoming.text(i, 2), incoming.boolean(i, 3),
                              incoming.texts(i, 4), incoming.texts(i, 5), incoming.text(i, 6), incoming.boolean(i, 7)});
  const Rows outgoing = co_await of(session, kOutgoing, facts.oid);
  for (int i = 0; i < outgoing.size(); ++i)
    facts.outgoing.push_back({outgoing.text(i, 0), outgoing.text(i, 1), outgoing.text(i, 2), outgoing.boolean(i, 3)});
}

}  // namespace

task<TableFacts> read_facts(Session& session, int64_t oid) {
  TableFacts facts;
  facts.oid = oid;
  co_await read_table(session, facts);
  co_await read_columns(session, facts);
  co_await read_keys(session, facts);
  const Rows triggers = co_await of(session, kTriggers, oid);
  for (int i = 0; i < triggers.size(); ++i)
    facts.triggers.push_back({triggers.text(i, 0), triggers.text(i, 1), triggers.text(i, 2), triggers.boolean(i, 3)});
  const Rows views = co_await of(session, kViews, oid);
  for (int i = 0; i < views.size(); ++i)
    facts.views.push_back({views.integer(i, 0), views.text(i, 1), views.text(i, 2), views.text(i, 3)});
  const Rows statistics = co_await of(session, kStatistics, oid);
  for (int i = 0; i < statistics.size(); ++i)
    facts.statistics.push_back({statistics.text(i, 0), statistics.text(i, 1), statistics.text(i, 2)});
  const Rows others = co_await of(session, kOthers, oid);
  for (int i = 0; i < others.size(); ++i) facts.others.push_back(others.text(i, 0));
  co_return facts;
}

}  // namespace cairn::partitions
