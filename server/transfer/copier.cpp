#include "transfer/copier.h"

#include <algorithm>
#include <cstdlib>
#include <iomanip>
#include <ostream>
#include <sstream>

#include "base/error.h"
#include "base/json.h"

namespace cairn::transfer {
namespace {

using std::chrono::steady_clock;

// Of a batch. The merge of a batch works in PostgreSQL's work_mem and temporary files.
constexpr int64_t kBatchRows = 50000;
constexpr size_t kBatchBytes = 32u << 20;
constexpr std::chrono::seconds kReportEvery{2};

// The number spells "transfer".
constexpr const char* kTryLock = "SELECT pg_try_advisory_lock(8390880602192996722)";
constexpr const char* kSnapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

double seconds_since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

}  // namespace

Copier::Copier(Session& source, Session& target, bool dry_run, std::ostream& progress)
    : source_(source), target_(target), dry_run_(dry_run), progress_(progress), begun_(steady_clock::now()) {
  last_report_ = begun_;
  if (target_.value(kTryLock) != "t") {
    throw Error(ErrorCode::kResourceConflict,
                "another import or export writes to this database now: wait until it has ended, then run this again");
  }
  source_.run(kSnapshot);
}

void Copier::report(const char* name, int64_t rows) {
  if (steady_clock::now() - last_report_ < kReportEvery) return;
  last_report_ = steady_clock::now();
  progress_ << name << ": " << rows << " read, " << int64_t(seconds_since(begun_)) << " s" << std::endl;
}

// Copies rows into the stage until the batch is full. Returns false when there are no more.
bool Copier::stage_batch(int64_t& read) {
  target_.begin_writing("stage");
  int64_t rows = 0;
  size_t bytes = 0;
  bool more = true;
  while (rows < kBatchRows && bytes < kBatchBytes) {
    const std::string_view row = source_.next();
    if (row.empty()) {
      more = false;
      break;
    }
    target_.write(row);
    ++rows;
    bytes += row.size();
  }
  target_.end_writing();
  read += rows;
  return more;
}

Summary::Kind Copier::copy(const Step& step) {
  Summary::Kind kind{step.name};
  report(step.name, 0);
  if (dry_run_) {
    kind.read = source_.integer(std::string("SELECT count(*) FROM (") + step.source + ") s");
    return kind;
  }
  target_.run(std::string("CREATE TEMP TABLE stage (") + step.stage + ") ON COMMIT DELETE ROWS");
  source_.begin_reading(std::string(step.source) + " " + step.order);
  for (bool more = true; more;) {
    target_.run("BEGIN");
    more = stage_batch(kind.read);
    target_.run("ANALYZE stage");
    for (const Merge& merge : step.merges) {
      const Session::Result result = target_.run(merge.sql);
      if (!merge.counts) continue;
      if (result.rows.empty()) kind.written += result.affected;
      for (const auto& row : result.rows) kind.written += std::strtoll(row[0].c_str(), nullptr, 10);
    }
    target_.run("COMMIT");
    report(step.name, kind.read);
  }
  target_.run("DROP TABLE stage");
  return kind;
}

Session::Result Copier::compare(const Step& step, const std::string& query) {
  target_.run("BEGIN");
  target_.run(std::string("CREATE TEMP TABLE stage (") + step.stage + ") ON COMMIT DROP");
  source_.begin_reading(step.source);
  for (int64_t read = 0; stage_batch(read);) {
  }
  Session::Result result = target_.run(query);
  target_.run("ROLLBACK");
  return result;
}

namespace {

void print_json(const Summary& summary, std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  const auto counts = [&](const char* name, const std::vector<std::pair<std::string, int64_t>>& values) {
    writer.key(name);
    writer.begin_object();
    for (const auto& [key, value] : values) writer.field(key, value);
    writer.end_object();
  };
  writer.begin_object();
  writer.field("action", summary.action);
  writer.field("database", summary.database);
  writer.field("dry_run", summary.dry_run);
  writer.key("copied");
  writer.begin_object();
  for (const Summary::Kind& kind : summary.copied) {
    std::string name = kind.name;
    std::ranges::replace(name, ' ', '_');
    writer.key(name);
    writer.begin_object();
    writer.field("read", kind.read);
    writer.field("written", kind.written);
    writer.end_object();
  }
  writer.end_object();
  writer.key("renumbered_experiments");
  writer.begin_array();
  for (const Summary::Renumbered& entry : summary.renumbered) {
    writer.begin_object();
    writer.field("name", entry.name);
    writer.field("from", entry.from);
    writer.field("to", entry.to);
    writer.end_object();
  }
  writer.end_array();
  counts("left_behind", summary.left_behind);
  counts("artifacts", summary.artifacts);
  writer.field("seconds", summary.seconds);
  writer.end_object();
  out << text << "\n";
}

}  // namespace

void print_summary(const Summary& summary, bool as_json, std::ostream& out) {
  if (as_json) return print_json(summary, out);
  const bool importing = summary.action == "import";
  out << (importing ? "from " : "to ") << summary.database << (summary.dry_run ? " (dry run: nothing is written)" : "")
      << "\n\n"
      << std::left << std::setw(30) << "" << std::right << std::setw(12) << "read";
  if (!summary.dry_run) out << std::setw(18) << "new or changed";
  out << "\n";
  for (const Summary::Kind& kind : summary.copied) {
    out << std::left << std::setw(30) << kind.name << std::right << std::setw(12) << kind.read;
    if (!summary.dry_run) out << std::setw(18) << kind.written;
    out << "\n";
  }
  if (!summary.renumbered.empty()) out << "\nExperiments with another number here, because theirs is taken:\n";
  for (const Summary::Renumbered& entry : summary.renumbered)
    out << "  " << entry.name << ": " << entry.from << " -> " << entry.to << "\n";
  if (!summary.left_behind.empty()) out << "\nLeft behind:\n";
  for (const auto& [what, count] : summary.left_behind) out << "  " << what << ": " << count << "\n";
  if (!summary.artifacts.empty())
    out << "\nArtifacts are not copied, their locations are kept. Of the runs' there are:\n";
  for (const auto& [scheme, count] : summary.artifacts) out << "  " << count << " at " << scheme << "\n";
  if (!summary.dry_run) out << "\ndone in " << std::fixed << std::setprecision(1) << summary.seconds << " s\n";
}

std::string libpq_url(const std::string& url) {
  const size_t scheme_end = url.find("://");
  if (scheme_end == std::string::npos) return url;  // key=value pairs
  const std::string scheme = url.substr(0, scheme_end);
  const std::string database = scheme.substr(0, scheme.find('+'));
  if (database != "postgresql" && database != "postgres") {
    throw invalid("'" + scheme +
                  "' is no PostgreSQL database, and only such a one can be copied: move MLflow's to "
                  "PostgreSQL first, then give its postgresql:// URL");
  }
  return database + url.substr(scheme_end);
}

}  // namespace cairn::transfer
