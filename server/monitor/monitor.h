// The server's own watch: figures every half minute, alerts from them, both kept in the database and told to a webhook.
//
// Of several servers on one database, one watches (who holds the row of monitor.watch); all serve metrics. What fires
// is kept in memory until it is in the database and told, so that it is told too when PostgreSQL is what is away.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "db/pool.h"
#include "http/router.h"
#include "monitor/alerts.h"
#include "monitor/gatherer.h"
#include "monitor/off_thread.h"

namespace cairn::monitor {

struct MonitorOptions {
  std::string connection_string;
  std::string webhook;  // URL; empty: none
  std::chrono::milliseconds interval = std::chrono::seconds(30);
  double scale = 1;  // of every duration in the rules
};

class Monitor {
 public:
  // `pool` must outlive it, and it the router.
  Monitor(http::Router& router, db::Pool& pool, MonitorOptions options);

  // PostgreSQL's figures, for /metrics.
  task<Gatherer::Page> page() { return gatherer_.page(); }
  // Without end. `own` gives what the server counts of itself.
  task<> watch(std::function<std::string()> own);

 private:
  struct Known {
    Alert alert;
    std::string description;
    std::optional<double> ended;
    std::optional<int64_t> id;  // in the database
    bool saved = false;         // as it is now
    std::optional<double> told, told_end;
  };

  task<> look(const std::function<std::string()>& own);
  task<bool> leads();
  task<> load();
  void note(const AlertBook::Change& change, double now);
  task<> save();
  task<> save(Known& known);
  task<> keep_figures(double now);
  task<> tell();

  db::Pool& pool_;
  MonitorOptions options_;
  Gatherer gatherer_;
  AlertBook book_;
  std::vector<std::unique_ptr<Known>> known_;
  std::string name_;  // of this one among the servers
  bool leads_ = false;
  bool loaded_ = false;
  double figures_at_ = 0;
  bool webhook_fails_ = false;
  OffThread off_thread_;
};

// What Alertmanager would POST for these alerts (its version 4), with all that fire or have just ended.
struct ToldAlert {
  const Alert* alert;
  std::string description;
  std::optional<double> ended;
};
std::string webhook_body(const std::vector<ToldAlert>& alerts);

// The alerts that fire, or with `all` also those of the last week, as a JSON document.
task<std::string> read_alerts(db::Pool& pool, bool all);

}  // namespace cairn::monitor
