#include "tuner/report/report_cli.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>

#include "base/clock.h"
#include "base/error.h"
#include "db/pool.h"
#include "tuner/apply/apply_session.h"
#include "tuner/profile/snapshots.h"
#include "tuner/sql/statement_shape.h"

namespace cairn::tuner {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPlans = 10;
constexpr int64_t kBlock = 8192;
constexpr const char* kMark = "`cairn tune ";  // in the head of every document

constexpr db::Statement kServer{"tune_report_server",
                                "/* cairn tune */ SELECT current_database(), current_setting('server_version'), "
                                "(SELECT setting::int8 FROM pg_settings WHERE name = 'shared_buffers')"};

struct JournalRead {
  std::vector<JournalEntry> entries;
  std::vector<ApplyRecord> applies;
};

task<JournalRead> read_journal(ApplySession& session) {
  JournalRead read;
  co_await session.open();
  Journal journal(session);
  if (co_await journal.exists()) {
    read.entries = co_await journal.entries();
    read.applies = co_await journal.applies();
  }
  co_await session.close();
  co_return read;
}

void take_over(ReportFacts& facts, const Reading& now, JournalRead read) {
  facts.journal = std::move(read.entries);
  facts.before = make_profile(now, Order::kTotal);
  // The first apply tells what was before, the last one since when it is after.
  const auto first = std::find_if(read.applies.begin(), read.applies.end(),
                                  [](const ApplyRecord& apply) { return !apply.reading_before.empty(); });
  const auto last = std::find_if(read.applies.rbegin(), read.applies.rend(),
                                 [](const ApplyRecord& apply) { return !apply.reading_after.empty(); });
  if (first == read.applies.end() || last == read.applies.rend()) return;
  facts.before = make_profile(reading_from_json(first->reading_before), Order::kTotal);
  facts.after = make_profile(reading_from_json(last->reading_after), now, Order::kTotal);
}

task<> read_plans(ReportFacts& facts, const std::string& connection_string) {
  const auto connection = co_await db::Connection::connect(connection_string);
  for (const StatementGroup& group : facts.before.groups) {
    if (facts.plans.size() == kPlans) break;
    const StatementShape shape = statement_shape(group.text);
    if (shape.error || shape.statements != 1 || (shape.kind != "SelectStmt" && shape.kind != "UpdateStmt")) continue;
    ExplainOptions options{.statement = group.text};
    try {
      Explained explained = co_await explain(*connection, std::move(options));
      facts.plans.push_back({group.id, std::move(explained)});
    } catch (const Error&) {
      // Of a table that is gone, or may not be read: the report says that the plan was not read.
    }
  }
}

// The one that is named; else the one that was applied last, else the newest.
std::optional<Advice> advice_of(const ReportOptions& options, const std::string& applied) {
  if (!options.advice.empty()) return load_advice(options.state_directory, options.advice);
  for (const std::string& id : {applied, std::string("last")}) {
    if (id.empty()) continue;
    try {
      return load_advice(options.state_directory, id);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kResourceDoesNotExist) throw;
    }
  }
  return std::nullopt;
}

std::string read_head(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string head(1000, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<size_t>(file.gcount()));
  return head;
}

void write(const fs::path& path, const std::string& text) {
  std::error_code failure;
  fs::create_directories(path.parent_path(), failure);
  const fs::path beside = path.string() + ".part";
  std::ofstream file(beside, std::ios::binary);
  file << text;
  file.close();
  if (file) fs::rename(beside, path, failure);
  if (!file || failure) throw Error(ErrorCode::kInvalidState, "cannot write " + path.string() + ": give another --dir");
}

}  // namespace

ReportFacts read_report_facts(Reactor& reactor, const ReportOptions& options) {
  db::PoolOptions pool_options;
  pool_options.connection_string = options.connection_string;
  pool_options.size = 1;
  db::Pool pool(pool_options);
  ReportFacts facts;
  facts.made_at_ms = now_ms();
  const db::Rows server = reactor.block_on(pool.query(kServer));
  facts.database = server.text(0, 0);
  facts.server_version = server.text(0, 1);
  if (!server.is_null(0, 2)) facts.shared_buffers = server.integer(0, 2) * kBlock;
  facts.catalog = reactor.block_on(read_catalog(pool));
  const Reading now = reactor.block_on(read_statements(pool));
  std::ofstream nowhere;
  ApplySession session({.connection_string = options.connection_string, .name = "cairn tune report"}, nowhere);
  JournalRead journal = reactor.block_on(read_journal(session));
  const std::string applied = journal.applies.empty() ? "" : journal.applies.back().advice;
  take_over(facts, now, std::move(journal));
  reactor.block_on(read_plans(facts, options.connection_string));
  facts.advice = advice_of(options, applied);
  if (facts.advice) facts.proof = load_proof(options.state_directory, facts.advice->id);
  return facts;
}

int run_report(const ReportOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  progress << "reading the database and what the tuner remembers of it" << std::endl;
  const std::vector<ReportDocument> documents = report_documents(read_report_facts(reactor, options));
  const fs::path directory = options.directory;
  for (const ReportDocument& document : documents) {
    const fs::path path = directory / document.path;
    if (fs::exists(path) && read_head(path).find(kMark) == std::string::npos)
      throw Error(ErrorCode::kResourceConflict,
                  path.string() + " was not written by this command, and stays: move it, or give another --dir");
  }
  for (const ReportDocument& document : documents) {
    write(directory / document.path, document.text);
    out << (directory / document.path).string() << "\n";
  }
  return 0;
}

}  // namespace cairn::tuner
