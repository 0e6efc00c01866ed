#include "backup/repository.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <fstream>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace cairn::backup {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFormat = 1;
constexpr int64_t kFormatOfPgBackRest = 2;
constexpr const char* kPartial = ".partial-";
constexpr const char* kRemoved = ".removed-";
constexpr const char* kVerifying = "verify.restoring-";

Error system_error(const std::string& what, const fs::path& path) {
  return Error(errno == ENOSPC || errno == EDQUOT ? ErrorCode::kInsufficientStorage : ErrorCode::kInvalidState,
               "cannot " + what + " " + path.string() + ": " + std::strerror(errno));
}

std::string to_json(const Backup& backup) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("format", backup.label.empty() ? kFormat : kFormatOfPgBackRest);
  out.field("id", backup.id);
  out.field("major", backup.major);
  out.field("started_at", backup.started_at);
  out.field("stopped_at", backup.stopped_at);
  out.field("start_lsn", backup.start_lsn);
  out.field("stop_lsn", backup.stop_lsn);
  out.field("timeline", backup.timeline);
  out.field("restore_point", backup.restore_point);
  out.field("exact", backup.exact);
  out.field("base_bytes", backup.base_bytes);
  if (!backup.label.empty()) {
    out.field("label", backup.label);
    out.field("type", backup.type);
    out.field("stored_bytes", backup.stored_bytes);
  }
  out.key("tables");
  out.begin_array();
  for (const TableFigure& table : backup.tables) {
    out.begin_object();
    out.field("name", table.name);
    out.field("rows", table.rows);
    out.field("checksum", table.checksum);
    out.end_object();
  }
  out.end_array();
  out.end_object();
  return text + "\n";
}

void check_format(const json::Fields& fields, const fs::path& path) {
  if (const int64_t format = fields.required_integer("format"); format != kFormat && format != kFormatOfPgBackRest)
    throw Error(ErrorCode::kInvalidState,
                fmt::format("{} has format {}, and this program knows {} and {}: use the Cairn that made it",
                            path.string(), format, kFormat, kFormatOfPgBackRest));
}

Backup backup_from(const fs::path& path) {
  const json::Document document(read_file(path));
  const json::Fields fields = json::root_fields(document);
  check_format(fields, path);
  Backup backup;
  backup.id = fields.required_string("id");
  backup.major = static_cast<int>(fields.required_integer("major"));
  backup.started_at = fields.required_integer("started_at");
  backup.stopped_at = fields.required_integer("stopped_at");
  backup.start_lsn = fields.required_string("start_lsn");
  backup.stop_lsn = fields.required_string("stop_lsn");
  backup.timeline = fields.required_integer("timeline");
  backup.restore_point = fields.required_string("restore_point");
  backup.exact = fields.boolean("exact").value_or(false);
  backup.base_bytes = fields.required_integer("base_bytes");
  backup.label = fields.string("label").value_or("");
  backup.type = fields.string("type").value_or("");
  backup.stored_bytes = fields.integer("stored_bytes").value_or(0);
  for (const json::Fields& table : fields.objects("tables"))
    backup.tables.push_back(
        {table.required_string("name"), table.required_integer("rows"), table.required_string("checksum")});
  return backup;
}

// One flush of the file system instead of one a file.
void sync_file_system(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool done = fd >= 0 && syncfs(fd) == 0;
  if (fd >= 0) close(fd);
  if (!done) throw system_error("write", path);
}

void make_directory(const fs::path& path, mode_t mode, const cluster::OsUser* owner) {
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) throw system_error("make the directory", path);
  if (owner != nullptr && geteuid() == 0 && chown(path.c_str(), owner->uid, owner->gid) != 0)
    throw system_error("give to user " + owner->name, path);
}

}  // namespace

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(ErrorCode::kInvalidState, "cannot read " + path.string() + ": it is missing, or not yours");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

uint64_t parse_lsn(const std::string& text) {
  uint64_t parts[2] = {};
  const size_t slash = text.find('/');
  const char* ends[2] = {text.data() + slash, text.data() + text.size()};
  const char* begins[2] = {text.data(), text.data() + slash + 1};
  for (int i = 0; i < 2; ++i) {
    if (slash == text.npos || ends[i] - begins[i] > 8 || begins[i] == ends[i] ||
        std::from_chars(begins[i], ends[i], parts[i], 16).ptr != ends[i])
      throw invalid("'" + text + "' is no position in the WAL: give one as PostgreSQL writes it, like 0/3000060");
  }
  return parts[0] << 32 | parts[1];
}

std::string time_text(int64_t ms) {
  const time_t seconds = ms / 1000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text;
}

Repository::Repository(const std::string& directory, Use use) : postgres_(cluster::postgres_os_user()) {
  directory_ = fs::weakly_canonical(fs::absolute(directory));
  // It stands in PostgreSQL's settings and in a shell's command.
  if (directory_.string().find_first_of("'\"\\%`$\n") != std::string::npos)
    throw invalid("the backup directory's name may not hold quotes, backslashes, % or $: " + directory_.string());
  if (use == Use::kWrite) make();
  if (!fs::is_directory(backups()))
    throw not_found("there are no backups in " + directory_.string() +
                    ": make one with `cairn backup create`, or give the right --backup-dir");
  const fs::path lock = directory_ / "lock";
  lock_ = open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock_ < 0) throw system_error("open", lock);
  if (flock(lock_, (use == Use::kWrite ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
    close(lock_);
    throw Error(ErrorCode::kResourceConflict,
                "another `cairn backup` is at work in " + directory_.string() + ": try again when it has ended");
  }
}

Repository::~Repository() { close(lock_); }

void Repository::make() const {
  std::error_code failure;
  fs::create_directories(directory_, failure);
  if (failure) throw invalid("cannot make the backup directory " + directory_.string() + ": " + failure.message());
  // PostgreSQL as another user must be able to pass through.
  if (postgres_.uid != geteuid()) fs::permissions(directory_, fs::perms::others_exec, fs::perm_options::add, failure);
  make_directory(wal(), 0700, &postgres_);
  make_directory(backups(), 0700, &postgres_);
  make_directory(directory_ / "artifacts", 0700, nullptr);
}

fs::path Repository::content(const std::string& sha256) const {
  return directory_ / "artifacts" / sha256.substr(0, 2) / sha256;
}

std::optional<Owner> Repository::owner() const {
  const fs::path path = directory_ / "repository.json";
  if (!fs::exists(path)) return std::nullopt;
  const json::Document document(read_file(path));
  const json::Fields fields = json::root_fields(document);
  check_format(fields, path);
  return Owner{fields.required_string("system_identifier"), fields.required_string("data_dir"),
               fields.required_string("artifact_root"), fields.boolean("pgbackrest").value_or(false)};
}

void Repository::claim(const Owner& owner) const {
  const auto known = this->owner();
  if (known && (known->system_identifier != owner.system_identifier || known->data_dir != owner.data_dir))
    throw Error(ErrorCode::kResourceConflict, "the backups in " + directory_.string() +
                                                  " are those of the data directory " + known->data_dir +
                                                  ": give each data directory, also a restored one, a --backup-dir of "
                                                  "its own");
  if (known && known->pgbackrest != owner.pgbackrest)
    throw Error(ErrorCode::kResourceConflict,
                "the backups in " + directory_.string() + " are made " +
                    (known->pgbackrest ? "with pgBackRest" : "by PostgreSQL's own tools") +
                    ": leave --with out, or give other ones a --backup-dir of their own");
  if (known && known->artifact_root == owner.artifact_root) return;
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("format", owner.pgbackrest ? kFormatOfPgBackRest : kFormat);
  if (owner.pgbackrest) out.field("pgbackrest", true);
  out.field("system_identifier", owner.system_identifier);
  out.field("data_dir", owner.data_dir);
  out.field("artifact_root", owner.artifact_root);
  out.end_object();
  write_file_durably(directory_ / "repository.json", text + "\n");
}

std::vector<Backup> Repository::list() const {
  std::vector<Backup> all;
  for (const fs::directory_entry& entry : fs::directory_iterator(backups()))
    if (entry.path().filename().string()[0] != '.') all.push_back(backup_from(entry.path() / "backup.json"));
  std::sort(all.begin(), all.end(), [](const Backup& a, const Backup& b) {
    return std::tie(a.started_at, a.id) < std::tie(b.started_at, b.id);
  });
  return all;
}

Backup Repository::get(const std::string& id) const {
  for (Backup& backup : list())
    if (backup.id == id) return backup;
  throw not_found("there is no backup " + id + " in " + directory_.string() +
                  ": `cairn backup list` names those that are");
}

ArtifactList Repository::artifacts(const Backup& backup) const {
  ArtifactList list;
  std::istringstream lines(read_file(backups() / backup.id / "artifacts.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const json::Document document(line);
    const json::Fields fields = json::root_fields(document);
    list[fields.required_string("path")] = {fields.required_integer("size"), fields.required_integer("mtime_ns"),
                                            fields.required_string("sha256")};
  }
  return list;
}

std::optional<Verified> Repository::verified(const Backup& backup) const {
  const fs::path path = backups() / backup.id / "verified.json";
  if (!fs::exists(path)) return std::nullopt;
  const json::Document document(read_file(path));
  const json::Fields fields = json::root_fields(document);
  return Verified{fields.required_integer("at"), fields.boolean("good").value_or(false)};
}

void Repository::save_verified(const Backup& backup, const Verified& verified) const {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("at", verified.at);
  out.field("good", verified.good);
  out.end_object();
  write_file_durably(backups() / backup.id / "verified.json", text + "\n");
}

fs::path Repository::make_partial() const {
  std::string name = backups() / (std::string(kPartial) + "XXXXXX");
  if (mkdtemp(name.data()) == nullptr || (geteuid() == 0 && chown(name.c_str(), postgres_.uid, postgres_.gid) != 0))
    throw system_error("make the directory", name);
  return name;
}

void Repository::publish(const fs::path& partial, const Backup& backup, const ArtifactList& artifacts) const {
  std::string lines;
  for (const auto& [path, file] : artifacts) {
    json::Writer out(lines);
    out.begin_object();
    out.field("path", path);
    out.field("size", file.size);
    out.field("mtime_ns", file.mtime_ns);
    out.field("sha256", file.sha256);
    out.end_object();
    lines += "\n";
  }
  write_file_durably(partial / "artifacts.jsonl", lines);
  write_file_durably(partial / "backup.json", to_json(backup));
  sync_file_system(partial);
  const fs::path target = backups() / backup.id;
  if (rename(partial.c_str(), target.c_str()) != 0) throw system_error("write", target);
  sync_directory(backups());
}

// A program of a killed creation may still be ending: what cannot be removed now is the next time.
void Repository::remove_leftovers() const {
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(backups())) {
    const std::string name = entry.path().filename();
    if (name.starts_with(kPartial) || name.starts_with(kRemoved)) fs::remove_all(entry.path(), failure);
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(directory_))
    if (entry.path().filename().string().starts_with(kVerifying)) fs::remove_all(entry.path(), failure);
}

std::vector<std::string> Repository::expire(size_t keep, const std::string& programs) const {
  std::vector<Backup> all = list();
  std::vector<std::string> removed;
  if (all.size() <= keep) return removed;
  for (size_t i = 0; i + keep < all.size(); ++i) {
    const fs::path gone = backups() / (kRemoved + all[i].id);
    if (rename((backups() / all[i].id).c_str(), gone.c_str()) != 0) throw system_error("remove", gone);
    removed.push_back(all[i].id);
  }
  sync_directory(backups());
  remove_leftovers();
  const auto tool = pgbackrest();
  if (tool) {
    std::set<std::string> labels;
    for (const Backup& backup : list()) labels.insert(backup.label);
    tool->keep_only(labels);
  } else {
    sweep_wal(all[all.size() - keep], programs);
  }
  sweep_contents();
  return removed;
}

// 16 MB a segment, as initdb makes them.
void Repository::sweep_wal(const Backup& oldest, const std::string& programs) const {
  const uint64_t segment = parse_lsn(oldest.start_lsn) >> 24;
  const std::string first = fmt::format("{:08X}{:08X}{:08X}", oldest.timeline, segment >> 8, segment & 0xff);
  const cluster::Finished cleaned =
      cluster::run({{programs + "/pg_archivecleanup", wal(), first}, postgres_, "/", SIGTERM});
  if (cleaned.exit_status != 0)
    throw Error(ErrorCode::kInternalError,
                "pg_archivecleanup could not clear " + wal().string() + ": " + cleaned.output);
}

std::optional<PgBackRest> Repository::pgbackrest() const {
  const auto known = owner();
  if (!known || !known->pgbackrest) return std::nullopt;
  return PgBackRest(directory_);
}

void Repository::lay_down(const Backup& backup, const fs::path& data) const {
  if (const auto tool = pgbackrest()) {
    make_directory(data, 0700, &postgres_);
    return tool->restore(backup.label, data);
  }
  const cluster::Finished copied =
      cluster::run({{"/bin/cp", "-a", "--reflink=auto", base(backup), data}, postgres_, "/", SIGTERM});
  if (copied.exit_status != 0)
    throw Error(ErrorCode::kInvalidState,
                "cannot copy the backup " + base(backup).string() + " to " + data.string() + ": " + copied.output);
}

void Repository::sweep_contents() const {
  std::set<std::string> named;
  for (const Backup& backup : list())
    for (const auto& [path, file] : artifacts(backup)) named.insert(file.sha256);
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory_ / "artifacts"))
    if (entry.is_regular_file() && !named.contains(entry.path().filename())) fs::remove(entry.path());
}

}  // namespace cairn::backup
