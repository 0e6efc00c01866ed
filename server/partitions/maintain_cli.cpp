// `cairn partitions maintain`, by a command and by the server's schedule.
#include <fmt/format.h>

#include <algorithm>
#include <ostream>
#include <sstream>

#include "base/error.h"
#include "base/table.h"
#include "partitions/api.h"
#include "partitions/maintain.h"
#include "partitions/report.h"

namespace cairn::partitions {
namespace {

constexpr double kScheduledWait_s = 600;

// Of one table: what went wrong with it is in its report, so that the others have their turn.
task<MaintainReport> maintain_one(Session& session, const Managed& table, bool dry_run) {
  MaintainReport report;
  try {
    report = co_await maintain(session, table, dry_run);
  } catch (const Error& error) {
    report = {};
    report.table = table.shown_name();
    report.dry_run = dry_run;
    report.failed = true;
    report.problems.push_back(error.what());
  }
  co_return report;
}

task<std::vector<MaintainReport>> maintain_all(const MaintainOptions& options, std::ostream& progress) {
  const SessionOptions session_options{options.connection_string, "cairn partitions maintain", options.wait_s};
  Session session(session_options, progress);
  co_await session.open();
  std::vector<MaintainReport> reports;
  const bool there = co_await journal_exists(session);
  if (!there) co_return reports;
  co_await session.lock();
  std::vector<Managed> tables = co_await managed_tables(session);
  if (!options.table.empty()) {
    const std::optional<Managed> one = co_await managed_table(session, options.table);
    if (!one) throw not_found(options.table + " was not partitioned by cairn partitions: see cairn partitions status");
    tables = {*one};
  }
  for (const Managed& table : tables) {
    if (options.may_go_on && !options.may_go_on()) break;
    MaintainReport report;
    if (tables.size() == 1)
      report = co_await maintain(session, table, options.dry_run);
    else
      report = co_await maintain_one(session, table, options.dry_run);
    reports.push_back(std::move(report));
  }
  co_return reports;
}

std::string to_json(const std::vector<MaintainReport>& reports) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.key("tables");
  writer.begin_array();
  for (const MaintainReport& report : reports) {
    writer.begin_object();
    writer.field("table", report.table);
    writer.field("dry_run", report.dry_run);
    write_strings(writer, "made", report.made);
    write_strings(writer, "detached", report.detached);
    writer.field("moved", report.moved);
    writer.field("in_default", report.in_default);
    writer.field("failed", report.failed);
    write_strings(writer, "problems", report.problems);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  return text;
}

void print(const std::vector<MaintainReport>& reports, std::ostream& out) {
  for (const MaintainReport& report : reports) {
    const char* would = report.dry_run ? "would be " : "";
    if (report.made.empty() && report.detached.empty() && !report.failed) out << report.table << ": nothing to do\n";
    for (const std::string& name : report.made) out << fmt::format("{}: {}made: {}\n", report.table, would, name);
    if (report.moved > 0)
      out << fmt::format("{}: {} rows {}moved out of the default partition\n", report.table, report.moved, would);
    for (const std::string& name : report.detached)
      out << fmt::format("{}: {}detached: {} (cairn partitions archive)\n", report.table, would, name);
    for (const std::string& problem : report.problems) out << report.table << ": " << on_one_line(problem) << "\n";
  }
  if (reports.empty()) out << "no table is partitioned by cairn partitions\n";
}

bool any_failed(const std::vector<MaintainReport>& reports) {
  return std::any_of(reports.begin(), reports.end(), [](const MaintainReport& report) { return report.failed; });
}

std::string summary_of(const std::vector<MaintainReport>& reports) {
  size_t made = 0, detached = 0;
  std::string problems;
  for (const MaintainReport& report : reports) {
    made += report.made.size();
    detached += report.detached.size();
    for (const std::string& problem : report.problems) problems += "; " + report.table + ": " + on_one_line(problem);
  }
  return fmt::format("{} tables: {} partitions made, {} detached{}", reports.size(), made, detached, problems);
}

}  // namespace

int run_maintain(const MaintainOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  const std::vector<MaintainReport> reports = reactor.block_on(maintain_all(options, progress));
  if (options.json)
    out << to_json(reports) << "\n";
  else
    print(reports, out);
  return any_failed(reports) ? 1 : 0;
}

constexpr db::Statement kJournal{"partitions_readable_journal", R"(
SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'cairn_partitions' AND c.relname = 'managed')"};
constexpr db::Statement kAnyManaged{"partitions_any_managed", "SELECT EXISTS (SELECT FROM cairn_partitions.managed)"};

task<bool> has_managed_tables(db::Pool& pool) {
  const db::Rows journal = co_await pool.query(kJournal);
  if (journal.empty() || !journal.boolean(0, 0)) co_return false;
  const db::Rows any = co_await pool.query(kAnyManaged);
  co_return any.boolean(0, 0);
}

task<Maintained> maintain_managed(std::string connection_string, std::function<bool()> may_go_on) {
  MaintainOptions options;
  options.connection_string = std::move(connection_string);
  options.wait_s = kScheduledWait_s;
  options.may_go_on = std::move(may_go_on);
  std::ostringstream progress;
  const std::vector<MaintainReport> reports = co_await maintain_all(options, progress);
  co_return Maintained{summary_of(reports), to_json(reports), any_failed(reports)};
}

}  // namespace cairn::partitions
