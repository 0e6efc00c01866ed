// `cairn tune status`: the journal, and what a killed apply or undo left.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ostream>

#include "base/error.h"
#include "base/json.h"
#include "base/table.h"
#include "tuner/apply/apply_cli.h"

namespace cairn::tuner {
namespace {

struct Row {
  JournalEntry entry = {};
  bool left = false;         // by a killed apply or undo
  std::string catalog = {};  // what there is of it then
  std::string done = {};     // by --finish or --remove
};

struct Status {
  std::string at_work = {};  // who holds the lock
  std::vector<Row> rows = {};

  bool any_left() const {
    return std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.left && row.done.empty(); });
  }
};

class Reader {
 public:
  Reader(Reactor& reactor, const StatusOptions& options, std::ostream& progress)
      : options_(options),
        reactor_(reactor),
        all_(reactor, {options.connection_string, "cairn tune status", options.wait_s}, progress) {}

  Status run() {
    const bool mends = options_.finish || options_.remove;
    if (!reactor_.block_on(all_.journal().exists())) return {};
    if (mends) {
      reactor_.block_on(all_.session().lock());
      reactor_.block_on(all_.journal().check_owner());
    } else {
      // Before the journal is read: what is not finished then, and nobody works at, stays so.
      status_.at_work = reactor_.block_on(all_.session().holder());
    }
    for (JournalEntry& entry : all_.entries()) {
      Row row{.entry = std::move(entry)};
      row.left = row.entry.is_interrupted() && status_.at_work.empty();
      if (row.left) row.catalog = reactor_.block_on(all_.changer().describe(row.entry));
      status_.rows.push_back(std::move(row));
    }
    // An apply that began meanwhile is no killed one.
    if (!mends && status_.any_left()) recheck();
    for (Row& row : status_.rows) {
      if (row.left && mends) mend(row);
    }
    return std::move(status_);
  }

 private:
  void recheck() {
    status_.at_work = reactor_.block_on(all_.session().holder());
    if (status_.at_work.empty()) return;
    for (Row& row : status_.rows) row.left = false;
  }

  void mend(Row& row) {
    const bool undoing = row.entry.state == ChangeState::kUndoing;
    if (options_.finish && !undoing) {
      reactor_.block_on(all_.changer().carry_out(row.entry, row.entry.state == ChangeState::kApplying));
      row.done = "finished";
    } else {
      reactor_.block_on(all_.changer().remove(row.entry));
      row.done = undoing ? "undone" : "removed";
    }
  }

  const StatusOptions& options_;
  Reactor& reactor_;
  ChangeSession all_;
  Status status_;
};

std::string shown_name(const JournalEntry& entry) {
  return on_one_line(entry.table.schema.empty() ? entry.name : entry.table.schema + "." + entry.name);
}

std::string time_of(const JournalEntry& entry) {
  const auto ms = entry.undone_at_ms     ? entry.undone_at_ms
                  : entry.finished_at_ms ? entry.finished_at_ms
                                         : entry.started_at_ms;
  return ms ? fmt::format("{:%Y-%m-%d %H:%M:%S}Z", fmt::gmtime(static_cast<time_t>(*ms / 1000))) : "-";
}

void print(const Status& status, std::ostream& out) {
  if (!status.at_work.empty()) out << "at work: " << status.at_work << "\n";
  if (status.rows.empty()) {
    out << "nothing was applied to this database\n";
    return;
  }
  std::vector<std::vector<std::string>> table{{"id", "apply", "state", "kind", "name", "role", "when"}};
  for (const Row& row : status.rows) {
    const JournalEntry& entry = row.entry;
    table.push_back({std::to_string(entry.id), std::to_string(entry.apply_id), std::string(state_name(entry.state)),
                     std::string(kind_name(entry.kind)), shown_name(entry), entry.role, time_of(entry)});
  }
  print_table(out, table);
  for (const Row& row : status.rows) {
    if (row.left)
      out << fmt::format("change {} was left by a killed {}: {}{}\n", row.entry.id,
                         row.entry.state == ChangeState::kUndoing || row.done == "undone" ? "undo" : "apply",
                         row.catalog, row.done.empty() ? "" : "; " + row.done);
    else if (!row.entry.error.empty())
      out << fmt::format("change {}: {}\n", row.entry.id, on_one_line(row.entry.error));
  }
  if (status.any_left()) out << "cairn tune status --finish completes it, --remove takes it away\n";
}

void print_json(const Status& status, std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("at_work", status.at_work);
  writer.field("left", status.any_left());
  writer.key("changes");
  writer.begin_array();
  for (const Row& row : status.rows) {
    const JournalEntry& entry = row.entry;
    writer.begin_object();
    writer.field("id", entry.id);
    writer.field("apply", entry.apply_id);
    writer.field("advice", entry.advice);
    writer.field("number", entry.number);
    writer.field("state", state_name(entry.state));
    writer.field("kind", kind_name(entry.kind));
    writer.field("schema", entry.table.schema);
    writer.field("table", entry.table.name);
    writer.field("name", entry.name);
    writer.field("reason", entry.reason);
    writer.field("before", entry.before);
    writer.field("after", entry.after);
    writer.field("error", entry.error);
    writer.field("role", entry.role);
    writer.field("started_at", entry.started_at_ms);
    writer.field("finished_at", entry.finished_at_ms);
    writer.field("undone_at", entry.undone_at_ms);
    writer.field("left", row.left);
    if (row.left) writer.field("catalog", row.catalog);
    if (!row.done.empty()) writer.field("done", row.done);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  out << text << "\n";
}

}  // namespace

int run_status(const StatusOptions& options, std::ostream& out, std::ostream& progress) {
  Reactor reactor;
  const Status status = Reader(reactor, options, progress).run();
  if (options.json)
    print_json(status, out);
  else
    print(status, out);
  return status.any_left() ? 1 : 0;
}

}  // namespace cairn::tuner
