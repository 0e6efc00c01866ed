// `cairn backup create`. The order is what makes database and artifacts agree: bulk of the artifacts, base backup,
// restore point, the rest of the artifacts. A restore to the restore point then finds all that was stored before it.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "backup/api.h"
#include "backup/artifacts.h"
#include "backup/figures.h"
#include "backup/repository.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "cluster/cluster.h"
#include "cluster/session.h"

namespace cairn::backup {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using cluster::Session;
using std::chrono::steady_clock;

constexpr auto kQuietPatience = 2s;
constexpr auto kArchivePatience = 60s;

// As `cairn gc` holds it: what the backup names must not be removed while it is made.
constexpr const char* kKeepCollectorOut = "SELECT pg_advisory_lock(x'636169726e67634'::bigint)";
constexpr const char* kSetting = "SELECT current_setting($1, true)";
constexpr const char* kIdentity = "SELECT system_identifier FROM pg_control_system()";
constexpr const char* kTablespaces =
    "SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')";
constexpr const char* kNowMs = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
// Right behind another switch there is nothing to switch from: the segment would be one that was archived before.
constexpr const char* kSwitch =
    "SELECT pg_walfile_name(pg_switch_wal()) FROM pg_logical_emit_message(false, 'cairn backup', '')";
constexpr const char* kArchiverFailure =
    "SELECT coalesce(last_failed_wal || ' at ' || last_failed_time, '') FROM pg_stat_archiver "
    "WHERE last_failed_time > coalesce(last_archived_time, '-infinity')";

constexpr const char* kArchived = "SELECT coalesce(left(last_archived_wal, 24) >= $1, false) FROM pg_stat_archiver";

// In the data directory: where its last backup was put, for the server's schedule.
constexpr const char* kNote = "backup_directory";

// As cairn.conf has it where nobody archives.
constexpr const char* kNoArchive = "/bin/true";

// Never over a file that is there: the same again is fine, another one is an error. On the disk before it has its name.
std::string archive_command(const fs::path& wal) {
  const std::string target = "\"" + wal.string() + "/%f\"", draft = "\"" + wal.string() + "/%f.tmp\"";
  return fmt::format(
      "if [ -e {0} ]; then cmp -s \"%p\" {0}; else cp \"%p\" {1} && sync {1} && mv {1} {0} && sync \"{2}\"; fi", target,
      draft, wal.string());
}

class Creation {
 public:
  explicit Creation(const CreateOptions& options)
      : options_(options),
        repository_(options.directory, Repository::Use::kWrite),
        session_(options.connection_string) {}

  Backup run() {
    backup_.major = std::stoi(session_.value(kSetting, {"server_version_num"})) / 10000;
    programs_ = cluster::programs_of(backup_.major, options_.postgres_bin);
    if (session_.value(kTablespaces) != "0")
      throw Error(ErrorCode::kNotImplemented,
                  "the cluster has tablespaces outside its directory, which are not backed up: "
                  "move what is in them (ALTER TABLE … SET TABLESPACE pg_default) and drop them");
    const auto owner = repository_.owner();
    const bool with_pgbackrest = options_.with.empty() ? owner && owner->pgbackrest : options_.with == "pgbackrest";
    if (options_.full && !with_pgbackrest)
      throw invalid("every backup of PostgreSQL's own tools is a full one: --full is for --with pgbackrest");
    if (with_pgbackrest) PgBackRest{repository_.directory()};  // must be there
    repository_.claim(
        {session_.value(kIdentity), options_.data_dir, fs::absolute(options_.artifact_root), with_pgbackrest});
    repository_.remove_leftovers();
    pgbackrest_ = repository_.pgbackrest();
    if (pgbackrest_)
      pgbackrest_->prepare({session_.value(kSetting, {"data_directory"}),
                            session_.value(kSetting, {"unix_socket_directories"}), session_.value(kSetting, {"port"})});
    start_archiving();
    session_.query(kKeepCollectorOut);
    const std::vector<Backup> before = repository_.list();
    const ArtifactList known = before.empty() ? ArtifactList() : repository_.artifacts(before.back());
    ArtifactList artifacts = store_artifacts(repository_, options_.artifact_root, known);
    name_it();
    const fs::path partial = repository_.make_partial();
    if (pgbackrest_)
      make_with_pgbackrest();
    else
      copy_base(partial);
    set_restore_point();
    ArtifactList last = store_artifacts(repository_, options_.artifact_root, artifacts);
    last.insert(artifacts.begin(), artifacts.end());  // removed while the backup was made: named, perhaps, at its point
    wait_for_archive(session_.value(kSwitch));
    repository_.publish(partial, backup_, last);
    write_file_durably(fs::path(options_.data_dir) / kNote, repository_.directory().string() + "\n");
    artifacts_ = std::move(last);
    if (options_.keep) removed_ = repository_.expire(static_cast<size_t>(*options_.keep), programs_);
    return backup_;
  }

  const ArtifactList& artifacts() const { return artifacts_; }
  const std::vector<std::string>& removed() const { return removed_; }
  const fs::path& directory() const { return repository_.directory(); }

 private:
  // Turns the archive on, or finds that it is on. What cannot be archived stays in pg_wal and fills the disk: so an
  // archive that does not work is turned off again.
  void start_archiving() {
    if (session_.value(kSetting, {"archive_mode"}) != "on")
      throw Error(ErrorCode::kInvalidState,
                  "archive_mode is off: start the server again, so that it takes up its settings; if a setting of your "
                  "own turns it off, take that out");
    const std::string present = session_.value(kSetting, {"archive_command"});
    const std::string wanted = pgbackrest_ ? pgbackrest_->archive_command() : archive_command(repository_.wal());
    if (present == wanted) return;
    if (present != kNoArchive)
      throw Error(ErrorCode::kResourceConflict,
                  "the WAL is archived elsewhere already, and there can be one archive: give the --backup-dir that it "
                  "goes to, or end it with ALTER SYSTEM RESET archive_command. It goes by: " +
                      present);
    session_.query("ALTER SYSTEM SET archive_command = " + session_.literal(wanted));
    session_.query("ALTER SYSTEM SET archive_timeout = '5min'");
    session_.query("SELECT pg_reload_conf()");
    try {
      wait_for_first_segment();
    } catch (...) {
      for (const char* name : {"archive_command", "archive_timeout"})
        session_.query(std::string("ALTER SYSTEM RESET ") + name);
      session_.query("SELECT pg_reload_conf()");
      throw;
    }
  }

  // The archiver hears of its new command a moment after pg_reload_conf() has returned. A segment that it has put
  // nowhere until then will not be archived again: another one is waited for.
  void wait_for_first_segment() {
    const auto until = steady_clock::now() + kArchivePatience;
    for (std::string segment = session_.value(kSwitch); !archived(segment); std::this_thread::sleep_for(10ms)) {
      if (steady_clock::now() > until) throw not_archived(segment);
      if (session_.value(kArchived, {segment}) == "t" && !archived(segment)) segment = session_.value(kSwitch);
    }
  }

  void wait_for_archive(const std::string& segment) {
    const auto until = steady_clock::now() + kArchivePatience;
    for (; !archived(segment); std::this_thread::sleep_for(10ms))
      if (steady_clock::now() > until) throw not_archived(segment);
  }

  bool archived(const std::string& segment) {
    return pgbackrest_ ? pgbackrest_->last_segment() >= segment : fs::exists(repository_.wal() / segment);
  }

  Error not_archived(const std::string& segment) {
    const auto failure = session_.query(kArchiverFailure);
    return {ErrorCode::kTemporarilyUnavailable,
            fmt::format("the WAL segment {} has not come into {} within a minute{}: see PostgreSQL's log in {}/log, "
                        "and whether its user {} may write there",
                        segment, repository_.directory().string(),
                        failure.empty() ? "" : "; the last failure: " + failure[0][0].value_or(""), options_.data_dir,
                        cluster::postgres_os_user().name)};
  }

  void name_it() {
    backup_.started_at = std::stoll(session_.value(kNowMs));
    const time_t seconds = backup_.started_at / 1000;
    tm parts{};
    gmtime_r(&seconds, &parts);
    char text[32];
    strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
    backup_.id = text;
    for (int n = 2; fs::exists(repository_.backups() / backup_.id); ++n) backup_.id = fmt::format("{}-{}", text, n);
  }

  void copy_base(const fs::path& partial) {
    const fs::path base = partial / "base";
    const cluster::Finished copied = cluster::run(
        {{programs_ + "/pg_basebackup", "--pgdata=" + base.string(), "--wal-method=stream", "--checkpoint=fast",
          "--no-sync", "--no-password", "--label=cairn " + backup_.id, "--dbname=" + options_.connection_string},
         cluster::postgres_os_user(),
         "/",
         SIGTERM});
    if (copied.exit_status != 0)
      throw Error(ErrorCode::kInvalidState,
                  fmt::format("pg_basebackup ended with {}: {}", copied.exit_status, copied.output));
    backup_.stopped_at = std::stoll(session_.value(kNowMs));
    const json::Document manifest(read_file(base / "backup_manifest"));
    const std::vector<json::Fields> ranges = json::root_fields(manifest).objects("WAL-Ranges");
    if (ranges.size() != 1) throw Error(ErrorCode::kInternalError, "pg_basebackup's manifest names no range of WAL");
    backup_.timeline = ranges[0].required_integer("Timeline");
    backup_.start_lsn = ranges[0].required_string("Start-LSN");
    backup_.stop_lsn = ranges[0].required_string("End-LSN");
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(base))
      if (entry.is_regular_file()) backup_.base_bytes += static_cast<int64_t>(entry.file_size());
  }

  void make_with_pgbackrest() {
    // Of backups that were cut off.
    std::set<std::string> labels;
    for (const Backup& backup : repository_.list()) labels.insert(backup.label);
    if (!labels.empty()) pgbackrest_->keep_only(labels);
    const PgBackRest::Set set = pgbackrest_->make(backup_.id, options_.full);
    backup_.stopped_at = std::stoll(session_.value(kNowMs));
    backup_.timeline = std::stoll(set.start_segment.substr(0, 8), nullptr, 16);
    backup_.start_lsn = set.start_lsn;
    backup_.stop_lsn = set.stop_lsn;
    backup_.label = set.label;
    backup_.type = set.type;
    backup_.base_bytes = set.database_bytes;
    backup_.stored_bytes = set.stored_bytes;
  }

  // Where no transaction that writes is under way, neither before nor after, the snapshot is what a recovery to the
  // point gives. Most servers have such a moment within milliseconds.
  void set_restore_point() {
    Session snapshot(options_.connection_string);
    const auto until = steady_clock::now() + kQuietPatience;
    for (int attempt = 1; !backup_.exact; ++attempt) {
      const bool last = steady_clock::now() > until;
      snapshot.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
      const Session::Row seen =
          snapshot.query("SELECT pg_snapshot_xmin(s), pg_snapshot_xmax(s) FROM pg_current_snapshot() s").at(0);
      if (seen[0] == seen[1] || last) {
        backup_.restore_point = fmt::format("cairn_backup_{}_{}", backup_.id, attempt);
        session_.query("SELECT pg_create_restore_point($1)", {backup_.restore_point});
        const std::string after = session_.value("SELECT pg_snapshot_xmax(pg_current_snapshot())");
        backup_.exact = seen[0] == seen[1] && after == seen[1];
      }
      if (backup_.exact || last) break;
      snapshot.query("ROLLBACK");
      std::this_thread::sleep_for(2ms);
    }
    backup_.tables = table_figures(snapshot);
    snapshot.query("COMMIT");
  }

  CreateOptions options_;
  Repository repository_;
  Session session_;
  std::optional<PgBackRest> pgbackrest_;
  std::string programs_;
  Backup backup_;
  ArtifactList artifacts_;
  std::vector<std::string> removed_;
};

// Row by row as text, whatever their order. Not what a restore begins empty (unlogged), nor what is a session's.
constexpr const char* kTables =
    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p' AND c.relispopulated "
    "AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1";
constexpr const char* kFigure =
    "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM ONLY ";

}  // namespace

std::vector<TableFigure> table_figures(Session& session) {
  for (const char* setting :
       {"SET LOCAL timezone = 'UTC'", "SET LOCAL datestyle = 'ISO, YMD'", "SET LOCAL intervalstyle = 'postgres'",
        "SET LOCAL extra_float_digits = 1", "SET LOCAL bytea_output = 'hex'"})
    session.query(setting);
  std::vector<TableFigure> figures;
  for (const Session::Row& row : session.query(kTables)) {
    const Session::Row figure = session.query(kFigure + *row[0] + " t").at(0);  // quoted by format()
    figures.push_back({*row[0], std::stoll(*figure[0]), *figure[1]});
  }
  return figures;
}

std::string last_directory(const std::string& data_dir) {
  const fs::path note = fs::path(data_dir) / kNote, usual = fs::path(data_dir) / "backups";
  if (!fs::exists(note)) return fs::exists(usual / "repository.json") ? usual.string() : "";
  std::string directory = read_file(note);
  while (directory.ends_with('\n')) directory.pop_back();
  return directory;
}

int create(const CreateOptions& options, std::ostream& out) {
  Creation creation(options);
  const Backup backup = creation.run();
  int64_t rows = 0, artifact_bytes = 0;
  for (const TableFigure& table : backup.tables) rows += table.rows;
  for (const auto& [path, file] : creation.artifacts()) artifact_bytes += file.size;
  if (options.json) {
    std::string text;
    json::Writer json(text);
    json.begin_object();
    json.field("id", backup.id);
    json.field("directory", creation.directory().string());
    json.field("base_bytes", backup.base_bytes);
    if (!backup.label.empty()) {
      json.field("type", backup.type);
      json.field("stored_bytes", backup.stored_bytes);
    }
    json.field("tables", static_cast<int64_t>(backup.tables.size()));
    json.field("rows", rows);
    json.field("exact", backup.exact);
    json.field("artifacts", static_cast<int64_t>(creation.artifacts().size()));
    json.field("artifact_bytes", artifact_bytes);
    json.key("removed");
    json.begin_array();
    for (const std::string& id : creation.removed()) json.string(id);
    json.end_array();
    json.end_object();
    out << text << "\n";
    return 0;
  }
  out << fmt::format("backup {} in {}\n  database   {:.1f} MB, {} tables, {} rows\n  artifacts  {} files, {:.1f} MB\n",
                     backup.id, creation.directory().string(), static_cast<double>(backup.base_bytes) / 1e6,
                     backup.tables.size(), rows, creation.artifacts().size(),
                     static_cast<double>(artifact_bytes) / 1e6);
  if (!backup.label.empty())
    out << fmt::format("  pgBackRest {} ({}), {:.1f} MB stored\n", backup.label, backup.type,
                       static_cast<double>(backup.stored_bytes) / 1e6);
  for (const std::string& id : creation.removed()) out << "  removed    " << id << "\n";
  out << "The WAL is archived there too, so that `cairn backup restore` reaches any point from now on.\n";
  return 0;
}

}  // namespace cairn::backup
