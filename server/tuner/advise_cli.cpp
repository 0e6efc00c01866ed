#include "tuner/advise_cli.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>

#include "base/error.h"
#include "db/pool.h"
#include "tuner/parse_tree.h"
#include "tuner/profile.h"
#include "tuner/snapshots.h"

namespace cairn::tuner {
namespace {

constexpr double kMiB = 1 << 20;
constexpr size_t kShownText = 90;
constexpr size_t kShownRejections = 5;
constexpr size_t kShownStatements = 20;

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) throw not_found("cannot read the file " + path);
  return text;
}

bool can_be_planned(simdjson::dom::element statement) {
  simdjson::dom::object node;
  if (statement["stmt"].get(node) != simdjson::SUCCESS) return false;
  for (const auto field : node) {
    for (const char* kind : {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}) {
      if (field.key == kind) return true;
    }
  }
  return false;
}

// Each statement counts as often as its text is there.
void add_file(const std::string& path, std::vector<AdviceStatement>& workload) {
  const std::string text = read_text(path);
  const auto tree = ParseTree::parse(text);
  if (!tree) throw invalid(path + " is no SQL that PostgreSQL 15 reads (psql's own commands are not either)");
  for (const auto statement : tree->statements()) {
    if (!can_be_planned(statement)) continue;
    int64_t begin = 0, length = 0;
    if (statement["stmt_location"].get(begin) != simdjson::SUCCESS) begin = 0;
    if (statement["stmt_len"].get(length) != simdjson::SUCCESS) length = 0;
    std::string sql =
        text.substr(static_cast<size_t>(begin), length == 0 ? std::string::npos : static_cast<size_t>(length));
    sql.erase(0, sql.find_first_not_of(" \t\r\n"));
    const auto same =
        std::find_if(workload.begin(), workload.end(), [&](const auto& known) { return known.text == sql; });
    if (same != workload.end())
      ++same->calls;
    else
      workload.push_back({.text = std::move(sql)});
  }
}

struct Workload {
  std::vector<AdviceStatement> statements;
  std::vector<std::string> notes;
};

Workload counted_workload(Reactor& reactor, const AdviseOptions& options) {
  db::PoolOptions pool_options;
  pool_options.connection_string = options.connection_string;
  pool_options.size = 1;
  db::Pool pool(pool_options);
  const Reading reading = reactor.block_on(read_statements(pool));
  const Profile profile = options.since.empty() ? make_profile(reading, Order::kTotal)
                                                : make_profile(Snapshots(options.state_directory).load(options.since),
                                                               reading, Order::kTotal);
  Workload workload;
  for (const Note& note : profile.notes)
    workload.notes.push_back(note.remedy.empty() ? note.what : note.what + ": " + note.remedy);
  for (const StatementGroup& group : profile.groups) {
    if (static_cast<int>(workload.statements.size()) >= options.top) break;
    const auto tree = ParseTree::parse(group.text);
    if (!tree || tree->statements().size() != 1 || !can_be_planned(tree->statements().at(0))) continue;
    workload.statements.push_back({.text = group.text,
                                   .calls = static_cast<double>(group.counters.calls),
                                   .rows = static_cast<double>(group.counters.rows),
                                   .total_ms = group.counters.total_ms});
  }
  return workload;
}

// Others see all of it or nothing; it holds statements, so it is the user's alone.
std::string save(const Advice& advice, const std::string& state_directory) {
  const std::filesystem::path folder = std::filesystem::path(state_directory) / "advice";
  const std::filesystem::path path = folder / (advice.id + ".json");
  const std::filesystem::path beside = folder / (advice.id + ".part");
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all, failure);
  const mode_t before = umask(S_IRWXG | S_IRWXO);
  std::ofstream file(beside, std::ios::binary);
  file << to_json(advice) << "\n";
  file.close();
  umask(before);
  if (file) std::filesystem::rename(beside, path, failure);
  if (!file || failure)
    throw Error(ErrorCode::kInvalidState,
                "the advice could not be kept as " + path.string() + ": give another --state-dir");
  return path.string();
}

std::string one_line(const std::string& text) {
  std::string line;
  for (const char c : text) {
    const bool space = static_cast<unsigned char>(c) <= ' ' || c == 0x7f;
    if (!space)
      line += c;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
  }
  return line;
}

std::string shortened(const std::string& text) {
  std::string line = one_line(text);
  if (line.size() <= kShownText) return line;
  size_t end = kShownText;
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xc0) == 0x80) --end;
  return line.substr(0, end) + "…";
}

std::string duration(double ms) {
  if (std::abs(ms) >= 1000) return fmt::format("{:.1f} s", ms / 1000);
  return fmt::format("{:.3g} ms", ms);
}

double percent(double part, double whole) { return whole <= 0 ? 0 : 100 * part / whole; }

void print_changes(const Advice& advice, std::ostream& out) {
  for (size_t i = 0; i < advice.changes.size(); ++i) {
    const AdviceChange& change = advice.changes[i];
    std::string serves;
    for (size_t statement = 0; statement < advice.statements.size(); ++statement) {
      const auto& uses = advice.statements[statement].uses;
      if (std::find(uses.begin(), uses.end(), i) != uses.end())
        serves += (serves.empty() ? "" : ", ") + std::to_string(statement + 1);
    }
    out << fmt::format("{:>3}  {};\n", i + 1, one_line(change.statement));
    out << fmt::format("     gains {:.1f} % ({}) · {:.1f} MB · writes +{:.2g} % ({}) · serves {}\n",
                       percent(change.gain_ms, advice.ms_before), duration(change.gain_ms),
                       static_cast<double>(change.bytes) / kMiB, percent(change.write_ms, advice.written_ms),
                       duration(change.write_ms), serves.empty() ? "-" : serves);
    out << "     " << one_line(change.reason) << "\n";
  }
}

void print_statements(const Advice& advice, std::ostream& out) {
  std::vector<size_t> better;
  for (size_t i = 0; i < advice.statements.size(); ++i) {
    if (!advice.statements[i].uses.empty()) better.push_back(i);
  }
  if (better.empty()) return;
  out << "\nstatements that gain\n"
      << fmt::format("{:>4}  {:>10}  {:>10}  {:>7}  statement\n", "no", "before", "after", "gain");
  for (size_t i = 0; i < better.size() && i < kShownStatements; ++i) {
    const AdviceStatement& statement = advice.statements[better[i]];
    out << fmt::format("{:>4}  {:>10}  {:>10}  {:>5.1f} %  {}\n", better[i] + 1, duration(statement.ms_before),
                       duration(statement.ms_after),
                       percent(statement.ms_before - statement.ms_after, statement.ms_before),
                       shortened(statement.text));
  }
  if (better.size() > kShownStatements) out << fmt::format("      and {} more\n", better.size() - kShownStatements);
}

void print_rejections(const Advice& advice, std::ostream& out) {
  if (advice.rejected.empty()) return;
  out << fmt::format("\nnot taken ({}):\n", advice.rejected.size());
  for (size_t i = 0; i < advice.rejected.size() && i < kShownRejections; ++i)
    out << "     " << one_line(advice.rejected[i].statement) << "\n       " << one_line(advice.rejected[i].reason)
        << "\n";
  if (advice.rejected.size() > kShownRejections) out << "     all of them: --json\n";
}

void print_drops(const Advice& advice, std::ostream& out) {
  if (advice.drops.empty()) return;
  out << fmt::format("\nindexes that seem not to be needed ({}):\n", advice.drops.size());
  for (size_t i = 0; i < advice.drops.size() && i < kShownRejections; ++i) {
    const Drop& drop = advice.drops[i];
    out << fmt::format("     {};  -- {:.1f} MB\n       {}\n", one_line(drop.statement),
                       static_cast<double>(drop.bytes) / kMiB, one_line(drop.reason));
  }
  if (advice.drops.size() > kShownRejections) out << "     all of them: --json\n";
}

void print(const Advice& advice, const std::string& path, std::ostream& out) {
  const double gain = advice.ms_before - advice.ms_after;
  if (advice.changes.empty())
    out << fmt::format("nothing to change for {} statements of {}\n", advice.statements.size(), advice.database);
  else
    out << fmt::format(
        "advice {} for {}: {} {}, {:.1f} % off {} of {} statements, {:.1f} MB, writes +{:.2g} %\n"
        "estimated by PostgreSQL's planner, which may err\n\n",
        advice.id, advice.database, advice.changes.size(), advice.changes.size() == 1 ? "change" : "changes",
        percent(gain, advice.ms_before), duration(advice.ms_before), advice.statements.size(),
        static_cast<double>(advice.bytes) / kMiB, percent(advice.write_ms, advice.written_ms));
  print_changes(advice, out);
  print_statements(advice, out);
  print_rejections(advice, out);
  print_drops(advice, out);
  if (!advice.complete)
    out << "\nthe search was stopped by its limit: a longer one (--seconds) may find a better set\n";
  for (const std::string& note : advice.notes) out << "\nnote: " << one_line(note) << "\n";
  out << "\nkept as " << path << "\n";
}

}  // namespace

int run_advise(const AdviseOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  Workload workload;
  for (const std::string& file : options.files) add_file(file, workload.statements);
  if (options.files.empty()) workload = counted_workload(reactor, options);
  progress << fmt::format("looking at {} statements", workload.statements.size()) << std::endl;
  AdviceLimits limits = options.limits;
  if (options.budget_mb) limits.bytes_max = static_cast<int64_t>(*options.budget_mb * kMiB);
  Advice advice = advise(reactor, options.connection_string, std::move(workload.statements), limits);
  advice.notes.insert(advice.notes.begin(), workload.notes.begin(), workload.notes.end());
  const std::string path = save(advice, options.state_directory);
  if (options.json)
    out << to_json(advice) << "\n";
  else
    print(advice, path, out);
  return 0;
}

}  // namespace cairn::tuner
