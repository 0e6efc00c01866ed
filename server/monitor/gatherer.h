// PostgreSQL's figures as text, gathered over a connection of its own, so that a scrape works while the pool is used
// up.
//
// Scrapes that come while one is under way share it. A scrape never takes longer than kPatience: then, and where there
// is no connection, it says pg_up 0. All on the reactor's thread, but for the text, which is made off it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/reactor.h"
#include "db/connection.h"
#include "monitor/collectors.h"
#include "monitor/off_thread.h"

namespace cairn::monitor {

class Gatherer {
 public:
  static constexpr std::chrono::seconds kPatience{5};
  // What is kept is asked for one kind a scrape, so that no scrape costs much more than the others; but never later
  // than this after it was due.
  static constexpr std::chrono::seconds kSpread{15};

  explicit Gatherer(std::string connection_string) : connection_string_(std::move(connection_string)) {}

  // Megabytes, so it is shared. Never throws for what the database does.
  using Page = std::shared_ptr<const std::string>;
  task<Page> page();
  // Why the last scrape has no figures; empty: it has.
  const std::string& failure() const { return failure_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Part {
    Collector collector;
    std::string statement_name;
    std::string text;              // of the last answer
    std::optional<db::Rows> rows;  // that are not text yet
    std::optional<Clock::time_point> asked;
    bool succeeded = false;
    bool refused = false;  // for lack of rights or of a module: nothing that passes, so no error of the scrape
    double seconds = 0;
  };

  task<> gather();
  task<> connect();
  // `another` that is kept was asked for in this scrape.
  bool is_due(const Part& part, bool another) const;
  task<> ask(Part& part);
  std::string render(double seconds, bool up);

  std::string connection_string_;
  std::unique_ptr<db::Connection> connection_;
  std::vector<std::unique_ptr<Part>> parts_;
  Page page_;
  std::string failure_;
  bool under_way_ = false;
  bool counted_ = false;  // its statements are, by pg_stat_statements: it may not say otherwise
  OffThread off_thread_;
  std::vector<std::shared_ptr<OneShot<bool>>> waiters_;
};

}  // namespace cairn::monitor
