// /api/v1/database/advice and /action: what the tuner proposed, what was made of it, and `cairn tune prove`, `apply`,
// `verify` and `undo` of it. What can be seen to be impossible is refused before anything is started.
#include <algorithm>

#include "app/database_sql.h"
#include "app/page.h"
#include "app/tune_actions.h"
#include "base/error.h"
#include "base/json.h"
#include "db/pooler.h"
#include "http/mlflow.h"
#include "tuner/advise/advice.h"
#include "tuner/catalog/session.h"
#include "tuner/profile/state_files.h"
#include "tuner/prove/proof.h"

namespace cairn::app {
namespace {

using http::Arguments;
using http::Request;

constexpr size_t kMostAdvice = 5;

// How a command of the terminal names this database.
std::string command_options(const ServerConfig& config, const cluster::Cluster* cluster, const std::string& database) {
  if (cluster == nullptr) return "--database-url \"$DATABASE_URL\"";  // it may hold a password
  if (database.empty()) return "--data-dir " + config.data_dir;
  return "--database-url \"host=" + cluster->socket_dir() + " user=postgres dbname=" + database + "\" --state-dir " +
         tuner::state_directory(config.data_dir, "");
}

// The newest ones for the database, each with its proof if it has one.
std::string advice_json(const std::string& directory, const std::string& database) {
  const tuner::StateFiles files(directory, "advice", "advice", "`cairn tune advise`");
  std::vector<std::string> names = files.names();
  std::string text;
  json::Writer out(text);
  out.begin_array();
  size_t shown = 0;
  for (auto name = names.rbegin(); name != names.rend() && shown < kMostAdvice; ++name) {
    const tuner::Advice advice = tuner::advice_from_json(files.load(*name));
    if (!database.empty() && advice.database != database) continue;
    ++shown;
    out.begin_object();
    out.key("advice");
    out.raw(tuner::to_json(advice));
    if (const auto proof = tuner::load_proof(directory, advice.id)) {
      out.key("proof");
      out.raw(tuner::to_json(*proof));
    }
    out.end_object();
  }
  out.end_array();
  return text;
}

task<std::string> read_journal(App& app, std::string database) {
  const auto connection = co_await connect_for_reading(app, std::move(database));
  const db::Rows has = co_await connection->query(kHasJournal);
  if (!has.boolean(0, 0)) co_return "[]";
  const db::Rows rows = co_await connection->query(kJournal);
  co_return rows.text(0, 0);
}

task<std::string> on_advice(Desk& desk, Request& request) {
  App& app = desk.app;
  const std::string database = wanted_database(request);
  const std::string journal = co_await read_journal(app, database);
  std::string name = database;
  if (name.empty()) name = co_await own_database(app);
  const std::string directory = tuner_directory(app, database);
  auto work = [directory, name] { return advice_json(directory, name); };
  const std::string advice = co_await desk.compute(std::move(work));
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("options", command_options(app.config, app.cluster, database));
  out.key("advice");
  out.raw(advice);
  out.key("journal");
  out.raw(journal);
  out.end_object();
  co_return text;
}

// -- actions ---------------------------------------------------------------------------------------------------------

Error conflict(const std::string& message) { return Error(ErrorCode::kResourceConflict, message); }

// Where the child works. Of the embedded server's other databases only the superuser may change anything.
std::string working_connection(const App& app, const std::string& database) {
  if (app.cluster == nullptr)
    return database.empty() ? app.config.database_url
                            : tuner::with_options(app.config.database_url, {{"dbname", database}});
  return database.empty() ? app.cluster->connection_string()
                          : tuner::with_options(app.cluster->superuser_connection_string(), {{"dbname", database}});
}

// The advice of that name for that database.
task<tuner::Advice> find_advice(Desk& desk, std::string name, std::string database) {
  const tuner::StateFiles files(tuner_directory(desk.app, database), "advice", "advice", "`cairn tune advise`");
  auto work = [files, name] {
    const std::vector<std::string> names = files.names();
    if (std::ranges::find(names, name) == names.end())
      throw not_found("There is no advice " + name + ": /api/v1/database/advice lists those that there are.");
    return files.load(name);
  };
  const std::string text = co_await desk.compute(std::move(work));
  tuner::Advice advice = tuner::advice_from_json(text);
  if (database.empty()) database = co_await own_database(desk.app);
  if (advice.database != database)
    throw not_found("The advice " + name + " is for the database " + advice.database + ", not for " + database + ".");
  co_return advice;
}

// A session's locks and settings are not there behind a pooler. Blocks, hence on another thread.
task<> require_session(Desk& desk, std::string connection_string, std::string what) {
  auto work = [connection_string, what]() -> std::string {
    try {
      db::require_session(connection_string, what);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const std::string refusal = co_await desk.compute(std::move(work));
  if (!refusal.empty()) throw conflict(refusal);
}

// Whether changes can be written down: in the journal, or by making it.
constexpr db::Statement kMayChange{"page_may_change", R"(/* cairn tune */
SELECT pg_is_in_recovery(), current_user::text, current_database()::text,
  CASE WHEN to_regclass('cairn_tune.journal') IS NULL THEN has_database_privilege(current_database(), 'CREATE')
    ELSE has_table_privilege(to_regclass('cairn_tune.journal'), 'INSERT') END)"};
constexpr db::Statement kNotOwned{"page_not_owned", R"(/* cairn tune */
SELECT coalesce(string_agg(DISTINCT format('%I.%I', n.nspname, c.relname), ', '), '')
FROM unnest($1::text[], $2::text[]) AS t(schema, name) JOIN pg_namespace n ON n.nspname = t.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name WHERE NOT pg_has_role(c.relowner, 'USAGE'))"};

task<> require_rights(db::Connection& connection, std::vector<std::string> schemas, std::vector<std::string> tables) {
  const db::Rows rows = co_await connection.query(kMayChange);
  const std::string role = rows.text(0, 1), database = rows.text(0, 2);
  if (rows.boolean(0, 0))
    throw conflict("The database " + database + " is a standby: changes are made on its primary.");
  if (!rows.boolean(0, 3))
    throw conflict("The role " + role + " may not keep the journal of changes in the database " + database +
                   ": GRANT CREATE ON DATABASE " + db::quote_identifier(database) + " TO " +
                   db::quote_identifier(role) + ", or INSERT on the tables of the schema cairn_tune.");
  db::Params params = db::Params::of(schemas, tables);
  const db::Rows others = co_await connection.query(kNotOwned, std::move(params));
  if (!others.text(0, 0).empty())
    throw conflict("The role " + role + " does not own " + others.text(0, 0) +
                   ", and only owners can change them: use the command of the terminal, as their owner.");
}

constexpr db::Statement kInForce{"page_in_force", R"(/* cairn tune */
SELECT coalesce(string_agg(id::text, ' ' ORDER BY id DESC), '') FROM cairn_tune.journal
WHERE advice = $1 AND state IN ('applied', 'verified') AND (cardinality($2::int8[]) = 0 OR id = ANY ($2)))"};
constexpr db::Statement kLastApplied{"page_last_applied", R"(/* cairn tune */
SELECT coalesce((SELECT advice FROM cairn_tune.journal ORDER BY apply_id DESC, id DESC LIMIT 1), ''))"};

std::string joined(const std::vector<int64_t>& numbers) {
  std::string text;
  for (const int64_t number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
  return text;
}

void add_words(std::vector<std::string>& words, const std::string& text) {
  std::istringstream in(text);
  for (std::string word; in >> word;) words.push_back(word);
}

// What the body asks for, as arguments of the command.
struct Asked {
  std::vector<int64_t> changes = {};  // apply: numbers of the advice; undo: ids of the journal. Empty: all
  bool unproven = false;
  bool sample = false;
  bool keep = false;
};

task<std::vector<std::string>> arguments_of(const App& app, std::string kind, tuner::Advice advice,
                                            std::string database, Asked asked) {
  const std::string directory = tuner_directory(app, database);
  if (kind == "prove") {
    std::vector<std::string> words{advice.id, "--state-dir", directory};
    if (asked.sample) words.insert(words.end(), {"--clone", "sample"});
    co_return words;
  }
  const std::string where = working_connection(app, database);
  const auto connection = co_await db::Connection::connect(where);
  std::vector<std::string> schemas, tables;
  for (const tuner::Change& change : advice.changes) {
    if (kind != "apply" || change.table.name.empty()) continue;
    schemas.push_back(change.table.schema);
    tables.push_back(change.table.name);
  }
  co_await require_rights(*connection, schemas, tables);
  if (kind == "apply") {
    std::vector<std::string> words{advice.id, "--state-dir", directory};
    if (!asked.changes.empty()) words.insert(words.end(), {"--only", joined(asked.changes)});
    if (asked.unproven) words.emplace_back("--unproven");
    co_return words;
  }
  const db::Rows journal = co_await connection->query(kHasJournal);
  if (!journal.boolean(0, 0)) throw conflict("Nothing was applied in this database yet.");
  std::vector<std::string> words;
  if (kind == "undo") {
    db::Params params = db::Params::of(advice.id, asked.changes);
    const db::Rows ids = co_await connection->query(kInForce, std::move(params));
    if (ids.text(0, 0).empty()) throw conflict("Of the advice " + advice.id + " nothing of that is in force.");
    add_words(words, ids.text(0, 0));
    co_return words;
  }
  const db::Rows last = co_await connection->query(kLastApplied);
  if (last.text(0, 0) != advice.id)
    throw conflict("The last apply is what is measured, and that was of advice " + last.text(0, 0) + ".");
  if (asked.keep) words.emplace_back("--keep");
  co_return words;
}

constexpr db::Statement kWriteDown{"page_tune_audit", R"(
INSERT INTO audit.events (actor, action, object_type, object_id, details, request_id)
VALUES (coalesce(nullif($1, ''), current_user), $2, 'advice', $3, $4, nullif($5, '')))"};

task<> write_down(App& app, const Request& request, const TuneAction& action) {
  std::string details;
  json::Writer out(details);
  out.begin_object();
  out.field("database", action.database);
  out.key("arguments");
  out.begin_array();
  for (const std::string& argument : action.arguments) out.string(argument);
  out.end_array();
  out.end_object();
  db::Params params =
      db::Params::of(request.user, "tune_" + action.kind, action.advice, db::Jsonb{details}, request.request_id);
  co_await app.pool.query(kWriteDown, std::move(params));
}

task<std::string> begin(Desk& desk, Request& request, std::string kind) {
  App& app = desk.app;
  const Arguments arguments(request);
  const std::string database = arguments->string("database").value_or("");
  Asked asked;
  asked.changes = arguments->integers("changes");
  asked.unproven = arguments->boolean("unproven").value_or(false);
  asked.sample = arguments->boolean("sample").value_or(false);
  asked.keep = arguments->boolean("keep").value_or(false);
  app.tune_actions->require_none();
  const std::string name = request.captures.find("name")->second;
  const tuner::Advice advice = co_await find_advice(desk, name, database);
  const bool own = app.cluster != nullptr && database.empty();
  const std::string where = working_connection(app, database), what = "cairn tune " + kind;
  if (app.cluster == nullptr) co_await require_session(desk, where, what);
  TuneAction action;
  action.kind = kind;
  action.advice = advice.id;
  action.database = advice.database;
  action.actor = request.user;
  action.arguments = co_await arguments_of(app, kind, advice, database, asked);
  if (!own) action.database_url = where;
  app.tune_actions->require_none();  // others may have come first meanwhile
  co_await write_down(app, request, action);
  app.tune_actions->start(std::move(action));
  co_return app.tune_actions->as_json();
}

task<std::string> on_prove(Desk& desk, Request& request) { return begin(desk, request, "prove"); }
task<std::string> on_apply(Desk& desk, Request& request) { return begin(desk, request, "apply"); }
task<std::string> on_verify(Desk& desk, Request& request) { return begin(desk, request, "verify"); }
task<std::string> on_undo(Desk& desk, Request& request) { return begin(desk, request, "undo"); }

task<std::string> on_action(Desk& desk, Request&) { co_return desk.app.tune_actions->as_json(); }

task<std::string> on_end(Desk& desk, Request&) {
  if (!desk.app.tune_actions->end()) throw conflict("Nothing is under way.");
  co_return desk.app.tune_actions->as_json();
}

constexpr DeskRoute kRoutes[] = {
    {"GET", "/api/v1/database/advice", on_advice},
    {"POST", "/api/v1/database/advice/{name}/prove", on_prove},
    {"POST", "/api/v1/database/advice/{name}/apply", on_apply},
    {"POST", "/api/v1/database/advice/{name}/verify", on_verify},
    {"POST", "/api/v1/database/advice/{name}/undo", on_undo},
    {"GET", "/api/v1/database/action", on_action},
    {"POST", "/api/v1/database/action/end", on_end},
};

}  // namespace

void register_advice_routes(http::Router& router, const std::shared_ptr<Desk>& desk) {
  add_routes(router, desk, kRoutes);
}

}  // namespace cairn::app
