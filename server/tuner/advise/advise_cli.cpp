#include "tuner/advise/advise_cli.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ostream>

#include "tuner/profile/workload.h"

namespace cairn::tuner {
namespace {

constexpr double kMiB = 1 << 20;
constexpr size_t kShownText = 90;
constexpr size_t kShownRejections = 5;
constexpr size_t kShownStatements = 20;

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

void print_indexes(const Advice& advice, bool only_proved, std::ostream& out) {
  bool first = true;
  for (size_t i = 0; i < advice.changes.size(); ++i) {
    const Change& change = advice.changes[i];
    if (change.kind != ChangeKind::kIndex || change.only_proved != only_proved) continue;
    if (only_proved && first)
      out << "\nto be tried on a clone (`cairn tune prove`): what they gain cannot be estimated\n";
    first = false;
    std::string serves;
    for (size_t statement = 0; statement < advice.statements.size(); ++statement) {
      const auto& uses = advice.statements[statement].uses;
      if (std::find(uses.begin(), uses.end(), i) != uses.end())
        serves += (serves.empty() ? "" : ", ") + std::to_string(statement + 1);
    }
    for (size_t part = 0; part < change.statements.size(); ++part)
      out << fmt::format("{:>3}  {};\n", part == 0 ? std::to_string(i + 1) : "", one_line(change.statements[part]));
    const std::string gain =
        only_proved
            ? std::string("about")
            : fmt::format("gains {:.1f} % ({}) ·", percent(change.gain_ms, advice.ms_before), duration(change.gain_ms));
    out << fmt::format("     {} {:.1f} MB · writes +{:.2g} % ({}) · serves {}{}\n", gain,
                       static_cast<double>(change.bytes) / kMiB, percent(change.write_ms, advice.written_ms),
                       duration(change.write_ms), serves.empty() ? "-" : serves,
                       change.on_request ? " · only when named" : "");
    out << "     " << one_line(change.reason) << "\n";
  }
}

void print_statements(const Advice& advice, std::ostream& out) {
  std::vector<size_t> better;
  for (size_t i = 0; i < advice.statements.size(); ++i) {
    if (advice.statements[i].ms_after < advice.statements[i].ms_before) better.push_back(i);
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
  size_t found = 0;
  for (size_t i = 0; i < advice.changes.size(); ++i) {
    const Change& change = advice.changes[i];
    if (change.kind != ChangeKind::kDropIndex || ++found > kShownRejections) continue;
    if (found == 1) out << "\nindexes that seem not to be needed\n";
    out << fmt::format("{:>3}  {};  -- {:.1f} MB{}\n     {}\n", i + 1, one_line(change.statements.at(0)),
                       static_cast<double>(-change.bytes) / kMiB, change.on_request ? ", only when named" : "",
                       one_line(change.reason));
  }
  if (found > kShownRejections) out << fmt::format("     and {} more: --json\n", found - kShownRejections);
}

// What is no index: under a head for each kind.
void print_others(const Advice& advice, ChangeKind kind, const char* head, std::ostream& out) {
  bool first = true;
  for (size_t i = 0; i < advice.changes.size(); ++i) {
    const Change& change = advice.changes[i];
    if (change.kind != kind) continue;
    if (first) out << "\n" << head << "\n";
    first = false;
    for (size_t part = 0; part < change.statements.size(); ++part)
      out << fmt::format("{:>3}  {};\n", part == 0 ? std::to_string(i + 1) : "", one_line(change.statements[part]));
    std::string facts;
    if (change.gain_ms > 0)
      facts = fmt::format("gains {:.1f} % ({}) · {:.1f} MB", percent(change.gain_ms, advice.ms_before),
                          duration(change.gain_ms), static_cast<double>(change.bytes) / kMiB);
    if (change.on_request) facts += facts.empty() ? "only when named" : " · only when named";
    if (!facts.empty()) out << "     " << facts << "\n";
    out << "     " << one_line(change.reason) << "\n";
  }
}

void print_rewrites(const Advice& advice, std::ostream& out) {
  if (advice.rewrites.empty()) return;
  out << fmt::format("\nother texts of statements ({}), for the program that sends them:\n", advice.rewrites.size());
  for (size_t i = 0; i < advice.rewrites.size() && i < kShownStatements; ++i) {
    const Rewrite& rewrite = advice.rewrites[i];
    out << fmt::format("{:>4}  {}: {}\n        {};\n        why: {}\n", rewrite.statement + 1, rewrite.rule,
                       shortened(advice.statements[rewrite.statement].text), one_line(rewrite.text),
                       one_line(rewrite.reason));
    if (!rewrite.guarantee.empty()) out << "        the same rows: " << one_line(rewrite.guarantee) << "\n";
    if (!rewrite.caveat.empty()) out << "        but: " << one_line(rewrite.caveat) << "\n";
  }
  if (advice.rewrites.size() > kShownStatements)
    out << fmt::format("      and {} more: --json\n", advice.rewrites.size() - kShownStatements);
}

void print(const Advice& advice, const std::string& path, std::ostream& out) {
  const double gain = advice.ms_before - advice.ms_after;
  const auto indexes = std::count_if(advice.changes.begin(), advice.changes.end(), [](const Change& change) {
    return change.kind == ChangeKind::kIndex && !change.only_proved;
  });
  const auto untried = std::ranges::count(advice.changes, true, &Change::only_proved);
  if (indexes == 0 && untried == 0)
    out << fmt::format("nothing to change for {} statements of {}\n", advice.statements.size(), advice.database);
  else if (indexes == 0)
    out << fmt::format("advice {} for {}, {} statements\n", advice.id, advice.database, advice.statements.size());
  else
    out << fmt::format(
        "advice {} for {}: {} {}, {:.1f} % off {} of {} statements, {:.1f} MB, writes +{:.2g} %\n"
        "estimated by PostgreSQL's planner, which may err\n\n",
        advice.id, advice.database, indexes, indexes == 1 ? "index" : "indexes", percent(gain, advice.ms_before),
        duration(advice.ms_before), advice.statements.size(), static_cast<double>(advice.bytes) / kMiB,
        percent(advice.write_ms, advice.written_ms));
  print_indexes(advice, false, out);
  print_statements(advice, out);
  print_indexes(advice, true, out);
  print_others(advice, ChangeKind::kMaterializedView,
               "materialized views, kept fresh by `cairn tune refresh`; what reads them is among the other texts below",
               out);
  print_others(advice, ChangeKind::kStatistics, "statistics for the planner", out);
  print_others(advice, ChangeKind::kSetting, "settings", out);
  print_rewrites(advice, out);
  print_rejections(advice, out);
  print_drops(advice, out);
  if (!advice.complete)
    out << "\nthe search was stopped by its limit: a longer one (--seconds) may find a better set\n";
  out << fmt::format("\nplanning: {} calls, {:.1f} s, {:.0f} % of one core of {}\n", advice.calls,
                     advice.planner_ms / 1000, advice.planner_percent,
                     advice.planner_is_clone ? "the clone" : "the server");
  for (const std::string& note : advice.notes) out << "\nnote: " << one_line(note) << "\n";
  out << "\nkept as " << path << "\n";
}

}  // namespace

int run_advise(const AdviseOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  Workload workload = options.files.empty() ? counted_workload(reactor, {.connection_string = options.connection_string,
                                                                         .state_directory = options.state_directory,
                                                                         .since = options.since,
                                                                         .top = options.top,
                                                                         .log = options.log})
                                            : workload_of_files(options.files);
  progress << fmt::format("looking at {} statements", workload.statements.size()) << std::endl;
  AdviceLimits limits = options.limits;
  if (options.budget_mb) limits.bytes_max = static_cast<int64_t>(*options.budget_mb * kMiB);
  Advice advice = advise(reactor, options.connection_string, std::move(workload.statements), limits);
  advice.notes.insert(advice.notes.begin(), workload.notes.begin(), workload.notes.end());
  const std::string path = save_advice(advice, options.state_directory);
  if (options.json)
    out << to_json(advice) << "\n";
  else
    print(advice, path, out);
  return 0;
}

}  // namespace cairn::tuner
