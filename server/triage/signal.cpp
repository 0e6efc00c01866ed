#include "triage/signal.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ostream>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/reactor.h"
#include "base/table.h"
#include "triage/findings.h"
#include "triage/tree.h"

namespace cairn::triage {
namespace {

using namespace std::chrono_literals;
using db::Params;
using db::Rows;
using db::Statement;

// Longer than PostgreSQL takes unless it is stuck in the kernel.
constexpr auto kPatience = 10s;
constexpr auto kPoll = 20ms;
constexpr size_t kShownText = 100;

struct Target {
  const Session* session = nullptr;
  std::string began = {};  // when the process began, and the statement: a number may be given to another one
  std::string statement_began = {};
  int64_t holds_back = 0;
  bool signalled = false;
  bool gone = false;  // the session, or for a cancel the statement
  std::string error = {};
};

std::string os_user() {
  const passwd* entry = getpwuid(geteuid());
  return entry == nullptr ? std::to_string(geteuid()) : entry->pw_name;
}

constexpr Statement kBegan{"triage_began", R"(/* cairn tune */
SELECT coalesce(backend_start::text, ''), coalesce(query_start::text, ''),
  coalesce((extract(epoch FROM backend_start) * 1000)::int8, 0) FROM pg_stat_activity WHERE pid = $1)"};

task<std::vector<Target>> find_targets(db::Connection& connection, const State& state, const SignalOptions& options) {
  std::vector<Target> targets;
  const std::vector<TreeLine> tree = blocking_tree(state.sessions);
  for (const int64_t pid : std::set<int64_t>(options.pids.begin(), options.pids.end())) {
    Target target{.session = pid == 0 ? nullptr : find_session(state, pid)};
    Params params = Params::of(static_cast<int32_t>(pid));
    const Rows began = co_await connection.query(kBegan, std::move(params));
    if (target.session == nullptr || began.empty())
      throw not_found(fmt::format("there is no process {} of this PostgreSQL: `cairn triage` lists them", pid));
    if (options.began_at != 0 && began.integer(0, 2) != options.began_at)
      throw Error(ErrorCode::kResourceConflict,
                  fmt::format("the session of process {} has ended, and another one has its number now", pid));
    target.began = began.text(0, 0);
    target.statement_began = began.text(0, 1);
    for (const TreeLine& line : tree)
      if (line.pid == pid) target.holds_back = line.holds_back;
    targets.push_back(std::move(target));
  }
  co_return targets;
}

std::string details_of(const Target& target) {
  const Session& session = *target.session;
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("os_user", os_user());
  writer.field("role", session.role);
  writer.field("database", session.database);
  writer.field("application", session.application);
  writer.field("client", session.client);
  writer.field("state", session.state);
  writer.field("query", session.query);
  writer.field("transaction_s", session.transaction_s);
  writer.field("held_back", target.holds_back);
  if (!target.error.empty()) writer.field("error", target.error);
  writer.end_object();
  return text;
}

constexpr Statement kHasAudit{"triage_has_audit", R"(/* cairn tune */
SELECT NOT pg_is_in_recovery() AND to_regprocedure('audit.refuse_change()') IS NOT NULL
   AND to_regclass('audit.events') IS NOT NULL)"};
constexpr Statement kAudit{"triage_audit", R"(/* cairn tune */
INSERT INTO audit.events (action, object_type, object_id, details, actor, request_id)
VALUES ($1, 'postgres_process', $2, $3, coalesce(nullif($4, ''), current_user), nullif($5, '')))"};
constexpr Statement kText{"triage_text", "SELECT set_config('cairn.audit', $1, false)"};
// Any role may, on a standby too; the level is one that is always logged.
constexpr Statement kLog{"triage_log", "DO $$ BEGIN RAISE LOG '%', current_setting('cairn.audit'); END $$"};

// Says where it is written.
task<std::string> write_down(db::Connection& connection, std::string action, const Target& target,
                             const SignalOptions& options) {
  const std::string details = details_of(target), pid = std::to_string(target.session->pid);
  const Rows has = co_await connection.query(kHasAudit);
  if (has.boolean(0, 0)) {
    Params params = Params::of(action, pid, db::Jsonb{details}, options.actor, options.request_id);
    bool written = true;
    try {
      co_await connection.query(kAudit, std::move(params));
    } catch (const db::DbError& error) {
      if (error.is_unavailable()) throw;
      written = false;
    }
    if (written) co_return "audit.events";
  }
  const std::string by = options.actor.empty() ? "" : " by " + options.actor;
  Params text = Params::of("cairn " + action + " of process " + pid + by + ": " + details);
  co_await connection.query(kText, std::move(text));
  co_await connection.query(kLog);
  co_return "PostgreSQL's log";
}

constexpr Statement kCancel{"triage_cancel", R"(/* cairn tune */
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
WHERE pid = $1 AND coalesce(backend_start::text, '') = $2 AND ($3 = '' OR query_start::text = $3))"};
constexpr Statement kTerminate{"triage_terminate", R"(/* cairn tune */
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = $1 AND coalesce(backend_start::text, '') = $2 AND $3 IS NOT NULL)"};
constexpr Statement kStillThere{"triage_still_there", R"(/* cairn tune */
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND coalesce(backend_start::text, '') = $2
                AND ($3 = '' OR state = 'active' AND query_start::text = $3)))"};

task<> end_one(db::Connection& connection, Target& target, bool terminate) {
  const int32_t pid = static_cast<int32_t>(target.session->pid);
  try {
    Params params = Params::of(pid, target.began, target.statement_began);
    const Rows rows = co_await connection.query(terminate ? kTerminate : kCancel, std::move(params));
    target.signalled = !rows.empty() && rows.boolean(0, 0);
  } catch (const db::DbError& error) {
    if (error.is_unavailable()) throw;
    target.error = error.what();
  }
  if (!target.error.empty()) co_return;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  do {
    Params params = Params::of(pid, target.began, terminate ? std::string() : target.statement_began);
    const Rows rows = co_await connection.query(kStillThere, std::move(params));
    target.gone = !rows.boolean(0, 0);
    if (!target.gone) co_await sleep_for(kPoll);
  } while (!target.gone && std::chrono::steady_clock::now() < deadline);
}

std::string outcome_of(const Target& target, bool terminate) {
  const std::string what = terminate ? "the session" : "the statement";
  if (!target.error.empty()) return "refused: " + target.error;
  if (!target.signalled) return what + " had ended by itself";
  return target.gone ? what + " has ended"
                     : what + " has not ended yet: PostgreSQL was told, and does so at the next point where it can";
}

void print_targets(const std::vector<Target>& targets, const SignalOptions& options, const std::string& where,
                   std::ostream& out) {
  for (const Target& target : targets) {
    const Session& session = *target.session;
    out << fmt::format("{} {}: {}{}\n    {}\n", options.terminate ? "terminate" : "cancel", shown_session(session),
                       session.state.empty() ? session.backend : session.state,
                       target.holds_back > 0 ? fmt::format(", holds back {}", target.holds_back) : "",
                       shortened(session.query, kShownText));
    if (options.yes) out << "    " << on_one_line(outcome_of(target, options.terminate)) << "\n";
  }
  if (options.yes)
    out << "written to " << where << "\n";
  else
    out << "nothing was done: add --yes" << (options.terminate ? ". An open transaction is rolled back" : "") << "\n";
}

void print_json(const std::vector<Target>& targets, const SignalOptions& options, const std::string& where,
                std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("done", options.yes);
  if (options.yes) writer.field("written_to", where);
  writer.key("processes");
  writer.begin_array();
  for (const Target& target : targets) {
    writer.begin_object();
    writer.field("pid", target.session->pid);
    writer.field("role", target.session->role);
    writer.field("application", target.session->application);
    writer.field("state", target.session->state);
    writer.field("query", target.session->query);
    writer.field("holds_back", target.holds_back);
    if (options.yes) writer.field("signalled", target.signalled);
    if (options.yes) writer.field("ended", target.gone);
    if (!target.error.empty()) writer.field("error", target.error);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  out << text << "\n";
}

}  // namespace

task<int> signal_all(SignalOptions options, std::ostream& out) {
  const auto connection = co_await db::Connection::connect(options.connection_string);
  const State state = co_await read_state(*connection);
  std::vector<Target> targets = co_await find_targets(*connection, state, options);
  const std::string action = options.terminate ? "terminate_backend" : "cancel_backend";
  std::string where;
  if (options.yes) {
    for (Target& target : targets) {
      where = co_await write_down(*connection, action, target, options);
      co_await end_one(*connection, target, options.terminate);
      if (!target.error.empty()) co_await write_down(*connection, action + "_refused", target, options);
    }
  }
  (options.json ? print_json : print_targets)(targets, options, where, out);
  const bool all = std::all_of(targets.begin(), targets.end(),
                               [](const Target& target) { return target.gone && target.error.empty(); });
  co_return options.yes&& all ? 0 : 1;
}

int run_signal(const SignalOptions& options, std::ostream& out) {
  Reactor reactor;
  return reactor.block_on(signal_all(options, out));
}

}  // namespace cairn::triage
