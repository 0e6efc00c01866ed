#include "schema/cli.h"

#include <ostream>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "schema/migrator.h"

namespace cairn::schema {
namespace {

constexpr const char* kDefaultDirectory = "migrations";
constexpr const char* kOwnLineage = "cairn";
constexpr const char* kDirectoryLineage = "user";

MigratorOptions migrator_options(const MigrateOptions& options, std::ostream& out, std::ostream& progress) {
  MigratorOptions result;
  result.connection_string = options.connection_string;
  result.migrations = options.directory.empty() ? embedded() : read_directory(options.directory);
  result.lineage = !options.lineage.empty()    ? options.lineage
                   : options.directory.empty() ? kOwnLineage
                                               : kDirectoryLineage;
  if (options.print_sql) result.print_sql = &out;
  result.report = [&progress](const std::string& line) { progress << line << std::endl; };
  return result;
}

int run_revision(const MigrateOptions& options, std::ostream& out) {
  const std::string directory = options.directory.empty() ? kDefaultDirectory : options.directory;
  const std::vector<std::string> paths = create_revision(directory, options.message);
  if (options.json) {
    std::string text;
    json::Writer writer(text);
    writer.begin_object();
    writer.field("up", paths[0]);
    writer.field("down", paths[1]);
    writer.end_object();
    out << text << "\n";
  } else {
    for (const std::string& path : paths) out << "made " << path << "\n";
  }
  return 0;
}

void print_current(int current, Migrator& migrator, bool as_json, std::ostream& out) {
  const std::vector<Step> steps = migrator.history();
  std::string name;
  int behind = 0;
  for (const Step& step : steps) {
    if (step.number == current) name = step.name;
    behind += !step.applied_at;
  }
  if (as_json) {
    std::string text;
    json::Writer writer(text);
    writer.begin_object();
    writer.field("current", current);
    writer.field("name", name);
    writer.field("head", migrator.head());
    writer.field("pending", behind);
    writer.end_object();
    out << text << "\n";
  } else {
    out << (current == 0 ? std::string("base") : label(current, name))
        << (behind == 0 ? " (head)" : " (" + std::to_string(behind) + " to apply)") << "\n";
  }
}

void print_history(const std::vector<Step>& steps, bool as_json, std::ostream& out) {
  if (!as_json) {
    for (const Step& step : steps) {
      out << label(step.number, step.name) << "  "
          << (step.applied_at ? "applied " + *step.applied_at + " by " + step.applied_by : "to apply") << "\n";
    }
    return;
  }
  std::string text;
  json::Writer writer(text);
  writer.begin_array();
  for (const Step& step : steps) {
    writer.begin_object();
    writer.field("number", step.number);
    writer.field("name", step.name);
    writer.field("applied_at", step.applied_at);
    if (step.applied_at) writer.field("applied_by", step.applied_by);
    writer.end_object();
  }
  writer.end_array();
  out << text << "\n";
}

void print_steps(int steps, int current, bool as_json, std::ostream& out) {
  if (as_json) {
    std::string text;
    json::Writer writer(text);
    writer.begin_object();
    writer.field("steps", steps);
    writer.field("current", current);
    writer.end_object();
    out << text << "\n";
  } else if (steps == 0) {
    out << "nothing to do\n";
  }
}

}  // namespace

int run_migrate(const MigrateOptions& options, std::ostream& out, std::ostream& progress) {
  using Action = MigrateOptions::Action;
  if (options.action == Action::kRevision) return run_revision(options, out);
  Migrator migrator(migrator_options(options, out, progress));
  switch (options.action) {
    case Action::kUpgrade:
    case Action::kDowngrade: {
      const bool up = options.action == Action::kUpgrade;
      const int steps = up ? migrator.upgrade(options.target) : migrator.downgrade(options.target);
      if (!options.print_sql) print_steps(steps, migrator.current(), options.json, out);
      break;
    }
    case Action::kCurrent:
      print_current(migrator.current(), migrator, options.json, out);
      break;
    case Action::kHistory:
      print_history(migrator.history(), options.json, out);
      break;
    case Action::kRevision:
      break;
  }
  return 0;
}

void prepare_schema(const std::string& connection_string, bool migrate) {
  MigratorOptions options;
  options.connection_string = connection_string;
  options.migrations = embedded();
  options.report = [](const std::string& line) { log::info("schema: {}", line); };
  Migrator migrator(std::move(options));
  if (migrate) {
    migrator.upgrade("head");
  } else if (const int current = migrator.current(); current != migrator.head()) {
    throw Error(ErrorCode::kInvalidState, "the database's schema is at step " + std::to_string(current) +
                                              " and this server needs " + std::to_string(migrator.head()) +
                                              ": run `cairn migrate upgrade head`, or start with --migrate");
  }
}

}  // namespace cairn::schema
