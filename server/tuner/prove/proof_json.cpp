// A proof as JSON: what --json prints and proofs/<id of the advice>.json holds. Statements and changes are numbered
// from 1.
#include <map>

#include "base/error.h"
#include "base/json.h"
#include "tuner/profile/state_files.h"
#include "tuner/prove/proof.h"

namespace cairn::tuner {
namespace {

constexpr int kFormat = 1;

const std::map<Outcome, std::string> kOutcomes{
    {Outcome::kSame, "same"}, {Outcome::kFaster, "faster"}, {Outcome::kSlower, "slower"}};
const std::map<Verdict, std::string> kVerdicts{
    {Verdict::kKept, "kept"}, {Verdict::kRejected, "rejected"}, {Verdict::kNotTried, "not_tried"}};

template <class T>
T value_of(const std::map<T, std::string>& names, const std::string& name) {
  for (const auto& [value, known] : names)
    if (known == name) return value;
  throw invalid("'" + name + "' is not known here");
}

void write_numbers(json::Writer& writer, const char* name, const std::vector<size_t>& positions) {
  writer.key(name);
  writer.begin_array();
  for (const size_t position : positions) writer.integer(static_cast<int64_t>(position + 1));
  writer.end_array();
}

void write_texts(json::Writer& writer, const char* name, const std::vector<std::string>& texts) {
  writer.key(name);
  writer.begin_array();
  for (const std::string& text : texts) writer.string(text);
  writer.end_array();
}

void write_ratio(json::Writer& writer, const Ratio& ratio) {
  writer.field("ratio", ratio.value);
  writer.field("ratio_low", ratio.low);
  writer.field("ratio_high", ratio.high);
}

Ratio read_ratio(const json::Fields& fields) {
  return {.value = fields.required_number("ratio"),
          .low = fields.required_number("ratio_low"),
          .high = fields.required_number("ratio_high")};
}

size_t position(int64_t number) {
  if (number < 1) throw invalid("numbers begin with 1");
  return static_cast<size_t>(number - 1);
}

std::vector<size_t> read_numbers(const json::Fields& fields, const char* name) {
  std::vector<size_t> positions;
  const json::Document document(fields.raw(name).value_or("[]"));
  simdjson::dom::array numbers;
  if (document.root().get(numbers) != simdjson::SUCCESS) throw invalid(std::string(name) + " is no list");
  for (const auto element : numbers) {
    int64_t number = 0;
    if (element.get(number) != simdjson::SUCCESS) throw invalid(std::string(name) + " is no list of numbers");
    positions.push_back(position(number));
  }
  return positions;
}

void write_statement(const StatementProof& proof, json::Writer& writer) {
  writer.begin_object();
  writer.field("number", static_cast<int64_t>(proof.statement + 1));
  writer.field("text", proof.text);
  writer.field("calls", proof.calls);
  if (!proof.not_run.empty()) {
    writer.field("not_run", proof.not_run);
    writer.end_object();
    return;
  }
  writer.field("parameter_sets", proof.parameter_sets);
  writer.field("rounds", proof.rounds);
  writer.field("before_ms", proof.before_ms);
  writer.field("after_ms", proof.after_ms);
  write_ratio(writer, proof.ratio);
  writer.field("outcome", kOutcomes.at(proof.outcome));
  writer.field("before_stopped", proof.before_stopped);
  writer.field("after_stopped", proof.after_stopped);
  writer.field("rows", proof.rows);
  writer.field("same_rows", proof.same_rows);
  writer.field("rows_note", proof.rows_note);
  writer.field("recall", proof.recall);
  writer.field("blocks_before", proof.blocks_before);
  writer.field("blocks_after", proof.blocks_after);
  write_texts(writer, "used_before", proof.used_before);
  write_texts(writer, "plan_before", proof.plan_before.nodes);
  writer.field("problem_before", proof.plan_before.problem);
  write_texts(writer, "used_after", proof.used_after);
  write_numbers(writer, "uses", proof.uses);
  write_numbers(writer, "maintains", proof.maintains);
  writer.end_object();
}

StatementProof read_statement(const json::Fields& fields) {
  StatementProof proof;
  proof.statement = position(fields.required_integer("number"));
  proof.text = fields.required_string("text");
  proof.calls = fields.required_number("calls");
  proof.not_run = fields.string("not_run").value_or("");
  if (!proof.not_run.empty()) return proof;
  proof.parameter_sets = static_cast<int>(fields.required_integer("parameter_sets"));
  proof.rounds = static_cast<int>(fields.required_integer("rounds"));
  proof.before_ms = fields.required_number("before_ms");
  proof.after_ms = fields.required_number("after_ms");
  proof.ratio = read_ratio(fields);
  proof.outcome = value_of(kOutcomes, fields.required_string("outcome"));
  proof.before_stopped = fields.boolean("before_stopped").value_or(false);
  proof.after_stopped = fields.boolean("after_stopped").value_or(false);
  proof.rows = fields.required_integer("rows");
  proof.same_rows = fields.boolean("same_rows");
  proof.rows_note = fields.string("rows_note").value_or("");
  proof.recall = fields.number("recall");
  proof.blocks_before = fields.required_integer("blocks_before");
  proof.blocks_after = fields.required_integer("blocks_after");
  proof.used_before = fields.strings("used_before");
  proof.plan_before = {fields.strings("plan_before"), fields.string("problem_before").value_or("")};
  proof.used_after = fields.strings("used_after");
  proof.uses = read_numbers(fields, "uses");
  proof.maintains = read_numbers(fields, "maintains");
  return proof;
}

void write_change(const ChangeVerdict& verdict, json::Writer& writer) {
  writer.begin_object();
  writer.field("number", static_cast<int64_t>(verdict.change + 1));
  writer.field("name", verdict.name);
  writer.field("verdict", kVerdicts.at(verdict.verdict));
  writer.field("reason", verdict.reason);
  writer.field("bytes", verdict.bytes);
  writer.field("build_ms", verdict.build_ms);
  writer.field("saved_ms", verdict.saved_ms);
  write_numbers(writer, "faster", verdict.faster);
  write_numbers(writer, "slower", verdict.slower);
  writer.end_object();
}

ChangeVerdict read_change(const json::Fields& fields) {
  return {.change = position(fields.required_integer("number")),
          .name = fields.string("name").value_or(""),
          .verdict = value_of(kVerdicts, fields.required_string("verdict")),
          .reason = fields.string("reason").value_or(""),
          .bytes = fields.required_integer("bytes"),
          .build_ms = fields.required_number("build_ms"),
          .saved_ms = fields.required_number("saved_ms"),
          .faster = read_numbers(fields, "faster"),
          .slower = read_numbers(fields, "slower")};
}

void write_rewrite(const RewriteProof& proof, json::Writer& writer) {
  writer.begin_object();
  writer.field("number", static_cast<int64_t>(proof.rewrite + 1));
  writer.field("statement", static_cast<int64_t>(proof.statement + 1));
  writer.field("confirmed", proof.confirmed);
  writer.field("reason", proof.reason);
  writer.field("before_ms", proof.before_ms);
  writer.field("after_ms", proof.after_ms);
  write_ratio(writer, proof.ratio);
  write_numbers(writer, "uses", proof.uses);
  writer.end_object();
}

RewriteProof read_rewrite(const json::Fields& fields) {
  return {.rewrite = position(fields.required_integer("number")),
          .statement = position(fields.required_integer("statement")),
          .confirmed = fields.boolean("confirmed").value_or(false),
          .reason = fields.string("reason").value_or(""),
          .before_ms = fields.required_number("before_ms"),
          .after_ms = fields.required_number("after_ms"),
          .ratio = read_ratio(fields),
          .uses = read_numbers(fields, "uses")};
}

StateFiles files_of(const std::string& state_directory) {
  return StateFiles(state_directory, "proofs", "proof", "`cairn tune prove`");
}

}  // namespace

std::string to_json(const Proof& proof) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("format", kFormat);
  writer.field("advice", proof.advice);
  writer.field("made_at", proof.made_at_ms);
  writer.field("clone", proof.clone);
  writer.field("seed", proof.seed);
  writer.field("before_ms", proof.before_ms);
  writer.field("after_ms", proof.after_ms);
  writer.key("statements");
  writer.begin_array();
  for (const StatementProof& statement : proof.statements) write_statement(statement, writer);
  writer.end_array();
  writer.key("changes");
  writer.begin_array();
  for (const ChangeVerdict& change : proof.changes) write_change(change, writer);
  writer.end_array();
  writer.key("rewrites");
  writer.begin_array();
  for (const RewriteProof& rewrite : proof.rewrites) write_rewrite(rewrite, writer);
  writer.end_array();
  write_texts(writer, "notes", proof.notes);
  writer.end_object();
  return text;
}

Proof proof_from_json(const std::string& text) {
  const json::Document document(text);
  const json::Fields fields = json::root_fields(document);
  if (const int64_t format = fields.required_integer("format"); format != kFormat)
    throw invalid("it is of format " + std::to_string(format) + ", and this program reads " + std::to_string(kFormat));
  Proof proof;
  proof.advice = fields.required_string("advice");
  proof.made_at_ms = fields.required_integer("made_at");
  proof.clone = fields.string("clone").value_or("");
  proof.seed = static_cast<uint64_t>(fields.required_integer("seed"));
  proof.before_ms = fields.required_number("before_ms");
  proof.after_ms = fields.required_number("after_ms");
  for (const json::Fields& statement : fields.objects("statements"))
    proof.statements.push_back(read_statement(statement));
  for (const json::Fields& change : fields.objects("changes")) proof.changes.push_back(read_change(change));
  for (const json::Fields& rewrite : fields.objects("rewrites")) proof.rewrites.push_back(read_rewrite(rewrite));
  proof.notes = fields.strings("notes");
  return proof;
}

std::string save_proof(const Proof& proof, const std::string& state_directory) {
  const StateFiles files = files_of(state_directory);
  files.replace(proof.advice, to_json(proof) + "\n");
  return files.path(proof.advice);
}

std::optional<Proof> load_proof(const std::string& state_directory, const std::string& advice) {
  const StateFiles files = files_of(state_directory);
  if (!files.has(advice)) return std::nullopt;
  try {
    return proof_from_json(files.load(advice));
  } catch (const Error& error) {
    throw invalid("the proof " + files.path(advice) + " cannot be used: " + error.what() + "; `cairn tune prove " +
                  advice + "` makes it anew");
  }
}

}  // namespace cairn::tuner
