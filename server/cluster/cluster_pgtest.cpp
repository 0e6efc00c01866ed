#include "cluster/cluster.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "base/error.h"
#include "cluster/database.h"

namespace cairn::cluster {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// Waits for a condition; false when it does not come true in time.
bool eventually(const std::function<bool()>& condition, std::chrono::seconds patience = 30s) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(10ms);
  }
  return true;
}

// The first value of a statement's result; "error: …" when it fails.
std::string ask(const std::string& connection_string, const std::string& sql) {
  PGconn* connection = PQconnectdb(connection_string.c_str());
  PGresult* result = PQexec(connection, sql.c_str());
  std::string answer;
  if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0)
    answer = PQgetvalue(result, 0, 0);
  else if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
    answer = std::string("error: ") + PQerrorMessage(connection);
  PQclear(result);
  PQfinish(connection);
  return answer;
}

class ClusterTest : public testing::Test {
 protected:
  // A finished cluster, stopped: tests that do not ask how one is made start from a copy, which spares them initdb.
  static void SetUpTestSuite() {
    char name[] = "/tmp/cairn-cluster-template-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    template_ = name;
    Cluster cluster(options_for(template_));
    cluster.start();
  }
  static void TearDownTestSuite() { fs::remove_all(template_); }

  void SetUp() override {
    char name[] = "/tmp/cairn-cluster-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    base_ = name;
    data_dir_ = base_ + "/data";
  }
  void TearDown() override { fs::remove_all(base_); }

  static ClusterOptions options_for(const std::string& data_dir) {
    ClusterOptions result;
    result.data_dir = data_dir;
    // Small: several of these may run on one machine at once.
    result.machine = Machine{.memory_bytes = 512u << 20, .cores = 2, .disk_free_bytes = 4ull << 30};
    // The tree that has the extension `vector` (tools/with_cluster), where there is one.
    if (const char* programs = std::getenv("CAIRN_POSTGRES_BIN")) result.binary_dir = programs;
    return result;
  }
  ClusterOptions options() const { return options_for(data_dir_); }
  // As root PostgreSQL is another user, who must get through the temporary directory.
  void open_base() const { chmod(base_.c_str(), 0755); }
  // On a copy of the template where there is no cluster yet.
  std::unique_ptr<Cluster> started() const {
    if (!fs::exists(data_dir_)) {
      fs::create_directories(fs::path(data_dir_).parent_path());
      run({{"/bin/cp", "-a", template_, data_dir_}, current_os_user(), "/", 0, -1});
    }
    return started_anew();
  }
  std::unique_ptr<Cluster> started_anew() const {
    open_base();
    auto cluster = std::make_unique<Cluster>(options());
    cluster->start();
    return cluster;
  }

  static inline std::string template_;
  std::string base_;
  std::string data_dir_;
};

TEST_F(ClusterTest, R01_MakesAClusterWithItsExtensions) {
  const auto cluster = started_anew();
  EXPECT_TRUE(cluster->created());
  const std::string url = cluster->connection_string();
  EXPECT_EQ(ask(url, "SHOW data_checksums"), "on");
  EXPECT_EQ(ask(url, "SHOW server_encoding"), "UTF8");
  EXPECT_EQ(ask(url, "SHOW shared_preload_libraries"), "pg_stat_statements");
  EXPECT_EQ(ask(url, "SHOW listen_addresses"), "");
  EXPECT_EQ(ask(url, "SELECT upper('äé')"), "ÄÉ");
  EXPECT_EQ(ask(url, "SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['b', 'a', 'B', 'é']) x"), "Babé");
  for (const Extension& extension : wanted_extensions()) {
    EXPECT_EQ(ask(url, std::string("SELECT count(*) FROM pg_extension WHERE extname = '") + extension.name + "'"), "1")
        << extension.name;
  }
  EXPECT_EQ(ask(url, "SELECT count(*) > 0 FROM pg_stat_statements"), "t");
}

TEST_F(ClusterTest, R20_TheServersRoleOwnsItsDatabaseAndNoMore) {
  const auto cluster = started();
  const std::string url = cluster->connection_string();
  EXPECT_EQ(ask(url,
                "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication FROM pg_roles WHERE rolname = "
                "current_user"),
            "f");
  EXPECT_EQ(ask(url, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'cairn'"), "cairn");
  EXPECT_TRUE(ask(url, "COPY (SELECT 1) TO PROGRAM 'true'").starts_with("error:"));
  // What the server makes, a reader may read, and nothing else.
  ask(url, "CREATE SCHEMA s; CREATE TABLE s.t (x int); INSERT INTO s.t VALUES (1)");
  const std::string admin = cluster->superuser_connection_string();
  EXPECT_EQ(ask(admin, "SET ROLE cairn_reader; SELECT x FROM s.t"), "1");
  EXPECT_TRUE(ask(admin, "SET ROLE cairn_reader; INSERT INTO s.t VALUES (2)").starts_with("error:"));
}

TEST_F(ClusterTest, R11_PostgresAcceptsEverySetting) {
  const auto cluster = started();
  const std::string admin = cluster->superuser_connection_string();
  EXPECT_EQ(ask(admin, "SELECT string_agg(name || ': ' || error, '; ') FROM pg_file_settings WHERE error IS NOT NULL"),
            "");
  EXPECT_EQ(ask(admin, "SELECT string_agg(error, '; ') FROM pg_hba_file_rules WHERE error IS NOT NULL"), "");
  EXPECT_EQ(ask(admin, "SHOW shared_buffers"), "128MB");
  EXPECT_EQ(ask(admin, "SHOW log_line_prefix"), "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ");
}

TEST_F(ClusterTest, KeepsItsDataAndTheUsersSettings) {
  {
    const auto cluster = started();
    ask(cluster->connection_string(), "CREATE TABLE t AS SELECT 42 AS x");
    ask(cluster->superuser_connection_string(), "ALTER SYSTEM SET work_mem = '7MB'");
    cluster->stop();
    EXPECT_FALSE(cluster->ready());
  }
  const auto cluster = started();
  EXPECT_FALSE(cluster->created());
  EXPECT_EQ(ask(cluster->connection_string(), "SELECT x FROM t"), "42");
  EXPECT_EQ(ask(cluster->connection_string(), "SHOW work_mem"), "7MB");
}

// As after a pg_upgrade: a cluster that initdb made, with settings of its own.
TEST_F(ClusterTest, TakesOverAClusterThatHasNotItsSettings) {
  std::string main_file;
  {
    const auto cluster = started();
    main_file = cluster->postgres_dir() + "/postgresql.conf";
  }
  std::ofstream(main_file, std::ios::trunc) << "shared_buffers = 9MB\n";
  {
    const auto cluster = started();
    EXPECT_EQ(ask(cluster->connection_string(), "SHOW shared_buffers"), "128MB");
  }
  std::ofstream(main_file, std::ios::app) << "work_mem = 9MB\n";
  const auto cluster = started();
  EXPECT_EQ(ask(cluster->connection_string(), "SHOW work_mem"), "9MB");
}

TEST_F(ClusterTest, LeavesNothingOfRootsInside) {
  const auto cluster = started();
  const OsUser user = postgres_os_user();
  for (const auto& entry : fs::recursive_directory_iterator(data_dir_)) {
    if (entry.path().filename() == "cairn.lock" || entry.path().filename() == "reserve") continue;
    struct stat status;
    if (lstat(entry.path().c_str(), &status) != 0) continue;  // a file of a moment
    EXPECT_EQ(status.st_uid, user.uid) << entry.path();
    if (S_ISLNK(status.st_mode) || S_ISSOCK(status.st_mode)) continue;
    EXPECT_EQ(status.st_mode & 077, 0u) << entry.path();
  }
}

TEST_F(ClusterTest, RestartsPostgresThatWasKilled) {
  const auto cluster = started();
  ask(cluster->connection_string(), "CREATE TABLE t AS SELECT 42 AS x");
  const pid_t killed = cluster->postgres_pid();
  kill(killed, SIGKILL);
  ASSERT_TRUE(eventually([&] { return cluster->ready() && cluster->postgres_pid() != killed; }));
  EXPECT_EQ(cluster->restarts(), 1);
  EXPECT_EQ(ask(cluster->connection_string(), "SELECT x FROM t"), "42");
}

TEST_F(ClusterTest, RefusesASecondServerAndNamesTheFirst) {
  const auto cluster = started();
  try {
    Cluster second(options());
    FAIL() << "the second server was not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceConflict);
    EXPECT_NE(std::string(error.what()).find("process " + std::to_string(getpid())), std::string::npos) << error.what();
  }
  EXPECT_EQ(running_server(data_dir_), getpid());
  EXPECT_EQ(running_connection_string(data_dir_), cluster->connection_string());
}

TEST_F(ClusterTest, NobodyHoldsADirectoryWhoseServerHasGone) {
  { Cluster cluster(options()); }
  EXPECT_EQ(running_server(data_dir_), std::nullopt);
}

TEST_F(ClusterTest, ALongPathHasItsSocketElsewhere) {
  data_dir_ = base_ + "/" + std::string(60, 'x') + "/" + std::string(60, 'y');
  const auto cluster = started();
  EXPECT_FALSE(cluster->socket_dir().starts_with(data_dir_));
  EXPECT_EQ(ask(cluster->connection_string(), "SELECT 1"), "1");
  const std::string socket_dir = cluster->socket_dir();
  cluster->stop();
  fs::remove_all(socket_dir);
}

TEST_F(ClusterTest, AnOddPathWorks) {
  data_dir_ = base_ + "/it's, a \"path\" \\ é";
  const auto cluster = started();
  EXPECT_EQ(ask(cluster->connection_string(), "SELECT 1"), "1");
  const std::string socket_dir = cluster->socket_dir();
  cluster->stop();
  fs::remove_all(socket_dir);
}

// Runs `body` in a process of its own and gives that process's id once the body has returned.
pid_t in_child(const std::function<void()>& body) {
  int pipe_fds[2];
  if (pipe(pipe_fds) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    try {
      body();
    } catch (const std::exception& error) {
      fprintf(stderr, "%s\n", error.what());
      _exit(1);
    }
    if (write(pipe_fds[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  close(pipe_fds[1]);
  char byte;
  const bool done = read(pipe_fds[0], &byte, 1) == 1;
  close(pipe_fds[0]);
  if (!done) waitpid(child, nullptr, 0);
  return done ? child : -1;
}

TEST_F(ClusterTest, PostgresStopsWhenTheServerIsKilledAndNothingIsLost) {
  open_base();
  const pid_t server = in_child([&] {
    static std::unique_ptr<Cluster> cluster;
    cluster = started();
    ask(cluster->connection_string(), "CREATE TABLE t AS SELECT 42 AS x");
  });
  ASSERT_GT(server, 0);
  const std::string postgres_dir = data_dir_ + "/postgres/" + std::to_string(installed_postgres().front().major);
  EXPECT_FALSE(processes_in_directory("postgres", postgres_dir).empty());
  kill(server, SIGKILL);
  waitpid(server, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return processes_in_directory("postgres", postgres_dir).empty(); }));
  const auto cluster = started();
  EXPECT_EQ(ask(cluster->connection_string(), "SELECT x FROM t"), "42");
}

TEST_F(ClusterTest, StopsAnOrphanBeforeItStarts) {
  std::string postgres_dir, binary_dir, url;
  {
    const auto cluster = started();
    postgres_dir = cluster->postgres_dir();
    binary_dir = cluster->binary_dir();
    url = cluster->connection_string();
    ask(url, "CREATE TABLE t AS SELECT 42 AS x");
  }
  const Command orphan_command{
      {binary_dir + "/postgres", "-D", postgres_dir}, postgres_os_user(), postgres_dir, 0, STDERR_FILENO};
  const pid_t orphan = spawn(orphan_command);
  ASSERT_TRUE(eventually([&] { return ask(url, "SELECT 1") == "1"; }));
  // The orphan's parent is this process: it must be reaped to be gone.
  std::thread reaper([&] { waitpid(orphan, nullptr, 0); });
  const auto cluster = started();
  reaper.join();
  EXPECT_NE(cluster->postgres_pid(), orphan);
  EXPECT_EQ(ask(cluster->connection_string(), "SELECT x FROM t"), "42");
}

TEST_F(ClusterTest, IgnoresAStalePidFileOfAnotherProgram) {
  std::string pid_file;
  {
    const auto cluster = started();
    pid_file = cluster->postgres_dir() + "/postmaster.pid";
  }
  // A process of PostgreSQL's user that has by chance the number of a postmaster that was killed.
  const pid_t other = spawn({{"/bin/sleep", "60"}, postgres_os_user(), "/", 0, STDERR_FILENO});
  std::ofstream(pid_file) << other << "\n"
                          << fs::path(pid_file).parent_path().string() << "\n0\n5432\n/nowhere\n\n\nready\n";
  const auto cluster = started();
  EXPECT_EQ(ask(cluster->connection_string(), "SELECT 1"), "1");
  EXPECT_EQ(kill(other, 0), 0);
  kill(other, SIGKILL);
  waitpid(other, nullptr, 0);
}

TEST_F(ClusterTest, StartsAfterACreationThatWasCutOff) {
  open_base();
  const OsUser user = postgres_os_user();
  const std::string draft =
      data_dir_ + "/postgres/" + std::to_string(installed_postgres().front().major) + ".new-XXXXXX";
  fs::create_directories(draft);
  std::ofstream(draft + "/PG_VERSION") << "15\n";
  for (const std::string& path : {data_dir_ + "/postgres", draft}) {
    ASSERT_EQ(chown(path.c_str(), user.uid, user.gid), 0);
    chmod(path.c_str(), 0700);
  }
  const auto cluster = started();
  EXPECT_TRUE(cluster->created());
  EXPECT_FALSE(fs::exists(draft));
  EXPECT_EQ(ask(cluster->connection_string(), "SELECT 1"), "1");
}

TEST_F(ClusterTest, SaysWhyPostgresDoesNotStart) {
  std::string postgres_dir;
  {
    const auto cluster = started();
    postgres_dir = cluster->postgres_dir();
  }
  std::ofstream(postgres_dir + "/postgresql.auto.conf") << "no_such_setting = 1\n";
  Cluster cluster(options());
  try {
    cluster.start();
    FAIL() << "started with a broken configuration";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("no_such_setting"), std::string::npos) << error.what();
  }
}

TEST_F(ClusterTest, RunsAsAnOrdinaryUser) {
  open_base();
  const OsUser user = postgres_os_user();
  ASSERT_EQ(chown(base_.c_str(), user.uid, user.gid), 0);
  const pid_t child = in_child([&] {
    // As root: become the other user first. Else this test runs as an ordinary user anyway.
    if (geteuid() == 0 && (setgid(user.gid) != 0 || setuid(user.uid) != 0)) _exit(3);
    const auto cluster = started_anew();
    if (ask(cluster->connection_string(), "SELECT current_user") != "cairn") _exit(4);
    cluster->stop();
  });
  ASSERT_GT(child, 0);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST_F(ClusterTest, ExplainsADirectoryThatPostgresCannotReach) {
  // An ordinary user's PostgreSQL is the same user, who reaches whatever the server does.
  if (geteuid() != 0) return;
  chmod(base_.c_str(), 0700);
  Cluster cluster(options());
  try {
    cluster.start();
    FAIL() << "started in a directory that is closed to PostgreSQL";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("cannot enter"), std::string::npos) << error.what();
  }
}

TEST_F(ClusterTest, R11_AutoExplainIsLoadedOnlyWhileProfiling) {
  const auto cluster = started();
  const std::string url = cluster->connection_string();
  EXPECT_EQ(ask(url, "SELECT current_setting('auto_explain.log_analyze', true)"), "");
  cluster->set_profiling(true);
  EXPECT_TRUE(eventually([&] { return ask(url, "SELECT current_setting('auto_explain.log_analyze', true)") == "on"; }));
  EXPECT_EQ(ask(url, "SELECT current_setting('auto_explain.log_min_duration', true)"), "500ms");
  // The plan of a slow statement is in PostgreSQL's log, with times and buffers, as JSON.
  ask(url, "SELECT 'slow' FROM pg_sleep(0.6)");
  EXPECT_TRUE(eventually([&] {
    std::string log;
    for (const auto& file : fs::directory_iterator(data_dir_ + "/log")) {
      std::ifstream in(file.path());
      log.append(std::istreambuf_iterator<char>(in), {});
    }
    const size_t plan = log.find("\"Query Text\": \"SELECT 'slow' FROM pg_sleep(0.6)\"");
    return plan != log.npos && log.find("\"Actual Total Time\"", plan) != log.npos &&
           log.find("\"Shared Hit Blocks\"", plan) != log.npos;
  }));
  cluster->set_profiling(false);
  EXPECT_TRUE(eventually([&] { return ask(url, "SELECT current_setting('auto_explain.log_analyze', true)").empty(); }));
}

int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

TEST_F(ClusterTest, R20_TcpAsksForAPassword) {
  open_base();
  ClusterOptions with_tcp = options();
  with_tcp.tcp_port = free_port();
  Cluster cluster(with_tcp);
  cluster.start();
  ask(cluster.superuser_connection_string(),
      "CREATE ROLE ann LOGIN PASSWORD 'secret'; GRANT CONNECT ON DATABASE cairn TO ann");
  const std::string tcp = "host=127.0.0.1 port=" + std::to_string(with_tcp.tcp_port) + " dbname=cairn user=ann";
  EXPECT_EQ(ask(tcp + " password=secret", "SELECT current_user"), "ann");
  EXPECT_TRUE(ask(tcp + " password=wrong", "SELECT 1").starts_with("error:"));
}

}  // namespace
}  // namespace cairn::cluster
