// /api/v1/database: what the page shows of the database. The same functions as `cairn tune` calls.
//
// `?database=` names another one of the same server; it is entered with the server's own role. Sessions are read-only
// and bounded in time.
#include <sstream>

#include "app/database_sql.h"
#include "app/desk.h"
#include "app/page.h"
#include "base/error.h"
#include "http/mlflow.h"
#include "tuner/plan/explain.h"
#include "tuner/profile/profile_cli.h"

namespace cairn::app {
namespace {

using http::Arguments;
using http::Request;

constexpr int64_t kMostStatements = 200;
constexpr int kExplainSeconds = 10;
// Every statement's text is parsed for a profile. So old it may be, as the page asks again after a quarter of a minute.
constexpr std::chrono::seconds kProfileAge{10};
// Between two looks for those who listen to events.
constexpr std::chrono::milliseconds kSessionsEvery = std::chrono::seconds(2);
constexpr std::chrono::milliseconds kAlertsEvery = std::chrono::seconds(5);
constexpr std::chrono::milliseconds kActionEvery{250};

std::chrono::steady_clock::time_point now() { return std::chrono::steady_clock::now(); }

task<std::string> ask(App& app, std::string database, db::Statement statement) {
  const auto connection = co_await connect_for_reading(app, std::move(database));
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

task<std::string> activity(App& app) {
  const db::Rows rows = co_await app.pool.query(kActivity);
  co_return rows.text(0, 0);
}

task<std::string> on_activity(Desk& desk, Request&) { return activity(desk.app); }

task<std::string> alerts(App& app) {
  const std::string list = co_await monitor::read_alerts(app.pool, false);
  co_return "{\"alerts\":" + list + "}";
}

task<std::string> action(App& app) { co_return app.tune_actions->as_json(); }

task<std::string> on_history(Desk& desk, Request& request) {
  const Arguments arguments(request);
  const int64_t after_ms = arguments->integer("after").value_or(0);
  std::string database = wanted_database(request);
  if (database.empty()) database = co_await own_database(desk.app);
  co_return desk.app.statement_history.as_json(database, after_ms);
}

task<std::string> on_statements(Desk& desk, Request& request) {
  const Arguments arguments(request);
  const std::string database = wanted_database(request);
  tuner::ProfileOptions options;
  options.connection_string = reading_connection(desk.app, database);
  options.top = arguments->integer("top").value_or(50);
  if (options.top < 1 || options.top > kMostStatements)
    throw invalid("'top' is 1 to " + std::to_string(kMostStatements));
  if (!database.empty()) co_await connect_for_reading(desk.app, database);
  options.json = true;
  const std::string key = database + " " + std::to_string(options.top);
  if (const auto kept = desk.profiles.find(key); kept != desk.profiles.end() && kept->second.at + kProfileAge > now())
    co_return kept->second.text;
  auto work = [options] {
    std::ostringstream out, progress;
    tuner::run_profile(options, out, progress);
    return std::move(out).str();
  };
  std::string text = co_await desk.compute(std::move(work));
  std::erase_if(desk.profiles, [](const auto& kept) { return kept.second.at + kProfileAge <= now(); });
  desk.profiles[key] = {now(), text};
  co_return text;
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
  const auto connection = co_await connect_for_reading(desk.app, arguments->string("database").value_or(""));
  if (options.analyze) co_await take_reader(*connection);
  const tuner::Explained explained = co_await tuner::explain(*connection, std::move(options));
  co_return tuner::explained_json(explained);
}

constexpr DeskRoute kRoutes[] = {
    {"GET", "/api/v1/database", on_databases},
    {"GET", "/api/v1/database/statements", on_statements},
    {"GET", "/api/v1/database/statements/history", on_history},
    {"GET", "/api/v1/database/relations", on_relations},
    {"GET", "/api/v1/database/activity", on_activity},
    {"POST", "/api/v1/database/explain", on_explain},
};

}  // namespace

void register_database_routes(http::Router& router, App& app) {
  const auto desk = std::shared_ptr<Desk>(new Desk{app});
  add_routes(router, desk, kRoutes);
  register_advice_routes(router, desk);
  register_operations_routes(router, desk);
}

void register_events(http::Router& router, App& app) {
  app.events.add_topic("sessions", kSessionsEvery, [&app] { return activity(app); });
  app.events.add_topic("alerts", kAlertsEvery, [&app] { return alerts(app); });
  app.events.add_topic("action", kActionEvery, [&app] { return action(app); });
  app.events.register_routes(router);
}

}  // namespace cairn::app
