// The connections by which the tuner changes a database, and the manners in which it does so.
//
// `worker` sends the changes and holds the advisory lock: as long as something may still happen, the lock is held, even
// after this program was killed. `books` keeps the journal and reads the catalog, with names always qualified; a third
// connection, made when it is needed, watches the worker. Waiting is done by asking again and again, never inside
// PostgreSQL: a statement that waits holds a snapshot, for which CREATE INDEX CONCURRENTLY would wait in turn.
//
// Everything runs on the reactor's thread. stop() may be called from a signal handler of the reactor.
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "base/reactor.h"
#include "db/connection.h"

namespace cairn::tuner {

struct ApplySessionOptions {
  std::string connection_string = {};
  std::string name = {};  // application_name: what others are told is at work
  double wait_s = 60;     // for the lock, for transactions, for locks on tables
};

class ApplySession {
 public:
  ApplySession(ApplySessionOptions options, std::ostream& progress)
      : options_(std::move(options)), progress_(progress) {}

  // Throws DbError where the database cannot be reached. To be closed before it is destroyed.
  task<> open();
  task<> close();
  // Makes this the only one that changes the database. Throws Error(kResourceConflict) that names who is at work.
  task<> lock();
  // Who holds the lock, as a sentence; empty: nobody.
  task<std::string> holder();

  // On `books`, in its own transaction. A lost connection is made anew.
  task<db::Rows> look(db::Statement statement, db::Params params = {});
  task<std::vector<db::Rows>> record(std::vector<db::Query> queries);

  // Waits until each transaction is gone that CREATE or DROP INDEX CONCURRENTLY on the table would wait for now. Throws
  // Error(kTemporarilyUnavailable) that names those that are left.
  task<> wait_for_transactions(int64_t table);
  // One statement that may take long and blocks no writer, with its progress.
  task<> run_long(std::string sql);
  // One statement that needs a strong lock for a moment: it waits for it so shortly that nobody waits long behind it,
  // and tries again. `within`: nothing of it may take long, so it is stopped then.
  task<> run_brief(std::string sql, std::chrono::milliseconds within = std::chrono::milliseconds(0));
  // Several in one transaction that is rolled back; gives the results.
  task<std::vector<db::Rows>> try_out(std::vector<db::Query> queries);

  // Cancels what runs; every further step throws Error(kAborted), but for what is done between begin_tidying() and
  // end_tidying().
  void stop() { stopped_ = true; }
  bool stopped() const { return stopped_; }
  task<> begin_tidying();
  void end_tidying() { tidying_ = false; }
  void check() const;

  void say(const std::string& line);
  double wait_s() const { return options_.wait_s; }
  const std::string& connection_string() const { return options_.connection_string; }

 private:
  task<std::unique_ptr<db::Connection>> connect(std::string role);
  task<> reopen_worker();
  task<> set(db::Connection& connection, std::string sql);
  task<> run_watched(std::string sql);
  task<> watch();
  task<> watch_once(bool progress);
  task<> show_progress();
  task<> set_timeouts(int64_t lock_ms, int64_t statement_ms);
  bool interrupted() const { return stopped_ && !tidying_; }

  ApplySessionOptions options_;
  std::ostream& progress_;
  std::unique_ptr<db::Connection> worker_, books_, eyes_;
  int64_t worker_pid_ = 0;
  bool running_ = false;  // a statement of the worker
  bool watching_ = false, closing_ = false, cancelling_ = false;
  std::string shown_phase_;
  int64_t shown_percent_ = -1, shown_locker_ = 0;
  bool stopped_ = false;
  bool tidying_ = false;
};

}  // namespace cairn::tuner
