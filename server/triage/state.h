// What a PostgreSQL is doing right now: sessions, locks, replication, room. Read by statements that take no lock which
// others wait for; by any role, which sees of other roles' sessions what PostgreSQL shows it (`hidden`).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "db/connection.h"

namespace cairn::triage {

struct Session {
  int64_t pid = 0;  // 0: a prepared transaction, which has no process
  std::string role = {};
  std::string database = {};
  std::string application = {};
  std::string client = {};   // address; empty: a unix socket, or a process of PostgreSQL's own
  std::string backend = {};  // pg_stat_activity.backend_type
  std::string state = {};    // empty: hidden, or a process of PostgreSQL's own
  std::string wait_type = {};
  std::string wait_event = {};
  std::string query = {};  // without literals; of an idle session the last one
  std::optional<double> transaction_s = {};
  std::optional<double> statement_s = {};  // since the statement began
  std::optional<double> state_s = {};
  std::string waits_for = {};  // "ShareLock on transactionid 712"; empty: for no lock
  std::vector<int64_t> blocked_by = {};
  int64_t xmin_age = 0;  // transactions since the oldest row version that it may need; 0: it needs none
  bool hidden = false;
};

struct Replica {
  std::string name = {};
  std::string client = {};
  std::string state = {};
  std::string sync = {};
  std::optional<int64_t> lag_bytes = {};  // to what is replayed there
  std::optional<double> lag_s = {};
};

struct Slot {
  std::string name = {};
  std::string type = {};
  bool active = false;
  std::string wal_status = {};
  std::optional<int64_t> kept_bytes = {};  // of WAL that it holds
  int64_t xmin_age = 0;
};

struct Room {
  int64_t database_bytes = 0;
  std::optional<int64_t> wal_bytes = {};
  int64_t temporary_bytes = 0;            // written for sorts and hashes since the statistics began
  std::optional<double> free_bytes = {};  // of the disk that the data directory is on, where that is on this machine
  std::optional<double> disk_bytes = {};
};

struct State {
  int64_t taken_at_ms = 0;
  std::string database = {};
  std::string version = {};
  bool standby = false;
  std::optional<double> replay_lag_s = {};  // of a standby: age of the last transaction replayed
  double up_s = 0;
  int64_t connections_max = 0;  // for who is no superuser
  std::vector<Session> sessions = {};
  std::vector<Replica> replicas = {};
  std::vector<Slot> slots = {};
  Room room = {};
  std::optional<double> cache_hit_ratio = {};  // of this database, as are deadlocks; nothing: too little was read
  int64_t deadlocks = 0;
  double statistics_s = 0;      // for how long they were counted
  int64_t transaction_age = 0;  // of the oldest database, in transactions
  std::string oldest_database = {};
  int64_t freeze_max_age = 0;
  std::vector<std::string> notes = {};  // what may not be read, and what would allow it
};

task<State> read_state(db::Connection& connection);

}  // namespace cairn::triage
