// An open-loop load: requests arrive by their own clock, never waiting for the earlier ones, and a request's latency
// begins when it should have been sent. So a database that stalls is seen to stall all that arrive meanwhile.
//
// All on the reactor's thread. The driver puts arrivals into a queue; each worker owns one connection and takes the
// oldest. `over_` is set once nothing more will arrive: workers that find the queue empty then end.
#include <fmt/format.h>

#include <chrono>
#include <deque>
#include <memory>

#include "base/error.h"
#include "base/reactor.h"
#include "db/connection.h"
#include "workload/api.h"
#include "workload/families.h"
#include "workload/server_cpu.h"

namespace cairn::workload {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using db::Params;
using db::Statement;

constexpr auto kSlice = 50ms;
constexpr auto kPatienceForExits = 5s;

// $1: a name by which this load's sessions are found.
constexpr Statement kName{"workload_name", "SELECT set_config('application_name', $1, false)"};
// $1: milliseconds.
constexpr Statement kTimeout{"workload_timeout", "SELECT set_config('statement_timeout', $1::text, false)"};
constexpr Statement kRollback{"workload_rollback", "ROLLBACK"};
constexpr Statement kBackend{"workload_backend",
                             "SELECT pg_backend_pid(), inet_server_addr() IS NULL OR inet_server_addr() <<= "
                             "'127.0.0.0/8' OR inet_server_addr() = '::1'"};
constexpr Statement kCounters{
    "workload_counters",
    "SELECT blks_hit, blks_read, temp_bytes, deadlocks FROM pg_stat_database WHERE datname = current_database()"};
// $1: the name of the sessions.
constexpr Statement kCancel{"workload_cancel",
                            "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity "
                            "WHERE application_name = $1 AND usename = current_user AND state = 'active'"};
constexpr Statement kSessions{"workload_sessions", "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"};
constexpr Statement kVersions{"workload_versions",
                              "SELECT version_id::text FROM model_versions ORDER BY version_id LIMIT 1000"};

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

class Load {
 public:
  Load(Reactor& reactor, const LoadOptions& options, const Say& say)
      : reactor_(reactor),
        options_(options),
        say_(say),
        name_(fmt::format("cairn workload {:x}", Clock::now().time_since_epoch().count())) {}

  task<LoadReport> run();
  // Ends the load: what has not been answered stays so.
  void stop();

 private:
  struct Due {
    Clock::time_point at;
    size_t family;
    Params params;
  };

  task<> prepare();
  task<std::unique_ptr<db::Connection>> open();
  task<> drive();
  task<bool> until(Clock::time_point time);
  task<> drain();
  task<> work(std::unique_ptr<db::Connection> connection);
  task<> serve(Due due, std::unique_ptr<db::Connection>& connection);
  void answered(const Due& due, int64_t rows);
  void failed(const Due& due, const Error& error);
  void wake_one();
  task<DatabaseFigures> counters();
  task<> wait_for_exits();
  LoadReport report(const DatabaseFigures& before, const DatabaseFigures& after) const;

  Reactor& reactor_;
  const LoadOptions& options_;
  const Say& say_;
  const std::string name_;
  std::unique_ptr<db::Connection> control_;
  std::unique_ptr<ServerCpu> cpu_;
  std::vector<Family> families_;
  std::vector<FamilyReport> reports_;
  std::vector<std::unique_ptr<db::Connection>> opened_;
  std::deque<Due> pending_;
  std::vector<OneShot<bool>*> idle_;
  int workers_ = 0;
  bool over_ = false;
  bool stopping_ = false;
  Clock::time_point start_, last_answer_;
  double waited_s_ = 0;
  uint64_t served_ = 0;
};

task<std::unique_ptr<db::Connection>> Load::open() {
  auto connection = co_await db::Connection::connect(options_.connection_string);
  co_await connection->query(kName, Params::of(name_));
  if (options_.statement_timeout_ms) co_await connection->query(kTimeout, Params::of(*options_.statement_timeout_ms));
  co_return connection;
}

// Reads keep their weights among themselves; the writes share theirs.
void add_writes(std::vector<Family>& families, double percent, std::vector<std::string> versions) {
  double reads = 0;
  for (const Family& family : families) reads += family.weight;
  std::vector<Family> writes = write_families(std::move(versions));
  const double each = percent >= 100 ? 1 : reads * percent / (100 - percent) / static_cast<double>(writes.size());
  if (percent >= 100) families.clear();
  for (Family& family : writes) {
    family.weight = each;
    families.push_back(std::move(family));
  }
}

task<> Load::prepare() {
  families_ = options_.files.empty() ? families_of_mix(options_.mix) : families_of_files(options_.files);
  for (const std::string& replacement : options_.replacements) {
    const size_t equals = replacement.find('=');
    if (equals == std::string::npos) throw invalid("--replace wants FAMILY=FILE, and not '" + replacement + "'");
    replace_statement(families_, replacement.substr(0, equals), replacement.substr(equals + 1));
  }
  control_ = co_await db::Connection::connect(options_.connection_string);
  if (options_.writes_percent > 0) {
    std::vector<std::string> versions;
    try {
      const db::Rows rows = co_await control_->query(kVersions);
      for (int i = 0; i < rows.size(); ++i) versions.push_back(rows.text(i, 0));
    } catch (const db::DbError& error) {
      throw Error(error.code(),
                  std::string("--writes needs the tables that `cairn workload seed` makes: ") + error.what());
    }
    add_writes(families_, options_.writes_percent, std::move(versions));
  }
  for (const Family& family : families_) {
    reports_.emplace_back();
    reports_.back().name = family.name;
  }
  for (int i = 0; i < options_.connections; ++i) opened_.push_back(co_await open());
  const db::Rows backend = co_await control_->query(kBackend);
  cpu_ = std::make_unique<ServerCpu>(backend.boolean(0, 1) ? static_cast<int>(backend.integer(0, 0)) : 0);
}

task<DatabaseFigures> Load::counters() {
  const db::Rows rows = co_await control_->query(kCounters);
  DatabaseFigures figures;
  figures.blocks_hit = rows.integer(0, 0);
  figures.blocks_read = rows.integer(0, 1);
  figures.temp_bytes = rows.integer(0, 2);
  figures.deadlocks = rows.integer(0, 3);
  figures.cpu_seconds = cpu_->seconds();
  co_return figures;
}

// In slices, so that stop() is noticed. False: stopped.
task<bool> Load::until(Clock::time_point time) {
  while (!stopping_ && Clock::now() < time) {
    co_await sleep_for(std::min<Clock::duration>(time - Clock::now(), kSlice));
  }
  co_return !stopping_;
}

void Load::wake_one() {
  if (idle_.empty()) return;
  OneShot<bool>* worker = idle_.back();
  idle_.pop_back();
  worker->set(true);
}

task<> Load::drive() {
  const auto duration = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.duration_s));
  Arrivals arrivals(families_, options_.rate, options_.seed);
  for (;;) {
    Arrival arrival = arrivals.next();
    if (arrival.at >= duration) break;
    if (!co_await until(start_ + arrival.at)) break;
    ++reports_[arrival.family].arrived;
    pending_.push_back({start_ + arrival.at, arrival.family, std::move(arrival.params)});
    wake_one();
  }
  co_await until(start_ + duration);
}

task<> Load::drain() {
  over_ = true;
  if (!stopping_ && !pending_.empty()) {
    say_(
        fmt::format("the time is over; {} requests still wait for a connection (Ctrl-C: leave them)", pending_.size()));
  }
  while (!idle_.empty()) wake_one();
  while (workers_ > 0) {
    if (stopping_) {
      for (const Due& due : pending_) ++reports_[due.family].unfinished;
      pending_.clear();
      try {
        co_await control_->query(kCancel, Params::of(name_));
      } catch (const db::DbError&) {
        // The requests end by themselves then: whatever took this connection takes theirs.
      }
    }
    co_await sleep_for(kSlice);
  }
}

task<> Load::work(std::unique_ptr<db::Connection> connection) {
  for (;;) {
    if (pending_.empty()) {
      if (over_) break;
      OneShot<bool> wake;
      idle_.push_back(&wake);
      co_await wake.wait();
      continue;
    }
    Due due = std::move(pending_.front());
    pending_.pop_front();
    co_await serve(std::move(due), connection);
  }
  --workers_;
}

task<> Load::serve(Due due, std::unique_ptr<db::Connection>& connection) {
  try {
    if (connection && !connection->alive()) connection.reset();
    if (!connection) connection = co_await open();
    waited_s_ += seconds(Clock::now() - due.at);
    ++served_;
    const Statement statement{"", families_[due.family].sql};
    const db::Rows rows = co_await connection->query(statement, std::move(due.params));
    answered(due, rows.affected());
    // A statement of the user's may have been BEGIN.
    if (connection->in_transaction()) co_await connection->query(kRollback);
  } catch (const Error& error) {
    failed(due, error);
    // libpq has closed a broken one's socket: it must go before a new one, of any worker, gets the same descriptor.
    if (connection && connection->broken()) connection.reset();
  }
}

void Load::answered(const Due& due, int64_t rows) {
  last_answer_ = Clock::now();
  const auto latency = last_answer_ - due.at;
  FamilyReport& report = reports_[due.family];
  report.latencies.add(static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(latency).count()));
  report.rows += rows;
  if (latency > 1s) ++report.over_1s;
}

void Load::failed(const Due& due, const Error& error) {
  FamilyReport& report = reports_[due.family];
  const auto* of_database = dynamic_cast<const db::DbError*>(&error);
  const bool cancelled = of_database != nullptr && of_database->is_statement_timeout();
  if (stopping_ && cancelled) {
    ++report.unfinished;
  } else if (cancelled) {
    answered(due, 0);
    ++report.timeouts;
  } else {
    ++report.errors;
  }
  if (!(stopping_ && cancelled) && report.first_error.empty()) report.first_error = error.what();
}

void Load::stop() {
  stopping_ = true;
  last_answer_ = Clock::now();
}

// A session hands its figures in when it ends.
task<> Load::wait_for_exits() {
  const auto deadline = Clock::now() + kPatienceForExits;
  while (Clock::now() < deadline) {
    const db::Rows left = co_await control_->query(kSessions, Params::of(name_));
    if (left.integer(0, 0) == 0) co_return;
    co_await sleep_for(20ms);
  }
}

LoadReport Load::report(const DatabaseFigures& before, const DatabaseFigures& after) const {
  LoadReport result;
  result.asked_duration_s = options_.duration_s;
  result.asked_rate = options_.rate;
  result.seed = options_.seed;
  result.connections = options_.connections;
  result.ended_early = stopping_;
  result.elapsed_s = seconds(last_answer_ - start_);
  if (!stopping_) result.elapsed_s = std::max(result.elapsed_s, options_.duration_s);
  result.waited_ms_mean = served_ == 0 ? 0 : waited_s_ * 1000 / static_cast<double>(served_);
  result.families = reports_;
  result.total.name = "total";
  for (const FamilyReport& family : reports_) result.total.merge(family);
  result.database.blocks_hit = after.blocks_hit - before.blocks_hit;
  result.database.blocks_read = after.blocks_read - before.blocks_read;
  result.database.temp_bytes = after.temp_bytes - before.temp_bytes;
  result.database.deadlocks = after.deadlocks - before.deadlocks;
  if (before.cpu_seconds && after.cpu_seconds) result.database.cpu_seconds = *after.cpu_seconds - *before.cpu_seconds;
  return result;
}

task<LoadReport> Load::run() {
  co_await prepare();
  const DatabaseFigures before = co_await counters();
  start_ = last_answer_ = Clock::now();
  for (auto& connection : opened_) {
    ++workers_;
    reactor_.spawn("workload", work(std::move(connection)));
  }
  opened_.clear();
  co_await drive();
  co_await drain();
  co_await wait_for_exits();
  const DatabaseFigures after = co_await counters();
  co_return report(before, after);
}

}  // namespace

LoadReport run_load(const LoadOptions& options, const Say& say) {
  Reactor reactor;
  Load load(reactor, options, say);
  reactor.on_signal([&load](int) { load.stop(); });
  return reactor.block_on(load.run());
}

}  // namespace cairn::workload
