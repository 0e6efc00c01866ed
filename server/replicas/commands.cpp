// `cairn replica add`, `list`, `promote`, `remove`. Who starts and stops replicas is the server (replicas.cpp); where
// none runs, the command itself, by options.look.
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <regex>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "base/table.h"
#include "cluster/session.h"
#include "replicas/api.h"
#include "replicas/files.h"

namespace cairn::replicas {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using cluster::Session;
using std::chrono::steady_clock;

constexpr auto kPatience = 60s;
constexpr auto kPromotePatience = 300s;  // the primary's shutdown and the replica's recovery
constexpr int kFirstPort = 5433;

Error system_error(const std::string& what, const fs::path& path) {
  return Error(ErrorCode::kInvalidState, "cannot " + what + " " + path.string() + ": " + std::strerror(errno));
}

Place find(const Options& options) {
  for (Place& place : places_in(options.data_dir))
    if (place.name == options.name) return place;
  throw not_found("there is no replica " + options.name + ": `cairn replica list` names those that are");
}

// False when the time is over.
bool wait_for(const Options& options, std::chrono::seconds patience, const std::function<bool()>& condition) {
  const auto until = steady_clock::now() + patience;
  while (!condition()) {
    if (steady_clock::now() > until) return false;
    if (options.look) options.look();
    std::this_thread::sleep_for(20ms);
  }
  return true;
}

constexpr const char* kDropSlot =
    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND NOT active";
constexpr const char* kFindSlot = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1";
constexpr const char* kMakeSlot = "SELECT pg_create_physical_replication_slot($1, true)";
constexpr const char* kMajor = "SELECT current_setting('server_version_num')::int / 10000";
constexpr const char* kPort = "SELECT current_setting('port')::int";
constexpr const char* kState = "SELECT state, sync_state FROM pg_stat_replication WHERE application_name = $1";

void remove_leftovers(const fs::path& parent) {
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(parent, failure))
    if (entry.path().filename().string()[0] == '.') fs::remove_all(entry.path(), failure);
}

// Made under another name: what was cut off is no replica.
void copy(const Options& options, Session& session, Place& place) {
  const cluster::OsUser user = cluster::postgres_os_user();
  const std::string major = session.value(kMajor);
  std::string draft = place.directory.parent_path() / ".adding-XXXXXX";
  if (mkdtemp(draft.data()) == nullptr || chmod(draft.c_str(), 0711) != 0) throw system_error("make", draft);
  const fs::path target = fs::path(draft) / major;
  if (mkdir(target.c_str(), 0700) != 0 || chown(target.c_str(), user.uid, user.gid) != 0)
    throw system_error("make", target);
  const cluster::Finished copied =
      cluster::run({{cluster::programs_of(std::stoi(major), options.postgres_bin) + "/pg_basebackup",
                     "--pgdata=" + target.string(), "--wal-method=stream", "--slot=" + place.slot(),
                     "--checkpoint=fast", "--no-password", "--dbname=" + options.connection_string},
                    user,
                    "/",
                    SIGTERM});
  if (copied.exit_status != 0)
    throw Error(ErrorCode::kInvalidState,
                fmt::format("pg_basebackup ended with {}: {}", copied.exit_status, copied.output));
  const fs::path standby = target / "standby.signal";
  write_text(standby, "");
  if (chown(standby.c_str(), user.uid, user.gid) != 0) throw system_error("write", standby);
  const fs::path final_directory = std::exchange(place.directory, draft);
  write_description(place);
  place.directory = final_directory;
  if (rename(draft.c_str(), place.directory.c_str()) != 0) throw system_error("write", place.directory);
}

struct Row {
  Place place;
  std::string state, sync;
  std::optional<int64_t> lag_bytes;
  std::optional<double> lag_seconds;
};

constexpr const char* kLag =
    "SELECT r.state, r.sync_state, pg_wal_lsn_diff(pg_current_wal_flush_lsn(), coalesce(r.replay_lsn, "
    "s.restart_lsn))::int8, "
    "extract(epoch FROM coalesce(r.replay_lag, '0'))::float8, s.wal_status FROM pg_replication_slots s "
    "LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid WHERE s.slot_name = $1";

std::vector<Row> rows_of(const Options& options) {
  std::vector<Row> rows;
  std::optional<Session> session;
  try {
    session.emplace(options.connection_string);
  } catch (const Error&) {
    // The primary is away: what there is can be listed still.
  }
  for (Place& place : places_in(options.data_dir)) {
    Row row;
    row.state = place.standby ? (session ? "no slot: remove it, and add it again" : "unknown: the primary is away")
                              : "former primary";
    if (session && place.standby) {
      for (const Session::Row& found : session->query(kLag, {place.slot()})) {
        row.state = found[0].value_or(found[4] == "lost" ? "lost: remove it, and add it again" : "away");
        row.sync = found[1].value_or("");
        if (found[2]) row.lag_bytes = std::stoll(*found[2]);
        if (found[0] && found[3]) row.lag_seconds = std::stod(*found[3]);
      }
    }
    row.place = std::move(place);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

int add(const Options& options, std::ostream& out) {
  if (!std::regex_match(options.name, std::regex("[a-z][a-z0-9_]{0,39}")))
    throw invalid("a replica's name has lower-case letters, digits and underscores, at most 40: '" + options.name +
                  "' is none");
  const fs::path parent = directory_of(options.data_dir);
  fs::create_directories(parent);
  Place place;
  place.name = options.name;
  place.directory = parent / options.name;
  place.synchronous = options.synchronous;
  if (fs::exists(place.directory))
    throw Error(ErrorCode::kResourceAlreadyExists,
                place.directory.string() + " is there already: `cairn replica remove " + options.name + "` removes it");
  Session session(options.connection_string);
  place.port = kFirstPort;
  const std::vector<Place> places = places_in(options.data_dir);
  while (std::to_string(place.port) == session.value(kPort) ||
         std::ranges::find(places, place.port, &Place::port) != places.end())
    ++place.port;
  remove_leftovers(parent);
  session.query(kDropSlot, {place.slot()});  // of one that was cut off
  session.query(kMakeSlot, {place.slot()});
  try {
    copy(options, session, place);
  } catch (...) {
    remove_leftovers(parent);
    wait_for(options, 5s, [&] {
      session.query(kDropSlot, {place.slot()});
      return session.value(kFindSlot, {place.slot()}) == "0";
    });
    throw;
  }
  const bool streams = wait_for(options, kPatience, [&] {
    const auto rows = session.query(kState, {place.name});
    if (rows.empty() || rows[0][0] != "streaming") return false;
    return !place.synchronous || rows[0][1] != "async";
  });
  if (!streams)
    throw Error(ErrorCode::kTemporarilyUnavailable,
                "the replica is there, but has not begun to stream within a minute: see its log in " +
                    options.data_dir + "/log");
  out << (options.json
              ? "{\"name\":" + json::quote(place.name) + ",\"directory\":" + json::quote(place.directory.string()) +
                    "}\n"
              : "replica " + place.name + " streams" + (place.synchronous ? ", and a commit waits for it" : "") + ": " +
                    place.directory.string() + "\n");
  return 0;
}

int list(const Options& options, std::ostream& out) {
  const std::vector<Row> rows = rows_of(options);
  if (options.json) {
    std::string text;
    json::Writer json(text);
    json.begin_array();
    for (const Row& row : rows) {
      json.begin_object();
      json.field("name", row.place.name);
      json.field("state", row.state);
      json.field("synchronous", row.place.synchronous);
      json.field("sync_state", row.sync);
      json.field("lag_bytes", row.lag_bytes);
      json.field("lag_seconds", row.lag_seconds);
      json.field("port", row.place.port);
      json.end_object();
    }
    json.end_array();
    out << text << "\n";
    return 0;
  }
  std::vector<std::vector<std::string>> table{{"replica", "state", "synchronous", "lag bytes", "lag s", "port"}};
  for (const Row& row : rows)
    table.push_back({row.place.name, row.state, row.place.synchronous ? "yes" : "no",
                     row.lag_bytes ? std::to_string(*row.lag_bytes) : "",
                     row.lag_seconds ? fmt::format("{:.3f}", *row.lag_seconds) : "", std::to_string(row.place.port)});
  print_table(out, table);
  return 0;
}

int promote(const Options& options, std::ostream& out) {
  const Place place = find(options);
  if (!place.standby) throw invalid(options.name + " is a former primary: remove it, and add a replica in its place");
  std::error_code failure;
  fs::remove(place.refusal(), failure);
  write_text(place.request(), "");
  if (!wait_for(options, kPromotePatience, [&] { return !fs::exists(place.request()); }))
    throw Error(ErrorCode::kTemporarilyUnavailable, "the server has not promoted it within five minutes: see its log");
  if (const std::string refusal = read_text(place.refusal()); !refusal.empty()) {
    fs::remove(place.refusal(), failure);
    throw Error(ErrorCode::kInvalidState, options.name + " is not promoted: " + refusal);
  }
  out << (options.json ? "{\"primary\":" + json::quote(options.name) + "}\n"
                       : options.name + " is the primary now. The former one lies in " + place.directory.string() +
                             ": `cairn replica remove " + options.name + "` removes it.\n");
  return 0;
}

int remove(const Options& options, std::ostream& out) {
  const Place place = find(options);
  // Without that name nobody starts it again.
  const fs::path gone = place.directory.parent_path() / (".removing-" + place.name);
  std::error_code failure;
  fs::remove_all(gone, failure);
  if (rename(place.directory.c_str(), gone.c_str()) != 0) throw system_error("remove", place.directory);
  const fs::path cluster = gone / place.cluster.filename();
  if (!wait_for(options, kPatience, [&] { return cluster::processes_in_directory("postgres", cluster).empty(); }))
    throw Error(ErrorCode::kTemporarilyUnavailable,
                "PostgreSQL in " + cluster.string() + " does not end: end it, and remove " + gone.string());
  fs::remove_all(gone);
  if (place.standby) {
    Session session(options.connection_string);
    const bool dropped = wait_for(options, kPatience, [&] {
      session.query(kDropSlot, {place.slot()});
      return session.value(kFindSlot, {place.slot()}) == "0";
    });
    if (!dropped)
      throw Error(ErrorCode::kTemporarilyUnavailable, "the slot " + place.slot() +
                                                          " is in use still: drop it with "
                                                          "pg_drop_replication_slot, for it holds back the log");
    wait_for(options, kPatience, [&] {
      return session.value("SHOW synchronous_standby_names").find('"' + place.name + '"') == std::string::npos;
    });
  }
  out << (options.json ? "{\"removed\":" + json::quote(options.name) + "}\n"
                       : "replica " + options.name + " is removed\n");
  return 0;
}

}  // namespace cairn::replicas
