#include "backup/pgbackrest.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace cairn::backup {
namespace {

namespace fs = std::filesystem;
using simdjson::dom::element;

constexpr const char* kProgram = "/usr/bin/pgbackrest";
constexpr const char* kStanza = "cairn";
constexpr const char* kNote = "cairn";  // the annotation that holds a backup's id

std::string text_at(const element& node, const char* pointer) {
  std::string_view text;
  return node.at_pointer(pointer).get(text) == simdjson::SUCCESS ? std::string(text) : "";
}

int64_t number_at(const element& node, const char* pointer) {
  int64_t number = 0;
  return node.at_pointer(pointer).get(number) == simdjson::SUCCESS ? number : 0;
}

PgBackRest::Set set_of(const element& node) {
  bool damaged = false;
  if (node["error"].get(damaged) != simdjson::SUCCESS) damaged = false;
  return {.label = text_at(node, "/label"),
          .type = text_at(node, "/type"),
          .start_lsn = text_at(node, "/lsn/start"),
          .stop_lsn = text_at(node, "/lsn/stop"),
          .start_segment = text_at(node, "/archive/start"),
          .database_bytes = number_at(node, "/info/size"),
          .stored_bytes = number_at(node, "/info/repository/delta"),
          .damaged = damaged};
}

// The stanza's backups, the oldest first.
std::vector<element> backups_of(const json::Document& info) {
  simdjson::dom::array all;
  std::vector<element> backups;
  if (info.root().at_pointer("/0/backup").get(all) != simdjson::SUCCESS) return backups;
  for (const element backup : all) backups.push_back(backup);
  return backups;
}

}  // namespace

PgBackRest::PgBackRest(const fs::path& directory)
    : directory_(directory / "pgbackrest"),
      config_(directory_ / "pgbackrest.conf"),
      user_(cluster::postgres_os_user()) {
  if (access(kProgram, X_OK) != 0)
    throw Error(ErrorCode::kInvalidState, "these backups are made with pgBackRest, and " + std::string(kProgram) +
                                              " is not there: install the package pgbackrest");
}

std::string PgBackRest::run(std::vector<std::string> arguments) const {
  std::vector<std::string> command{kProgram, "--config=" + config_.string(), std::string("--stanza=") + kStanza};
  const std::string name = arguments.front();
  command.insert(command.end(), arguments.begin(), arguments.end());
  const cluster::Finished finished = cluster::run({command, user_, "/", SIGTERM});
  if (finished.exit_status != 0)
    throw Error(ErrorCode::kInvalidState,
                fmt::format("pgbackrest {} ended with {}: {}", name, finished.exit_status, finished.output));
  return finished.output;
}

void PgBackRest::prepare(const Server& server) const {
  for (const fs::path& path : {directory_, directory_ / "lock", directory_ / "repo"})
    if ((mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) ||
        (geteuid() == 0 && chown(path.c_str(), user_.uid, user_.gid) != 0))
      throw Error(ErrorCode::kInvalidState, "cannot make " + path.string() + " for user " + user_.name);
  // Beside its files nobody is to look for another configuration, and what it says is its errors.
  const std::string text = fmt::format(
      "# Written by cairn backup create. By hand: pgbackrest --config={0}/pgbackrest.conf --stanza={1} info\n"
      "[global]\nrepo1-path={0}/repo\nlock-path={0}/lock\nlog-level-file=off\nlog-level-console=off\n"
      "log-level-stderr=error\ncompress-type=zst\nstart-fast=y\n\n"
      "[{1}]\npg1-path={2}\npg1-socket-path={3}\npg1-port={4}\npg1-user=postgres\n",
      directory_.string(), kStanza, server.data_directory, server.socket_directory, server.port);
  write_file_durably(config_, text, FileOwner{user_.uid, user_.gid});
  run({"stanza-create"});
}

std::string PgBackRest::archive_command() const {
  return fmt::format("{} --config=\"{}\" --stanza={} archive-push \"%p\"", kProgram, config_.string(), kStanza);
}

std::string PgBackRest::fetch_command(const fs::path& data) const {
  return fmt::format("{} --config=\"{}\" --stanza={} --pg1-path=\"{}\" archive-get %f \"%p\"", kProgram,
                     config_.string(), kStanza, data.string());
}

std::string PgBackRest::info() const { return run({"info", "--output=json"}); }

std::string PgBackRest::last_segment() const {
  const json::Document document(info());
  return text_at(document.root(), "/0/archive/0/max");
}

PgBackRest::Set PgBackRest::make(const std::string& id, bool full) const {
  run({"backup", std::string("--type=") + (full ? "full" : "incr"), "--no-expire-auto",
       fmt::format("--annotation={}={}", kNote, id)});
  const json::Document document(info());
  for (const element& backup : backups_of(document))
    if (text_at(backup, ("/annotation/" + std::string(kNote)).c_str()) == id) return set_of(backup);
  throw Error(ErrorCode::kInternalError, "pgbackrest made a backup, and does not list it");
}

PgBackRest::Set PgBackRest::find(const std::string& label) const {
  const json::Document document(info());
  for (const element& backup : backups_of(document))
    if (text_at(backup, "/label") == label) return set_of(backup);
  throw not_found("pgbackrest has no backup " + label + " in " + directory_.string());
}

void PgBackRest::keep_only(const std::set<std::string>& labels) const {
  const json::Document document(info());
  std::set<std::string> needed = labels;
  const std::vector<element> all = backups_of(document);
  for (const element& backup : all) {
    simdjson::dom::array references;
    if (!labels.contains(text_at(backup, "/label")) || backup["reference"].get(references) != simdjson::SUCCESS)
      continue;
    for (const element reference : references) needed.emplace(std::string_view(reference));
  }
  int64_t full = 0;
  std::string gone;  // a full one takes its increments along
  for (const element& backup : all) {
    const std::string label = text_at(backup, "/label");
    full += needed.contains(label) && text_at(backup, "/type") == "full" ? 1 : 0;
    if (needed.contains(label) || (!gone.empty() && label.starts_with(gone))) continue;
    run({"expire", "--set=" + label});
    if (text_at(backup, "/type") == "full") gone = label + "_";
  }
  if (full > 0) run({"expire", fmt::format("--repo1-retention-full={}", full)});
}

void PgBackRest::restore(const std::string& label, const fs::path& data) const {
  run({"restore", "--set=" + label, "--pg1-path=" + data.string(), "--type=preserve"});
}

}  // namespace cairn::backup
