#include <fmt/format.h>

#include <algorithm>

#include "base/table.h"
#include "tuner/report/chart.h"
#include "tuner/report/markdown.h"
#include "tuner/report/report_parts.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + markdown_code(name);
  return list.empty() ? "none" : list;
}

double blocks_a_call(const Counters& counters) {
  return static_cast<double>(counters.shared_hits + counters.shared_reads) /
         static_cast<double>(std::max<int64_t>(1, counters.calls));
}

std::string production(const ReportFacts& facts) {
  if (!facts.after)
    return "## In Production\n\nNothing was applied yet: `cairn tune apply` does that, and this report after it "
           "compares.\n";
  const Both both = in_both(facts.before, *facts.after);
  if (both.after.calls == 0) return "## In Production\n\nNone of the statements has run since the last change.\n";
  std::string text = "## In Production\n\nBefore: counted " + since_text(facts.before) + ". After: counted " +
                     since_text(*facts.after) + ", when the last change was applied.\n\n" +
                     "![Before and after](performance-results.svg)\n\n";
  text += markdown_table({{"Metric", "Before", "After", "Change"},
                          {"**Avg time of a call**", in_ms(both.before.mean_ms()), in_ms(both.after.mean_ms()),
                           change_text(both.before.mean_ms(), both.after.mean_ms())},
                          {"**Total time**", in_ms(both.before.total_ms), in_ms(both.after.total_ms),
                           change_text(both.before.total_ms, both.after.total_ms)},
                          {"**Blocks of 8 kB a call**", fmt::format("{:.0f}", blocks_a_call(both.before)),
                           fmt::format("{:.0f}", blocks_a_call(both.after)),
                           change_text(blocks_a_call(both.before), blocks_a_call(both.after))},
                          {"**Cache hit ratio**", hits_text(hits(both.before)), hits_text(hits(both.after)), ""},
                          {"**Calls**", std::to_string(both.before.calls), std::to_string(both.after.calls), ""}});
  text += "\nPercentiles are not counted by PostgreSQL: `cairn workload run` measures them.\n\n";
  std::vector<std::vector<std::string>> rows = {
      {"Query", "", "Calls before, after", "Avg before", "Avg after", "Change"}};
  const std::vector<const StatementGroup*> groups = reported(facts.before);
  for (size_t i = 0; i < groups.size(); ++i) {
    const StatementGroup* later = same_group(*facts.after, groups[i]->id);
    const bool ran = later != nullptr && later->counters.calls > 0;
    const double before = groups[i]->counters.mean_ms();
    rows.push_back({query_link(i), markdown_code(short_text(groups[i]->text)),
                    fmt::format("{}, {}", groups[i]->counters.calls, ran ? later->counters.calls : 0), in_ms(before),
                    ran ? in_ms(later->counters.mean_ms()) : "did not run",
                    ran ? change_text(before, later->counters.mean_ms()) : "-"});
  }
  return text + markdown_table(rows);
}

std::string on_the_clone(const ReportFacts& facts) {
  if (!facts.proof) return "\n## On a Copy\n\nNot proved: `cairn tune prove` does that.\n";
  const Proof& proof = *facts.proof;
  std::string text = fmt::format("\n## On a Copy\n\nRun on {}, {}; in all {} before and {} after ({}).\n\n",
                                 proof.clone, utc_time(proof.made_at_ms), in_ms(proof.before_ms), in_ms(proof.after_ms),
                                 change_text(proof.before_ms, proof.after_ms));
  std::vector<std::vector<std::string>> rows = {
      {"Query", "Before", "After", "Of the time (95 %)", "Blocks", "Same rows", "Uses now"}};
  size_t others = 0;
  for (const StatementProof& statement : proof.statements) {
    const std::string id = fingerprint(statement.text).value_or("");
    const auto position = position_of(facts, id);
    // What is counted but has next to no time would only fill the page.
    if (!position && same_group(facts.before, id) != nullptr && ++others > 0) continue;
    const std::string query = position ? query_link(*position) : markdown_code(short_text(statement.text));
    if (!statement.not_run.empty()) {
      rows.push_back({query, "not run: " + on_one_line(statement.not_run), "", "", "", "", ""});
      continue;
    }
    rows.push_back(
        {query, in_ms(statement.before_ms), in_ms(statement.after_ms),
         fmt::format("{:.3g} ({:.3g} to {:.3g})", statement.ratio.value, statement.ratio.low, statement.ratio.high),
         fmt::format("{} → {}", statement.blocks_before, statement.blocks_after),
         statement.same_rows ? (*statement.same_rows ? "yes" : "NO") : "not comparable", joined(statement.used_after)});
  }
  if (rows.size() > 1) text += markdown_table(rows);
  if (others > 0)
    text += fmt::format("\n{} more statements were tried, which have next to no time; the proof's file has them.\n",
                        others);
  return text;
}

std::string costs(const ReportFacts& facts) {
  std::vector<std::vector<std::string>> rows = {{"Index", "Size", "Scans", "Judgement"}};
  int64_t bytes = 0;
  for (const JournalEntry& entry : facts.journal) {
    if (entry.kind != ChangeKind::kIndex || !entry.is_in_force()) continue;
    const Table* table = facts.catalog.find(entry.table.schema, entry.table.name);
    if (table == nullptr) continue;
    for (const Index& index : table->indexes) {
      if (index.name != entry.name) continue;
      bytes += index.bytes;
      rows.push_back({markdown_code(index.name), in_megabytes(index.bytes), std::to_string(index.scans),
                      index.scans > 0 ? "used" : "not used yet"});
    }
  }
  if (rows.size() == 1) return "";
  std::string text = "\n## What It Costs\n\n- " + in_megabytes(bytes) + " of room for indexes\n";
  if (facts.advice && facts.advice->written_ms > 0)
    text += fmt::format("- writes: {:+.1f} % of their time, by estimate; those above are measured\n",
                        100 * facts.advice->write_ms / facts.advice->written_ms);
  return text + "\n" + markdown_table(rows);
}

}  // namespace

std::string report_results(const ReportFacts& facts) {
  return report_head("Performance Optimization Results", facts) + production(facts) + on_the_clone(facts) +
         costs(facts);
}

std::string report_chart(const ReportFacts& facts) {
  if (!facts.after) return "";
  std::vector<ChartBar> bars;
  const std::vector<const StatementGroup*> groups = reported(facts.before);
  for (size_t i = 0; i < groups.size(); ++i) {
    const StatementGroup* later = same_group(*facts.after, groups[i]->id);
    if (later == nullptr || later->counters.calls == 0) continue;
    bars.push_back({fmt::format("{}: {}", i + 1, tables_text(groups[i]->text)), groups[i]->counters.mean_ms(),
                    later->counters.mean_ms()});
  }
  if (bars.empty()) return "";
  return bar_chart("Average time of a call in " + facts.database, bars);
}

}  // namespace cairn::tuner
