#include "tuner/advise/advice.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "tuner/profile/state_files.h"

namespace cairn::tuner {
namespace {

constexpr int kFormat = 2;

constexpr std::array<std::pair<ChangeKind, std::string_view>, 5> kKinds{
    {{ChangeKind::kIndex, "index"},
     {ChangeKind::kDropIndex, "drop_index"},
     {ChangeKind::kStatistics, "statistics"},
     {ChangeKind::kSetting, "setting"},
     {ChangeKind::kMaterializedView, "materialized_view"}}};

void write_strings(std::string_view name, const std::vector<std::string>& strings, json::Writer& writer) {
  writer.key(name);
  writer.begin_array();
  for (const std::string& string : strings) writer.string(string);
  writer.end_array();
}

void write_definition(const IndexDefinition& index, json::Writer& writer) {
  writer.begin_object();
  writer.field("schema", index.table.schema);
  writer.field("table", index.table.name);
  writer.field("method", index.method);
  writer.key("keys");
  writer.begin_array();
  for (const IndexKey& key : index.keys) {
    writer.begin_object();
    writer.field(key.is_expression ? "expression" : "column", key.text);
    writer.field("operator_class", key.operator_class);
    writer.field("descending", key.descending);
    writer.field("nulls_first", key.nulls_first);
    writer.end_object();
  }
  writer.end_array();
  write_strings("include", index.include, writer);
  writer.field("predicate", index.predicate);
  writer.field("options", index.options);
  writer.field("unique", index.unique);
  writer.end_object();
}

void write_change(const Advice& advice, size_t position, json::Writer& writer) {
  const Change& change = advice.changes[position];
  writer.begin_object();
  writer.field("number", static_cast<int64_t>(position + 1));
  writer.field("kind", kind_name(change.kind));
  writer.field("schema", change.table.schema);
  writer.field("table", change.table.name);
  writer.field("name", change.name);
  write_strings("statements", change.statements, writer);
  write_strings("inverse", change.inverse, writer);
  writer.field("reason", change.reason);
  writer.field("gain_ms", change.gain_ms);
  writer.field("write_ms", change.write_ms);
  writer.field("bytes", change.bytes);
  writer.field("on_request", change.on_request);
  writer.field("only_proved", change.only_proved);
  writer.key("serves");
  writer.begin_array();
  for (size_t i = 0; i < advice.statements.size(); ++i) {
    for (const size_t used : advice.statements[i].uses) {
      if (used == position) writer.integer(static_cast<int64_t>(i + 1));
    }
  }
  writer.end_array();
  if (change.index) {
    writer.key("definition");
    write_definition(*change.index, writer);
  }
  writer.end_object();
}

void write_statement(const AdviceStatement& statement, size_t position, json::Writer& writer) {
  writer.begin_object();
  writer.field("number", static_cast<int64_t>(position + 1));
  writer.field("text", statement.text);
  writer.field("calls", statement.calls);
  writer.field("rows", statement.rows);
  writer.field("measured", statement.total_ms.has_value());
  writer.field("total_ms", statement.total_ms);
  writer.field("ms_before", statement.ms_before);
  writer.field("ms_after", statement.ms_after);
  writer.field("cost_before", statement.cost_before);
  writer.field("cost_after", statement.cost_after);
  writer.key("uses");
  writer.begin_array();
  for (const size_t change : statement.uses) writer.integer(static_cast<int64_t>(change + 1));
  writer.end_array();
  writer.end_object();
}

void write_rewrite(const Rewrite& rewrite, json::Writer& writer) {
  writer.begin_object();
  writer.field("serves", static_cast<int64_t>(rewrite.statement + 1));
  writer.field("rule", rewrite.rule);
  writer.field("text", rewrite.text);
  writer.field("reason", rewrite.reason);
  writer.field("guarantee", rewrite.guarantee);
  writer.field("caveat", rewrite.caveat);
  writer.end_object();
}

void write_totals(const Advice& advice, json::Writer& writer) {
  writer.field("ms_before", advice.ms_before);
  writer.field("ms_after", advice.ms_after);
  writer.field("write_ms", advice.write_ms);
  writer.field("written_ms", advice.written_ms);
  writer.field("bytes", advice.bytes);
  writer.field("planner_calls", advice.calls);
  writer.field("planner_ms", advice.planner_ms);
  writer.field("planner_percent", advice.planner_percent);
  writer.field("planner_is_clone", advice.planner_is_clone);
  writer.field("complete", advice.complete);
}

IndexDefinition read_definition(const json::Fields& fields) {
  IndexDefinition index;
  index.table = {fields.required_string("schema"), fields.required_string("table")};
  index.method = fields.required_string("method");
  for (const json::Fields& field : fields.objects("keys")) {
    const auto expression = field.string("expression");
    index.keys.push_back({.text = expression ? *expression : field.required_string("column"),
                          .is_expression = expression.has_value(),
                          .operator_class = field.string("operator_class").value_or(""),
                          .descending = field.boolean("descending").value_or(false),
                          .nulls_first = field.boolean("nulls_first").value_or(false)});
  }
  index.include = fields.strings("include");
  index.predicate = fields.string("predicate").value_or("");
  index.options = fields.string("options").value_or("");
  index.unique = fields.boolean("unique").value_or(false);
  return index;
}

Change read_change(const json::Fields& fields) {
  Change change;
  change.kind = change_kind(fields.required_string("kind"));
  change.table = {fields.string("schema").value_or(""), fields.string("table").value_or("")};
  change.name = fields.required_string("name");
  change.statements = fields.strings("statements");
  change.inverse = fields.strings("inverse");
  change.reason = fields.required_string("reason");
  change.gain_ms = fields.required_number("gain_ms");
  change.write_ms = fields.required_number("write_ms");
  change.bytes = fields.required_integer("bytes");
  change.on_request = fields.boolean("on_request").value_or(false);
  change.only_proved = fields.boolean("only_proved").value_or(false);
  if (const auto definition = fields.object("definition")) change.index = read_definition(*definition);
  if (change.statements.empty()) throw invalid("the change " + change.name + " has no statement");
  return change;
}

// A position, from a number that begins with 1.
size_t read_position(int64_t number, size_t count, const char* what) {
  if (number < 1 || static_cast<size_t>(number) > count)
    throw invalid("it has no " + std::string(what) + " " + std::to_string(number));
  return static_cast<size_t>(number - 1);
}

AdviceStatement read_statement(const json::Fields& fields, size_t changes) {
  AdviceStatement statement;
  statement.text = fields.required_string("text");
  statement.calls = fields.required_number("calls");
  statement.rows = fields.required_number("rows");
  statement.total_ms = fields.number("total_ms");
  statement.ms_before = fields.required_number("ms_before");
  statement.ms_after = fields.required_number("ms_after");
  statement.cost_before = fields.required_number("cost_before");
  statement.cost_after = fields.required_number("cost_after");
  for (const int64_t number : fields.integers("uses"))
    statement.uses.push_back(read_position(number, changes, "change"));
  return statement;
}

}  // namespace

std::string_view kind_name(ChangeKind kind) {
  const auto* found =
      std::find_if(kKinds.begin(), kKinds.end(), [&](const auto& known) { return known.first == kind; });
  return found->second;
}

ChangeKind change_kind(std::string_view name) {
  const auto* found =
      std::find_if(kKinds.begin(), kKinds.end(), [&](const auto& known) { return known.second == name; });
  if (found == kKinds.end()) throw invalid("there is no kind of change " + std::string(name));
  return found->first;
}

std::string to_json(const Advice& advice) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("format", kFormat);
  writer.field("id", advice.id);
  writer.field("database", advice.database);
  writer.field("made_at", advice.made_at_ms);
  write_totals(advice, writer);
  writer.key("changes");
  writer.begin_array();
  for (size_t i = 0; i < advice.changes.size(); ++i) write_change(advice, i, writer);
  writer.end_array();
  writer.key("statements");
  writer.begin_array();
  for (size_t i = 0; i < advice.statements.size(); ++i) write_statement(advice.statements[i], i, writer);
  writer.end_array();
  writer.key("rejected");
  writer.begin_array();
  for (const AdviceRejection& rejection : advice.rejected) {
    writer.begin_object();
    writer.field("statement", rejection.statement);
    writer.field("reason", rejection.reason);
    writer.field("gain_ms", rejection.gain_ms);
    writer.field("bytes", rejection.bytes);
    writer.end_object();
  }
  writer.end_array();
  writer.key("rewrites");
  writer.begin_array();
  for (const Rewrite& rewrite : advice.rewrites) write_rewrite(rewrite, writer);
  writer.end_array();
  write_strings("notes", advice.notes, writer);
  writer.end_object();
  return text;
}

Advice advice_from_json(const std::string& text) {
  const json::Document document(text);
  const json::Fields fields = json::root_fields(document);
  if (const int64_t format = fields.required_integer("format"); format != kFormat)
    throw invalid("it is of format " + std::to_string(format) + ", and this program reads " + std::to_string(kFormat));
  Advice advice;
  advice.id = fields.required_string("id");
  advice.database = fields.required_string("database");
  advice.made_at_ms = fields.required_integer("made_at");
  advice.ms_before = fields.required_number("ms_before");
  advice.ms_after = fields.required_number("ms_after");
  advice.write_ms = fields.required_number("write_ms");
  advice.written_ms = fields.required_number("written_ms");
  advice.bytes = fields.required_integer("bytes");
  advice.calls = static_cast<int>(fields.required_integer("planner_calls"));
  advice.planner_ms = fields.number("planner_ms").value_or(0);
  advice.planner_percent = fields.number("planner_percent").value_or(0);
  advice.planner_is_clone = fields.boolean("planner_is_clone").value_or(false);
  advice.complete = fields.boolean("complete").value_or(true);
  for (const json::Fields& change : fields.objects("changes")) advice.changes.push_back(read_change(change));
  for (const json::Fields& statement : fields.objects("statements"))
    advice.statements.push_back(read_statement(statement, advice.changes.size()));
  for (const json::Fields& rejection : fields.objects("rejected"))
    advice.rejected.push_back({.statement = rejection.required_string("statement"),
                               .reason = rejection.required_string("reason"),
                               .bytes = rejection.required_integer("bytes"),
                               .gain_ms = rejection.required_number("gain_ms")});
  for (const json::Fields& rewrite : fields.objects("rewrites"))
    advice.rewrites.push_back(
        {.statement = read_position(rewrite.required_integer("serves"), advice.statements.size(), "statement"),
         .rule = rewrite.required_string("rule"),
         .text = rewrite.required_string("text"),
         .reason = rewrite.required_string("reason"),
         .guarantee = rewrite.string("guarantee").value_or(""),
         .caveat = rewrite.string("caveat").value_or("")});
  advice.notes = fields.strings("notes");
  return advice;
}

namespace {

StateFiles advice_files(const std::string& state_directory) {
  return StateFiles(state_directory, "advice", "advice", "`cairn tune advise`");
}

}  // namespace

std::string save_advice(const Advice& advice, const std::string& state_directory) {
  const StateFiles files = advice_files(state_directory);
  files.replace(advice.id, to_json(advice));
  return files.path(advice.id);
}

Advice load_advice(const std::string& state_directory, const std::string& id) {
  const StateFiles files = advice_files(state_directory);
  const std::string found = files.find(id);
  try {
    return advice_from_json(files.load(found));
  } catch (const Error& error) {
    throw invalid("advice " + files.path(found) + " cannot be used: " + error.what());
  }
}

}  // namespace cairn::tuner
