// Backups of a real cluster: exact to the transaction, and nothing half made is shown.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "backup/api.h"
#include "backup/artifacts.h"
#include "backup/recovery.h"
#include "base/error.h"
#include "base/json.h"
#include "cluster/cluster.h"
#include "cluster/session.h"

namespace cairn::backup {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using cluster::Session;

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void put(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  // As the artifact store does it: never in place.
  std::ofstream(path.string() + ".tmp", std::ios::binary) << text;
  fs::rename(path.string() + ".tmp", path);
}

int64_t mtime_us(const fs::path& path) {
  struct stat status {};
  stat(path.c_str(), &status);
  return int64_t{status.st_mtim.tv_sec} * 1'000'000 + status.st_mtim.tv_nsec / 1000;
}

// A data directory with one table, and what a test does to it.
class BackupTest : public testing::Test {
 protected:
  // A finished cluster, stopped: each test starts from a copy.
  static void SetUpTestSuite() {
    template_ = make_directory();
    cluster::Cluster(options_for(template_ / "data")).start();
  }
  static void TearDownTestSuite() { fs::remove_all(template_); }

  void SetUp() override {
    base_ = make_directory();
    cluster::run({{"/bin/cp", "-a", template_ / "data", base_}, cluster::current_os_user(), "/", 0, -1});
    cluster_ = std::make_unique<cluster::Cluster>(options_for(base_ / "data"));
    cluster_->start();
    sql("CREATE TABLE t (id int PRIMARY KEY, note text)");
    put(base_ / "data/artifacts/0/a.txt", "first");
  }
  void TearDown() override {
    cluster_.reset();
    fs::remove_all(base_);
  }

  // In memory where there is some: these tests copy clusters all the time.
  static fs::path make_directory() {
    std::string name = (access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") + std::string("/cairn-backup-XXXXXX");
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    chmod(name.c_str(), 0755);  // as root, PostgreSQL is another user
    return name;
  }

  static cluster::ClusterOptions options_for(const fs::path& data_dir) {
    cluster::ClusterOptions options;
    options.data_dir = data_dir;
    options.machine = cluster::Machine{.memory_bytes = 512u << 20, .cores = 2, .disk_free_bytes = 4ull << 30};
    if (const char* programs = std::getenv("CAIRN_POSTGRES_BIN")) options.binary_dir = programs;
    return options;
  }
  static std::string programs() { return options_for("").binary_dir; }

  std::string sql(const std::string& statement) {
    Session session(cluster_->superuser_connection_string());
    const auto rows = session.query(statement);
    return rows.empty() ? "" : rows[0][0].value_or("");
  }
  void insert(int id) { sql("INSERT INTO t VALUES (" + std::to_string(id) + ", 'row')"); }

  CreateOptions create_options() const {
    return {.directory = base_ / "backups",
            .connection_string = cluster_->superuser_connection_string(),
            .data_dir = base_ / "data",
            .artifact_root = base_ / "data/artifacts",
            .postgres_bin = programs(),
            .keep = {},
            .with = {}};
  }
  // Gives what it says, as JSON.
  std::string create(std::optional<int> keep = {}, const std::string& with = "", bool full = false) {
    CreateOptions options = create_options();
    options.keep = keep;
    options.with = with;
    options.full = full;
    options.json = true;
    std::ostringstream out;
    EXPECT_EQ(backup::create(options, out), 0);
    return out.str();
  }
  std::vector<std::string> ids() const {
    std::ostringstream out;
    backup::list({.directory = base_ / "backups", .json = true}, out);
    const json::Document document(out.str());
    std::vector<std::string> all;
    for (const json::Fields& one : json::root_fields(document).objects("backups"))
      all.push_back(one.required_string("id"));
    return all;
  }
  RestoreOptions restore_options(const std::string& name) const {
    return {.directory = base_ / "backups",
            .target_dir = base_ / name,
            .backup = {},
            .time = {},
            .lsn = {},
            .name = {},
            .postgres_bin = programs()};
  }
  int verify(std::string* said = nullptr) const {
    std::ostringstream out;
    const int code = backup::verify({.directory = base_ / "backups", .backup = {}, .postgres_bin = programs()}, out);
    if (said != nullptr) *said = out.str();
    return code;
  }
  // The ids in the table of a restored data directory, which is started for it.
  std::string rows_in(const std::string& name) const {
    cluster::Cluster restored(options_for(base_ / name));
    restored.start();
    Session session(restored.superuser_connection_string());
    return session.value("SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM t");
  }

  static inline fs::path template_;
  fs::path base_;
  std::unique_ptr<cluster::Cluster> cluster_;
};

TEST_F(BackupTest, R32_RestoresToAPointExactToTheTransaction) {
  insert(1);
  sql("SELECT pg_switch_wal()");  // as a replica leaves it that was just added: nothing was written since
  create();
  insert(2);
  const std::string lsn = sql("SELECT pg_current_wal_insert_lsn()");
  insert(3);
  sql("SELECT pg_create_restore_point('before the mistake')");
  insert(4);
  const std::string time = sql("SELECT clock_timestamp() AT TIME ZONE 'UTC'");
  // A file's time is that of the kernel's last tick.
  do put(base_ / "probe", "");
  while (mtime_us(base_ / "probe") <= parse_time_us(time));
  put(base_ / "data/artifacts/0/b.txt", "later");
  put(base_ / "data/artifacts/0/a.txt", "second");
  insert(5);
  sql("DROP TABLE t");

  std::ostringstream out;
  RestoreOptions by_lsn = restore_options("by-lsn"), by_name = restore_options("by-name"),
                 by_time = restore_options("by-time");
  by_lsn.lsn = lsn;
  by_name.name = "before the mistake";
  by_time.time = time;
  EXPECT_EQ(restore(by_lsn, out), 0);
  EXPECT_EQ(restore(by_name, out), 0);
  EXPECT_EQ(restore(by_time, out), 0);
  EXPECT_EQ(rows_in("by-lsn"), "1 2");
  EXPECT_EQ(rows_in("by-name"), "1 2 3");
  EXPECT_EQ(rows_in("by-time"), "1 2 3 4");
  // Artifacts are those of the time, also those that no backup has yet.
  EXPECT_EQ(text_of(base_ / "by-time/artifacts/0/a.txt"), "first");
  EXPECT_FALSE(fs::exists(base_ / "by-time/artifacts/0/b.txt"));
  EXPECT_EQ(text_of(base_ / "by-name/artifacts/0/b.txt"), "later");

  // What cannot be is said, and leaves nothing.
  for (const auto& [given, value] : {std::pair(&RestoreOptions::time, "2001-01-01"),
                                     {&RestoreOptions::time, "2001-01-01 00:00:00"},
                                     {&RestoreOptions::lsn, "here"},
                                     {&RestoreOptions::name, "never made"}}) {
    RestoreOptions wrong = restore_options("restored");
    wrong.*given = value;
    EXPECT_THROW(restore(wrong, out), Error) << value;
  }
  for (const auto& entry : fs::directory_iterator(base_))
    EXPECT_FALSE(entry.path().filename().string().starts_with("restored")) << entry.path();
  put(base_ / "restored/mine", "");
  EXPECT_THROW(restore(restore_options("restored"), out), Error);
  EXPECT_TRUE(fs::exists(base_ / "restored/mine"));
}

TEST_F(BackupTest, R32_RestoresAllThatWasCommittedThoughTheServerIsGone) {
  create();
  insert(1);
  put(base_ / "data/artifacts/0/b.txt", "later");
  insert(2);
  kill(cluster_->postgres_pid(), SIGKILL);
  cluster_.reset();  // its last segment was never archived
  std::ostringstream out;
  EXPECT_EQ(restore(restore_options("restored"), out), 0);
  EXPECT_EQ(rows_in("restored"), "1 2");
  EXPECT_EQ(text_of(base_ / "restored/artifacts/0/b.txt"), "later");

  // It is a server of its own: it archives nowhere, and may not mix its backups with the other's.
  cluster_ = std::make_unique<cluster::Cluster>(options_for(base_ / "restored"));
  cluster_->start();
  EXPECT_EQ(sql("SHOW archive_command"), "/bin/true");
  CreateOptions options = create_options();
  options.data_dir = base_ / "restored";
  EXPECT_THROW(backup::create(options, out), Error);
}

TEST_F(BackupTest, R32_VerifyFindsDamageAndRetentionKeepsWhatIsNeeded) {
  for (int id = 1; id <= 50; ++id) insert(id);
  create();
  insert(51);  // not of the backup
  std::string said;
  EXPECT_EQ(verify(&said), 0) << said;
  EXPECT_NE(said.find("counts and checksums as they were"), std::string::npos) << said;
  for (const auto& entry : fs::directory_iterator(base_ / "backups"))
    EXPECT_FALSE(entry.path().filename().string().starts_with("verify")) << "the scratch cluster was left";

  fs::path content;
  for (const auto& entry : fs::recursive_directory_iterator(base_ / "backups/artifacts"))
    if (entry.is_regular_file()) content = entry.path();
  const std::string good = text_of(content);
  std::ofstream(content, std::ios::trunc) << "fir5t";
  EXPECT_EQ(verify(&said), 1);
  EXPECT_NE(said.find("0/a.txt: its content is damaged"), std::string::npos) << said;
  std::ofstream(content, std::ios::trunc) << good;

  const std::string table = sql("SELECT pg_relation_filepath('t')");
  const fs::path file = base_ / "backups/backups" / ids().at(0) / "base" / table;
  std::string bytes = text_of(file);
  ASSERT_GT(bytes.size(), 8000u);
  bytes[8000] ^= 1;
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
  EXPECT_EQ(verify(&said), 1);
  EXPECT_NE(said.find("checksum mismatch"), std::string::npos) << said;

  // The next one replaces it, and takes along what only it needed.
  put(base_ / "data/artifacts/0/a.txt", "second");
  const auto segments = std::distance(fs::directory_iterator(base_ / "backups/wal"), {});
  create(1);
  EXPECT_EQ(ids().size(), 1u);
  EXPECT_LE(std::distance(fs::directory_iterator(base_ / "backups/wal"), {}), segments);
  std::vector<std::string> contents;
  for (const auto& entry : fs::recursive_directory_iterator(base_ / "backups/artifacts"))
    if (entry.is_regular_file()) contents.push_back(text_of(entry.path()));
  EXPECT_EQ(contents, std::vector<std::string>{"second"});
  EXPECT_EQ(verify(&said), 0) << said;
}

// The same with pgBackRest: full and incremental backups, compressed, of the same points.
TEST_F(BackupTest, R32_PgBackRestRestoresToAPointExactToTheTransaction) {
  sql("CREATE TABLE large AS SELECT i, repeat('much the same ', 20) FROM generate_series(1, 20000) i");
  insert(1);
  const json::Document first(create({}, "pgbackrest"));
  EXPECT_EQ(json::root_fields(first).required_string("type"), "full");
  EXPECT_LT(json::root_fields(first).required_integer("stored_bytes"),
            json::root_fields(first).required_integer("base_bytes") / 3);
  insert(2);
  const std::string lsn = sql("SELECT pg_current_wal_insert_lsn()");
  insert(3);
  // From now on without being told: an increment, a small part of the whole.
  const json::Document second(create());
  EXPECT_EQ(json::root_fields(second).required_string("type"), "incr");
  EXPECT_LT(json::root_fields(second).required_integer("stored_bytes"),
            json::root_fields(first).required_integer("stored_bytes") / 4);
  sql("SELECT pg_create_restore_point('before the mistake')");
  insert(4);
  const std::string time = sql("SELECT clock_timestamp() AT TIME ZONE 'UTC'");
  do put(base_ / "probe", "");
  while (mtime_us(base_ / "probe") <= parse_time_us(time));
  put(base_ / "data/artifacts/0/a.txt", "second");
  insert(5);
  std::string said;
  EXPECT_EQ(verify(&said), 0) << said;
  EXPECT_NE(said.find("counts and checksums as they were"), std::string::npos) << said;
  kill(cluster_->postgres_pid(), SIGKILL);
  cluster_.reset();  // its last segment was never archived

  std::ostringstream out;
  RestoreOptions by_lsn = restore_options("by-lsn"), by_name = restore_options("by-name"),
                 by_time = restore_options("by-time");
  by_lsn.lsn = lsn;
  by_name.name = "before the mistake";
  by_time.time = time;
  for (const RestoreOptions& options : {by_lsn, by_name, by_time, restore_options("all")})
    EXPECT_EQ(restore(options, out), 0);
  EXPECT_EQ(rows_in("by-lsn"), "1 2");
  EXPECT_EQ(rows_in("by-name"), "1 2 3");
  EXPECT_EQ(rows_in("by-time"), "1 2 3 4");
  EXPECT_EQ(rows_in("all"), "1 2 3 4 5");
  EXPECT_EQ(text_of(base_ / "by-time/artifacts/0/a.txt"), "first");
  EXPECT_EQ(text_of(base_ / "all/artifacts/0/a.txt"), "second");
  // What was restored archives nowhere, and may not mix its backups with the other's.
  cluster_ = std::make_unique<cluster::Cluster>(options_for(base_ / "all"));
  cluster_->start();
  EXPECT_EQ(sql("SHOW archive_command"), "/bin/true");
}

TEST_F(BackupTest, R32_PgBackRestsRepositoryLosesWhatNobodyNeedsAndDamageIsFound) {
  const auto sets = [&] {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(base_ / "backups/pgbackrest/repo/backup/cairn"))
      if (entry.is_directory() && entry.path().filename().string()[0] == '2') names.push_back(entry.path().filename());
    return names;
  };
  create({}, "pgbackrest");
  insert(1);
  create({}, "pgbackrest");
  // An increment needs those before it, though they are not listed any more.
  create(1);
  EXPECT_EQ(ids().size(), 1u);
  EXPECT_EQ(sets().size(), 3u);
  std::string said;
  EXPECT_EQ(verify(&said), 0) << said;
  create(1, "pgbackrest", true);
  EXPECT_EQ(sets().size(), 1u);
  EXPECT_EQ(verify(&said), 0) << said;
  // One directory, one tool.
  EXPECT_THROW(create({}, "postgresql"), Error);

  fs::path file;
  for (const auto& entry :
       fs::recursive_directory_iterator(base_ / "backups/pgbackrest/repo/backup/cairn" / sets().at(0)))
    if (entry.is_regular_file() && entry.path().parent_path().filename() == "1" && entry.file_size() > 2000)
      file = entry.path();
  std::string bytes = text_of(file);
  ASSERT_GT(bytes.size(), 2000u);
  bytes[1000] ^= 1;
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
  EXPECT_EQ(verify(&said), 1);
  EXPECT_NE(said.find("pgbackrest restore ended with"), std::string::npos) << said;
}

// Killed with everything that it started, at moments over its whole life.
class KilledBackupTest : public BackupTest, public testing::WithParamInterface<const char*> {};

TEST_P(KilledBackupTest, R32_AKilledBackupLeavesNothingThatLooksGood) {
  insert(1);
  const auto begun = std::chrono::steady_clock::now();
  create({}, GetParam());
  const auto took = std::chrono::steady_clock::now() - begun;
  const char* kills = std::getenv("CAIRN_KILLS");
  const int times = std::max(1, (kills == nullptr ? 5 : std::atoi(kills)) / 4);
  for (int n = 0; n < times; ++n) {
    const size_t before = ids().size();
    const pid_t child = fork();
    if (child == 0) {
      std::ostringstream out;
      _exit(backup::create(create_options(), out));
    }
    std::this_thread::sleep_for(took * (n + 1) / (times + 1));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    const bool finished = WIFEXITED(status);
    // What it had forked a moment before holds the lock until it runs its program.
    const int lock = open((base_ / "backups/lock").c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_EQ(flock(lock, LOCK_EX), 0) << strerror(errno);
    close(lock);
    const size_t made = ids().size() - before;
    EXPECT_TRUE(made == 1 || (made == 0 && !finished)) << made;
  }
  create();
  EXPECT_EQ(verify(), 0);
  for (const auto& entry : fs::directory_iterator(base_ / "backups/backups"))
    EXPECT_NE(entry.path().filename().string()[0], '.');
}

INSTANTIATE_TEST_SUITE_P(With, KilledBackupTest, testing::Values("postgresql", "pgbackrest"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace cairn::backup
