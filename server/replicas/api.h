// Replicas of the embedded PostgreSQL: made, run, promoted, and read from. docs/formats/replicas.md has the rules.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "cluster/cluster.h"
#include "db/pool.h"
#include "http/router.h"

namespace cairn::replicas {

struct Place;

struct Running {
  std::string name;
  // Each commit waits for this one; not where there are several synchronous ones, of which any will do.
  bool has_all = false;
  std::string connection_string;  // of the role that owns the database
};

// Runs those that lie in the data directory. Blocking; one thread at a time.
class Replicas {
 public:
  explicit Replicas(cluster::Cluster& cluster);
  ~Replicas();

  // Starts those that are there, stops those that are gone, promotes the one that is asked for. Throws nothing that
  // has to do with one of them: it is logged, and tried again later.
  void look();
  std::vector<Running> running() const;

 private:
  struct Replica;
  void start(Replica& replica);
  void set_standby_names(const std::vector<std::string>& synchronous);
  void promote(const std::string& name);
  void wait_until_it_streams(const Place& place) const;
  std::string end_of_clean_shutdown() const;
  void change_places(Replica& replica);

  cluster::Cluster& cluster_;
  std::map<std::string, std::unique_ptr<Replica>> replicas_;
  std::string standby_names_;
  bool standby_names_known_ = false;
};

// The commands. `look`, where it is set, is what a server would do a few times a second: there is none.
struct Options {
  std::string data_dir;
  std::string connection_string;  // the superuser's
  std::string postgres_bin;
  std::string name;
  bool synchronous = false;
  bool json = false;
  std::function<void()> look;
};
int add(const Options& options, std::ostream& out);
int list(const Options& options, std::ostream& out);
int promote(const Options& options, std::ostream& out);
int remove(const Options& options, std::ostream& out);

// A route by method and pattern.
struct ReadRoute {
  const char* method;
  const char* pattern;
};

// Sends reads to replicas. Reactor only; must outlive the router and the requests.
class Reads {
 public:
  // What makes the routes on a replica's pool; what it gives is kept as long as they are.
  using Register = std::function<std::shared_ptr<void>(http::Router&, db::Pool&)>;

  // From now on these routes of the router may be answered by replicas; all others, but GET, count as writes.
  Reads(http::Router& router, db::Pool& primary, std::vector<ReadRoute> routes, Register make_routes);
  ~Reads();

  // To be called a few times a second.
  void set_replicas(const std::vector<Running>& running, const db::PoolOptions& options);
  // For Prometheus.
  std::string metrics() const;

 private:
  struct Reader;
  struct Attempt;
  task<http::Response> read(const http::Handler& primary, std::string key, http::Request& request);
  task<http::Response> write(const http::Handler& handler, http::Request& request);
  task<> run(std::shared_ptr<Attempt> attempt, std::shared_ptr<Reader> reader, std::string key);
  void give_up_on_hung_ones();
  task<std::shared_ptr<Reader>> choose();
  std::shared_ptr<Reader> caught_up(std::chrono::steady_clock::time_point need);
  task<> ask_primary();
  task<> ask_reader(std::shared_ptr<Reader> reader);

  db::Pool& primary_;
  Register make_routes_;
  std::vector<std::shared_ptr<Reader>> readers_;
  std::vector<std::shared_ptr<Reader>> retired_;  // their pools may still have work under way
  std::list<std::shared_ptr<Attempt>> under_way_;
  size_t turn_ = 0;
  std::chrono::steady_clock::time_point last_write_;
  // The primary's log had reached `position_` at a moment not before `position_at_`.
  std::chrono::steady_clock::time_point position_at_;
  int64_t position_ = 0;
  bool asking_ = false;
  bool primary_away_ = false;
  int64_t primary_reads_ = 0;
};

}  // namespace cairn::replicas
