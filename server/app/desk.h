// What the routes below /api/v1/database share: which database is asked for, how it is reached for reading, and one
// place for what computes or blocks.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "app/app.h"

namespace cairn::app {

// Lets one at a time through, the others in the order of their coming.
class Gate {
 public:
  // Throws Error(kRequestLimitExceeded) when too many wait.
  task<> enter();
  void leave();

 private:
  bool taken_ = false;
  std::deque<OneShot<bool>*> waiting_;
};

struct Desk {
  struct Kept {
    std::chrono::steady_clock::time_point at;
    std::string text;
  };

  App& app;
  Gate gate = {};
  // Profiles of statements, by database and number.
  std::map<std::string, Kept> profiles = {};

  // Runs `work`, which gives a string, on a thread of the pool; one at a time, so that the other thread stays free.
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

// The name that ?database= has; empty: the server's own.
std::string wanted_database(const http::Request& request);

// To a database of the server's PostgreSQL ("": its own), read-only and bounded in time.
std::string reading_connection(const App& app, const std::string& database);
// The same, opened. An unknown database, or one that does not let us in, is the caller's mistake.
task<std::unique_ptr<db::Connection>> connect_for_reading(const App& app, std::string database);
// The name of the server's own database.
task<std::string> own_database(App& app);
// Where the tuner keeps what it remembers of a database.
std::string tuner_directory(const App& app, const std::string& database);

// Routes whose action gives the text of a JSON answer.
struct DeskRoute {
  const char* method;
  const char* path;
  task<std::string> (*action)(Desk&, http::Request&);
};
void add_routes(http::Router& router, const std::shared_ptr<Desk>& desk, std::span<const DeskRoute> routes);

}  // namespace cairn::app
