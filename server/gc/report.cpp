#include "gc/report.h"

#include <ostream>

#include "base/json.h"

namespace cairn::gc {
namespace {

void print_json(const Report& report, std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  const auto list = [&](const char* name, const Report::List& entries) {
    writer.key(name);
    writer.begin_object();
    writer.field("count", entries.count);
    writer.key("first");
    writer.begin_array();
    for (const Report::Named& entry : entries.first) {
      writer.begin_object();
      writer.field("kind", entry.kind);
      writer.field("id", entry.id);
      writer.field("why", entry.why);
      writer.end_object();
    }
    writer.end_array();
    writer.end_object();
  };
  writer.begin_object();
  writer.field("dry_run", report.dry_run);
  writer.key("removed");
  writer.begin_object();
  writer.field("runs", report.runs);
  writer.field("logged_models", report.logged_models);
  writer.field("experiments", report.experiments);
  writer.field("artifact_directories", report.artifacts);
  writer.end_object();
  list("kept", report.kept);
  list("artifacts_left", report.elsewhere);
  list("failed", report.failed);
  writer.end_object();
  out << text << "\n";
}

void print_list(const char* title, const Report::List& list, std::ostream& out) {
  if (list.count == 0) return;
  out << title << ": " << list.count << "\n";
  for (const Report::Named& entry : list.first)
    out << "  " << entry.kind << " " << entry.id << ": " << entry.why << "\n";
  if (list.count > int64_t(list.first.size())) out << "  and " << list.count - int64_t(list.first.size()) << " more\n";
}

}  // namespace

void print(const Report& report, bool as_json, std::ostream& out) {
  if (as_json) return print_json(report, out);
  out << (report.dry_run ? "would remove " : "removed ") << report.runs << " runs, " << report.logged_models
      << " logged models, " << report.experiments << " experiments, and artifacts of " << report.artifacts
      << " of them\n";
  print_list("kept", report.kept, out);
  print_list("artifacts that were left where they are", report.elsewhere, out);
  print_list("artifacts that could not be removed (run this again when the cause is gone)", report.failed, out);
}

}  // namespace cairn::gc
