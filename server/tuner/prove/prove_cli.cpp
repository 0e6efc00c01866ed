#include "tuner/prove/prove_cli.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ostream>

#include "base/table.h"

namespace cairn::tuner {
namespace {

constexpr size_t kShownText = 60;
constexpr double kMB = 1 << 20;

std::string duration(double ms) {
  if (std::abs(ms) >= 1000) return fmt::format("{:.2f} s", ms / 1000);
  return fmt::format("{:.3g} ms", ms);
}

std::string interval(const Ratio& ratio) {
  return fmt::format("{:.3g} ({:.3g}-{:.3g})", ratio.value, ratio.low, ratio.high);
}

const char* word(Outcome outcome) {
  return outcome == Outcome::kFaster ? "faster" : outcome == Outcome::kSlower ? "SLOWER" : "same";
}

const char* word(Verdict verdict) {
  return verdict == Verdict::kKept ? "kept" : verdict == Verdict::kRejected ? "rejected" : "not tried";
}

void print_statements(const Proof& proof, std::ostream& out) {
  std::vector<std::vector<std::string>> rows{
      {"no", "before", "after", "ratio (95 %)", "", "blocks", "rows", "statement"}};
  for (const StatementProof& one : proof.statements) {
    if (!one.not_run.empty()) continue;
    rows.push_back({std::to_string(one.statement + 1), (one.before_stopped ? ">" : "") + duration(one.before_ms),
                    (one.after_stopped ? ">" : "") + duration(one.after_ms), interval(one.ratio), word(one.outcome),
                    fmt::format("{} > {}", one.blocks_before, one.blocks_after),
                    one.recall               ? fmt::format("{:.3g} %", *one.recall * 100)
                    : one.same_rows == true  ? "same"
                    : one.same_rows == false ? "DIFFER"
                                             : "not known",
                    on_one_line(one.text)});
  }
  if (rows.size() > 1) print_table(out, rows, kShownText);
  for (const StatementProof& one : proof.statements) {
    if (!one.rows_note.empty()) out << fmt::format("rows of {}: {}\n", one.statement + 1, on_one_line(one.rows_note));
    if (!one.not_run.empty()) out << fmt::format("not run {}: {}\n", one.statement + 1, on_one_line(one.not_run));
  }
}

}  // namespace

void print(const Advice& advice, const Proof& proof, std::ostream& out) {
  const auto kept = std::ranges::count(proof.changes, Verdict::kKept, &ChangeVerdict::verdict);
  out << fmt::format("advice {} for {}, on {}: {} of {} changes kept; reading: {} before, {} after\n\n", proof.advice,
                     on_one_line(advice.database), proof.clone, kept, proof.changes.size(), duration(proof.before_ms),
                     duration(proof.after_ms));
  for (const ChangeVerdict& change : proof.changes) {
    out << fmt::format("{:>3}  {}: {}\n", change.change + 1, word(change.verdict), on_one_line(change.name));
    out << "     " << on_one_line(change.reason) << "\n";
    if (change.bytes != 0 || change.build_ms > 0)
      out << fmt::format("     {:.1f} MB, made in {}\n", static_cast<double>(change.bytes) / kMB,
                         duration(change.build_ms));
  }
  for (const RewriteProof& rewrite : proof.rewrites)
    out << fmt::format("rewrite {} of statement {}: {}: {}\n", rewrite.rewrite + 1, rewrite.statement + 1,
                       rewrite.confirmed ? "confirmed" : "rejected", on_one_line(rewrite.reason));
  out << "\n";
  print_statements(proof, out);
  for (const std::string& note : proof.notes) out << "note: " << on_one_line(note) << "\n";
}

int run_prove(const ProveCommand& command, std::ostream& out, std::ostream& progress) {
  const Advice advice = load_advice(command.state_directory, command.advice);
  ProveOptions options = command.prove;
  options.progress = [&progress](const std::string& what) { progress << on_one_line(what) << std::endl; };
  Reactor reactor;
  const Proof proof = prove(reactor, options, advice);
  const std::string path = save_proof(proof, command.state_directory);
  if (command.json) {
    out << to_json(proof) << "\n";
  } else {
    print(advice, proof, out);
    out << (proof.kept_any() ? "\nkept as " : "\nnothing was kept (exit code 1); kept as ") << path << "\n";
  }
  return proof.kept_any() ? 0 : 1;
}

}  // namespace cairn::tuner
