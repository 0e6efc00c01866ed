#include "base/json.h"
#include "tuner/advise.h"

namespace cairn::tuner {
namespace {

constexpr int kFormat = 1;

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
  writer.key("include");
  writer.begin_array();
  for (const std::string& column : index.include) writer.string(column);
  writer.end_array();
  writer.field("predicate", index.predicate);
  writer.field("options", index.options);
  writer.field("unique", index.unique);
  writer.end_object();
}

void write_change(const Advice& advice, size_t position, json::Writer& writer) {
  const AdviceChange& change = advice.changes[position];
  writer.begin_object();
  writer.field("number", static_cast<int64_t>(position + 1));
  writer.field("kind", "index");
  writer.field("name", change.name);
  writer.field("statement", change.statement);
  writer.field("inverse", change.inverse);
  writer.field("reason", change.reason);
  writer.field("gain_ms", change.gain_ms);
  writer.field("write_ms", change.write_ms);
  writer.field("bytes", change.bytes);
  writer.key("serves");
  writer.begin_array();
  for (size_t i = 0; i < advice.statements.size(); ++i) {
    for (const size_t used : advice.statements[i].uses) {
      if (used == position) writer.integer(static_cast<int64_t>(i + 1));
    }
  }
  writer.end_array();
  writer.key("definition");
  write_definition(change.index, writer);
  writer.end_object();
}

void write_statement(const AdviceStatement& statement, size_t position, json::Writer& writer) {
  writer.begin_object();
  writer.field("number", static_cast<int64_t>(position + 1));
  writer.field("text", statement.text);
  writer.field("calls", statement.calls);
  writer.field("rows", statement.rows);
  writer.field("measured", statement.total_ms.has_value());
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

void write_totals(const Advice& advice, json::Writer& writer) {
  writer.field("ms_before", advice.ms_before);
  writer.field("ms_after", advice.ms_after);
  writer.field("write_ms", advice.write_ms);
  writer.field("written_ms", advice.written_ms);
  writer.field("bytes", advice.bytes);
  writer.field("planner_calls", advice.calls);
  writer.field("complete", advice.complete);
}

}  // namespace

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
  writer.key("drops");
  writer.begin_array();
  for (const Drop& drop : advice.drops) {
    writer.begin_object();
    writer.field("schema", drop.table.schema);
    writer.field("table", drop.table.name);
    writer.field("index", drop.index);
    writer.field("statement", drop.statement);
    writer.field("inverse", drop.undo);
    writer.field("reason", drop.reason);
    writer.field("bytes", drop.bytes);
    writer.end_object();
  }
  writer.end_array();
  writer.key("notes");
  writer.begin_array();
  for (const std::string& note : advice.notes) writer.string(note);
  writer.end_array();
  writer.end_object();
  return text;
}

}  // namespace cairn::tuner
