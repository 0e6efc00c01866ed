// /api/v1/database: what the page shows of the database. The same functions as `cairn tune` calls.
//
// `?database=` names another one of the same server; it is entered with the server's own role. Sessions are read-only
// and bounded in time. What computes (fingerprints of thousands of statements, advice in files) does so on a thread of
// the pool, one request at a time, so that the other thread stays free.
#include <deque>
#include <sstream>

#include "app/database_sql.h"
#include "app/page.h"
#include "base/error.h"
#include "base/json.h"
#include "http/mlflow.h"
#include "tuner/advise/advice.h"
#include "tuner/catalog/session.h"
#include "tuner/plan/explain.h"
#include "tuner/profile/profile_cli.h"
#include "tuner/profile/state_files.h"
#include "tuner/prove/proof.h"

namespace cairn::app {
namespace {

using http::Arguments;
using http::Request;
using http::Response;

constexpr size_t kMostWaiting = 16;
constexpr int64_t kMostStatements = 200;
constexpr size_t kMostAdvice = 5;
constexpr int kExplainSeconds = 10;
constexpr const char* kSessionOptions =
    "-c default_transaction_read_only=on -c statement_timeout=15s -c lock_timeout=2s";

// Lets one at a time through, the others in the order of their coming.
class Gate {
 public:
  task<> enter() {
    if (!taken_) {
      taken_ = true;
      co_return;
    }
    if (waiting_.size() >= kMostWaiting)
      throw Error(ErrorCode::kRequestLimitExceeded, "Too many look at the database: try again in a moment.");
    OneShot<bool> turn;
    waiting_.push_back(&turn);
    co_await turn.wait();
  }
  void leave() {
    if (waiting_.empty()) {
      taken_ = false;
      return;
    }
    OneShot<bool>* next = waiting_.front();
    waiting_.pop_front();
    next->set(true);
  }

 private:
  bool taken_ = false;
  std::deque<OneShot<bool>*> waiting_;
};

struct Desk {
  App& app;
  Gate gate;

  template <class F>
  task<std::string> compute(F work) {
    co_await gate.enter();
    std::exception_ptr failure;
    std::string result;
    try {
      auto computing = offload(std::move(work));
      result = co_await computing;
    } catch (...) {
      failure = std::current_exception();
    }
    gate.leave();
    if (failure) std::rethrow_exception(failure);
    co_return result;
  }
};

std::string wanted_database(const Request& request) { return std::string(request.argument("database").value_or("")); }

std::string connection_string(const App& app, const std::string& database) {
  std::vector<std::pair<std::string, std::string>> words{{"options", kSessionOptions}};
  if (!database.empty()) words.emplace_back("dbname", database);
  return tuner::with_options(app.pool.options().connection_string, words);
}

// An unknown database, or one that does not let us in, is the caller's mistake.
task<std::unique_ptr<db::Connection>> connect(const App& app, std::string database) {
  const std::string where = connection_string(app, database);
  std::string refusal;
  try {
    co_return co_await db::Connection::connect(where);
  } catch (const db::DbError& error) {
    if (database.empty()) throw;
    refusal = error.what();
  }
  throw invalid("The database '" + database + "' cannot be looked at: " + refusal);
}

task<std::string> ask(App& app, std::string database, db::Statement statement) {
  const auto connection = co_await connect(app, std::move(database));
  const db::Rows rows = co_await connection->query(statement);
  co_return rows.text(0, 0);
}

task<std::string> on_databases(Desk& desk, Request&) {
  const db::Rows rows = co_await desk.app.pool.query(kDatabases);
  co_return rows.text(0, 0);
}

task<std::string> on_relations(Desk& desk, Request& request) {
  co_return co_await ask(desk.app, wanted_database(request), kRelations);
}

task<std::string> on_activity(Desk& desk, Request&) {
  const db::Rows rows = co_await desk.app.pool.query(kActivity);
  co_return rows.text(0, 0);
}

task<std::string> on_history(Desk& desk, Request& request) {
  const Arguments arguments(request);
  const int64_t after_ms = arguments->integer("after").value_or(0);
  std::string database = wanted_database(request);
  if (database.empty()) {
    static constexpr db::Statement kCurrent{"page_current", "SELECT current_database()::text"};
    const db::Rows rows = co_await desk.app.pool.query(kCurrent);
    database = rows.text(0, 0);
  }
  co_return desk.app.statement_history.as_json(database, after_ms);
}

task<std::string> on_statements(Desk& desk, Request& request) {
  const Arguments arguments(request);
  const std::string database = wanted_database(request);
  tuner::ProfileOptions options;
  options.connection_string = connection_string(desk.app, database);
  options.top = arguments->integer("top").value_or(50);
  if (options.top < 1 || options.top > kMostStatements)
    throw invalid("'top' is 1 to " + std::to_string(kMostStatements));
  if (!database.empty()) co_await connect(desk.app, database);
  options.json = true;
  auto work = [options] {
    std::ostringstream out, progress;
    tuner::run_profile(options, out, progress);
    return std::move(out).str();
  };
  co_return co_await desk.compute(std::move(work));
}

// -- a plan ----------------------------------------------------------------------------------------------------------

// What is run may call functions: with no more rights than those who only look have, where there is such a role.
task<> take_reader(db::Connection& connection) {
  static constexpr db::Statement kMayBeReader{
      "", "SELECT coalesce((SELECT pg_has_role(oid, 'MEMBER') FROM pg_roles WHERE rolname = 'cairn_reader'), false)"};
  static constexpr db::Statement kTakeReader{"", "SET ROLE cairn_reader"};
  const db::Rows rows = co_await connection.query(kMayBeReader);
  if (rows.boolean(0, 0)) co_await connection.query(kTakeReader);
}

task<std::string> on_explain(Desk& desk, Request& request) {
  const Arguments arguments(request);
  tuner::ExplainOptions options;
  options.statement = arguments->required_string("statement");
  options.analyze = arguments->boolean("analyze").value_or(false);
  options.timeout_s = kExplainSeconds;
  for (std::string& value : arguments->strings("parameters")) options.parameters.emplace_back(std::move(value));
  const auto connection = co_await connect(desk.app, arguments->string("database").value_or(""));
  if (options.analyze) co_await take_reader(*connection);
  const tuner::Explained explained = co_await tuner::explain(*connection, std::move(options));
  co_return tuner::explained_json(explained);
}

// -- the advice queue ------------------------------------------------------------------------------------------------

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
  const auto connection = co_await connect(app, std::move(database));
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
  if (name.empty()) {
    static constexpr db::Statement kCurrent{"page_current", "SELECT current_database()::text"};
    const db::Rows rows = co_await app.pool.query(kCurrent);
    name = rows.text(0, 0);
  }
  const std::string directory =
      tuner::state_directory(app.config.data_dir, app.cluster != nullptr ? "" : connection_string(app, database));
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

using Action = task<std::string> (*)(Desk&, Request&);

struct DatabaseRoute {
  const char* method;
  const char* path;
  Action action;
};

constexpr DatabaseRoute kRoutes[] = {
    {"GET", "/api/v1/database", on_databases},
    {"GET", "/api/v1/database/statements", on_statements},
    {"GET", "/api/v1/database/statements/history", on_history},
    {"GET", "/api/v1/database/relations", on_relations},
    {"GET", "/api/v1/database/activity", on_activity},
    {"GET", "/api/v1/database/advice", on_advice},
    {"POST", "/api/v1/database/explain", on_explain},
};

}  // namespace

void register_database_routes(http::Router& router, App& app) {
  const auto desk = std::shared_ptr<Desk>(new Desk{app, {}});
  for (const DatabaseRoute& route : kRoutes) {
    router.add(route.method, route.path, [desk, action = route.action](Request& request) -> task<Response> {
      co_return http::json_response(co_await action(*desk, request));
    });
  }
}

}  // namespace cairn::app
