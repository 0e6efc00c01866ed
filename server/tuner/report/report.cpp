#include "tuner/report/report.h"

#include <fmt/format.h>

#include "base/table.h"
#include "tuner/report/markdown.h"
#include "tuner/report/report_parts.h"
#include "tuner/report/report_script.h"

namespace cairn::tuner {
namespace {

std::string improvements(const ReportFacts& facts) {
  std::string text = report_head("Performance Optimization History", facts);
  if (facts.journal.empty()) return text + "Nothing was changed by `cairn tune` yet.\n";
  if (facts.after) {
    const auto [before, after] = in_both(facts.before, *facts.after);
    text +=
        fmt::format("**Before**: {} a call on average. **Now**, counted {}: {} ({}).\n\n", in_ms(before.mean_ms()),
                    since_text(*facts.after), in_ms(after.mean_ms()), change_text(before.mean_ms(), after.mean_ms()));
  }
  std::string day;
  for (const JournalEntry& entry : facts.journal) {
    const std::string begun = entry.started_at_ms ? utc_date(*entry.started_at_ms) : "Not begun";
    if (begun != day) text += "## " + (day = begun) + "\n\n";
    text += fmt::format("- **{}** ({}, change {} of advice `{}`): {}\n", markdown_code(entry.name),
                        kind_name(entry.kind), entry.number, entry.advice, state_name(entry.state));
    if (!entry.statements.empty()) text += "  - " + markdown_code(on_one_line(entry.statements[0])) + "\n";
    if (!entry.reason.empty()) text += "  - why: " + on_one_line(entry.reason) + "\n";
    if (!entry.error.empty()) text += "  - error: " + on_one_line(entry.error) + "\n";
    if (entry.undone_at_ms) text += "  - taken back " + utc_time(*entry.undone_at_ms) + "\n";
  }
  return text +
         "\n**Metrics**: see [performance-results.md](performance-results.md). **Indexes**: see "
         "[50_indexes.sql](../sql/50_indexes.sql).\n";
}

}  // namespace

std::vector<ReportDocument> report_documents(const ReportFacts& facts) {
  std::vector<ReportDocument> documents = {
      {"docs/performance-baseline.md", report_baseline(facts)},
      {"docs/index-strategy.md", report_strategy(facts)},
      {"docs/performance-results.md", report_results(facts)},
      {"docs/performance-improvements.md", improvements(facts)},
      {"docs/runbook-performance-tuning.md",
       report_head("Database Performance Tuning Runbook", facts) + runbook_text(facts)},
      {"sql/50_indexes.sql", index_script(facts)}};
  std::string chart = report_chart(facts);
  if (!chart.empty()) documents.push_back({"docs/performance-results.svg", std::move(chart)});
  return documents;
}

}  // namespace cairn::tuner
