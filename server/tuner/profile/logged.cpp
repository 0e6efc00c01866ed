#include "tuner/profile/logged.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "tuner/profile/statements.h"
#include "tuner/sql/constants_text.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

constexpr size_t kSamples = 100;
constexpr size_t kEntriesMax = 30000;  // the newest; each is parsed
constexpr int64_t kChunk = 4 << 20;
constexpr const char* kDenied = "42501";

constexpr db::Statement kServer{"tune_log_server", R"(/* cairn tune */
SELECT current_setting('logging_collector') = 'on', current_setting('log_destination'),
       current_setting('log_line_prefix'), current_database(), current_user::text)"};

constexpr db::Statement kCurrentFile{"tune_log_file", "/* cairn tune */ SELECT pg_current_logfile($1)"};

constexpr db::Statement kFiles{"tune_log_files", R"(/* cairn tune */
SELECT name, size FROM pg_ls_logdir() WHERE size > 0 AND name LIKE '%' || $1 ORDER BY modification DESC, name DESC)"};

constexpr db::Statement kPart{"tune_log_part", R"(/* cairn tune */
SELECT encode(pg_read_binary_file($1, $2, $3), 'hex'))"};

constexpr db::Statement kQualstats{"tune_qualstats", R"(/* cairn tune */
SELECT n.nspname::text, current_setting('pg_qualstats.enabled', true) IS NOT NULL
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_qualstats')"};

// {0}: the schema.
constexpr std::string_view kExamples = R"(/* cairn tune */
SELECT e.query FROM {0}.pg_qualstats_example_queries() e
WHERE NOT starts_with(e.query, '/* cairn tune */')
  AND EXISTS (SELECT FROM {0}.pg_qualstats() q JOIN pg_database d ON d.oid = q.dbid
              WHERE q.queryid = e.queryid AND d.datname = current_database())
LIMIT 10000)";

std::string from_hex(std::string_view digits) {
  const auto value = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  bytes.reserve(digits.size() / 2);
  for (size_t i = 0; i + 1 < digits.size(); i += 2)
    bytes += static_cast<char>(value(digits[i]) << 4 | value(digits[i + 1]));
  return bytes;
}

LogFormat format_of(const std::string& path) {
  if (path.ends_with(".csv")) return LogFormat::kCsv;
  return path.ends_with(".json") ? LogFormat::kJson : LogFormat::kStderr;
}

struct Server {
  bool collects = false;
  std::string destinations;
  std::string role;
};

task<Server> read_server(db::Pool& pool, LogSource& source) {
  const db::Rows rows = co_await pool.query(kServer);
  source.line_prefix = rows.text(0, 2);
  source.database = rows.text(0, 3);
  co_return Server{rows.boolean(0, 0), rows.text(0, 1), rows.text(0, 4)};
}

task<> read_part(db::Pool& pool, const std::string& path, int64_t from, int64_t to, std::string& bytes) {
  for (; from < to; from += kChunk) {
    db::Params params = db::Params::of(path, from, std::min(kChunk, to - from));
    const db::Rows rows = co_await pool.query(kPart, std::move(params));
    bytes += from_hex(rows.text(0, 0));
  }
}

struct File {
  std::string path;
  int64_t size;
};

// The newest files of the log, those first. Log files lie side by side in log_directory.
task<std::vector<File>> list_files(db::Pool& pool, const Server& server, LogSource& source) {
  const bool json = server.destinations.find("jsonlog") != std::string::npos;
  const bool csv = server.destinations.find("csvlog") != std::string::npos;
  source.format = json ? LogFormat::kJson : csv ? LogFormat::kCsv : LogFormat::kStderr;
  db::Params which = db::Params::of(json ? "jsonlog" : csv ? "csvlog" : "stderr");
  const db::Rows current = co_await pool.query(kCurrentFile, std::move(which));
  std::vector<File> files;
  if (current.is_null(0, 0)) co_return files;
  const std::string path = current.text(0, 0);
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  const size_t dot = path.rfind('.');
  const std::string ending = dot == std::string::npos || dot < folder.size() ? std::string() : path.substr(dot);
  db::Params like = db::Params::of(ending);
  const db::Rows rows = co_await pool.query(kFiles, std::move(like));
  for (int i = 0; i < rows.size(); ++i) files.push_back({folder + rows.text(i, 0), rows.integer(i, 1)});
  co_return files;
}

task<> read_server_log(db::Pool& pool, const Server& server, LogSource& source, Logged& logged) {
  if (!server.collects) {
    logged.note = "the server keeps no log files of its own (logging_collector is off); give --log FILE";
    co_return;
  }
  std::vector<File> files = co_await list_files(pool, server, source);
  int64_t left = kLogBytes;
  size_t count = 0;
  while (count < files.size() && left > 0) left -= files[count++].size;
  files.resize(count);
  std::ranges::reverse(files);
  std::vector<LogEntry> entries;
  for (const File& file : files) {
    std::string bytes;
    const int64_t from = &file == files.data() ? std::max<int64_t>(0, -left) : 0;
    co_await read_part(pool, file.path, from, file.size, bytes);
    for (LogEntry& entry : read_log(bytes, source)) entries.push_back(std::move(entry));
  }
  logged.read = files.empty() ? "" : files.back().path;
  if (files.size() > 1) logged.read += fmt::format(" and {} before it", files.size() - 1);
  add_entries(entries, logged);
}

void read_file(const std::string& path, LogSource& source, Logged& logged) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw not_found("cannot read the log " + path);
  const int64_t size = file.tellg();
  const int64_t from = std::max<int64_t>(0, size - kLogBytes);
  std::string bytes(static_cast<size_t>(size - from), '\0');
  file.seekg(from);
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(file.gcount()));
  source.format = format_of(path);
  logged.read = path;
  add_entries(read_log(bytes, source), logged);
}

// The newest calls only.
void add_sample(const LogEntry& entry, LoggedStatement& statement) {
  const LoggedCall call{entry.text, entry.parameters, entry.ms};
  if (statement.samples.size() < kSamples)
    statement.samples.push_back(call);
  else
    statement.samples[static_cast<size_t>(statement.calls + statement.plans) % kSamples] = call;
}

// The extension pg_qualstats keeps a text of each statement as it was run, with its constants.
task<> read_qualstats(db::Pool& pool, Logged& logged) {
  const db::Rows extension = co_await pool.query(kQualstats);
  if (extension.empty() || !extension.boolean(0, 1)) co_return;
  const std::string sql = fmt::format(kExamples, db::quote_identifier(extension.text(0, 0)));
  const db::Statement statement{"", sql};
  try {
    const db::Rows rows = co_await pool.query(statement);
    for (int i = 0; i < rows.size(); ++i) {
      const std::string text = rows.text(i, 0);
      if (const auto id = fingerprint(text)) add_sample({.text = text}, logged.statements[*id]);
    }
    if (!rows.empty()) logged.read += (logged.read.empty() ? "" : " and ") + std::string("pg_qualstats");
  } catch (const db::DbError& error) {
    logged.note += (logged.note.empty() ? "" : "; ") + std::string("pg_qualstats may not be read: ") + error.what();
  }
}

task<> read_log_into(db::Pool& pool, const std::string& file, Logged& logged) {
  LogSource source;
  const Server server = co_await read_server(pool, source);
  try {
    if (file.empty())
      co_await read_server_log(pool, server, source, logged);
    else
      read_file(file, source, logged);
  } catch (const db::DbError& error) {
    const std::string role = db::quote_identifier(server.role);
    logged.note = error.sqlstate() != kDenied
                      ? std::string("the server's log could not be read: ") + error.what()
                      : fmt::format(
                            "the server's log may not be read: GRANT pg_monitor TO {0}; GRANT EXECUTE ON "
                            "FUNCTION pg_current_logfile(text), pg_read_binary_file(text, bigint, bigint) TO {0}; or "
                            "give --log FILE",
                            role);
    co_return;
  }
  if (!logged.read.empty() && logged.statements.empty())
    logged.note = "the log holds no statements of this database: see log_min_duration_statement and auto_explain";
  else if (!logged.statements.empty() && !tells_database(source))
    logged.note = "log_line_prefix has no %d: statements of other databases in the log are taken for this one's";
}

}  // namespace

const LoggedStatement* Logged::find(const std::string& fingerprint) const {
  const auto found = statements.find(fingerprint);
  return found == statements.end() ? nullptr : &found->second;
}

void add_entries(const std::vector<LogEntry>& entries, Logged& logged) {
  const size_t begin = entries.size() > kEntriesMax ? entries.size() - kEntriesMax : 0;
  for (size_t i = begin; i < entries.size(); ++i) {
    const LogEntry& entry = entries[i];
    if (entry.text.starts_with(kOwnStatement)) continue;
    const auto id = fingerprint(entry.text);
    if (!id) continue;
    LoggedStatement& statement = logged.statements[*id];
    if (entry.plan.empty()) {
      ++statement.calls;
      if (entry.ms) statement.slowest_ms = std::max(statement.slowest_ms.value_or(0), *entry.ms);
    } else {
      ++statement.plans;
      if (statement.plan.empty() || entry.ms.value_or(0) > statement.plan_ms) {
        statement.plan = entry.plan;
        statement.plan_ms = entry.ms.value_or(0);
      }
    }
    add_sample(entry, statement);
  }
}

task<Logged> read_logged(db::Pool& pool, const std::string& file) {
  Logged logged;
  co_await read_log_into(pool, file, logged);
  co_await read_qualstats(pool, logged);
  co_return logged;
}

LoggedConstants logged_constants(const Logged& logged, const std::string& statement, size_t most) {
  LoggedConstants constants;
  std::vector<Values>& sets = constants.sets;
  const auto id = fingerprint(statement);
  const LoggedStatement* found = id ? logged.find(*id) : nullptr;
  if (found == nullptr) return constants;
  std::vector<std::pair<double, Values>> known;
  for (const LoggedCall& call : found->samples)
    if (auto values = constants_in(statement, call.text, call.parameters); values && !values->empty())
      known.emplace_back(call.ms.value_or(0), std::move(*values));
  std::ranges::stable_sort(known, {}, &std::pair<double, Values>::first);
  if (known.empty()) return constants;
  std::vector<size_t> order{known.size() / 2, known.size() - 1, 0};
  for (size_t i = 0; i < known.size(); ++i) order.push_back(i);
  for (const size_t i : order)
    if (sets.size() < most && std::ranges::find(sets, known[i].second) == sets.end()) sets.push_back(known[i].second);
  if (known.size() < kCallsToTell) return constants;
  const Values& first = known[0].second;
  for (size_t i = 0; i < first.size(); ++i)
    if (std::ranges::all_of(known, [&](const auto& call) { return call.second[i] == first[i]; }))
      constants.unvarying[static_cast<int>(i + 1)] = first[i];
  return constants;
}

}  // namespace cairn::tuner
