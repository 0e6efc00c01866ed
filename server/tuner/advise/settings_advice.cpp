#include "tuner/advise/settings_advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cluster/settings.h"
#include "db/statement.h"
#include "tuner/sql/expression.h"

namespace cairn::tuner {
namespace {

constexpr double kMiB = 1 << 20;
constexpr double kDifferent = 1.5;  // a value is worth a change when it differs by this factor
constexpr double kBlocksMin = 1e6;  // below, a share of hits says little
constexpr double kLowHitRatio = 0.95;
constexpr double kHighHitRatio = 0.99;
constexpr double kSortShare = 2.5;             // memory that a sort takes for a byte that it would write
constexpr double kWorkMemUnknown = 64 * kMiB;  // at most, on a machine that is not known
constexpr double kSpilledCallsMin = 10;
constexpr double kJitShare = 0.1;
constexpr double kJitMsMin = 1000;
constexpr double kForcedMin = 10;
constexpr double kParallelMs = 500;       // a statement that long may use several cores
constexpr double kVacuumedRows = 10'000;  // a smaller table is vacuumed soon enough
constexpr double kLargeTable = 1e6;
constexpr double kChurnShare = 0.2;
constexpr double kDeadShare = 0.1;

std::string megabytes(double bytes) { return fmt::format("{:.0f}MB", std::ceil(bytes / kMiB)); }

class Proposals {
 public:
  explicit Proposals(const SettingsFacts& facts) : facts_(facts) {
    if (!facts.machine) return;
    const double connections = number("max_connections");
    for (const cluster::Setting& setting :
         cluster::machine_settings(*facts.machine, connections > 0 ? static_cast<int>(connections) : 100))
      machine_[setting.name] = setting;
  }

  std::vector<Change> take() {
    caches();
    work_mem();
    planner();
    parallel();
    jit();
    checkpoints();
    for (const TableChurn& table : facts_.tables) autovacuum(table);
    return std::move(changes_);
  }

 private:
  const ServerSetting* setting(const std::string& name) const {
    const auto found = facts_.settings.find(name);
    return found == facts_.settings.end() ? nullptr : &found->second;
  }
  double number(const std::string& name) const {
    const ServerSetting* found = setting(name);
    return found == nullptr ? -1 : found->number;
  }
  // What the rules for Cairn's own PostgreSQL give on this machine; below 0: it is not known.
  double by_machine(const std::string& name) const {
    const auto found = machine_.find(name);
    if (found == machine_.end()) return -1;
    const std::string& value = found->second.value;
    return std::stod(value) * (value.ends_with("MB") ? kMiB : 1);
  }
  std::string machine_reason(const std::string& name) const { return machine_.at(name).reason; }
  double hit_ratio() const { return facts_.block_hits / std::max(1.0, facts_.block_hits + facts_.block_reads); }
  bool has_read() const { return facts_.block_hits + facts_.block_reads >= kBlocksMin; }

  // For this database where PostgreSQL allows that, else for the whole server.
  void set(const std::string& name, const std::string& value, std::string reason, double gain_ms = 0) {
    const ServerSetting* now = setting(name);
    if (now == nullptr) return;
    Change change{.kind = ChangeKind::kSetting, .name = name};
    change.reason = fmt::format("{} (now {})", reason, now->text);
    change.gain_ms = gain_ms;
    const std::string to = db::quote_identifier(name) + " = " + quote_literal(value);
    if (!now->restart && !now->reload) {
      const std::string alter = "ALTER DATABASE " + db::quote_identifier(facts_.database) + " ";
      const auto before = facts_.of_database.find(name);
      change.statements = {alter + "SET " + to};
      change.inverse = {alter + (before == facts_.of_database.end()
                                     ? "RESET " + db::quote_identifier(name)
                                     : "SET " + db::quote_identifier(name) + " = " + quote_literal(before->second))};
      change.reason += "; sessions that begin after it have it";
    } else {
      if (!facts_.of_system) return;  // what is there could not be put back
      const auto before = facts_.of_system->find(name);
      change.statements = {"ALTER SYSTEM SET " + to, "SELECT pg_reload_conf()"};
      change.inverse = {before == facts_.of_system->end()
                            ? "ALTER SYSTEM RESET " + db::quote_identifier(name)
                            : "ALTER SYSTEM SET " + db::quote_identifier(name) + " = " + quote_literal(before->second),
                        "SELECT pg_reload_conf()"};
      change.on_request = now->restart;
      if (now->restart) change.reason += "; only a restart of PostgreSQL makes it so";
    }
    changes_.push_back(std::move(change));
  }

  void caches() {
    const double buffers = number("shared_buffers"), wanted = by_machine("shared_buffers");
    if (buffers > 0 && wanted > buffers * kDifferent && has_read() && hit_ratio() < kLowHitRatio &&
        facts_.database_bytes > buffers)
      set("shared_buffers", megabytes(wanted),
          fmt::format("{:.1f} % of {:.0f} blocks were read past the cache, and the database has {}. {}",
                      100 * (1 - hit_ratio()), facts_.block_hits + facts_.block_reads, megabytes(facts_.database_bytes),
                      machine_reason("shared_buffers")));
    const double cache = number("effective_cache_size"), memory = by_machine("effective_cache_size");
    if (cache > 0 && memory > cache * kDifferent && facts_.database_bytes > cache)
      set("effective_cache_size", megabytes(memory),
          fmt::format("the database has {}. {}", megabytes(facts_.database_bytes),
                      machine_reason("effective_cache_size")));
    const double build = number("maintenance_work_mem"), room = by_machine("maintenance_work_mem");
    if (build > 0 && room > build * kDifferent && facts_.largest_index_bytes > build)
      set("maintenance_work_mem", megabytes(room),
          fmt::format("the largest index has {}. {}", megabytes(facts_.largest_index_bytes),
                      machine_reason("maintenance_work_mem")));
  }

  void work_mem() {
    const double now = number("work_mem");
    if (now <= 0 || facts_.spilled_calls < kSpilledCallsMin) return;
    double most = kWorkMemUnknown;
    if (facts_.machine) most = std::max(by_machine("work_mem"), static_cast<double>(facts_.machine->memory_bytes) / 64);
    double wanted = now;
    while (wanted < facts_.spill_bytes_max * kSortShare && wanted * 2 <= most) wanted *= 2;
    if (wanted >= now * kDifferent)
      set("work_mem", megabytes(wanted),
          fmt::format("{:.0f} calls wrote sorts and hashes to disk, up to {:.1f} MB in a call", facts_.spilled_calls,
                      facts_.spill_bytes_max / kMiB));
  }

  void planner() {
    const double random = number("random_page_cost");
    const bool cached = has_read() && hit_ratio() >= kHighHitRatio;
    const bool no_seeks = facts_.machine && !facts_.machine->rotational;
    if (random >= 2 && (cached || (no_seeks && has_read())))
      set("random_page_cost", "1.1",
          cached
              ? fmt::format("{:.1f} % of {:.0f} blocks came from the cache, where a random read costs what any other "
                            "does",
                            100 * hit_ratio(), facts_.block_hits + facts_.block_reads)
              : machine_reason("random_page_cost"));
    const double requests = by_machine("effective_io_concurrency"), now = number("effective_io_concurrency");
    if (no_seeks && now >= 0 && requests > (now + 1) * kDifferent && now < 32 && has_read() &&
        hit_ratio() < kHighHitRatio)
      set("effective_io_concurrency", fmt::format("{:.0f}", requests),
          fmt::format("{:.0f} blocks were read past the cache. {}", facts_.block_reads,
                      machine_reason("effective_io_concurrency")));
    const double target = number("default_statistics_target");
    if (target > 0 && target * kDifferent <= 100)
      set("default_statistics_target", "100",
          "so few values of a column are kept that estimates err; PostgreSQL's own default is 100");
  }

  void parallel() {
    const double now = number("max_parallel_workers_per_gather"), cores = by_machine("max_parallel_workers_per_gather");
    if (now >= 0 && cores >= 2 && cores > now * kDifferent && facts_.slowest_mean_ms >= kParallelMs)
      set("max_parallel_workers_per_gather", fmt::format("{:.0f}", cores),
          fmt::format("a statement takes {:.0f} ms on average, and there are {} cores. {}", facts_.slowest_mean_ms,
                      facts_.machine->cores, machine_reason("max_parallel_workers_per_gather")));
  }

  void jit() {
    const ServerSetting* now = setting("jit");
    if (now == nullptr || now->text != "on" || facts_.jit_ms < kJitMsMin) return;
    const double share = facts_.jit_ms / std::max(1.0, facts_.jit_run_ms);
    if (share >= kJitShare)
      set("jit", "off",
          fmt::format("compiling took {:.1f} s, {:.0f} % of the time of the statements that were compiled",
                      facts_.jit_ms / 1000, 100 * share),
          facts_.jit_ms);
  }

  void checkpoints() {
    const double forced = facts_.checkpoints_forced, all = forced + facts_.checkpoints_timed;
    const double now = number("max_wal_size");
    if (now > 0 && forced >= kForcedMin && forced > all / 2) {
      const double machine = by_machine("max_wal_size");
      const double wanted = machine > 0 ? std::min(machine, now * 8) : now * 2;
      if (wanted >= now * kDifferent)
        set("max_wal_size", megabytes(wanted),
            fmt::format("{:.0f} of {:.0f} checkpoints were forced because the log was full", forced, all));
    }
    const ServerSetting* compression = setting("wal_compression");
    constexpr double kGiB = 1024 * kMiB, kPage = 8192;
    if (compression != nullptr && compression->text == "off" && facts_.wal_bytes >= kGiB &&
        facts_.wal_page_images * kPage >= facts_.wal_bytes / 2)
      set("wal_compression", "on",
          fmt::format("of {:.1f} GB of log more than half are full pages; they shrink to about a third",
                      facts_.wal_bytes / kGiB));
  }

  void autovacuum(const TableChurn& table) {
    if (table.rows < kVacuumedRows) return;
    const bool large = table.rows >= kLargeTable;
    const double rewritten = table.updated + table.deleted;
    std::map<std::string, std::string> wanted;
    const auto want = [&](const char* name, double factor) {
      const auto own = table.options.find(name);
      const double now = own == table.options.end() ? number(name) : std::atof(own->second.c_str());
      if (now >= factor * kDifferent) wanted[name] = fmt::format("{}", factor);
    };
    if (rewritten < kChurnShare * table.rows && table.dead < kDeadShare * table.rows) return;
    want("autovacuum_vacuum_scale_factor", large ? 0.02 : 0.05);
    want("autovacuum_analyze_scale_factor", large ? 0.01 : 0.02);
    if (wanted.empty()) return;
    std::string set, reset, restored;
    for (const auto& [name, value] : wanted) {
      set += (set.empty() ? "" : ", ") + name + " = " + value;
      const auto own = table.options.find(name);
      if (own == table.options.end())
        reset += (reset.empty() ? "" : ", ") + name;
      else
        restored += (restored.empty() ? "" : ", ") + name + " = " + quote_literal(own->second);
    }
    const std::string alter =
        "ALTER TABLE " + db::quote_identifier(table.table.schema) + "." + db::quote_identifier(table.table.name) + " ";
    Change change{.kind = ChangeKind::kSetting, .table = table.table, .name = "autovacuum"};
    change.statements = {alter + "SET (" + set + ")"};
    if (!restored.empty()) change.inverse.push_back(alter + "SET (" + restored + ")");
    if (!reset.empty()) change.inverse.push_back(alter + "RESET (" + reset + ")");
    change.reason = fmt::format(
        "of about {:.0f} rows, {:.0f} were updated or deleted and {:.0f} added since the counters began, {:.0f} are "
        "dead, "
        "and autovacuum came {} times: it should come before a fifth of the table has changed",
        table.rows, rewritten, table.inserted, table.dead, table.vacuums);
    changes_.push_back(std::move(change));
  }

  const SettingsFacts& facts_;
  std::map<std::string, cluster::Setting> machine_;
  std::vector<Change> changes_;
};

}  // namespace

std::vector<Change> propose_settings(const SettingsFacts& facts) { return Proposals(facts).take(); }

}  // namespace cairn::tuner
