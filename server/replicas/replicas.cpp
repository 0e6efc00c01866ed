#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "cluster/session.h"
#include "cluster/settings.h"
#include "replicas/api.h"
#include "replicas/files.h"

namespace cairn::replicas {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using cluster::Session;
using std::chrono::steady_clock;

constexpr size_t kStatusLine = 7;  // of postmaster.pid
constexpr auto kRetryAfter = 10s;
constexpr auto kStreamPatience = 10s;
constexpr auto kLeftoverPatience = 10s;

bool accepts_reads(const fs::path& cluster, pid_t pid) {
  std::ifstream in(cluster / "postmaster.pid");
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines.size() > kStatusLine && std::atoi(lines[0].c_str()) == pid &&
         (lines[kStatusLine].starts_with("standby") || lines[kStatusLine].starts_with("ready"));
}

void wait_until_gone(const fs::path& directory) {
  const auto until = steady_clock::now() + kLeftoverPatience;
  for (;;) {
    const std::vector<pid_t> left = cluster::processes_in_directory("postgres", directory);
    if (left.empty()) return;
    if (steady_clock::now() > until)
      throw Error(ErrorCode::kTemporarilyUnavailable, "processes of PostgreSQL in " + directory.string() +
                                                          " do not end: look for some in state D (a hanging disk)");
    for (const pid_t pid : left) kill(pid, SIGKILL);
    std::this_thread::sleep_for(10ms);
  }
}

void sync_directory(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

// As the primary has them, by whoever: a replica must allow for as many connections at least, and what is promoted must
// go on as the primary did, the WAL archive above all.
void copy_settings(const fs::path& primary, const fs::path& replica) {
  const cluster::OsUser user = cluster::postgres_os_user();
  for (const char* file : {"postgresql.conf", "postgresql.auto.conf", "cairn.conf", "pg_hba.conf", "pg_ident.conf"}) {
    std::error_code failure;
    fs::copy_file(primary / file, replica / file, fs::copy_options::overwrite_existing, failure);
    if (failure || chown((replica / file).c_str(), user.uid, user.gid) != 0)
      throw Error(ErrorCode::kInvalidState, "cannot copy the settings " + (primary / file).string() + " to " +
                                                replica.string() + ": " + failure.message());
  }
}

}  // namespace

struct Replicas::Replica {
  Place place;
  std::unique_ptr<cluster::Supervisor> server;
  int log_fd = -1;
  steady_clock::time_point retry_at;

  bool runs() const { return server && server->ready(); }
  void stop() {
    server.reset();
    if (log_fd >= 0) close(std::exchange(log_fd, -1));
  }
  ~Replica() { stop(); }
};

Replicas::Replicas(cluster::Cluster& cluster) : cluster_(cluster) {}
Replicas::~Replicas() = default;

void Replicas::look() {
  std::vector<Place> places;
  std::vector<std::string> synchronous;
  try {
    places = places_in(cluster_.data_dir());
  } catch (const std::exception& error) {
    log::error("the replicas in {} cannot be looked at: {}", directory_of(cluster_.data_dir()).string(), error.what());
    return;
  }
  std::erase_if(replicas_, [&](const auto& entry) {
    const auto here = std::ranges::find(places, entry.first, &Place::name);
    if (here != places.end() && here->standby) return false;
    log::info("replica {} is stopped", entry.first);
    return true;
  });
  std::string asked_for;
  for (const Place& place : places) {
    if (fs::exists(place.request())) asked_for = place.name;
    if (!place.standby) continue;
    auto& replica = replicas_[place.name];
    if (!replica) replica = std::make_unique<Replica>();
    replica->place = place;
    if (place.synchronous) synchronous.push_back(place.name);
    if (replica->server || steady_clock::now() < replica->retry_at) continue;
    try {
      start(*replica);
    } catch (const std::exception& error) {
      replica->stop();
      replica->retry_at = steady_clock::now() + kRetryAfter;
      log::error("replica {} does not start: {}", place.name, error.what());
    }
  }
  if (!asked_for.empty()) return promote(asked_for);
  try {
    if (cluster_.ready()) set_standby_names(synchronous);
  } catch (const Error& error) {
    log::warn("synchronous replicas are not set: {}", error.what());
  }
}

void Replicas::start(Replica& replica) {
  const Place& place = replica.place;
  const cluster::OsUser user = cluster::postgres_os_user();
  copy_settings(cluster_.postgres_dir(), place.cluster);
  const fs::path log = fs::path(cluster_.data_dir()) / "log" / ("start-" + place.name + ".log");
  unlink(log.c_str());
  replica.log_fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  cluster::SupervisorOptions supervision;
  supervision.command = {.arguments = {cluster_.binary_dir() + "/postgres", "-D", place.cluster},
                         .user = user,
                         .working_directory = place.cluster,
                         .death_signal = SIGINT,
                         .output_fd = replica.log_fd};
  const auto set = [&](const std::string& name, const std::string& value) {
    supervision.command.arguments.push_back("-c");
    supervision.command.arguments.push_back(name + "=" + value);
  };
  set("port", std::to_string(place.port));
  set("listen_addresses", "");
  set("cluster_name", place.name);
  set("log_filename", "postgresql-" + place.name + "-%a.log");
  set("primary_conninfo", cluster_.superuser_connection_string() + " application_name=" + place.name);
  set("primary_slot_name", place.slot());
  set("hot_standby_feedback", "on");
  set("wal_retrieve_retry_interval", "200ms");
  supervision.before_start = [directory = place.cluster] {
    wait_until_gone(directory);
    // Of a server that is gone: PostgreSQL would take a process of that number for it.
    std::error_code failure;
    fs::remove(directory / "postmaster.pid", failure);
  };
  supervision.is_ready = [directory = place.cluster](pid_t pid) { return accepts_reads(directory, pid); };
  supervision.explain_failure = [log] { return "; see " + log.string() + " and PostgreSQL's log beside it"; };
  replica.server = std::make_unique<cluster::Supervisor>(std::move(supervision));
  replica.server->start();
}

std::vector<Running> Replicas::running() const {
  std::vector<Running> all;
  const auto synchronous =
      std::ranges::count_if(replicas_, [](const auto& entry) { return entry.second->place.synchronous; });
  for (const auto& [name, replica] : replicas_) {
    if (!replica->runs()) continue;
    all.push_back({name, replica->place.synchronous && synchronous == 1,
                   fmt::format("host='{}' port={} user=cairn dbname=cairn connect_timeout=10", cluster_.socket_dir(),
                               replica->place.port)});
  }
  return all;
}

constexpr const char* kShowNames = "SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'";
constexpr const char* kStreams =
    "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name = ANY ($1::text[])";

// Before one of them streams, every commit would wait.
void Replicas::set_standby_names(const std::vector<std::string>& synchronous) {
  std::vector<Place> places;
  for (const auto& [name, replica] : replicas_) places.push_back(replica->place);
  const std::string wanted = standby_names(places);
  if (standby_names_known_ && wanted == standby_names_) return;
  Session session(cluster_.superuser_connection_string());
  const std::string present = session.value(kShowNames);
  if (wanted != present) {
    std::string names;
    for (const std::string& name : synchronous) names += (names.empty() ? "{" : ",") + name;
    if (!wanted.empty() && present.empty() && session.value(kStreams, {names + "}"}) == "0") return;
    session.query("ALTER SYSTEM SET synchronous_standby_names = " + session.literal(wanted));
    session.query("SELECT pg_reload_conf()");
    log::info("a commit waits for: {}", wanted.empty() ? "no replica" : wanted);
  }
  standby_names_ = wanted;
  standby_names_known_ = true;
}

constexpr const char* kHasMore =
    "SELECT coalesce(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0') > $1::pg_lsn";
constexpr const char* kReceived =
    "SELECT coalesce(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0')";
constexpr const char* kMakeSlot =
    "SELECT pg_create_physical_replication_slot($1, true) WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE "
    "slot_name = $1)";

void Replicas::promote(const std::string& name) {
  const auto found = replicas_.find(name);
  const fs::path directory = directory_of(cluster_.data_dir()) / name;
  std::string refusal;
  try {
    if (found == replicas_.end() || !found->second->runs())
      throw Error(ErrorCode::kInvalidState, name + " does not run as a replica");
    change_places(*found->second);
    replicas_.erase(found);
    log::warn("replica {} is the primary now; the former one lies in {}", name, directory.string());
  } catch (const std::exception& error) {
    refusal = error.what();
    log::error("replica {} is not promoted: {}", name, refusal);
  }
  std::error_code failure;
  if (!refusal.empty()) write_text(directory / "promote.error", refusal);
  fs::remove(directory / "promote", failure);
}

// Of a primary that runs, so that its shutdown sends what is left. It may have died just now: then it sends nothing.
void Replicas::wait_until_it_streams(const Place& place) const {
  const auto until = steady_clock::now() + kStreamPatience;
  try {
    Session session(cluster_.superuser_connection_string());
    while (session.value(kStreams, {"{" + place.name + "}"}) == "0") {
      if (steady_clock::now() > until)
        throw Error(ErrorCode::kInvalidState,
                    "the primary runs, and it is not connected to it: see its state in `cairn replica list`");
      std::this_thread::sleep_for(20ms);
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInvalidState) throw;
    log::warn("the primary does not answer: {}", error.what());
  }
}

// Where the primary's log ends, if it was shut down in order; else "".
std::string Replicas::end_of_clean_shutdown() const {
  const cluster::Finished control =
      cluster::run({{"/usr/bin/env", "LC_ALL=C", cluster_.binary_dir() + "/pg_controldata", cluster_.postgres_dir()},
                    cluster::postgres_os_user(),
                    "/",
                    SIGTERM});
  const auto field = [&](const std::string& label) -> std::string {
    const size_t at = control.output.find(label);
    if (control.exit_status != 0 || at == std::string::npos) return "";
    const size_t begin = control.output.find_first_not_of(' ', at + label.size());
    return control.output.substr(begin, control.output.find('\n', begin) - begin);
  };
  return field("Database cluster state:") == "shut down" ? field("Latest checkpoint location:") : "";
}

void Replicas::change_places(Replica& replica) {
  const Place place = replica.place;
  const fs::path primary = cluster_.postgres_dir();
  const auto superuser_of = [&](const Place& one) {
    return fmt::format("host='{}' port={} user=postgres dbname=cairn connect_timeout=10", cluster_.socket_dir(),
                       one.port);
  };
  Session standby(superuser_of(place));
  if (cluster_.ready()) wait_until_it_streams(place);
  log::warn("promoting replica {}: the primary is stopped", place.name);
  cluster_.stop();
  wait_until_gone(primary);
  try {
    if (const std::string end = end_of_clean_shutdown(); !end.empty() && standby.value(kHasMore, {end}) != "t")
      throw Error(ErrorCode::kInvalidState,
                  "it lacks some of the primary's WAL, and the primary runs: wait until `cairn replica list` shows no "
                  "lag");
    // Of several synchronous ones each commit waited for one, and not always for the same.
    const std::string received = standby.value(kReceived);
    for (const auto& [name, other] : replicas_) {
      if (name == place.name || !other->runs()) continue;
      if (Session(superuser_of(other->place)).value(kHasMore, {received}) == "t")
        throw Error(ErrorCode::kInvalidState,
                    "the replica " + name + " has more of the primary's WAL: promote that one");
    }
    if (standby.value("SELECT pg_promote(true, 60)") != "t")
      throw Error(ErrorCode::kTemporarilyUnavailable, "it has not ended its recovery within a minute");
  } catch (...) {
    cluster_.start();
    throw;
  }
  try {
    copy_settings(primary, place.cluster);
  } catch (const Error& error) {
    log::warn("the promoted replica keeps the settings of its start: {}", error.what());
  }
  // In its own configuration and slots, which no replica inherits.
  std::vector<Place> others;
  for (const auto& [name, other] : replicas_) {
    if (name == place.name) continue;
    others.push_back(other->place);
    standby.query(kMakeSlot, {other->place.slot()});
  }
  standby.query("ALTER SYSTEM SET synchronous_standby_names = " + standby.literal(standby_names(others)));
  replica.stop();
  if (renameat2(AT_FDCWD, primary.c_str(), AT_FDCWD, place.cluster.c_str(), RENAME_EXCHANGE) != 0)
    throw Error(ErrorCode::kInternalError, "cannot exchange " + primary.string() + " and " + place.cluster.string() +
                                               ": " + std::strerror(errno) +
                                               "; the server is not running: start it again");
  sync_directory(primary.parent_path());
  sync_directory(place.directory);
  standby_names_known_ = false;
  cluster_.start();
}

}  // namespace cairn::replicas
