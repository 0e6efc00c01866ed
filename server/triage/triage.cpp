#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ostream>
#include <sstream>

#include "base/error.h"
#include "http/json_routes.h"
#include "http/mlflow.h"
#include "triage/api.h"

namespace cairn::triage {
namespace {

using namespace std::chrono_literals;
using http::Request;

constexpr const char* kClearScreen = "\x1b[H\x1b[2J\x1b[3J";
constexpr auto kPoll = 50ms;

task<State> look(std::string connection_string) {
  const auto connection = co_await db::Connection::connect(connection_string);
  co_return co_await read_state(*connection);
}

// One screen after the other. A database that does not answer is said, and asked again.
task<> watch(const TriageOptions& options, const bool& stopped, std::ostream& out) {
  const bool screen = !options.json && isatty(STDOUT_FILENO) != 0;
  while (!stopped) {
    std::ostringstream page;
    try {
      const State state = co_await look(options.connection_string);
      if (options.json)
        page << state_json(state) << "\n";
      else
        print_state(state, page);
    } catch (const db::DbError& error) {
      page << "the database cannot be asked: " << error.what() << "\n";
    }
    out << (screen ? kClearScreen : "") << page.str() << (options.json || screen ? "" : "\n") << std::flush;
    const auto next = std::chrono::steady_clock::now() + std::chrono::duration<double>(options.watch_s);
    while (!stopped && std::chrono::steady_clock::now() < next) co_await sleep_for(kPoll);
  }
}

// On a connection of its own: those of the pool may be what is wrong.
task<std::string> on_triage(db::Pool& pool, Request&) {
  const State state = co_await look(pool.options().connection_string);
  co_return state_json(state);
}

task<std::string> end_session(db::Pool& pool, Request& request, bool terminate) {
  const http::Arguments arguments(request);
  SignalOptions options;
  options.connection_string = pool.options().connection_string;
  options.terminate = terminate;
  options.pids = {http::path_id(request, "pid")};
  options.yes = options.json = true;
  options.began_at = arguments->integer("began_at").value_or(0);
  options.actor = request.user;
  options.request_id = request.request_id;
  std::ostringstream out;
  co_await signal_all(std::move(options), out);
  co_return std::move(out).str();
}

task<std::string> on_cancel(db::Pool& pool, Request& request) { return end_session(pool, request, false); }
task<std::string> on_terminate(db::Pool& pool, Request& request) { return end_session(pool, request, true); }

constexpr http::JsonRoute<db::Pool> kRoutes[] = {
    {"GET", "/api/v1/database/triage", on_triage},
    {"POST", "/api/v1/database/sessions/{pid}/cancel", on_cancel},
    {"POST", "/api/v1/database/sessions/{pid}/terminate", on_terminate},
};

}  // namespace

int run_triage(const TriageOptions& options, std::ostream& out) {
  Reactor reactor;
  if (options.watch_s > 0) {
    bool stopped = false;
    reactor.on_signal([&stopped](int) { stopped = true; });
    reactor.block_on(watch(options, stopped, out));
    return 0;
  }
  const State state = reactor.block_on(look(options.connection_string));
  if (options.json)
    out << state_json(state) << "\n";
  else
    print_state(state, out);
  const std::vector<Finding> findings = find_trouble(state);
  return std::any_of(findings.begin(), findings.end(), [](const Finding& finding) { return finding.critical; }) ? 1 : 0;
}

void register_routes(http::Router& router, db::Pool& pool) {
  for (const auto& route : kRoutes) router.add(route.method, route.path, route.handler(pool));
}

}  // namespace cairn::triage
