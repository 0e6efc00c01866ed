#include "cluster/cluster.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "cluster/database.h"
#include "cluster/settings.h"

namespace cairn::cluster {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr int kDefaultPort = 5432;
constexpr size_t kLongestSocketPath = 107;
constexpr auto kLeftoverFastShutdown = 30s;
constexpr auto kLeftoverImmediateShutdown = 5s;
constexpr const char* kIncludeLine = "\ninclude 'cairn.conf'\n";
constexpr const char* kIncludeText =
    "\n# Cairn derives its settings from the machine at every start.\ninclude 'cairn.conf'\n\n"
    "# Settings of your own: from here on, they win.\n";

Error system_error(const std::string& what, const std::string& path) {
  return Error(ErrorCode::kInvalidState, "cannot " + what + " " + path + ": " + strerror(errno));
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<std::string> read_lines(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// A directory of this owner that nobody else may enter. One that is there already must be just that: in a directory
// that others may write to, it could be a trap.
void make_private_directory(const std::string& path, const OsUser& owner) {
  if (mkdir(path.c_str(), 0700) == 0) {
    if (chown(path.c_str(), owner.uid, owner.gid) != 0) throw system_error("give to user " + owner.name, path);
    return;
  }
  if (errno != EEXIST) throw system_error("make the directory", path);
  struct stat status;
  if (lstat(path.c_str(), &status) != 0) throw system_error("look at", path);
  if (!S_ISDIR(status.st_mode) || status.st_uid != owner.uid || (status.st_mode & 077) != 0) {
    throw Error(ErrorCode::kInvalidState,
                path + " must be a directory of user " + owner.name +
                    " that nobody else may enter (mode 0700): remove it, or use the user and the "
                    "permissions that it was made with");
  }
}

// Replaces the file as a whole, so that PostgreSQL never reads half of it.
void replace_file(const std::string& path, const std::string& text, const OsUser& owner) {
  write_file_durably(path, text, FileOwner{owner.uid, owner.gid});
}

// The socket's path must fit into an address, and libpq and postgresql.conf take commas and quotes for separators.
std::string choose_socket_dir(const std::string& data_dir, int port) {
  const std::string own = data_dir + "/run";
  const std::string file = "/.s.PGSQL." + std::to_string(port);
  const bool plain = own.find_first_of(",'\"\\@ ") == std::string::npos;
  if (plain && own.size() + file.size() <= kLongestSocketPath) return own;
  std::ostringstream hash;
  hash << std::hex << std::hash<std::string>()(data_dir);
  if (geteuid() == 0) return "/run/cairn-" + hash.str();
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && fs::is_directory(runtime)) return std::string(runtime) + "/cairn-" + hash.str();
  return "/tmp/cairn-" + std::to_string(geteuid()) + "-" + hash.str();
}

std::string absolute_data_dir(const std::string& path) {
  if (path.empty()) throw invalid("the data directory's name is empty: give one with --data-dir");
  std::string absolute = fs::weakly_canonical(fs::absolute(path));
  if (absolute.size() > 1 && absolute.ends_with('/')) absolute.pop_back();
  return absolute;
}

// Of creations that were cut off. The initdb of a server that was just killed may be removing its draft itself: what
// then cannot be removed now is there the next time.
void remove_drafts(const std::string& target) {
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(fs::path(target).parent_path(), failure)) {
    if (entry.path().string().starts_with(target + ".new")) fs::remove_all(entry.path(), failure);
  }
}

// A name that no other creation has: an initdb that is still ending would remove a draft of its own name.
std::string make_draft(const std::string& target, const OsUser& owner) {
  std::string draft = target + ".new-XXXXXX";
  if (mkdtemp(draft.data()) == nullptr || chown(draft.c_str(), owner.uid, owner.gid) != 0) {
    throw system_error("make the directory", draft);
  }
  return draft;
}

// Gives the processes a time to end; true when all have.
bool wait_until_gone(const std::string& directory, std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!processes_in_directory("postgres", directory).empty()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(10ms);
  }
  return true;
}

// Belongs to the open file, not to the process as a classic POSIX lock does; and unlike with flock() one may ask who
// holds it without taking it.
struct flock whole_file_lock() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

// The lines of postmaster.pid: process, directory, start time, port, socket directory, listen address, shared memory,
// status.
enum PidFileLine { kPidLine = 0, kPortLine = 3, kSocketLine = 4, kStatusLine = 7 };

std::string make_connection_string(const std::string& host, int port, const std::string& user,
                                   const std::string& database) {
  return "host='" + host + "' port=" + std::to_string(port) + " user=" + user + " dbname=" + database +
         " connect_timeout=10";
}

}  // namespace

Cluster::Cluster(ClusterOptions options) : options_(std::move(options)), user_(postgres_os_user()) {
  options_.data_dir = absolute_data_dir(options_.data_dir);
  std::error_code error;
  fs::create_directories(options_.data_dir, error);
  if (error) {
    throw Error(ErrorCode::kInvalidState,
                "cannot make the data directory " + options_.data_dir + ": " + error.message());
  }
  // PostgreSQL as another user must be able to pass through, without seeing the names of what is there.
  struct stat status;
  if (user_.uid != geteuid() && stat(options_.data_dir.c_str(), &status) == 0 && !(status.st_mode & S_IXOTH)) {
    if (chmod(options_.data_dir.c_str(), (status.st_mode & 07777) | S_IXOTH) != 0)
      throw system_error("open", options_.data_dir);
  }
  lock();
  disk_ = std::make_unique<DiskGuard>(options_.data_dir);
}

Cluster::~Cluster() {
  stop();
  if (lock_fd_ >= 0) close(lock_fd_);
}

void Cluster::lock() {
  const std::string path = options_.data_dir + "/cairn.lock";
  lock_fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (lock_fd_ < 0) throw system_error("open", path);
  struct flock whole = whole_file_lock();
  if (fcntl(lock_fd_, F_OFD_SETLK, &whole) != 0) {
    const std::string holder = read_file(path);
    close(std::exchange(lock_fd_, -1));
    throw Error(ErrorCode::kResourceConflict, "the data directory " + options_.data_dir +
                                                  " is in use by another cairn server, process " + holder +
                                                  ": stop that one, or choose another --data-dir");
  }
  const std::string pid = std::to_string(getpid());
  if (ftruncate(lock_fd_, 0) != 0 || pwrite(lock_fd_, pid.data(), pid.size(), 0) < 0) throw system_error("write", path);
}

std::string Cluster::postgres_dir() const { return options_.data_dir + "/postgres/" + std::to_string(major_); }

void Cluster::find_binaries() {
  // The cluster that is there decides the version; of several (an upgrade was made) the newest.
  int existing = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(options_.data_dir + "/postgres", error)) {
    if (fs::exists(entry.path() / "PG_VERSION")) existing = std::max(existing, atoi(entry.path().filename().c_str()));
  }
  std::vector<Installation> candidates = installed_postgres();
  if (!options_.binary_dir.empty()) {
    const Finished version = run({{options_.binary_dir + "/postgres", "--version"}, current_os_user(), "/"});
    const size_t digit = version.output.find_first_of("0123456789");
    candidates = {{digit == std::string::npos ? 0 : atoi(version.output.c_str() + digit), options_.binary_dir}};
  }
  for (const Installation& candidate : candidates) {
    if (existing != 0 && candidate.major != existing) continue;
    binary_dir_ = candidate.binary_dir;
    major_ = candidate.major;
    return;
  }
  if (existing != 0) {
    throw Error(ErrorCode::kInvalidState, "the data in " + options_.data_dir + " is PostgreSQL " +
                                              std::to_string(existing) +
                                              "'s and that version is not installed: install the package postgresql-" +
                                              std::to_string(existing) + ", or upgrade the data with pg_upgrade");
  }
  throw Error(ErrorCode::kInvalidState,
              "no PostgreSQL server is installed: install the package postgresql, or give a --database-url");
}

// Made under another name and renamed when it is whole: a creation that was cut off leaves nothing that looks finished.
void Cluster::create() {
  const std::string target = postgres_dir();
  remove_drafts(target);
  const std::string draft = make_draft(target, user_);
  log::info("making a PostgreSQL {} cluster in {}", major_, target);
  const Finished made = run({{binary_dir_ + "/initdb", "--pgdata=" + draft, "--username=postgres", "--encoding=UTF8",
                              "--lc-collate=C", "--lc-ctype=C.UTF-8", "--lc-messages=C", "--lc-monetary=C",
                              "--lc-numeric=C", "--lc-time=C", "--text-search-config=english", "--data-checksums",
                              "--auth-local=peer", "--auth-host=scram-sha-256", "--no-sync", "--no-instructions"},
                             user_,
                             options_.data_dir + "/postgres",
                             SIGTERM});
  if (made.exit_status != 0) {
    throw Error(ErrorCode::kInvalidState, "initdb could not make " + target + ":\n" + made.output);
  }
  // One flush of the file system instead of one a file, of a thousand: on a busy disk those take seconds.
  const int parent = open((options_.data_dir + "/postgres").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool durable =
      parent >= 0 && syncfs(parent) == 0 && rename(draft.c_str(), target.c_str()) == 0 && fsync(parent) == 0;
  const int error = errno;
  if (parent >= 0) close(parent);
  errno = error;
  if (!durable) throw system_error("write", target);
  remove_drafts(target);
  created_ = true;
}

void Cluster::write_settings() {
  SettingsInput input;
  input.machine = options_.machine ? *options_.machine : inspect_machine(postgres_dir());
  input.socket_directory = socket_dir_;
  input.log_directory = options_.data_dir + "/log";
  input.tcp_port = options_.tcp_port;
  input.max_connections = options_.max_connections;
  // Also after a pg_upgrade, whose new cluster has a postgresql.conf of its own.
  const std::string main_file = postgres_dir() + "/postgresql.conf", text = read_file(main_file);
  if (text.find(kIncludeLine) == std::string::npos) replace_file(main_file, text + kIncludeText, user_);
  replace_file(postgres_dir() + "/cairn.conf", render_settings(input), user_);
  replace_file(postgres_dir() + "/pg_hba.conf", render_host_access(), user_);
  replace_file(postgres_dir() + "/pg_ident.conf", render_user_map(current_os_user().name, user_.name), user_);
}

// What a killed server left running is stopped, not adopted: PostgreSQL must be this process's child to die with it,
// and to run with the settings of this start. The lock on the data directory proves that its server is gone.
// postmaster.pid stays: PostgreSQL's own check of the shared memory named there is the last guard against two servers
// on one cluster.
void Cluster::stop_leftovers() const {
  const std::string directory = postgres_dir(), pid_file = directory + "/postmaster.pid";
  if (!fs::exists(pid_file)) return;
  auto signal_all = [&](int signal) {
    for (const pid_t pid : processes_in_directory("postgres", directory)) kill(pid, signal);
  };
  const std::vector<pid_t> left = processes_in_directory("postgres", directory);
  if (!left.empty()) {
    const std::vector<std::string> lines = read_lines(pid_file);
    const pid_t postmaster = lines.empty() ? 0 : atoi(lines[kPidLine].c_str());
    log::warn("PostgreSQL of an earlier server (process {}, {} in all) still runs in {}: stopping it", postmaster,
              left.size(), directory);
    // Without a postmaster the others notice and leave by themselves.
    if (std::find(left.begin(), left.end(), postmaster) != left.end()) kill(postmaster, SIGINT);
    if (!wait_until_gone(directory, kLeftoverFastShutdown)) signal_all(SIGQUIT);
    if (!wait_until_gone(directory, kLeftoverImmediateShutdown)) signal_all(SIGKILL);
    if (!wait_until_gone(directory, kLeftoverImmediateShutdown)) {
      throw Error(ErrorCode::kTemporarilyUnavailable,
                  "processes of an earlier PostgreSQL still run in " + directory +
                      " and do not end: look for processes in state D (a hanging disk)");
    }
  }
  // Nothing of it runs, so a process of that number is someone else's by now. PostgreSQL would take it for a live
  // server.
  const std::vector<std::string> lines = read_lines(pid_file);
  if (!lines.empty() && kill(atoi(lines[kPidLine].c_str()), 0) == 0) unlink(pid_file.c_str());
}

bool Cluster::takes_connections(pid_t pid) const {
  const std::vector<std::string> lines = read_lines(postgres_dir() + "/postmaster.pid");
  return lines.size() > kStatusLine && atoi(lines[kPidLine].c_str()) == pid && lines[kStatusLine].starts_with("ready");
}

std::string Cluster::log_tail() const {
  const std::vector<std::string> lines = read_lines(options_.data_dir + "/log/start.log");
  std::string tail = "; the end of " + options_.data_dir + "/log/start.log:";
  for (size_t i = lines.size() > 10 ? lines.size() - 10 : 0; i < lines.size(); ++i) tail += "\n  " + lines[i];
  return tail;
}

void Cluster::start() {
  const std::string log_dir = options_.data_dir + "/log";
  make_private_directory(options_.data_dir + "/postgres", user_);
  make_private_directory(log_dir, user_);
  socket_dir_ = choose_socket_dir(options_.data_dir, options_.tcp_port != 0 ? options_.tcp_port : kDefaultPort);
  make_private_directory(socket_dir_, user_);
  find_binaries();
  if (!fs::exists(postgres_dir() + "/PG_VERSION")) create();
  write_settings();

  // What PostgreSQL says before its own log collector runs.
  const std::string start_log = log_dir + "/start.log";
  unlink(start_log.c_str());
  start_log_fd_ = open(start_log.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (start_log_fd_ < 0 || fchown(start_log_fd_, user_.uid, user_.gid) != 0) throw system_error("write", start_log);

  SupervisorOptions supervision;
  supervision.command = {
      {binary_dir_ + "/postgres", "-D", postgres_dir()}, user_, postgres_dir(), SIGINT, start_log_fd_};
  supervision.before_start = [this] {
    stop_leftovers();
    disk_->give_up_reserve();
  };
  supervision.is_ready = [this](pid_t pid) { return takes_connections(pid); };
  supervision.explain_failure = [this] { return log_tail(); };
  disk_->keep_room();
  {
    const std::lock_guard lock(supervisor_mutex_);
    supervisor_ = std::make_unique<Supervisor>(std::move(supervision));
  }
  supervisor_->start();
  // Of synchronous replicas none runs yet.
  const std::string local = " options='-c synchronous_commit=local'";
  prepare_database(connection_string("postgres", "postgres") + local, superuser_connection_string() + local);
}

void Cluster::stop() {
  std::unique_ptr<Supervisor> ending;
  {
    const std::lock_guard lock(supervisor_mutex_);
    ending = std::move(supervisor_);
  }
  ending.reset();
  if (start_log_fd_ >= 0) close(std::exchange(start_log_fd_, -1));
}

std::string Cluster::connection_string(const std::string& user, const std::string& database) const {
  return make_connection_string(socket_dir_, options_.tcp_port != 0 ? options_.tcp_port : kDefaultPort, user, database);
}

std::string Cluster::connection_string() const { return connection_string("cairn", "cairn"); }
std::string Cluster::superuser_connection_string() const { return connection_string("postgres", "cairn"); }
void Cluster::set_profiling(bool on) { set_auto_explain(superuser_connection_string(), on); }

std::optional<pid_t> running_server(const std::string& data_dir) {
  const std::string path = absolute_data_dir(data_dir) + "/cairn.lock";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  struct flock probe = whole_file_lock();
  const bool known = fcntl(fd, F_OFD_GETLK, &probe) == 0;
  close(fd);
  if (!known || probe.l_type == F_UNLCK) return std::nullopt;
  return atoi(read_file(path).c_str());
}

std::optional<std::string> running_connection_string(const std::string& data_dir, const std::string& user) {
  if (!running_server(data_dir)) return std::nullopt;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(absolute_data_dir(data_dir) + "/postgres", error)) {
    const std::vector<std::string> lines = read_lines(entry.path() / "postmaster.pid");
    if (lines.size() > kStatusLine) {
      return make_connection_string(lines[kSocketLine], atoi(lines[kPortLine].c_str()), user, "cairn");
    }
  }
  return std::nullopt;
}

std::vector<Installation> installed_postgres() {
  std::vector<Installation> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", error)) {
    const std::string binaries = entry.path() / "bin";
    if (fs::exists(binaries + "/postgres")) found.push_back({atoi(entry.path().filename().c_str()), binaries});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.major > b.major; });
  return found;
}

std::string programs_of(int major, const std::string& given) {
  if (!given.empty()) return given;
  for (const Installation& installed : installed_postgres())
    if (installed.major == major) return installed.binary_dir;
  const std::string package = "postgresql-" + std::to_string(major);
  throw Error(ErrorCode::kInvalidState,
              "PostgreSQL's programs are not on this machine: install " + package + ", or give --postgres-bin");
}

}  // namespace cairn::cluster
