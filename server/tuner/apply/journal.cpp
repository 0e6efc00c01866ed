#include "tuner/apply/journal.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "base/json.h"

namespace cairn::tuner {
namespace {

using db::Params;
using db::Query;
using db::Rows;
using db::Statement;

constexpr const char* kDenied = "42501";
constexpr const char* kFormat = "cairn tune journal, format 1";

constexpr std::pair<ChangeState, std::string_view> kStates[] = {
    {ChangeState::kPlanned, "planned"}, {ChangeState::kApplying, "applying"}, {ChangeState::kApplied, "applied"},
    {ChangeState::kFailed, "failed"},   {ChangeState::kVerified, "verified"}, {ChangeState::kUndoing, "undoing"},
    {ChangeState::kUndone, "undone"},   {ChangeState::kReverted, "reverted"}};

ChangeState state_of(const std::string& name) {
  for (const auto& [state, known] : kStates) {
    if (known == name) return state;
  }
  throw Error(ErrorCode::kInvalidState, "the journal cairn_tune.journal holds the state '" + name +
                                            "', which this version does not know: use the version that wrote it");
}

}  // namespace

std::string_view state_name(ChangeState state) {
  const auto* found =
      std::find_if(std::begin(kStates), std::end(kStates), [&](const auto& known) { return known.first == state; });
  return found->second;
}

std::string to_json(const std::vector<IndexPart>& parts) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.key("parts");
  writer.begin_array();
  for (const IndexPart& part : parts) {
    writer.begin_object();
    writer.field("schema", part.table.schema);
    writer.field("table", part.table.name);
    writer.field("name", part.name);
    writer.field("statement", part.statement);
    writer.field("parent", part.parent);
    writer.field("leaf", part.leaf);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  return text;
}

std::vector<IndexPart> parts_from_json(const std::string& text) {
  const json::Document document(text);
  std::vector<IndexPart> parts;
  for (const json::Fields& fields : json::root_fields(document).objects("parts")) {
    parts.push_back({.table = {fields.required_string("schema"), fields.required_string("table")},
                     .name = fields.required_string("name"),
                     .statement = fields.required_string("statement"),
                     .parent = fields.required_integer("parent"),
                     .leaf = fields.boolean("leaf").value_or(true)});
    if (parts.back().parent >= static_cast<int64_t>(parts.size()) - 1)
      throw invalid("the journal holds an index that is attached to itself: " + parts.back().name);
  }
  return parts;
}

constexpr Statement kRole{"tune_journal_role", R"(/* cairn tune */
SELECT quote_ident(current_user), quote_ident(current_database()))"};

// What is refused for a missing right gets the GRANT that gives it.
task<Rows> Journal::run(Statement statement, Params params) {
  std::vector<Query> queries{{statement, std::move(params)}};
  std::vector<Rows> results = co_await run(std::move(queries));
  co_return std::move(results[0]);
}

task<std::vector<Rows>> Journal::run(std::vector<Query> queries) {
  std::optional<db::DbError> denied;
  try {
    co_return co_await session_.record(std::move(queries));
  } catch (const db::DbError& error) {
    if (error.sqlstate() != kDenied) throw;
    denied = error;
  }
  const Rows role = co_await session_.look(kRole);
  const std::string name = role.text(0, 0);
  throw Error(ErrorCode::kPermissionDenied,
              std::string("the tuner's journal, schema cairn_tune: ") + denied->what() +
                  "; its owner may allow it: " + "GRANT USAGE ON SCHEMA cairn_tune TO " + name +
                  "; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA cairn_tune TO " + name);
}

constexpr Statement kExists{"tune_journal_exists", R"(/* cairn tune */
SELECT obj_description(c.oid, 'pg_class') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'cairn_tune' AND c.relname = 'journal')"};

task<bool> Journal::exists() {
  const Rows rows = co_await session_.look(kExists);
  if (rows.empty()) co_return false;
  if (rows.optional_text(0, 0) != kFormat)
    throw Error(ErrorCode::kInvalidState, "cairn_tune.journal is no journal of this version (its comment is not '" +
                                              std::string(kFormat) + "'): use the version that made it");
  co_return true;
}

constexpr Statement kSchema{"tune_journal_schema", "/* cairn tune */ CREATE SCHEMA IF NOT EXISTS cairn_tune"};
constexpr Statement kApplies{"tune_journal_applies", R"(/* cairn tune */
CREATE TABLE IF NOT EXISTS cairn_tune.applies (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  advice text NOT NULL,
  role text NOT NULL DEFAULT session_user,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  reading_before text NOT NULL,
  reading_after text NOT NULL DEFAULT ''))"};
constexpr Statement kJournal{"tune_journal_table", R"(/* cairn tune */
CREATE TABLE cairn_tune.journal (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  apply_id bigint NOT NULL REFERENCES cairn_tune.applies,
  advice text NOT NULL,
  change_number bigint NOT NULL,
  kind text NOT NULL CHECK (kind IN ('index', 'drop_index', 'statistics', 'setting', 'materialized_view')),
  table_schema text NOT NULL,
  table_name text NOT NULL,
  name text NOT NULL,
  statements text[] NOT NULL,
  inverse text[] NOT NULL,
  parts text NOT NULL,
  serves text[] NOT NULL,
  reason text NOT NULL,
  gain_ms float8 NOT NULL,
  bytes bigint NOT NULL,
  before text NOT NULL,
  after text NOT NULL DEFAULT '',
  state text NOT NULL CHECK (state IN ('planned', 'applying', 'applied', 'failed', 'verified', 'undoing', 'undone',
                                       'reverted')),
  error text NOT NULL DEFAULT '',
  role text NOT NULL DEFAULT session_user,
  started_at timestamptz,
  finished_at timestamptz,
  undone_at timestamptz))"};
constexpr Statement kComment{"tune_journal_comment",
                             "/* cairn tune */ COMMENT ON TABLE cairn_tune.journal IS 'cairn tune journal, format 1'"};

task<> Journal::prepare() {
  if (!co_await exists()) {
    std::vector<Query> queries{{kSchema, {}}, {kApplies, {}}, {kJournal, {}}, {kComment, {}}};
    std::optional<db::DbError> denied;
    try {
      co_await session_.record(std::move(queries));
    } catch (const db::DbError& error) {
      if (error.sqlstate() != kDenied) throw;
      denied = error;
    }
    if (denied) {
      const Rows role = co_await session_.look(kRole);
      throw Error(ErrorCode::kPermissionDenied, std::string("the tuner keeps its journal in schema cairn_tune: ") +
                                                    denied->what() +
                                                    "; the database's owner may allow it: GRANT CREATE ON DATABASE " +
                                                    role.text(0, 1) + " TO " + role.text(0, 0));
    }
  }
  co_await check_owner();
}

constexpr Statement kOwner{"tune_journal_owner", R"(/* cairn tune */
SELECT n.nspowner::regrole::text, c.relowner::regrole::text,
       bool_and(o.oid = c_user.oid OR o.rolsuper OR o.oid = d.datdba)
FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'journal'
JOIN pg_database d ON d.datname = current_database() JOIN pg_roles c_user ON c_user.rolname = current_user
JOIN pg_roles o ON o.oid IN (n.nspowner, c.relowner)
WHERE n.nspname = 'cairn_tune' GROUP BY 1, 2)"};

task<> Journal::check_owner() {
  const Rows rows = co_await session_.look(kOwner);
  if (rows.empty() || rows.boolean(0, 2)) co_return;
  throw Error(ErrorCode::kPermissionDenied,
              "the journal cairn_tune.journal belongs to role " + rows.text(0, 1) + " (its schema to " +
                  rows.text(0, 0) +
                  "), and its statements would be run with your rights: connect as that role, or make a role that you "
                  "trust its owner");
}

constexpr Statement kBeginApply{"tune_journal_begin", R"(/* cairn tune */
INSERT INTO cairn_tune.applies (advice, reading_before) VALUES ($1, $2) RETURNING id)"};

task<int64_t> Journal::begin_apply(std::string advice, std::string reading) {
  Params params = Params::of(advice, reading);
  const Rows rows = co_await run(kBeginApply, std::move(params));
  co_return rows.integer(0, 0);
}

constexpr Statement kEndApply{"tune_journal_end", R"(/* cairn tune */
UPDATE cairn_tune.applies SET finished_at = clock_timestamp(), reading_after = $2 WHERE id = $1)"};

task<> Journal::end_apply(int64_t apply, std::string reading) {
  Params params = Params::of(apply, reading);
  co_await run(kEndApply, std::move(params));
}

constexpr Statement kPlan{"tune_journal_plan", R"(/* cairn tune */
INSERT INTO cairn_tune.journal (apply_id, advice, change_number, kind, table_schema, table_name, name, statements,
  inverse, parts, serves, reason, gain_ms, bytes, before, state)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 'planned') RETURNING id)"};

task<> Journal::plan(std::vector<JournalEntry>& entries) {
  std::vector<Query> queries;
  for (const JournalEntry& entry : entries) {
    Params params =
        Params::of(entry.apply_id, entry.advice, entry.number, kind_name(entry.kind), entry.table.schema,
                   entry.table.name, entry.name, std::span<const std::string>(entry.statements),
                   std::span<const std::string>(entry.inverse), to_json(entry.parts),
                   std::span<const std::string>(entry.serves), entry.reason, entry.gain_ms, entry.bytes, entry.before);
    queries.push_back({kPlan, std::move(params)});
  }
  const std::vector<Rows> results = co_await run(std::move(queries));
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i].id = results[i].integer(0, 0);
    entries[i].state = ChangeState::kPlanned;
  }
}

constexpr Statement kSetState{"tune_journal_state", R"(/* cairn tune */
UPDATE cairn_tune.journal SET state = $2, error = $3, after = $4,
  started_at = CASE WHEN $2 = 'applying' THEN clock_timestamp() ELSE started_at END,
  finished_at = CASE WHEN $2 IN ('applied', 'failed') THEN clock_timestamp() ELSE finished_at END,
  undone_at = CASE WHEN $2 IN ('undone', 'reverted') THEN clock_timestamp() ELSE undone_at END
WHERE id = $1)"};

task<> Journal::set_state(JournalEntry& entry, ChangeState state, std::string error) {
  Params params = Params::of(entry.id, state_name(state), error, entry.after);
  co_await run(kSetState, std::move(params));
  entry.state = state;
  entry.error = error;
}

constexpr Statement kEntries{"tune_journal_entries", R"(/* cairn tune */
SELECT id, apply_id, advice, change_number, kind, table_schema, table_name, name, statements, inverse, parts, serves,
       reason, gain_ms, bytes, before, after, state, error, role, started_at, finished_at, undone_at
FROM cairn_tune.journal ORDER BY id)"};

task<std::vector<JournalEntry>> Journal::entries() {
  const Rows rows = co_await run(kEntries);
  std::vector<JournalEntry> entries;
  for (int i = 0; i < rows.size(); ++i) {
    entries.push_back({.id = rows.integer(i, 0),
                       .apply_id = rows.integer(i, 1),
                       .advice = rows.text(i, 2),
                       .number = rows.integer(i, 3),
                       .kind = change_kind(rows.text(i, 4)),
                       .table = {rows.text(i, 5), rows.text(i, 6)},
                       .name = rows.text(i, 7),
                       .statements = rows.texts(i, 8),
                       .inverse = rows.texts(i, 9),
                       .parts = parts_from_json(rows.text(i, 10)),
                       .serves = rows.texts(i, 11),
                       .reason = rows.text(i, 12),
                       .gain_ms = rows.number(i, 13),
                       .bytes = rows.integer(i, 14),
                       .before = rows.text(i, 15),
                       .after = rows.text(i, 16),
                       .state = state_of(rows.text(i, 17)),
                       .error = rows.text(i, 18),
                       .role = rows.text(i, 19),
                       .started_at_ms = rows.optional_timestamp_ms(i, 20),
                       .finished_at_ms = rows.optional_timestamp_ms(i, 21),
                       .undone_at_ms = rows.optional_timestamp_ms(i, 22)});
  }
  co_return entries;
}

constexpr Statement kReadApplies{"tune_journal_read_applies", R"(/* cairn tune */
SELECT id, advice, reading_before, reading_after FROM cairn_tune.applies ORDER BY id)"};

task<std::vector<ApplyRecord>> Journal::applies() {
  const Rows rows = co_await run(kReadApplies);
  std::vector<ApplyRecord> applies;
  for (int i = 0; i < rows.size(); ++i)
    applies.push_back({rows.integer(i, 0), rows.text(i, 1), rows.text(i, 2), rows.text(i, 3)});
  co_return applies;
}

}  // namespace cairn::tuner
