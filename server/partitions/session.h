// The connection by which partitions are made, and the manners in which it changes a table that others use.
//
// A session-level advisory lock, one a database, is held as long as something may still happen, also after this program
// was killed. Every step is one transaction that holds its own mark in the journal.
#pragma once

#include <chrono>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "base/reactor.h"
#include "db/connection.h"

namespace cairn::partitions {

struct SessionOptions {
  std::string connection_string = {};
  std::string name = {};  // application_name
  double wait_s = 60;     // for another cairn partitions, and for locks on tables
};

class Session {
 public:
  using Body = std::function<task<>()>;

  Session(SessionOptions options, std::ostream& progress) : options_(std::move(options)), progress_(progress) {}

  // Connects; `table` is looked for as the role's search_path has it, and gives its oid, 0 where there is none. From
  // then on every name is written with its schema, and times are of UTC.
  task<int64_t> open(std::string table = "");
  // Throws Error(kResourceConflict) when another one is at work for longer than wait_s.
  task<> lock();

  task<db::Rows> query(db::Statement statement, db::Params params = {});
  task<db::Rows> run(std::string sql, db::Params params = {});
  task<> transaction(const Body& body, std::string begin = "BEGIN");
  // A transaction that needs a strong lock for a moment: it waits for it so shortly that nobody waits long behind it,
  // and is given up and tried again when it is not done in time. `prepare` runs before each attempt, without a lock.
  task<> brief(std::string what, const Body& body, const Body* prepare = nullptr);
  // The same for what holds no lock that others wait for, once it has it.
  task<> patient(std::string what, const Body& body);

  // In the body of brief(): first a lock on the tables (as LOCK TABLE names them) that no reader or writer minds, but
  // autovacuum and DDL do. It is waited for long enough that autovacuum gives way, and what is done before at_once()
  // may take its time.
  task<> hold_off_others(std::string tables);
  // Statements in one round trip, cancelled when they are not done in time.
  struct Step {
    std::string sql;
    db::Params params = {};
  };
  task<> at_once(const std::vector<Step>& steps);

  void say(const std::string& line);
  const std::string& connection_string() const { return options_.connection_string; }

 private:
  using Clock = std::chrono::steady_clock;
  task<std::string> open_transactions();
  task<> cancel_when_late();
  task<> attempts(std::string what, const Body& timed, const Body* prepare, bool bounded);

  SessionOptions options_;
  std::ostream& progress_;
  std::unique_ptr<db::Connection> connection_;
  std::unique_ptr<db::Connection> canceller_;
  Clock::time_point must_end_ = Clock::time_point::max();
  int64_t pid_ = 0;
  bool running_ = false, watching_ = false;
};

}  // namespace cairn::partitions
