#include "app/desk.h"

#include "base/error.h"
#include "tuner/catalog/session.h"
#include "tuner/profile/state_files.h"

namespace cairn::app {
namespace {

constexpr size_t kMostWaiting = 16;
constexpr const char* kSessionOptions =
    "-c default_transaction_read_only=on -c statement_timeout=15s -c lock_timeout=2s";
constexpr db::Statement kCurrent{"page_current", "SELECT current_database()::text"};

}  // namespace

task<> Gate::enter() {
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

void Gate::leave() {
  if (waiting_.empty()) {
    taken_ = false;
    return;
  }
  OneShot<bool>* next = waiting_.front();
  waiting_.pop_front();
  next->set(true);
}

std::string wanted_database(const http::Request& request) {
  return std::string(request.argument("database").value_or(""));
}

std::string reading_connection(const App& app, const std::string& database) {
  std::vector<std::pair<std::string, std::string>> words{{"options", kSessionOptions}};
  if (!database.empty()) words.emplace_back("dbname", database);
  return tuner::with_options(app.pool.options().connection_string, words);
}

task<std::unique_ptr<db::Connection>> connect_for_reading(const App& app, std::string database) {
  const std::string where = reading_connection(app, database);
  std::string refusal;
  try {
    co_return co_await db::Connection::connect(where);
  } catch (const db::DbError& error) {
    if (database.empty()) throw;
    refusal = error.what();
  }
  throw invalid("The database '" + database + "' cannot be looked at: " + refusal);
}

task<std::string> own_database(App& app) {
  const db::Rows rows = co_await app.pool.query(kCurrent);
  co_return rows.text(0, 0);
}

std::string tuner_directory(const App& app, const std::string& database) {
  return tuner::state_directory(app.config.data_dir, app.cluster != nullptr ? "" : reading_connection(app, database));
}

void add_routes(http::Router& router, const std::shared_ptr<Desk>& desk, std::span<const DeskRoute> routes) {
  for (const DeskRoute& route : routes) {
    router.add(route.method, route.path, [desk, action = route.action](http::Request& request) -> task<http::Response> {
      co_return http::json_response(co_await action(*desk, request));
    });
  }
}

}  // namespace cairn::app
