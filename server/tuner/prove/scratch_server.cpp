#include "tuner/prove/scratch_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "cluster/cluster.h"
#include "cluster/settings.h"

namespace cairn::tuner {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr int kSharedBuffersMb = 128;
constexpr double kSpareBytes = 256e6;  // the server's own, and the log that is written while the copy is made
constexpr size_t kStatusLine = 7;      // of postmaster.pid

Error refused(const std::string& what) { return Error(ErrorCode::kInvalidState, what); }

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// PGPASSWORD for the time of a child's start.
class PasswordInEnvironment {
 public:
  explicit PasswordInEnvironment(const std::string& password) : given_(!password.empty()) {
    if (const char* known = std::getenv("PGPASSWORD")) before_ = known;
    if (given_) setenv("PGPASSWORD", password.c_str(), 1);
  }
  ~PasswordInEnvironment() {
    if (!given_) return;
    if (before_)
      setenv("PGPASSWORD", before_->c_str(), 1);
    else
      unsetenv("PGPASSWORD");
  }
  PasswordInEnvironment(const PasswordInEnvironment&) = delete;
  PasswordInEnvironment& operator=(const PasswordInEnvironment&) = delete;

 private:
  bool given_;
  std::optional<std::string> before_ = {};
};

}  // namespace

ScratchServer::ScratchServer(const CloneOptions& options, int major, std::initializer_list<const char*> programs)
    : options_(options), user_(cluster::postgres_os_user()), programs_(options.binary_directory) {
  for (const cluster::Installation& installed : cluster::installed_postgres())
    if (programs_.empty() && installed.major == major) programs_ = installed.binary_dir;
  const auto is_missing = [&](const char* program) { return !fs::exists(fs::path(programs_) / program); };
  if (programs_.empty() || is_missing("postgres") || std::ranges::any_of(programs, is_missing))
    throw refused(
        fmt::format("the programs of PostgreSQL {0} are not on this machine: install postgresql-{0}, or give "
                    "--postgres-bin",
                    major));
}

ScratchServer::~ScratchServer() {
  const Interrupts::Hold hold;
  server_.reset();
  if (log_fd_ >= 0) close(log_fd_);
}

void ScratchServer::make_folders(double bytes, const std::string& what) {
  const fs::path parent = options_.directory.empty() ? fs::temp_directory_path() : fs::path(options_.directory);
  std::error_code failure;
  fs::create_directories(parent, failure);
  for (const fs::path& place : {parent, fs::temp_directory_path()}) remove_leftover_folders(place, user_);
  const auto space = fs::space(parent, failure);
  if (failure) throw refused("the folder " + parent.string() + " cannot be used: " + failure.message());
  if (static_cast<double>(space.available) < bytes + kSpareBytes)
    throw Error(ErrorCode::kInsufficientStorage,
                fmt::format("{} needs {:.0f} MB, and {:.0f} MB are free in {}: give another --clone-dir", what,
                            (bytes + kSpareBytes) / 1e6, static_cast<double>(space.available) / 1e6, parent.string()));
  folder_.emplace(parent, user_);
  socket_.emplace(fs::temp_directory_path(), user_);
}

cluster::Finished ScratchServer::run(const std::string& program, const std::vector<std::string>& arguments,
                                     const cluster::OsUser& user, const std::string& password) const {
  const std::string output = folder() / (program + ".log");
  cluster::Command command{.arguments = {programs_ + "/" + program},
                           .user = user,
                           .working_directory = folder(),
                           .death_signal = SIGTERM,
                           .output_fd = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
  command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
  pid_t child = 0;
  {
    const PasswordInEnvironment environment(password);
    child = cluster::spawn(command);
  }
  close(command.output_fd);
  int status = 0;
  try {
    while (waitpid(child, &status, WNOHANG) == 0) {
      Interrupts::check();
      std::this_thread::sleep_for(20ms);
    }
  } catch (...) {
    kill(child, SIGTERM);
    waitpid(child, &status, 0);
    throw;
  }
  return {.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), .output = read_text(output)};
}

void ScratchServer::write(const fs::path& path, const std::string& text) const {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out || chown(path.c_str(), user_.uid, user_.gid) != 0) throw refused("cannot write " + path.string());
}

constexpr const char* kBuffers =
    "/* cairn tune */ SELECT setting::int8 * 8 / 1024 FROM pg_settings WHERE name = 'shared_buffers'";
constexpr const char* kPlannerSettings =
    "/* cairn tune */ SELECT name, setting FROM pg_settings WHERE (category LIKE 'Query Tuning%' OR name IN ("
    "'work_mem', 'hash_mem_multiplier', 'maintenance_work_mem', 'temp_buffers', 'max_parallel_workers', "
    "'max_parallel_workers_per_gather', 'max_parallel_maintenance_workers', 'max_worker_processes', "
    "'effective_io_concurrency', 'default_statistics_target', 'max_locks_per_transaction', 'TimeZone', "
    "'default_text_search_config', 'max_stack_depth')) AND context <> 'internal'";

void ScratchServer::configure(Session& origin) const {
  const int64_t origin_mb = std::strtoll(origin.query(kBuffers).at(0).at(0).value_or("0").c_str(), nullptr, 10);
  const int64_t buffers_mb = options_.shared_buffers_mb > 0 ? options_.shared_buffers_mb
                                                            : std::clamp<int64_t>(origin_mb, 16, kSharedBuffersMb);
  std::string text = fmt::format(
      "listen_addresses = ''\nunix_socket_directories = {}\nport = 5432\nmax_connections = 20\nshared_buffers = "
      "{}MB\n"
      "archive_mode = off\nmax_wal_senders = 0\nwal_level = minimal\nshared_preload_libraries = ''\nautovacuum = "
      "off\n"
      "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nlogging_collector = off\nhot_standby = off\n"
      "max_prepared_transactions = 100\nssl = off\n",
      cluster::quote_setting(socket_->path().string()), buffers_mb);
  for (const Values& row : origin.query(kPlannerSettings))
    text += *row[0] + " = " + cluster::quote_setting(row[1].value_or("")) + "\n";
  write(data() / "postgresql.auto.conf", "");
  write(data() / "cairn_clone.conf", text);
  write(data() / "cairn_clone_hba.conf", "local all all trust\n");  // the socket's folder is its user's alone
  write(data() / "cairn_clone_ident.conf", "");
  for (const char* name : {"standby.signal", "recovery.signal", "postmaster.pid"}) fs::remove(data() / name);
}

void ScratchServer::start(Session& origin) {
  configure(origin);
  const std::string output = folder() / "server.log";
  log_fd_ = open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const auto setting = [&](const std::string& name, const std::string& file) {
    return name + "=" + (data() / file).string();
  };
  cluster::SupervisorOptions supervision;
  supervision.command = {
      .arguments = {programs_ + "/postgres", "-D", data(), "-c", setting("config_file", "cairn_clone.conf"), "-c",
                    setting("hba_file", "cairn_clone_hba.conf"), "-c", setting("ident_file", "cairn_clone_ident.conf")},
      .user = user_,
      .working_directory = data(),
      .death_signal = SIGINT,
      .output_fd = log_fd_};
  supervision.before_start = [] {};
  supervision.is_ready = [data = data()](pid_t pid) {
    std::ifstream in(data / "postmaster.pid");
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines.size() > kStatusLine && std::atoi(lines[0].c_str()) == pid && lines[kStatusLine].starts_with("ready");
  };
  supervision.explain_failure = [output] { return "; its log: " + read_text(output); };
  server_ = std::make_unique<cluster::Supervisor>(std::move(supervision));
  server_->start();
}

std::string ScratchServer::connection_string(const std::string& user, const std::string& database) const {
  return with_options("", {{"host", socket_->path().string()}, {"port", "5432"}, {"user", user}, {"dbname", database}});
}

}  // namespace cairn::tuner
