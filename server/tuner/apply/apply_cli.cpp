#include "tuner/apply/apply_cli.h"

#include <fmt/format.h>

#include <ostream>

#include "base/json.h"
#include "base/table.h"

namespace cairn::tuner {
namespace {

const char* outcome_name(ChangeOutcome outcome) {
  switch (outcome) {
    case ChangeOutcome::kDone:
      return "applied";
    case ChangeOutcome::kThereAlready:
      return "there already";
    case ChangeOutcome::kFailed:
      break;
  }
  return "failed";
}

void write_strings(json::Writer& writer, const char* name, const std::vector<std::string>& strings) {
  writer.key(name);
  writer.begin_array();
  for (const std::string& string : strings) writer.string(string);
  writer.end_array();
}

void print_json(const ApplyReport& report, std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("advice", report.advice);
  writer.field("database", report.database);
  writer.field("apply", report.apply_id);
  writer.field("ok", report.ok());
  writer.key("changes");
  writer.begin_array();
  for (const ChangeReport& change : report.changes) {
    writer.begin_object();
    if (change.id > 0) writer.field("id", change.id);
    writer.field("number", change.number);
    writer.field("kind", kind_name(change.kind));
    writer.field("name", change.name);
    writer.field("statement", change.statement);
    writer.field("outcome", outcome_name(change.outcome));
    if (!change.detail.empty()) writer.field("detail", change.detail);
    writer.field("seconds", change.seconds);
    writer.end_object();
  }
  writer.end_array();
  write_strings(writer, "left_out", report.left_out);
  write_strings(writer, "notes", report.notes);
  writer.end_object();
  out << text << "\n";
}

void print(const ApplyReport& report, std::ostream& out) {
  out << fmt::format("advice {} in {}\n", report.advice, report.database);
  for (const ChangeReport& change : report.changes) {
    out << fmt::format("{:>3}  {}: {}", change.number, outcome_name(change.outcome), on_one_line(change.statement));
    if (change.outcome == ChangeOutcome::kDone) out << fmt::format(" ({:.1f} s, change {})", change.seconds, change.id);
    out << "\n";
    if (!change.detail.empty()) out << "     " << on_one_line(change.detail) << "\n";
  }
  if (report.changes.empty()) out << "nothing to apply\n";
  for (const std::string& text : report.left_out) out << "left out: " << on_one_line(text) << "\n";
  for (const std::string& text : report.notes) out << "note: " << on_one_line(text) << "\n";
  if (report.apply_id > 0) out << "later: cairn tune verify; any time: cairn tune undo --last\n";
}

}  // namespace

int run_apply(const ApplyOptions& options, bool json, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  const ApplyReport report = apply(reactor, options, progress);
  if (json)
    print_json(report, out);
  else
    print(report, out);
  if (report.ended_by) throw *report.ended_by;
  return report.ok() ? 0 : 1;
}

}  // namespace cairn::tuner
