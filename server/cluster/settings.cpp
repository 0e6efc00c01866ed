#include "cluster/settings.h"

#include <algorithm>
#include <cstdint>

namespace cairn::cluster {
namespace {

constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kGiB = 1u << 30;

std::string mebibytes(uint64_t bytes) { return std::to_string(bytes / kMiB) + "MB"; }

// Collects lines of `name = value` under a comment that gives the reason.
class Writer {
 public:
  void section(const std::string& title) { text_ += "\n# --- " + title + "\n"; }
  void why(const std::string& reason) {
    text_ += "# " + reason + "\n";
    reason_ = reason;
  }
  void set(const std::string& name, const std::string& value) {
    text_ += name + " = " + value + "\n";
    settings_.push_back({name, value, reason_});
  }
  void set(const std::string& name, int value) { set(name, std::to_string(value)); }
  std::string take() { return std::move(text_); }
  std::vector<Setting> take_settings() { return std::move(settings_); }

 private:
  std::vector<Setting> settings_;
  std::string reason_;
  std::string text_ =
      "# Made by Cairn at every start from what it finds on the machine; what is changed here is lost.\n"
      "# Your own settings go below the include line of postgresql.conf, or into ALTER SYSTEM: both win over this "
      "file.\n";
};

void write_connections(Writer& out, const SettingsInput& input) {
  out.section("Connections");
  out.why("The server's pool with its overflow, and room for psql, backups and maintenance.");
  out.set("max_connections", input.max_connections);
  out.why("The socket's directory is open to PostgreSQL's user and root only.");
  out.set("unix_socket_directories", quote_setting(input.socket_directory));
  out.set("unix_socket_permissions", "0700");
  if (input.tcp_port == 0) {
    out.why("No TCP: nobody asked for it (--postgres-port).");
    out.set("listen_addresses", "''");
  } else {
    out.why("Asked for with --postgres-port; loopback only, with a password (scram-sha-256).");
    out.set("listen_addresses", "'localhost'");
    out.set("port", input.tcp_port);
  }
}

void write_memory(Writer& out, const SettingsInput& input) {
  const uint64_t memory = input.machine.memory_bytes;
  out.section("Memory: " + mebibytes(memory) + " may be used");
  out.why(
      "A quarter of the memory, at most 8 GiB: beyond, the kernel's cache serves as well, and checkpoints get longer.");
  out.set("shared_buffers", mebibytes(std::clamp(memory / 4, 64 * kMiB, 8 * kGiB)));
  out.why(
      "Three quarters of the memory: an estimate for the planner of what is cached anywhere; nothing is allocated.");
  out.set("effective_cache_size", mebibytes(std::max(memory / 4 * 3, 128 * kMiB)));
  out.why(
      "An eighth of the memory over all connections, 4 to 64 MB each: one sort or hash may use it, times "
      "hash_mem_multiplier.");
  out.set("work_mem", mebibytes(std::clamp(memory / 8 / uint64_t(input.max_connections), 4 * kMiB, 64 * kMiB)));
  out.why("A sixteenth of the memory, 64 MB to 2 GB: index builds and manual VACUUM, one at a time.");
  out.set("maintenance_work_mem", mebibytes(std::clamp(memory / 16, 64 * kMiB, 2 * kGiB)));
  out.why("A quarter of that for each autovacuum worker, because several run at once.");
  out.set("autovacuum_work_mem", mebibytes(std::clamp(memory / 64, 64 * kMiB, kGiB / 2)));
  out.why("Used where the machine has reserved some (vm.nr_hugepages); else ordinary pages.");
  out.set("huge_pages", "try");
}

void write_cores(Writer& out, const Machine& machine) {
  const int half = std::clamp(machine.cores / 2, 1, 4);
  out.section("Cores: " + std::to_string(machine.cores) + " may be used");
  out.why("Half of the cores for one query, at most 4, so that one report does not starve the rest.");
  out.set("max_parallel_workers_per_gather", half);
  out.set("max_parallel_maintenance_workers", half);
  out.why("All parallel queries together get one worker a core.");
  out.set("max_parallel_workers", std::max(2, machine.cores));
  out.why("Those, and eight for replication and extensions.");
  out.set("max_worker_processes", std::max(2, machine.cores) + 8);
  out.why("One autovacuum worker for each two cores, 3 to 8; they look for work twice a minute.");
  out.set("autovacuum_max_workers", std::clamp(machine.cores / 2, 3, 8));
  out.set("autovacuum_naptime", "30s");
  out.why("Compiling a plan costs more than the short queries of this server ever win back.");
  out.set("jit", "off");
}

void write_disk(Writer& out, const Machine& machine) {
  const uint64_t wal = std::clamp(machine.disk_free_bytes / 10, 64 * kMiB, 8 * kGiB);
  out.section(std::string("Disk: ") + (machine.rotational ? "rotational, " : "not rotational, ") +
              mebibytes(machine.disk_free_bytes) + " free");
  if (machine.rotational) {
    out.why("A spinning disk: a random read costs a seek, and few requests at once help.");
    out.set("random_page_cost", "4.0");
    out.set("effective_io_concurrency", 2);
  } else {
    out.why("No seeks: a random read costs hardly more than a sequential one, and many at once are faster.");
    out.set("random_page_cost", "1.1");
    out.set("effective_io_concurrency", 200);
    out.why("Autovacuum may do five times the default's I/O before it pauses.");
    out.set("autovacuum_vacuum_cost_limit", 1000);
  }
  out.why(
      "A tenth of the free disk, 64 MB to 8 GB: fewer checkpoints, hence fewer full pages in the log; recovery reads "
      "at most this.");
  out.set("max_wal_size", mebibytes(wal));
  out.set("min_wal_size", mebibytes(std::max(wal / 8, 32 * kMiB)));
  out.set("checkpoint_timeout", "15min");
  out.why(
      "After a crash one flush of the file system instead of one a file: the start takes half a second less, or many "
      "on a busy disk.");
  out.set("recovery_init_sync_method", "syncfs");
  out.why("Full pages in the log shrink to about a third for little CPU.");
  out.set("wal_compression", "lz4");
  out.why("What is acknowledged is on disk: never off here, whatever a benchmark says.");
  out.set("fsync", "on");
  out.set("synchronous_commit", "on");
  out.set("full_page_writes", "on");
}

void write_archive(Writer& out, const Machine& machine) {
  out.section("WAL archive and replicas");
  out.why("On, because it cannot be turned on without a restart; `cairn backup create` says where the log is kept.");
  out.set("archive_mode", "on");
  out.set("archive_command", "'/bin/true'");
  out.why("A fifth of the free disk, 256 MB to 64 GB: log that is kept for a replica that is away, at most.");
  out.set("max_slot_wal_keep_size", mebibytes(std::clamp(machine.disk_free_bytes / 5, 256 * kMiB, 64 * kGiB)));
}

void write_statistics(Writer& out, const Machine& machine) {
  out.section("Statistics");
  out.why("auto_explain is not here: it is loaded only while profiling, because it slows large queries down.");
  out.set("shared_preload_libraries", "'pg_stat_statements'");
  out.set("pg_stat_statements.track", "all");
  out.set("pg_stat_statements.max", 10000);
  out.why(machine.fast_clock
              ? "The kernel's clock is read without a system call: timing each read is nearly free."
              : "The kernel's clock needs a system call on this machine: timing each read would slow it down.");
  out.set("track_io_timing", machine.fast_clock ? "on" : "off");
  out.set("default_statistics_target", 100);
}

void write_log(Writer& out, const SettingsInput& input) {
  out.section("Log: a file for each day of the week, overwritten a week later");
  out.set("logging_collector", "on");
  out.set("log_directory", quote_setting(input.log_directory));
  out.set("log_filename", "'postgresql-%a.log'");
  out.set("log_rotation_age", "1d");
  out.set("log_rotation_size", 0);
  out.set("log_truncate_on_rotation", "on");
  out.set("log_line_prefix", "'%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h '");
  out.why(
      "Statements over a second, changes of the schema, long waits for locks, large sorts on disk, slow autovacuum.");
  out.set("log_min_duration_statement", "1000");
  out.set("log_statement", "'ddl'");
  out.set("log_lock_waits", "on");
  out.set("log_temp_files", "64MB");
  out.set("log_autovacuum_min_duration", "10s");
  out.why("A long bulk insert's parameters would fill the log.");
  out.set("log_parameter_max_length", 1024);
}

void write_locale(Writer& out) {
  out.section("Locale: the same on every machine");
  out.set("timezone", "'UTC'");
  out.set("log_timezone", "'UTC'");
  out.set("datestyle", "'iso, ymd'");
  out.set("lc_messages", "'C'");
}

}  // namespace

std::string quote_setting(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') quoted += c;
    quoted += c;
  }
  return quoted + "'";
}

std::vector<Setting> machine_settings(const Machine& machine, int max_connections) {
  Writer out;
  const SettingsInput input{
      .machine = machine, .socket_directory = {}, .log_directory = {}, .max_connections = max_connections};
  write_memory(out, input);
  write_cores(out, machine);
  write_disk(out, machine);
  return out.take_settings();
}

std::string render_settings(const SettingsInput& input) {
  Writer out;
  write_connections(out, input);
  write_memory(out, input);
  write_cores(out, input.machine);
  write_disk(out, input.machine);
  write_archive(out, input.machine);
  write_statistics(out, input.machine);
  write_log(out, input);
  write_locale(out);
  return out.take();
}

std::string render_host_access() {
  return "# Made by Cairn at every start; what is changed here is lost.\n"
         "# On the socket the kernel says who connects; pg_ident.conf says who that may be. Nobody is trusted "
         "blindly.\n"
         "local all cairn,postgres peer map=cairn\n"
         "local all all scram-sha-256\n"
         "local replication all peer map=cairn\n"
         "host all all 127.0.0.1/32 scram-sha-256\n"
         "host all all ::1/128 scram-sha-256\n";
}

std::string render_user_map(const std::string& server_user, const std::string& postgres_user) {
  std::string text =
      "# Made by Cairn at every start; what is changed here is lost.\n"
      "# map, operating system user, PostgreSQL role\n";
  auto map = [&](const std::string& user) {
    for (const char* role : {"cairn", "postgres"}) text += "cairn \"" + user + "\" " + role + "\n";
  };
  map(server_user);
  if (postgres_user != server_user) map(postgres_user);
  return text;
}

}  // namespace cairn::cluster
