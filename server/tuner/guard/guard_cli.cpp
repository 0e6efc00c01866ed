#include "tuner/guard/guard_cli.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/reactor.h"
#include "db/connection.h"
#include "tuner/plan/explain.h"

namespace cairn::tuner {
namespace {

constexpr db::Statement kVersion{"", "/* cairn tune */ SELECT current_setting('server_version_num')::int8"};
// As much work on every machine: what its time is, others are measured by.
constexpr const char* kCalibration = "/* cairn tune */ SELECT sum(i::numeric) FROM generate_series(1, 200000) i";

struct Measured {
  GuardStatement statement = {};
  std::string failure = {};  // it cannot be planned
  std::string not_run = {};  // why there are no figures
};

template <class T>
T median(std::vector<T> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

task<GuardFigures> figures_of(db::Connection& connection, const GuardOptions& options, const std::string& text) {
  std::vector<double> times, calibrations;
  std::vector<int64_t> blocks, temporary;
  for (int round = 0; round <= options.rounds; ++round) {
    ExplainOptions calibration{.statement = kCalibration, .analyze = true, .timeout_s = options.timeout_s};
    ExplainOptions how{.statement = text, .analyze = true, .timeout_s = options.timeout_s};
    const Explained speed = co_await explain(connection, std::move(calibration));
    const Explained explained = co_await explain(connection, std::move(how));
    if (round == 0) continue;
    const PlanBuffers& buffers = explained.plan.root.buffers;
    times.push_back(explained.plan.execution_ms);
    calibrations.push_back(speed.plan.execution_ms);
    blocks.push_back(buffers.shared_hit + buffers.shared_read);
    temporary.push_back(buffers.temp_read + buffers.temp_written);
  }
  co_return GuardFigures{median(times), median(calibrations), median(blocks), median(temporary)};
}

task<Measured> measure(db::Connection& connection, const GuardOptions& options, const GuardedText& wanted) {
  Measured measured;
  measured.statement.name = wanted.name;
  try {
    ExplainOptions how{.statement = wanted.text, .timeout_s = options.timeout_s};
    const Explained explained = co_await explain(connection, std::move(how));
    measured.statement = guard_statement(wanted.name, wanted.text, explained.plan, explained.facts.work_mem_kb);
  } catch (const Error& error) {
    if (connection.broken()) throw;
    measured.failure = error.what();
  }
  if (!options.run || !measured.failure.empty()) co_return measured;
  try {
    measured.statement.figures = co_await figures_of(connection, options, wanted.text);
  } catch (const Error& error) {
    if (connection.broken()) throw;
    measured.not_run = error.what();
  }
  co_return measured;
}

struct GuardReading {
  int64_t server_version = 0;
  std::vector<Measured> statements = {};
};

GuardReading read_all(const GuardOptions& options) {
  const auto work = [](const GuardOptions& how) -> task<GuardReading> {
    GuardReading reading;
    const auto connection = co_await db::Connection::connect(how.connection_string);
    const db::Rows version = co_await connection->query(kVersion);
    reading.server_version = version.integer(0, 0);
    for (const GuardedText& wanted : how.statements)
      reading.statements.push_back(co_await measure(*connection, how, wanted));
    co_return reading;
  };
  std::set<std::string> names;
  for (const GuardedText& statement : options.statements)
    if (!names.insert(statement.name).second) throw invalid("two statements have the name " + statement.name);
  Reactor reactor;
  GuardReading reading = reactor.block_on(work(options));
  std::ranges::sort(reading.statements, {}, [](const Measured& one) { return one.statement.name; });
  return reading;
}

// In one line, whatever it holds.
std::string printable(const std::string& text) {
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    line += byte < ' ' || byte == 0x7f ? ' ' : c;
  }
  return line;
}

GuardFile load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) throw not_found("cannot read " + path + ": make it with `cairn tune guard save`");
  try {
    return guard_file_from_json(text);
  } catch (const Error& error) {
    throw invalid("cannot use " + path + ": " + error.what());
  }
}

void store(const std::string& path, const GuardFile& guard) {
  const std::string beside = path + ".part";
  std::ofstream file(beside, std::ios::binary);
  file << to_json(guard);
  file.close();
  std::error_code failure;
  if (file) std::filesystem::rename(beside, path, failure);
  if (!file || failure) throw Error(ErrorCode::kInvalidState, "cannot write " + path + ": give another --file");
}

std::vector<GuardVerdict> verdicts(const GuardFile& file, const GuardReading& reading, const GuardLimits& limits) {
  std::vector<GuardVerdict> all;
  std::set<std::string> seen;
  for (const Measured& measured : reading.statements) {
    const std::string& name = measured.statement.name;
    seen.insert(name);
    const auto saved = std::ranges::find(file.statements, name, &GuardStatement::name);
    GuardVerdict verdict{.name = name, .cost_after = measured.statement.cost};
    if (saved == file.statements.end()) {
      verdict.state = GuardState::kNew;
      verdict.remarks.emplace_back("not in the file: `cairn tune guard save` adds it");
    } else if (measured.failure.empty()) {
      verdict = judge(*saved, measured.statement, limits);
    }
    if (!measured.failure.empty()) {
      verdict.state = GuardState::kFailed;
      verdict.reasons.push_back("it cannot be planned: " + measured.failure);
    }
    if (!measured.not_run.empty()) verdict.remarks.push_back("not run: " + measured.not_run);
    all.push_back(std::move(verdict));
  }
  for (const GuardStatement& statement : file.statements) {
    if (seen.contains(statement.name)) continue;
    all.push_back({.name = statement.name,
                   .state = GuardState::kGone,
                   .remarks = {"in the file, but not among the statements given"},
                   .cost_before = statement.cost});
  }
  return all;
}

std::string costs(const GuardVerdict& verdict) {
  if (verdict.state == GuardState::kNew) return fmt::format("cost {:.2f}", verdict.cost_after);
  if (verdict.state == GuardState::kGone || verdict.state == GuardState::kFailed) return "";
  if (verdict.cost_before == verdict.cost_after) return fmt::format("cost {:.2f}", verdict.cost_after);
  return fmt::format("cost {:.2f} → {:.2f}", verdict.cost_before, verdict.cost_after);
}

void print(const GuardVerdict& verdict, std::ostream& out) {
  out << fmt::format("{:<8} {}  {}\n", state_name(verdict.state), printable(verdict.name), costs(verdict));
  for (const std::string& reason : verdict.reasons) out << "         worse: " << printable(reason) << "\n";
  for (const std::string& remark : verdict.remarks) out << "         " << printable(remark) << "\n";
  for (const std::string& line : verdict.diff) out << "         " << printable(line) << "\n";
}

void write(const GuardVerdict& verdict, json::Writer& writer) {
  const auto strings = [&](const char* name, const std::vector<std::string>& all) {
    writer.key(name);
    writer.begin_array();
    for (const std::string& text : all) writer.string(text);
    writer.end_array();
  };
  writer.begin_object();
  writer.field("name", verdict.name);
  writer.field("state", state_name(verdict.state));
  writer.field("cost_before", verdict.cost_before);
  writer.field("cost_after", verdict.cost_after);
  strings("reasons", verdict.reasons);
  strings("remarks", verdict.remarks);
  strings("diff", verdict.diff);
  writer.end_object();
}

}  // namespace

int run_guard_save(const GuardOptions& options, std::ostream& out) {
  const GuardReading reading = read_all(options);
  GuardFile file{.server_version = reading.server_version, .statements = {}};
  for (const Measured& measured : reading.statements) {
    if (!measured.failure.empty())
      throw invalid("nothing was saved: " + measured.statement.name + " cannot be planned: " + measured.failure);
    file.statements.push_back(measured.statement);
  }
  store(options.file, file);
  if (options.json) {
    out << to_json(file);
    return 0;
  }
  for (const Measured& measured : reading.statements) {
    out << fmt::format("saved    {}  cost {:.2f}\n", printable(measured.statement.name), measured.statement.cost);
    if (!measured.not_run.empty()) out << "         not run: " << printable(measured.not_run) << "\n";
  }
  out << fmt::format("{} statements in {}\n", file.statements.size(), options.file);
  return 0;
}

int run_guard_check(const GuardOptions& options, std::ostream& out) {
  const GuardFile file = load(options.file);
  const GuardReading reading = read_all(options);
  const std::vector<GuardVerdict> all = verdicts(file, reading, options.limits);
  const auto failing = std::ranges::count_if(all, &GuardVerdict::fails);
  const bool other_version = file.server_version / 10000 != reading.server_version / 10000;
  const std::string note = fmt::format("saved on PostgreSQL {}, checked on {}: their planners differ",
                                       file.server_version / 10000, reading.server_version / 10000);
  if (options.json) {
    std::string text;
    json::Writer writer(text);
    writer.begin_object();
    writer.field("worse", static_cast<int64_t>(failing));
    if (other_version) writer.field("note", note);
    writer.key("statements");
    writer.begin_array();
    for (const GuardVerdict& verdict : all) write(verdict, writer);
    writer.end_array();
    writer.end_object();
    out << text << "\n";
    return failing == 0 ? 0 : 1;
  }
  for (const GuardVerdict& verdict : all) print(verdict, out);
  if (other_version) out << "note: " << note << "\n";
  if (failing == 0)
    out << fmt::format("no statement is worse than in {}\n", options.file);
  else
    out << fmt::format("{} of {} statements are worse than in {}; if that is meant to be: cairn tune guard save\n",
                       failing, all.size(), options.file);
  return failing == 0 ? 0 : 1;
}

}  // namespace cairn::tuner
