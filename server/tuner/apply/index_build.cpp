#include "tuner/apply/index_build.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/table.h"

namespace cairn::tuner {
namespace {

using db::Params;
using db::Query;
using db::Rows;
using db::Statement;

// Nothing that is done under a strong lock takes longer.
constexpr std::chrono::milliseconds kMoment{1000};
constexpr size_t kNameBytesMax = 63;
constexpr const char* kDenied = "42501";

std::string qualified(const TableName& table) {
  return db::quote_identifier(table.schema) + "." + db::quote_identifier(table.name);
}

std::string qualified_index(const IndexPart& part) {
  return db::quote_identifier(part.table.schema) + "." + db::quote_identifier(part.name);
}

// For people.
std::string shown(const IndexPart& part) { return on_one_line(part.table.schema + "." + part.name); }

std::string on_only(const IndexDefinition& definition, const std::string& name) {
  const std::string statement = create_statement(definition, name, false);
  const std::string head =
      (definition.unique ? "CREATE UNIQUE INDEX " : "CREATE INDEX ") + db::quote_identifier(name) + " ON ";
  return head + "ONLY " + statement.substr(head.size());
}

// `name` with a number behind it, still a name.
std::string numbered(const std::string& name, int number) {
  const std::string suffix = "_" + std::to_string(number);
  size_t end = std::min(name.size(), kNameBytesMax - suffix.size());
  while (end > 0 && end < name.size() && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;
  return name.substr(0, end) + suffix;
}

}  // namespace

constexpr Statement kFind{"tune_find_index", R"(/* cairn tune */
SELECT c.oid::int8, c.relkind::text, coalesce(n.nspname::text, ''), coalesce(t.relname::text, ''),
       coalesce(t.oid, 0)::int8, coalesce(i.indisvalid AND i.indisready AND i.indislive, false),
       c.relispartition, CASE WHEN i.indexrelid IS NULL THEN '' ELSE pg_get_indexdef(c.oid) END
FROM pg_class c JOIN pg_namespace cn ON cn.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class t ON t.oid = i.indrelid
LEFT JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE cn.nspname = $1 AND c.relname = $2)"};

task<std::optional<IndexFound>> find_index(ApplySession& session, std::string schema, std::string name) {
  Params params = Params::of(schema, name);
  const Rows rows = co_await session.look(kFind, std::move(params));
  if (rows.empty()) co_return std::nullopt;
  const std::string kind = rows.text(0, 1);
  IndexFound found{.oid = rows.integer(0, 0),
                   .is_index = kind == "i" || kind == "I",
                   .table = {rows.text(0, 2), rows.text(0, 3)},
                   .table_oid = rows.integer(0, 4),
                   .partitioned = kind == "I",
                   .valid = rows.boolean(0, 5),
                   .attached = rows.boolean(0, 6),
                   .definition = rows.text(0, 7)};
  co_return found;
}

// Parents before their partitions; a plain table is alone.
constexpr Statement kTree{"tune_table_tree", R"(/* cairn tune */
WITH RECURSIVE tree AS (
  SELECT c.oid, 0::oid AS parent, 0 AS level FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = $1 AND c.relname = $2
  UNION ALL
  SELECT i.inhrelid, i.inhparent, tree.level + 1 FROM tree JOIN pg_class p ON p.oid = tree.oid AND p.relkind = 'p'
  JOIN pg_inherits i ON i.inhparent = tree.oid)
SELECT tree.oid::int8, tree.parent::int8, n.nspname::text, c.relname::text, c.relkind::text
FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY tree.level, n.nspname, c.relname)"};

constexpr Statement kTaken{"tune_name_taken", R"(/* cairn tune */
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = $1 AND c.relname = $2))"};

namespace {

// A name that nothing in the schema has, nor another part of the same index.
task<std::string> free_name(ApplySession& session, const IndexDefinition& definition, std::set<TableName>& planned) {
  const std::string wanted = index_name(definition);
  std::string name = wanted;
  for (int number = 2;; ++number) {
    Params params = Params::of(definition.table.schema, name);
    const Rows taken = co_await session.look(kTaken, std::move(params));
    if (!taken.boolean(0, 0) && planned.insert({definition.table.schema, name}).second) co_return name;
    name = numbered(wanted, number);
  }
}

}  // namespace

task<std::vector<IndexPart>> plan_index(ApplySession& session, const IndexDefinition& definition,
                                        const std::string& name) {
  Params params = Params::of(definition.table.schema, definition.table.name);
  const Rows tree = co_await session.look(kTree, std::move(params));
  if (tree.empty())
    throw not_found("there is no table " + on_one_line(definition.table.schema + "." + definition.table.name) +
                    " any more");
  std::vector<IndexPart> parts;
  std::map<int64_t, int64_t> positions;
  std::set<TableName> planned{{definition.table.schema, name}};
  for (int i = 0; i < tree.size(); ++i) {
    const std::string kind = tree.text(i, 4);
    IndexDefinition own = definition;
    own.table = {tree.text(i, 2), tree.text(i, 3)};
    if (kind != "r" && kind != "p" && kind != "m")
      throw invalid(on_one_line(own.table.schema + "." + own.table.name) +
                    " is neither a table nor a materialized view: PostgreSQL makes no index on it" +
                    (i == 0 ? "" : ", and so none on the whole of the partitioned table"));
    std::string own_name = name;
    if (i > 0) own_name = co_await free_name(session, own, planned);
    const bool leaf = kind != "p";
    positions[tree.integer(i, 0)] = i;
    parts.push_back({.table = own.table,
                     .name = own_name,
                     .statement = leaf ? create_statement(own, own_name, true) : on_only(own, own_name),
                     .parent = i == 0 ? -1 : positions.at(tree.integer(i, 1)),
                     .leaf = leaf});
  }
  co_return parts;
}

// Indexes are compared as PostgreSQL understands them: the wanted one is made on an empty copy of the table.
constexpr Statement kEqual{"tune_equal_index", R"(/* cairn tune */
WITH signature AS (
  SELECT i.indrelid, c.relname, ROW(c.relam, c.reloptions, i.indisunique, i.indnkeyatts, i.indoption::text,
         i.indclass::text, i.indcollation::text, pg_get_expr(i.indpred, i.indrelid),
         to_jsonb(i) ->> 'indnullsnotdistinct',
         ARRAY(SELECT pg_get_indexdef(i.indexrelid, n, false) FROM generate_series(1, i.indnatts) n))::text AS text
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  WHERE (i.indisvalid AND i.indrelid = (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                        WHERE n.nspname = $1 AND c.relname = $2))
     OR i.indrelid = 'pg_temp.cairn_tune_copy'::regclass)
SELECT s.relname::text FROM signature s JOIN signature wanted ON wanted.text = s.text
WHERE wanted.indrelid = 'pg_temp.cairn_tune_copy'::regclass AND s.indrelid <> wanted.indrelid ORDER BY 1 LIMIT 1)"};

task<std::string> find_equal_index(ApplySession& session, const IndexDefinition& definition) {
  IndexDefinition copy = definition;
  copy.table = {"pg_temp", "cairn_tune_copy"};
  const std::string table = "/* cairn tune */ CREATE TEMPORARY TABLE cairn_tune_copy (LIKE " +
                            qualified(definition.table) + ") ON COMMIT DROP";
  const std::string index = "/* cairn tune */ " + create_statement(copy, std::nullopt, false);
  std::vector<Query> queries;
  queries.push_back({{"", table}, {}});
  queries.push_back({{"", index}, {}});
  queries.push_back({{"", kEqual.sql}, Params::of(definition.table.schema, definition.table.name)});
  std::vector<Rows> results;
  try {
    results = co_await session.try_out(std::move(queries));
  } catch (const db::DbError& error) {
    // Who may make no temporary table learns of an equal index by its name only.
    if (error.sqlstate() != kDenied) throw;
    co_return "";
  }
  co_return results.back().empty() ? "" : results.back().text(0, 0);
}

constexpr Statement kTableOid{"tune_table_oid", R"(/* cairn tune */
SELECT c.oid::int8 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2)"};

namespace {

Error taken(const IndexPart& part) {
  return Error(ErrorCode::kResourceConflict,
               "there is something else of the name " + shown(part) +
                   ": rename or drop it, or give the change another name in the advice's file");
}

task<> drop_part(ApplySession& session, const IndexPart& part, const IndexFound& found) {
  if (found.partitioned) {
    // Takes the parts with it that are attached. Needs a strong lock on all the tables, for a moment.
    co_await session.run_brief("DROP INDEX IF EXISTS " + qualified_index(part), kMoment);
    co_return;
  }
  co_await session.wait_for_transactions(found.table_oid);
  co_await session.run_long("DROP INDEX CONCURRENTLY IF EXISTS " + qualified_index(part));
}

constexpr const char* kDuplicate = "42P07";

task<> make_part(ApplySession& session, const IndexPart& part, bool ours, std::vector<IndexPart>& begun) {
  auto found = co_await find_index(session, part);
  if (found) {
    if (!ours || !found->is_index || found->table != part.table || found->partitioned == part.leaf) throw taken(part);
    begun.push_back(part);
    if (found->valid || found->partitioned || found->attached) co_return;
    session.say("dropping what a killed build left of " + shown(part));
    co_await drop_part(session, part, *found);
  }
  Params params = Params::of(part.table.schema, part.table.name);
  const Rows table = co_await session.look(kTableOid, std::move(params));
  if (table.empty() && part.parent >= 0) co_return;  // a partition that is gone since
  if (table.empty()) throw not_found("there is no table " + on_one_line(part.table.schema + "." + part.table.name));
  if (part.leaf) co_await session.wait_for_transactions(table.integer(0, 0));
  begun.push_back(part);
  try {
    if (part.leaf)
      co_await session.run_long(part.statement);
    else
      co_await session.run_brief(part.statement, kMoment);
  } catch (const db::DbError& error) {
    if (error.sqlstate() != kDuplicate) throw;
    begun.pop_back();
    throw taken(part);
  }
}

}  // namespace

constexpr Statement kAttachable{"tune_attachable", R"(/* cairn tune */
SELECT EXISTS (SELECT FROM pg_inherits t JOIN pg_index pi ON pi.indrelid = t.inhparent
               WHERE t.inhrelid = i.indrelid AND pi.indexrelid::int8 = $2)
FROM pg_index i WHERE i.indexrelid::int8 = $1)"};

namespace {

task<> attach_part(ApplySession& session, const std::vector<IndexPart>& parts, const IndexPart& part) {
  const IndexPart& parent = parts.at(static_cast<size_t>(part.parent));
  const auto found = co_await find_index(session, part);
  const auto above = co_await find_index(session, parent);
  if (!found || found->attached || !above) co_return;
  Params params = Params::of(found->oid, above->oid);
  const Rows rows = co_await session.look(kAttachable, std::move(params));
  if (rows.empty() || !rows.boolean(0, 0)) {
    // The partition was detached since: its index has no use any more.
    co_await drop_part(session, part, *found);
    co_return;
  }
  co_await session.run_brief("ALTER INDEX " + qualified_index(parent) + " ATTACH PARTITION " + qualified_index(part),
                             kMoment);
}

}  // namespace

task<> make_index(ApplySession& session, const std::vector<IndexPart>& parts, bool ours,
                  std::vector<IndexPart>& begun) {
  for (const IndexPart& part : parts) co_await make_part(session, part, ours, begun);
  for (size_t i = parts.size(); i-- > 1;) co_await attach_part(session, parts, parts[i]);
  const auto made = co_await find_index(session, parts.front());
  if (made && made->valid) co_return;
  throw Error(ErrorCode::kInvalidState, "the index " + shown(parts.front()) +
                                            (made ? " is not valid: a partition was added meanwhile, without an index"
                                                  : " was dropped meanwhile") +
                                            "; run `cairn tune apply` again");
}

task<> drop_index(ApplySession& session, const std::vector<IndexPart>& parts) {
  for (const IndexPart& part : parts) {
    const auto found = co_await find_index(session, part);
    // With the one that it is attached to it goes, or went.
    if (!found || !found->is_index || found->table != part.table || (found->attached && part.parent >= 0)) continue;
    co_await drop_part(session, part, *found);
  }
}

}  // namespace cairn::tuner
