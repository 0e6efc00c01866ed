#include "app/scheduled_jobs.h"

#include <fmt/format.h>

#include <chrono>

#include "backup/api.h"
#include "base/error.h"
#include "base/json.h"
#include "base/table.h"
#include "features/rollups.h"
#include "jobs/child.h"
#include "partitions/api.h"

namespace cairn::app {
namespace {

using namespace std::chrono_literals;
using maintain::JobContext;

constexpr auto kPoll = 200ms;
constexpr auto kBetweenTries = 30s;
constexpr int kInUse = 4;  // exit code of `cairn backup verify` while a backup is made
constexpr size_t kOutputMost = 1 << 20;

task<std::string> partitions_now(JobContext& context) {
  const partitions::Maintained done =
      co_await partitions::maintain_managed(context.pool.options().connection_string, context.may_go_on);
  context.report = done.report;
  if (done.failed) throw Error(ErrorCode::kInvalidState, done.summary);
  co_return done.summary;
}

task<bool> partitions_needed(db::Pool& pool) { return partitions::has_managed_tables(pool); }

task<std::string> rollups_now(JobContext& context) {
  const std::vector<features::RolledUp> done =
      co_await features::roll_up(context.pool, std::nullopt, context.may_go_on);
  std::string summary;
  for (const features::RolledUp& one : done)
    if (one.buckets > 0)
      summary += fmt::format("{}{}: {} buckets", summary.empty() ? "" : ", ", on_one_line(one.view), one.buckets);
  co_return summary;
}

task<bool> rollups_needed(db::Pool& pool) { return features::has_rollups_due(pool); }

// Events are numbered as they come, so the old ones are the first. Some at a time, each a transaction: nobody waits for
// the first run in a database that has gathered millions.
#define CAIRN_OLD_EVENTS                                                                               \
  "(SELECT event_id FROM (SELECT event_id, at FROM audit.events ORDER BY event_id LIMIT 10000) first " \
  "WHERE at < now() - interval '400 days')"
constexpr db::Statement kHasOldEvents{"audit_has_old", "SELECT EXISTS " CAIRN_OLD_EVENTS};
constexpr db::Statement kForgetEvents{"audit_forget", "DELETE FROM audit.events WHERE event_id IN " CAIRN_OLD_EVENTS};

task<bool> has_old_events(db::Pool& pool) {
  const db::Rows rows = co_await pool.query(kHasOldEvents);
  co_return rows.boolean(0, 0);
}

task<std::string> forget_events(JobContext& context) {
  int64_t removed = 0, last = 1;
  while (last > 0 && context.may_go_on()) {
    const db::Rows rows = co_await context.pool.query(kForgetEvents);
    last = rows.affected();
    removed += last;
  }
  co_return fmt::format("{} events of the audit, older than 400 days, removed", removed);
}

std::string backup_directory(const ServerConfig& config) {
  return config.backup_dir.empty() ? backup::last_directory(config.data_dir) : config.backup_dir;
}

struct Verification {
  bool good = false;
  bool in_use = false;      // a backup was being made
  std::string output = {};  // the command's JSON; where there is none, its complaint
};

// A program of its own: it takes minutes, is not to outlive its server, and may be ended at any moment.
task<Verification> verify_once(JobContext& context, const ServerConfig& config) {
  const std::string directory = backup_directory(config);
  std::vector<std::string> command{"/proc/self/exe", "backup", "verify", "--json", "--backup-dir", directory};
  if (!config.postgres_bin.empty()) command.insert(command.end(), {"--postgres-bin", config.postgres_bin});
  jobs::Child child(command, {}, "");
  context.on_stop = [&child] { child.terminate(); };
  while (!child.ended()) co_await sleep_for(kPoll);
  context.on_stop = [] {};
  Verification verification{child.exited_with(0), child.exited_with(kInUse), child.output(kOutputMost)};
  if (!verification.output.starts_with("{"))
    verification.output = child.describe_end() + ": " + child.errors(kOutputMost);
  co_return verification;
}

// In a line what is not good, of the command's JSON.
std::string summary_of(const std::string& output) {
  const json::Document document(output);
  const json::Fields fields = json::root_fields(document);
  std::string summary =
      "backup " + fields.required_string("backup") + (fields.boolean("good").value_or(false) ? ": good" : ": NOT GOOD");
  for (const json::Fields& check : fields.objects("checks"))
    if (!check.boolean("good").value_or(false))
      summary += "; " + check.required_string("name") + ": " + on_one_line(check.required_string("detail"));
  return summary;
}

task<std::string> verify_now(JobContext& context, const ServerConfig& config) {
  Verification verification = co_await verify_once(context, config);
  while (verification.in_use && context.may_go_on()) {
    co_await sleep_for(kBetweenTries);
    verification = co_await verify_once(context, config);
  }
  if (!verification.output.starts_with("{"))
    throw Error(ErrorCode::kInvalidState, "cairn backup verify " + on_one_line(verification.output));
  context.report = verification.output;
  const std::string summary = summary_of(verification.output);
  if (!verification.good) throw Error(ErrorCode::kInvalidState, summary);
  co_return summary;
}

task<bool> verify_needed(const ServerConfig& config) {
  const auto look = [config] { return !backup_directory(config).empty(); };
  auto looking = offload(look);
  co_return co_await looking;
}

}  // namespace

void add_scheduled_jobs(maintain::Schedule& schedule, const ServerConfig& config) {
  schedule.add({.name = "partitions",
                .description = "Partitions made ahead, old ones detached (cairn partitions maintain)",
                .schedule = "45 0 * * *",
                .quiet_hours = "00:00-05:00",
                .work = partitions_now,
                .is_needed = partitions_needed});
  schedule.add({.name = "feature-rollups",
                .description = "What was written to feature views with a rollup (cairn features rollup)",
                .schedule = "60 seconds",
                .work = rollups_now,
                .is_needed = rollups_needed});
  schedule.add({.name = "audit",
                .description = "Events of the audit older than 400 days removed",
                .schedule = "30 0 * * *",
                .work = forget_events,
                .is_needed = has_old_events});
  if (!config.database_url.empty()) return;
  schedule.add({.name = maintain::kBackupVerify,
                .description = "The newest backup restored into a scratch cluster and compared (cairn backup verify)",
                .schedule = "0 1 1 * *",
                .quiet_hours = maintain::kNight,
                .work = [config](JobContext& context) { return verify_now(context, config); },
                .is_needed = [config](db::Pool&) { return verify_needed(config); }});
}

}  // namespace cairn::app
