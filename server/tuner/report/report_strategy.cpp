#include <fmt/format.h>

#include <algorithm>

#include "base/table.h"
#include "tuner/report/markdown.h"
#include "tuner/report/report_parts.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

constexpr size_t kRejections = 5;  // of one reason

std::string kind_of(const Change& change) {
  if (change.kind != ChangeKind::kIndex || !change.index) return std::string(kind_name(change.kind));
  return change.index->method + (change.index->predicate.empty() ? "" : ", partial") +
         (change.index->include.empty() ? "" : ", covering");
}

// What is in an index, as its statement says it: `("version_id") INCLUDE ("accuracy")`.
std::string definition_of(const Change& change) {
  const std::string& statement = change.statements.empty() ? change.name : change.statements[0];
  if (change.kind != ChangeKind::kIndex) return change.kind == ChangeKind::kSetting ? statement : "";
  const size_t columns = statement.find(" (", std::max<size_t>(statement.find(" USING "), 1) - 1);
  return columns == std::string::npos ? statement : statement.substr(columns + 1);
}

std::string proof_text(const ReportFacts& facts, size_t change) {
  const ChangeVerdict* verdict = facts.proof ? facts.proof->of_change(change) : nullptr;
  if (verdict == nullptr || verdict->verdict == Verdict::kNotTried) return "not tried";
  return (verdict->verdict == Verdict::kKept ? "kept: " : "rejected: ") + verdict->reason;
}

std::string state_text(const ReportFacts& facts, size_t change) {
  std::string state;
  for (const JournalEntry& entry : facts.journal)
    if (entry.advice == facts.advice->id && entry.number == static_cast<int64_t>(change) + 1)
      state = state_name(entry.state);
  if (!state.empty()) return state;
  const ChangeVerdict* verdict = facts.proof ? facts.proof->of_change(change) : nullptr;
  if (verdict != nullptr && verdict->verdict == Verdict::kRejected) return "rejected by its proof";
  if (!facts.advice->changes[change].on_request) return "not applied";
  return "on request: " + markdown_code(fmt::format("cairn tune apply {} --only {}", facts.advice->id, change + 1));
}

std::string size_text(const ReportFacts& facts, size_t change) {
  const int64_t estimate = facts.advice->changes[change].bytes;
  const ChangeVerdict* verdict = facts.proof ? facts.proof->of_change(change) : nullptr;
  if (estimate == 0) return "-";
  if (verdict == nullptr || verdict->bytes <= 0) return in_megabytes(estimate) + " (estimated)";
  return in_megabytes(verdict->bytes);
}

std::string proposed_changes(const ReportFacts& facts) {
  const Advice& advice = *facts.advice;
  if (advice.changes.empty()) return "None: nothing that was tried is worth its room and its writes.\n";
  std::vector<std::vector<std::string>> rows = {{"No", "Change", "Type", "Size", "Writes (estimated)", "State"}};
  std::string why;
  for (size_t i = 0; i < advice.changes.size(); ++i) {
    const Change& change = advice.changes[i];
    const std::string on = change.table.name.empty() ? "" : " on " + markdown_code(change.table.name);
    const std::string definition = definition_of(change);
    rows.push_back({std::to_string(i + 1),
                    markdown_code(change.name) + on + (definition.empty() ? "" : "<br>" + markdown_code(definition)),
                    kind_of(change), size_text(facts, i),
                    change.write_ms > 0 && advice.written_ms > 0
                        ? fmt::format("{:+.1f} %", 100 * change.write_ms / advice.written_ms)
                        : "-",
                    state_text(facts, i)});
    why += fmt::format("{}. {}\n   - why: {}\n   - proof: {}\n", i + 1, markdown_code(change.name),
                       on_one_line(change.reason), on_one_line(proof_text(facts, i)));
  }
  return markdown_table(rows) + "\n### Why\n\n" + why;
}

// For whoever owns the program: the tuner changes no statement by itself.
std::string other_texts(const ReportFacts& facts) {
  const Advice& advice = *facts.advice;
  if (advice.rewrites.empty()) return "";
  std::string text = "\n## Other Texts of Statements\n\nFor the program that sends them.\n\n";
  for (size_t i = 0; i < advice.rewrites.size(); ++i) {
    const Rewrite& rewrite = advice.rewrites[i];
    const auto position = position_of(facts, fingerprint(advice.statements.at(rewrite.statement).text).value_or(""));
    text += fmt::format("### {}{}\n\n", rewrite.rule, position ? fmt::format(", query {}", *position + 1) : "");
    text += markdown_block(rewrite.text, "sql") + "\n- why: " + on_one_line(rewrite.reason) + "\n";
    text += rewrite.guarantee.empty() ? "- but: " + on_one_line(rewrite.caveat) + "\n"
                                      : "- the same rows, because " + on_one_line(rewrite.guarantee) + "\n";
    if (facts.proof)
      for (const RewriteProof& proof : facts.proof->rewrites)
        if (proof.rewrite == i)
          text += fmt::format("- on a copy: {} instead of {}; {}\n", in_ms(proof.after_ms), in_ms(proof.before_ms),
                              on_one_line(proof.reason));
    text += "\n";
  }
  return text;
}

std::string not_taken(const Advice& advice) {
  std::string text = fmt::format("\n## Not Taken ({})\n\n", advice.rejected.size());
  std::vector<std::string> reasons;
  for (const AdviceRejection& rejection : advice.rejected)
    if (std::find(reasons.begin(), reasons.end(), rejection.reason) == reasons.end())
      reasons.push_back(rejection.reason);
  for (const std::string& reason : reasons) {
    size_t count = 0;
    std::string list;
    for (const AdviceRejection& rejection : advice.rejected) {
      if (rejection.reason != reason || ++count > kRejections) continue;
      const size_t table = rejection.statement.find(" ON ");
      list += "  - " +
              markdown_code(on_one_line(table == std::string::npos ? rejection.statement
                                                                   : rejection.statement.substr(table + 4))) +
              "\n";
    }
    text += fmt::format("- {} ({}):\n", on_one_line(reason), count) + list;
    if (count > kRejections) text += fmt::format("  - and {} more\n", count - kRejections);
  }
  return text;
}

}  // namespace

std::string report_strategy(const ReportFacts& facts) {
  std::string text = report_head("Index Strategy", facts);
  if (!facts.advice) return text + "There is no advice yet: `cairn tune advise` makes one.\n";
  const Advice& advice = *facts.advice;
  text += fmt::format(
      "Advice {}: estimated by PostgreSQL's planner to take {} off {} of statements' time ({} off), for {} "
      "of room and {} more time for writes. Changes on request are no part of that.\n\n## Proposed Changes\n\n",
      markdown_code(advice.id), in_ms(advice.ms_before - advice.ms_after), in_ms(advice.ms_before),
      in_percent(advice.ms_before <= 0 ? 0 : 1 - advice.ms_after / advice.ms_before), in_megabytes(advice.bytes),
      in_percent(advice.written_ms <= 0 ? 0 : advice.write_ms / advice.written_ms));
  text += proposed_changes(facts) + other_texts(facts) + not_taken(advice);
  return text +
         "\n## Maintenance Plan\n\n- Every change can be taken back at any time: `cairn tune undo`.\n- `cairn tune "
         "verify` after a day of load: what costs more than it gains is taken back.\n- Unused indexes are proposed to "
         "be dropped by "
         "the next `cairn tune advise`, when they have been watched for long enough.\n";
}

}  // namespace cairn::tuner
