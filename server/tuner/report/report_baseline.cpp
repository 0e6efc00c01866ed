#include <fmt/format.h>

#include <algorithm>

#include "base/table.h"
#include "tuner/prove/run_statements.h"
#include "tuner/report/markdown.h"
#include "tuner/report/report_parts.h"

namespace cairn::tuner {
namespace {

// The plan before anything was changed: as the proof saw it; else as it is now, where nothing has been changed yet.
std::string plan_text(const ReportFacts& facts, const StatementGroup& group) {
  PlanSketch sketch;
  std::string origin = "run on a copy, before the changes";
  if (const StatementProof* proof = proof_of(facts, group.id)) {
    sketch = proof->plan_before;
  } else if (!facts.after) {
    const auto plan = std::find_if(facts.plans.begin(), facts.plans.end(),
                                   [&](const ReportedPlan& known) { return known.fingerprint == group.id; });
    if (plan != facts.plans.end()) {
      sketch = sketch_of(plan->explained.plan);
      const auto& findings = plan->explained.findings;
      sketch.problem = findings.empty() ? "" : findings[0].node + " " + findings[0].what;
      origin = plan->explained.generic ? "as it is planned without values for its placeholders" : "as it is planned";
    }
  }
  if (sketch.nodes.empty()) return "The plan before the changes is not known.\n\n";
  std::string text = "**Plan** (" + origin + "), the dearest nodes first:\n";
  for (const std::string& node : sketch.nodes) text += "- " + markdown_code(node) + "\n";
  if (!sketch.problem.empty()) text += "\n**Bottleneck**: " + markdown_code(on_one_line(sketch.problem)) + "\n";
  return text + "\n";
}

std::string recommendation(const ReportFacts& facts, const StatementGroup& group) {
  const auto statement = advised(facts, group);
  std::string text;
  if (statement) {
    for (const size_t change : facts.advice->statements[*statement].uses)
      text += (text.empty() ? "" : ", ") + markdown_code(facts.advice->changes[change].name);
    for (const Rewrite& rewrite : facts.advice->rewrites)
      if (rewrite.statement == *statement) text += (text.empty() ? "" : ", ") + ("another text: " + rewrite.rule);
  }
  return text.empty() ? "" : "**Recommendation**: " + text + " ([index-strategy.md](index-strategy.md))\n\n";
}

}  // namespace

std::string report_baseline(const ReportFacts& facts) {
  const std::vector<const StatementGroup*> groups = reported(facts.before);
  std::string text = report_head("Performance Baseline Report", facts) + "Counted by pg_stat_statements " +
                     since_text(facts.before) + ", before `cairn tune` changed anything.\n\n## Executive Summary\n\n";
  if (groups.empty()) return text + "Nothing was counted: `cairn tune setup` says what is missing.\n";
  const auto slowest = *std::max_element(groups.begin(), groups.end(), [](const auto* a, const auto* b) {
    return a->counters.mean_ms() < b->counters.mean_ms();
  });
  text +=
      fmt::format("- **Slowest statement**: {} ({} on average, {} at most)\n", markdown_code(short_text(slowest->text)),
                  in_ms(slowest->counters.mean_ms()), in_ms(slowest->counters.max_ms));
  double share = 0;
  for (const StatementGroup* group : groups) share += group->share;
  text += "- **Cache hit ratio** of the whole database: " + hits_text(facts.before.cache_hit_ratio) + "\n";
  text += fmt::format("- **Statements counted**: {}; the {} below have {} of the time\n\n", facts.before.groups.size(),
                      groups.size(), in_percent(share));
  for (size_t i = 0; i < groups.size(); ++i) {
    const StatementGroup& group = *groups[i];
    const Counters& counters = group.counters;
    text += fmt::format("## Query {}\n\n{} of the time.\n\n", i + 1, in_percent(group.share));
    text += markdown_block(group.text, "sql") + "\n";
    text +=
        markdown_table({{"Calls", "Total Time", "Avg Time", "Max Time", "Rows Returned (a call)", "Cache Hit Ratio"},
                        {std::to_string(counters.calls), in_ms(counters.total_ms), in_ms(counters.mean_ms()),
                         in_ms(counters.max_ms),
                         fmt::format("{:.1f}", static_cast<double>(counters.rows) /
                                                   static_cast<double>(std::max<int64_t>(1, counters.calls))),
                         hits_text(hits(counters))}}) +
        "\n";
    text += plan_text(facts, group) + recommendation(facts, group);
  }
  text += "## Summary of Optimization Targets\n\n";
  std::vector<std::vector<std::string>> rows = {
      {"Query", "Avg Time (before)", "Share", "Expected (estimate)", "Change"}};
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto statement = advised(facts, *groups[i]);
    std::string expected = "-", changes;
    if (statement) {
      const AdviceStatement& known = facts.advice->statements[*statement];
      expected = in_ms(known.ms_after / std::max(1.0, known.calls));
      for (const size_t change : known.uses)
        changes += (changes.empty() ? "" : ", ") + markdown_code(facts.advice->changes[change].name);
    }
    rows.push_back({fmt::format("[{}](#query-{})", i + 1, i + 1), in_ms(groups[i]->counters.mean_ms()),
                    in_percent(groups[i]->share), expected, changes.empty() ? "none" : changes});
  }
  return text + markdown_table(rows);
}

}  // namespace cairn::tuner
