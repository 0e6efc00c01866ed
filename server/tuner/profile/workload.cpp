#include "tuner/profile/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "base/error.h"
#include "db/pool.h"
#include "tuner/profile/logged.h"
#include "tuner/profile/profile.h"
#include "tuner/profile/snapshots.h"
#include "tuner/sql/constants_text.h"
#include "tuner/sql/parse_tree.h"

namespace cairn::tuner {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) throw not_found("cannot read the file " + path);
  return text;
}

bool can_be_planned(simdjson::dom::element statement) {
  simdjson::dom::object node;
  if (statement["stmt"].get(node) != simdjson::SUCCESS) return false;
  for (const auto field : node) {
    for (const char* kind : {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}) {
      if (field.key == kind) return true;
    }
  }
  return false;
}

// Each statement counts as often as its text is there.
void add_file(const std::string& path, std::vector<AdviceStatement>& workload) {
  const std::string text = read_text(path);
  const auto tree = ParseTree::parse(text);
  if (!tree) throw invalid(path + " is no SQL that PostgreSQL 15 reads (psql's own commands are not either)");
  for (const auto statement : tree->statements()) {
    if (!can_be_planned(statement)) continue;
    int64_t begin = 0, length = 0;
    if (statement["stmt_location"].get(begin) != simdjson::SUCCESS) begin = 0;
    if (statement["stmt_len"].get(length) != simdjson::SUCCESS) length = 0;
    std::string sql =
        text.substr(static_cast<size_t>(begin), length == 0 ? std::string::npos : static_cast<size_t>(length));
    sql.erase(0, sql.find_first_not_of(" \t\r\n"));
    const auto same =
        std::find_if(workload.begin(), workload.end(), [&](const auto& known) { return known.text == sql; });
    if (same != workload.end())
      ++same->calls;
    else
      workload.push_back({.text = std::move(sql)});
  }
}

void add_constants(const Logged& logged, Workload& workload) {
  size_t known = 0;
  for (AdviceStatement& statement : workload.statements) {
    LoggedConstants found = logged_constants(logged, statement.text, 1);
    if (found.sets.empty()) continue;
    ++known;
    statement.constants = std::move(found.sets[0]);
    if (!found.unvarying.empty()) statement.fixed_text = with_constants(statement.text, found.unvarying).value_or("");
  }
  if (!logged.note.empty()) workload.notes.push_back(logged.note);
  if (known > 0)
    workload.notes.push_back(fmt::format("{} of {} statements are planned with constants of the server's log, {}",
                                         known, workload.statements.size(), logged.read));
}

}  // namespace

Workload counted_workload(Reactor& reactor, const CountedOptions& options) {
  db::PoolOptions pool_options;
  pool_options.connection_string = options.connection_string;
  pool_options.size = 1;
  db::Pool pool(pool_options);
  const Reading reading = reactor.block_on(read_statements(pool));
  const Profile profile = options.since.empty() ? make_profile(reading, Order::kTotal)
                                                : make_profile(Snapshots(options.state_directory).load(options.since),
                                                               reading, Order::kTotal);
  Workload workload;
  for (const Note& note : profile.notes)
    workload.notes.push_back(note.remedy.empty() ? note.what : note.what + ": " + note.remedy);
  for (const StatementGroup& group : profile.groups) {
    if (static_cast<int>(workload.statements.size()) >= options.top) break;
    const auto tree = ParseTree::parse(group.text);
    if (!tree || tree->statements().size() != 1 || !can_be_planned(tree->statements().at(0))) continue;
    workload.statements.push_back({.text = group.text,
                                   .calls = static_cast<double>(group.counters.calls),
                                   .rows = static_cast<double>(group.counters.rows),
                                   .total_ms = group.counters.total_ms});
  }
  add_constants(reactor.block_on(read_logged(pool, options.log)), workload);
  return workload;
}

Workload workload_of_files(const std::vector<std::string>& paths) {
  Workload workload;
  for (const std::string& path : paths) add_file(path, workload.statements);
  return workload;
}

}  // namespace cairn::tuner
