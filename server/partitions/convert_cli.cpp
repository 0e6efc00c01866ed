// `cairn partitions plan`, `convert`, `finish`, `undo`.
#include <fmt/format.h>

#include <ostream>

#include "base/error.h"
#include "base/json.h"
#include "partitions/api.h"
#include "partitions/convert.h"
#include "partitions/give_back.h"
#include "partitions/report.h"

namespace cairn::partitions {
namespace {

PlanOptions plan_options(const ConvertOptions& options) {
  return {options.column, by_of(options.by), options.step, options.ahead, options.keep_months};
}

SessionOptions session_options(const CommandOptions& options, const char* name) {
  return {options.connection_string, name, options.wait_s};
}

Error no_table(const std::string& table) {
  return not_found("there is no table '" + table +
                   "' in this database: name it with its schema, as in tracking.training_runs");
}

constexpr db::Statement kName{"partitions_table_name", R"(
SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = $1::int8)"};

// The conversion under way on a table.
task<std::optional<Conversion>> under_way(Session& session, int64_t oid) {
  if (!co_await journal_exists(session)) co_return std::nullopt;
  db::Params params = db::Params::of(oid);
  const db::Rows name = co_await session.query(kName, std::move(params));
  co_return co_await conversion_of(session, name.text(0, 0), name.text(0, 1));
}

void print_json(const Plan& plan, std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("table", plan.facts.shown_name());
  writer.field("column", plan.scheme.column);
  writer.field("by", by_name(plan.scheme.by));
  writer.field("rows", plan.facts.rows);
  writer.field("bytes", plan.facts.bytes);
  writer.field("possible", plan.refusals.empty());
  write_strings(writer, "refusals", plan.refusals);
  write_strings(writer, "notes", plan.notes);
  writer.key("partitions");
  writer.begin_array();
  for (const Range& range : plan.ranges) {
    writer.begin_object();
    writer.field("name", range.name);
    writer.field("bounds", range.bounds);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  out << text << "\n";
}

void print(const Plan& plan, std::ostream& out) {
  out << fmt::format("{}: about {:.0f} rows, {:.1f} MB; by {} of {}\n", plan.facts.shown_name(), plan.facts.rows,
                     static_cast<double>(plan.facts.bytes) / 1e6, by_name(plan.scheme.by), plan.scheme.column);
  for (const std::string& refusal : plan.refusals) out << "in the way: " << refusal << "\n";
  for (const std::string& note : plan.notes) out << "different: " << note << "\n";
  if (!plan.refusals.empty()) return;
  out << fmt::format("partitions: {} ({} to {}) and {}\n", plan.ranges.size(),
                     plan.ranges.empty() ? "" : plan.ranges.front().name,
                     plan.ranges.empty() ? "" : plan.ranges.back().name, default_name(plan.facts.name));
  if (plan.scheme.keep_months > 0)
    out << fmt::format(
        "kept: {} months; what is older is detached by cairn partitions maintain (--keep 0: nothing is)\n",
        plan.scheme.keep_months);
  out << "steps: a new table is filled beside it; writes go on, and are followed; both are compared; the new one takes "
         "its\n       place, for which others wait under a second. The old one is kept, and follows, until cairn\n     "
         "  partitions "
         "finish drops it. Until then: cairn partitions undo\n"
      << fmt::format("room: the table is there twice until then, {:.1f} MB more\n",
                     static_cast<double>(plan.facts.bytes) / 1e6);
}

void print(const Conversion& conversion, bool json, std::ostream& out) {
  if (!json) {
    out << fmt::format("{}: {}\n", conversion.shown_name(), conversion.shown_state());
    if (conversion.shown_state() == "kept")
      out << fmt::format(
          "the old table is kept, and follows: cairn partitions finish {0} drops it, cairn partitions "
          "undo {0} puts it back\n",
          conversion.shown_name());
    return;
  }
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("table", conversion.shown_name());
  writer.field("conversion", conversion.id);
  writer.field("state", conversion.shown_state());
  writer.field("copied", conversion.copied);
  writer.end_object();
  out << text << "\n";
}

// A conversion that was begun is gone on with as it was begun.
task<Plan> plan_again(Session& session, const Conversion& conversion) {
  if (conversion.state == "swapped" || conversion.state == "undoing") co_return Plan{};
  Plan plan = co_await make_plan(session, conversion.table_oid, conversion.options, false);
  const std::string signature = co_await md5(session, plan.facts.signature());
  if (signature != conversion.signature)
    throw Error(ErrorCode::kInvalidState, conversion.shown_name() + " was altered since its conversion began on " +
                                              conversion.started_at +
                                              ": run cairn partitions undo, and convert it again");
  require_possible(plan);
  co_return plan;
}

void check_same(const Conversion& begun, const ConvertOptions& options) {
  if (options.column.empty() || options.column == begun.options.column) return;
  throw Error(ErrorCode::kResourceConflict, begun.shown_name() + " is being divided by " + begun.options.column +
                                                " since " + begun.started_at +
                                                ": go on without --column, or run cairn partitions undo first");
}

// A conversion that is being taken back after its exchange.
task<std::optional<Kept>> returning(Session& session, const Conversion& begun) {
  const std::optional<Kept> kept = co_await kept_of(session, begun);
  if (kept && kept->returned) co_return kept;
  co_return std::nullopt;
}

task<Conversion> go_on(Session& session, const Conversion& begun) {
  session.say("going on from: " + begun.shown_state());
  const std::optional<Kept> kept = co_await returning(session, begun);
  if (kept) {
    GiveBack back(session, begun, *kept);
    co_await back.run();
    co_return back.conversion();
  }
  Plan plan = co_await plan_again(session, begun);
  Converter converter(session, std::move(plan), begun);
  co_await converter.go_on();
  co_return converter.conversion();
}

task<Conversion> convert(const ConvertOptions& options, std::ostream& progress) {
  Session session(session_options(options, "cairn partitions convert"), progress);
  const int64_t oid = co_await session.open(options.table);
  if (oid == 0) throw no_table(options.table);
  co_await session.lock();
  const std::optional<Conversion> begun = co_await under_way(session, oid);
  if (begun) {
    check_same(*begun, options);
    co_await make_journal(session);
    co_return co_await go_on(session, *begun);
  }
  if (options.column.empty()) throw invalid("name the column that the table shall be divided by: --column");
  const PlanOptions wanted = plan_options(options);
  Plan plan = co_await make_plan(session, oid, wanted, true);
  require_possible(plan);
  co_await make_journal(session);
  Conversion conversion;
  conversion.table_oid = oid;
  conversion.schema = plan.facts.schema;
  conversion.table = plan.facts.name;
  conversion.options = wanted;
  Converter converter(session, std::move(plan), std::move(conversion));
  co_await converter.create();
  co_await converter.go_on();
  co_return converter.conversion();
}

// The conversion under way on the table that a command names, with the lock.
task<Conversion> open_begun(Session& session, const std::string& table) {
  const int64_t oid = co_await session.open(table);
  if (oid == 0) throw no_table(table);
  co_await session.lock();
  const std::optional<Conversion> begun = co_await under_way(session, oid);
  if (!begun) throw not_found("no conversion of " + table + " is under way");
  co_return *begun;
}

task<Conversion> finish(const CommandOptions& options, std::ostream& progress) {
  Session session(session_options(options, "cairn partitions finish"), progress);
  const Conversion begun = co_await open_begun(session, options.table);
  if (begun.state != "swapped")
    throw Error(ErrorCode::kInvalidState, "the conversion of " + options.table + " is not so far (" +
                                              begun.shown_state() + "): go on with it by cairn partitions convert " +
                                              options.table);
  Converter converter(session, Plan{}, begun);
  co_await converter.go_on();
  if (converter.conversion().state == "swapped") co_await converter.finish();
  co_return converter.conversion();
}

task<Plan> plan(const ConvertOptions& options, std::ostream& progress) {
  Session session(session_options(options, "cairn partitions plan"), progress);
  const int64_t oid = co_await session.open(options.table);
  if (oid == 0) throw no_table(options.table);
  const PlanOptions wanted = plan_options(options);
  co_return co_await make_plan(session, oid, wanted, true);
}

task<Conversion> undo(const CommandOptions& options, std::ostream& progress) {
  Session session(session_options(options, "cairn partitions undo"), progress);
  const Conversion begun = co_await open_begun(session, options.table);
  const std::optional<Kept> kept = co_await kept_of(session, begun);
  if (kept) {
    GiveBack back(session, begun, *kept);
    co_await back.run();
    co_return back.conversion();
  }
  if (begun.is_swapped())
    throw Error(ErrorCode::kInvalidState, options.table +
                                              " is partitioned already, and its old table is gone: only foreign keys "
                                              "are left to be validated (cairn partitions convert)");
  Converter converter(session, Plan{}, begun);
  co_await converter.undo();
  co_return converter.conversion();
}

}  // namespace

int run_plan(const ConvertOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  const Plan result = reactor.block_on(plan(options, progress));
  if (options.json)
    print_json(result, out);
  else
    print(result, out);
  return result.refusals.empty() ? 0 : 1;
}

int run_convert(const ConvertOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  const Conversion result = reactor.block_on(convert(options, progress));
  print(result, options.json, out);
  return 0;
}

int run_finish(const CommandOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  const Conversion result = reactor.block_on(finish(options, progress));
  print(result, options.json, out);
  return 0;
}

int run_undo(const CommandOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  const Conversion result = reactor.block_on(undo(options, progress));
  print(result, options.json, out);
  return 0;
}

}  // namespace cairn::partitions
