// `cairn backup restore` and `verify`: a copy of the base backup, recovered by PostgreSQL itself, and the artifacts of
// that point beside it.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <map>

#include "backup/api.h"
#include "backup/artifacts.h"
#include "backup/figures.h"
#include "backup/recovery.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "cluster/cluster.h"

namespace cairn::backup {
namespace {

namespace fs = std::filesystem;

constexpr int kNotGood = 1;
constexpr size_t kMostNamed = 20;

// A directory that is removed unless it was given its final name.
class Draft {
 public:
  explicit Draft(const fs::path& target) {
    std::string name = target.string() + ".restoring-XXXXXX";
    if (mkdtemp(name.data()) == nullptr)
      throw Error(ErrorCode::kInvalidState, "cannot make " + name + ": " + std::strerror(errno));
    path_ = name;
    // PostgreSQL as another user must be able to pass through.
    fs::permissions(path_, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  }
  ~Draft() {
    std::error_code failure;
    if (!path_.empty()) fs::remove_all(path_, failure);
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  const fs::path& path() const { return path_; }

  fs::path make_for_postgres(const std::string& name) const {
    const cluster::OsUser user = cluster::postgres_os_user();
    const fs::path made = path_ / name;
    if (mkdir(made.c_str(), 0700) != 0 || chown(made.c_str(), user.uid, user.gid) != 0)
      throw Error(ErrorCode::kInvalidState, "cannot make " + made.string() + ": " + std::strerror(errno));
    return made;
  }
  // An empty directory of that name is replaced.
  void publish(const fs::path& target) {
    if (::rename(path_.c_str(), target.c_str()) != 0)
      throw Error(ErrorCode::kInvalidState,
                  "cannot rename " + path_.string() + " to " + target.string() + ": " + std::strerror(errno));
    path_.clear();
  }

 private:
  fs::path path_;
};

// Of restores that were killed; this one holds the repository's lock.
void remove_drafts(const fs::path& target) {
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(target.parent_path(), failure))
    if (entry.path().string().starts_with(target.string() + ".restoring-")) fs::remove_all(entry.path(), failure);
}

std::string archive_of(const Repository& repository, const fs::path& data) {
  const auto tool = repository.pgbackrest();
  return tool ? tool->fetch_command(data) : fetch_from(repository.wal());
}

Backup choose(const std::vector<Backup>& all, const std::string& id, const Target& target) {
  if (all.empty()) throw not_found("there is no finished backup: make one with `cairn backup create`");
  const auto is_before = [&](const Backup& backup) {
    if (target.time_us) return backup.stopped_at * 1000 <= *target.time_us;
    if (target.lsn) return parse_lsn(backup.stop_lsn) <= parse_lsn(*target.lsn);
    return true;
  };
  if (!id.empty()) {
    const auto found = std::ranges::find(all, id, &Backup::id);
    if (found == all.end()) throw not_found("there is no backup " + id + ": `cairn backup list` names those that are");
    if (is_before(*found)) return *found;
    throw invalid("the backup " + id + " ended at " + time_text(found->stopped_at) + " (" + found->stop_lsn +
                  "), and the point is before that: give an older one, or leave --backup out");
  }
  // Where a restore point lies is not known before it is met: the oldest backup comes before it if any does.
  if (target.name) {
    for (const Backup& backup : all)
      if (backup.restore_point == *target.name) return backup;
    return all.front();
  }
  for (auto backup = all.rbegin(); backup != all.rend(); ++backup)
    if (is_before(*backup)) return *backup;
  throw invalid("the point lies before the end of the oldest backup, " + all.front().id +
                ": the earliest that can be restored is " + time_text(all.front().stopped_at) + " (" +
                all.front().stop_lsn + ")");
}

// What was restored, for the report.
struct Restored {
  Backup backup;
  std::string last_commit;  // empty: no transaction was replayed
  ArtifactList artifacts;
  bool live_artifacts = false;
  std::string artifacts_until;  // not live: they are known up to here
};

class Restoration {
 public:
  explicit Restoration(const RestoreOptions& options) : options_(options) {
    if (!options.time.empty()) target_.time_us = parse_time_us(options.time);
    if (!options.lsn.empty()) parse_lsn(options.lsn), target_.lsn = options.lsn;
    if (!options.name.empty()) target_.name = options.name;
    target_dir_ = fs::weakly_canonical(fs::absolute(options.target_dir));
    if (fs::exists(target_dir_) && !(fs::is_directory(target_dir_) && fs::is_empty(target_dir_)))
      throw Error(ErrorCode::kResourceConflict, target_dir_.string() +
                                                    " is there already, and not empty: a restore goes into a "
                                                    "new directory");
    std::error_code failure;
    fs::create_directories(target_dir_.parent_path(), failure);
    Repository(options.directory, Repository::Use::kRead);  // must be there
    repository_.emplace(options.directory, Repository::Use::kWrite);
    remove_drafts(target_dir_);
  }

  Restored run() {
    const std::vector<Backup> all = repository_->list();
    Restored restored;
    restored.backup = choose(all, options_.backup, target_);
    Draft draft(target_dir_);
    const std::string programs = cluster::programs_of(restored.backup.major, options_.postgres_bin);
    const fs::path data = draft.make_for_postgres("postgres") / std::to_string(restored.backup.major);
    {
      repository_->lay_down(restored.backup, data);
      Recovery recovery(data, programs);
      recovery.recover(target_, fetch_commands(restored.backup.major, data), true);
      cluster::Session session(recovery.connection_string("cairn"));
      restored.last_commit = session.value("SELECT pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC'");
      recovery.finish();
    }
    collect_artifacts(all, restored);
    restore_artifacts(*repository_, restored.artifacts, draft.path() / "artifacts");
    const int fd = open(draft.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) syncfs(fd), close(fd);
    draft.publish(target_dir_);
    return restored;
  }

  const fs::path& target_dir() const { return target_dir_; }

 private:
  // The newest segments are still where they were written, if the data directory is.
  std::vector<std::string> fetch_commands(int major, const fs::path& data) const {
    std::vector<std::string> all{archive_of(*repository_, data)};
    const auto owner = repository_->owner();
    const fs::path live = fs::path(owner ? owner->data_dir : "") / "postgres" / std::to_string(major) / "pg_wal";
    if (owner && fs::is_directory(live) && live.string().find_first_of("'\"\\%`$\n") == std::string::npos)
      all.push_back(fetch_from(live));
    return all;
  }

  // Up to the first list that is younger than the point; where there is none, up to what is stored right now.
  void collect_artifacts(const std::vector<Backup>& all, Restored& restored) {
    int64_t point_us = std::numeric_limits<int64_t>::max();
    if (target_.time_us)
      point_us = *target_.time_us;
    else if ((target_.lsn || target_.name) && !restored.last_commit.empty())
      point_us = parse_time_us(restored.last_commit);
    ArtifactsAt files(target_.time_us ? *target_.time_us * 1000 : std::numeric_limits<int64_t>::max());
    for (const Backup& backup : all) {
      if (backup.started_at < restored.backup.started_at) continue;
      const bool before = backup.stopped_at * 1000 <= point_us;
      files.add(repository_->artifacts(backup), before);
      restored.artifacts_until = time_text(backup.stopped_at);
      if (!before) return keep(files, restored);
    }
    const auto owner = repository_->owner();
    if (owner && fs::is_directory(owner->artifact_root)) {
      files.add(store_artifacts(*repository_, owner->artifact_root, files.files()), false);
      restored.live_artifacts = true;
    }
    keep(files, restored);
  }
  static void keep(const ArtifactsAt& files, Restored& restored) { restored.artifacts = files.files(); }

  RestoreOptions options_;
  Target target_;
  fs::path target_dir_;
  std::optional<Repository> repository_;
};

// One line of what verify() looked at.
struct Check {
  std::string name;
  bool good = true;
  std::string detail;
};

class Verification {
 public:
  explicit Verification(const VerifyOptions& options)
      : options_(options), repository_(options.directory, Repository::Use::kRead) {
    const std::vector<Backup> all = repository_.list();
    if (all.empty()) throw not_found("there is no finished backup: make one with `cairn backup create`");
    backup_ = options.backup.empty() ? all.back() : repository_.get(options.backup);
  }

  const std::vector<Check>& run() {
    check_base();
    if (checks_.back().good) check_restored();
    check_contents();
    repository_.save_verified(backup_, {now_ms(), good()});
    return checks_;
  }

  bool good() const { return std::ranges::all_of(checks_, &Check::good); }
  const Backup& backup() const { return backup_; }

 private:
  void check_base() {
    if (const auto tool = repository_.pgbackrest()) {
      const PgBackRest::Set set = tool->find(backup_.label);
      checks_.push_back({"base backup", !set.damaged,
                         set.damaged ? "pages had wrong checksums when it was made: pgbackrest info tells of which file"
                                     : set.type + " backup " + set.label + " of pgBackRest"});
      return;
    }
    const std::string programs = cluster::programs_of(backup_.major, options_.postgres_bin);
    const cluster::Finished verified = cluster::run(
        {{programs + "/pg_verifybackup", repository_.base(backup_)}, cluster::postgres_os_user(), "/", SIGTERM});
    checks_.push_back(
        {"base backup", verified.exit_status == 0,
         verified.exit_status == 0 ? "every file as its manifest says, its WAL readable" : verified.output});
  }

  // To the point at which the tables were counted.
  void check_restored() {
    const Draft draft(repository_.directory() / "verify");
    const std::string programs = cluster::programs_of(backup_.major, options_.postgres_bin);
    try {
      const fs::path data = draft.make_for_postgres("postgres") / "data";
      repository_.lay_down(backup_, data);
      Recovery recovery(data, programs);
      recovery.recover({.time_us = {}, .lsn = {}, .name = backup_.restore_point}, {archive_of(repository_, data)},
                       false);
      checks_.push_back({"recovery", true, "to " + backup_.restore_point});
      {
        cluster::Session session(recovery.connection_string("cairn"));
        session.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        compare(table_figures(session));
      }
      recovery.finish();
      const cluster::Finished pages =
          recovery.run("pg_checksums", {"--check", "--pgdata=" + (draft.path() / "postgres" / "data").string()});
      checks_.push_back(
          {"pages", pages.exit_status == 0, pages.exit_status == 0 ? "every checksum right" : pages.output});
    } catch (const Error& error) {
      checks_.push_back({"recovery", false, error.what()});
    }
  }

  void compare(const std::vector<TableFigure>& restored) {
    std::map<std::string, TableFigure> found;
    for (const TableFigure& table : restored) found[table.name] = table;
    std::vector<std::string> different;
    int64_t rows = 0;
    for (const TableFigure& table : backup_.tables) {
      rows += table.rows;
      const TableFigure& other = found[table.name];
      if (other == table) continue;
      different.push_back(other.name.empty() ? table.name + " is not there"
                                             : fmt::format("{}: {} rows, checksum {}; it had {}, {}", table.name,
                                                           other.rows, other.checksum, table.rows, table.checksum));
    }
    if (different.empty()) {
      checks_.push_back(
          {"tables", true,
           fmt::format("{} tables, {} rows: counts and checksums as they were", backup_.tables.size(), rows)});
    } else if (!backup_.exact) {
      checks_.push_back(
          {"tables", restored.size() >= backup_.tables.size(),
           fmt::format("{} tables are readable; {} changed while they were counted, for writes never paused",
                       restored.size(), different.size())});
    } else {
      checks_.push_back({"tables", false,
                         fmt::format("{} of {} differ: {}", different.size(), backup_.tables.size(), join(different))});
    }
  }

  void check_contents() {
    const ArtifactList files = repository_.artifacts(backup_);
    const std::vector<Damage> damages = check_artifacts(repository_, files);
    std::vector<std::string> named;
    for (const Damage& damage : damages) named.push_back(damage.what + ": " + damage.why);
    checks_.push_back({"artifacts", damages.empty(),
                       damages.empty() ? fmt::format("{} files, every checksum right", files.size()) : join(named)});
  }

  static std::string join(std::vector<std::string> parts) {
    if (parts.size() > kMostNamed) {
      const size_t more = parts.size() - kMostNamed;
      parts.resize(kMostNamed);
      parts.push_back(fmt::format("and {} more", more));
    }
    return fmt::format("{}", fmt::join(parts, "\n  "));
  }

  VerifyOptions options_;
  Repository repository_;
  Backup backup_;
  std::vector<Check> checks_;
};

}  // namespace

int restore(const RestoreOptions& options, std::ostream& out) {
  Restoration restoration(options);
  const Restored restored = restoration.run();
  if (options.json) {
    std::string text;
    json::Writer json(text);
    json.begin_object();
    json.field("backup", restored.backup.id);
    json.field("data_dir", restoration.target_dir().string());
    json.field("last_commit", restored.last_commit);
    json.field("artifacts", static_cast<int64_t>(restored.artifacts.size()));
    json.field("artifacts_until", restored.live_artifacts ? "now" : restored.artifacts_until);
    json.end_object();
    out << text << "\n";
    return 0;
  }
  out << "restored from " << restored.backup.id << " to " << restoration.target_dir().string()
      << "\n  last transaction "
      << (restored.last_commit.empty() ? "before the backup's end" : restored.last_commit + " UTC")
      << "\n  artifacts        " << restored.artifacts.size() << " files\n";
  if (!restored.live_artifacts) out << "                   known up to " << restored.artifacts_until << "\n";
  out << "Start it: cairn serve --data-dir " << restoration.target_dir().string() << "\n";
  return 0;
}

int verify(const VerifyOptions& options, std::ostream& out) {
  Verification verification(options);
  const std::vector<Check>& checks = verification.run();
  if (options.json) {
    std::string text;
    json::Writer json(text);
    json.begin_object();
    json.field("backup", verification.backup().id);
    json.field("good", verification.good());
    json.key("checks");
    json.begin_array();
    for (const Check& check : checks) {
      json.begin_object();
      json.field("name", check.name);
      json.field("good", check.good);
      json.field("detail", check.detail);
      json.end_object();
    }
    json.end_array();
    json.end_object();
    out << text << "\n";
  } else {
    out << "backup " << verification.backup().id << ": " << (verification.good() ? "good" : "NOT GOOD") << "\n";
    for (const Check& check : checks)
      out << fmt::format("  {:<12} {:<4} {}\n", check.name, check.good ? "ok" : "BAD", check.detail);
  }
  return verification.good() ? 0 : kNotGood;
}

}  // namespace cairn::backup
