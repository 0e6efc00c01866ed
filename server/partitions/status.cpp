// `cairn partitions status`: what there is.
#include <fmt/format.h>

#include <ostream>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/table.h"
#include "partitions/api.h"
#include "partitions/journal.h"
#include "partitions/report.h"

namespace cairn::partitions {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

struct Detached {
  std::string name = {};
  std::string bounds = {};
  std::string archive = {};
  int64_t rows = -1;
};

struct TableStatus {
  Managed table = {};
  std::vector<Partition> partitions = {};
  std::vector<Detached> detached = {};
  int64_t ahead = 0;  // partitions of what is yet to come
};

struct Status {
  std::vector<Conversion> conversions = {};
  std::vector<TableStatus> tables = {};
  std::vector<std::string> read = {};  // partitions that the given statement reads
  int64_t of = 0;                      // so many there are
};

constexpr Statement kDetachedOf{"partitions_detached_of", R"(
SELECT partition, bounds, coalesce(archive, ''), coalesce(rows, -1) FROM cairn_partitions.detached
WHERE table_schema = $1 AND table_name = $2 AND restored_at IS NULL ORDER BY lower_bound)"};

task<TableStatus> table_status(Session& session, const Managed& table) {
  TableStatus status;
  status.table = table;
  status.partitions = co_await partitions_of(session, table.schema, table.table);
  Params params = Params::of(table.schema, table.table);
  const Rows rows = co_await session.query(kDetachedOf, std::move(params));
  for (int i = 0; i < rows.size(); ++i)
    status.detached.push_back({rows.text(i, 0), rows.text(i, 1), rows.text(i, 2), rows.integer(i, 3)});
  const Rows now = co_await session.run("SELECT to_char(now(), 'YYYY-MM-DD HH24:MI:SS')");
  for (const Partition& partition : status.partitions) {
    if (table.scheme.of_time() && !partition.is_default && partition.from > now.text(0, 0)) ++status.ahead;
  }
  co_return status;
}

void collect(const simdjson::dom::element& node, std::set<std::string>& relations) {
  std::string_view name;
  if (node["Relation Name"].get(name) == simdjson::SUCCESS) relations.emplace(name);
  simdjson::dom::array plans;
  if (node["Plans"].get(plans) != simdjson::SUCCESS) return;
  for (const simdjson::dom::element child : plans) collect(child, relations);
}

// The partitions that a statement's plan reads; nothing is run.
task<> read_plan(Session& session, const TableStatus& table, std::string statement, Status& status) {
  const Session::Body body = [&]() -> task<> {
    co_await session.run("SET LOCAL search_path TO DEFAULT");
    const Rows rows = co_await session.run("EXPLAIN (FORMAT JSON) " + statement);
    const json::Document document(rows.text(0, 0));
    std::set<std::string> relations;
    simdjson::dom::element plan;
    if (document.root().at(0)["Plan"].get(plan) == simdjson::SUCCESS) collect(plan, relations);
    for (const Partition& partition : table.partitions) {
      if (relations.contains(partition.name)) status.read.push_back(partition.name);
    }
    status.of = static_cast<int64_t>(table.partitions.size());
  };
  co_await session.transaction(body, "BEGIN READ ONLY");
}

// Without a statement of the user's: the newest partition's rows are asked for.
std::string example(const TableStatus& table) {
  for (auto it = table.partitions.rbegin(); it != table.partitions.rend(); ++it) {
    if (it->is_default) continue;
    const Range range{it->name, it->bounds, it->from, it->to};
    return "SELECT count(*) FROM " + table.table.full_name() + " WHERE " + condition(table.table.scheme, range);
  }
  return "SELECT count(*) FROM " + table.table.full_name();
}

task<Status> status_of(const StatusOptions& options, std::ostream& progress) {
  const SessionOptions session_options{options.connection_string, "cairn partitions status", options.wait_s};
  Session session(session_options, progress);
  co_await session.open();
  Status status;
  if (!co_await journal_exists(session)) co_return status;
  std::vector<Conversion> all = co_await conversions(session);
  for (Conversion& one : all) {
    if (one.is_under_way()) status.conversions.push_back(std::move(one));
  }
  std::vector<Managed> tables = co_await managed_tables(session);
  if (!options.table.empty()) {
    const std::optional<Managed> one = co_await managed_table(session, options.table);
    tables.clear();
    if (one) tables.push_back(*one);
    if (!one && status.conversions.empty())
      throw not_found(options.table + " was not partitioned by cairn partitions: see cairn partitions status");
  }
  for (const Managed& table : tables) {
    TableStatus one = co_await table_status(session, table);
    status.tables.push_back(std::move(one));
  }
  if (!options.table.empty() && status.tables.size() == 1) {
    const TableStatus& table = status.tables.front();
    const std::string statement = options.statement.empty() ? example(table) : options.statement;
    co_await read_plan(session, table, statement, status);
  }
  co_return status;
}

void write(json::Writer& writer, const TableStatus& table) {
  writer.begin_object();
  writer.field("table", table.table.shown_name());
  writer.field("column", table.table.scheme.column);
  writer.field("by", by_name(table.table.scheme.by));
  writer.field("ahead", table.ahead);
  writer.field("keep_months", table.table.scheme.keep_months);
  writer.key("partitions");
  writer.begin_array();
  for (const Partition& partition : table.partitions) {
    writer.begin_object();
    writer.field("name", partition.name);
    writer.field("bounds", partition.bounds);
    writer.field("default", partition.is_default);
    writer.field("rows", partition.rows);
    writer.field("bytes", partition.bytes);
    writer.end_object();
  }
  writer.end_array();
  writer.key("detached");
  writer.begin_array();
  for (const Detached& one : table.detached) {
    writer.begin_object();
    writer.field("name", one.name);
    writer.field("bounds", one.bounds);
    if (!one.archive.empty()) writer.field("archive", one.archive);
    if (one.rows >= 0) writer.field("rows", one.rows);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
}

void print_json(const Status& status, std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.key("conversions");
  writer.begin_array();
  for (const Conversion& one : status.conversions) {
    writer.begin_object();
    writer.field("table", one.shown_name());
    writer.field("state", one.shown_state());
    writer.field("copied", one.copied);
    writer.field("started_at", one.started_at);
    writer.end_object();
  }
  writer.end_array();
  writer.key("tables");
  writer.begin_array();
  for (const TableStatus& table : status.tables) write(writer, table);
  writer.end_array();
  if (status.of > 0) {
    write_strings(writer, "read", status.read);
    writer.field("of", status.of);
  }
  writer.end_object();
  out << text << "\n";
}

std::string megabytes(int64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

void print(const Status& status, std::ostream& out) {
  for (const Conversion& one : status.conversions) {
    if (one.shown_state() == "kept") {
      out << fmt::format(
          "{0} is partitioned, and its old table kept: cairn partitions finish {0} drops it, cairn "
          "partitions undo {0} puts it back\n",
          one.shown_name());
      continue;
    }
    out << fmt::format("{} is being converted since {}: {}, {} rows copied. Go on: cairn partitions convert {}\n",
                       one.shown_name(), one.started_at, one.state, one.copied, one.shown_name());
  }
  for (const TableStatus& table : status.tables) {
    const Scheme& scheme = table.table.scheme;
    out << fmt::format("{}: by {} of {}{}{}\n", table.table.shown_name(), by_name(scheme.by), scheme.column,
                       scheme.of_time() ? fmt::format(", {} made ahead", table.ahead) : "",
                       scheme.keep_months > 0 ? fmt::format(", {} months kept", scheme.keep_months) : "");
    std::vector<std::vector<std::string>> rows{{"partition", "rows", "size", "bounds"}};
    for (const Partition& partition : table.partitions)
      rows.push_back(
          {partition.name, fmt::format("{:.0f}", partition.rows), megabytes(partition.bytes), partition.bounds});
    for (const Detached& one : table.detached)
      rows.push_back({one.name, one.rows < 0 ? "" : std::to_string(one.rows), "",
                      one.archive.empty() ? "detached" : "archived in " + one.archive});
    print_table(out, rows, 80);
  }
  if (status.of > 0) {
    std::string names;
    for (const std::string& name : status.read) names += (names.empty() ? ": " : ", ") + name;
    out << fmt::format("the statement reads {} of {} partitions{}\n", status.read.size(), status.of, names);
  }
  if (status.conversions.empty() && status.tables.empty()) out << "no table is partitioned by cairn partitions\n";
}

}  // namespace

int run_status(const StatusOptions& options, std::ostream& out, std::ostream& progress) {
  if (!options.statement.empty() && options.table.empty())
    throw invalid("name the table whose partitions the statement reads");
  Reactor reactor;
  const Status status = reactor.block_on(status_of(options, progress));
  if (options.json)
    print_json(status, out);
  else
    print(status, out);
  return 0;
}

}  // namespace cairn::partitions
