#include "tuner/report/report_parts.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/table.h"
#include "tuner/report/markdown.h"
#include "tuner/sql/parse_tree.h"
#include "tuner/sql/statement_shape.h"

namespace cairn::tuner {
namespace {

constexpr size_t kStatements = 10;
constexpr double kLeastShare = 0.001;  // of the time: what has less is not worth a reader's
constexpr size_t kShownText = 60;
constexpr size_t kShownTables = 38;

// Of FROM and of what is written, each once, in the order of the text.
void add_tables(simdjson::dom::element node, std::vector<std::string>& names) {
  if (node.is_array()) {
    for (const auto item : simdjson::dom::array(node)) add_tables(item, names);
    return;
  }
  if (!node.is_object()) return;
  for (const auto field : simdjson::dom::object(node)) {
    std::string_view name;
    if (field.key == "relname" && field.value.get(name) == simdjson::SUCCESS &&
        std::find(names.begin(), names.end(), name) == names.end())
      names.emplace_back(name);
    add_tables(field.value, names);
  }
}

}  // namespace

std::optional<double> hits(const Counters& counters) {
  const int64_t blocks = counters.shared_hits + counters.shared_reads;
  if (blocks == 0) return std::nullopt;
  return static_cast<double>(counters.shared_hits) / static_cast<double>(blocks);
}

std::string hits_text(const std::optional<double>& ratio) { return ratio ? in_percent(*ratio) : "not counted"; }

std::string short_text(const std::string& text) {
  std::string line = on_one_line(text);
  if (line.size() <= kShownText) return line;
  size_t end = kShownText;
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80) --end;
  return line.substr(0, end) + "…";
}

std::vector<const StatementGroup*> reported(const Profile& profile) {
  std::vector<const StatementGroup*> groups;
  for (const StatementGroup& group : profile.groups) {
    if (groups.size() == kStatements || group.share < kLeastShare) break;
    const std::string kind = statement_shape(group.text).kind;
    if (kind == "SelectStmt" || kind == "InsertStmt" || kind == "UpdateStmt" || kind == "DeleteStmt" ||
        kind == "MergeStmt")
      groups.push_back(&group);
  }
  return groups;
}

std::optional<size_t> advised(const ReportFacts& facts, const StatementGroup& group) {
  if (!facts.advice) return std::nullopt;
  for (size_t i = 0; i < facts.advice->statements.size(); ++i)
    if (fingerprint(facts.advice->statements[i].text) == group.id) return i;
  return std::nullopt;
}

const StatementGroup* same_group(const Profile& profile, const std::string& id) {
  const auto found =
      std::find_if(profile.groups.begin(), profile.groups.end(), [&](const auto& group) { return group.id == id; });
  return found == profile.groups.end() ? nullptr : &*found;
}

std::optional<size_t> position_of(const ReportFacts& facts, const std::string& id) {
  const std::vector<const StatementGroup*> groups = reported(facts.before);
  const auto found = std::find_if(groups.begin(), groups.end(), [&](const auto* group) { return group->id == id; });
  if (found == groups.end()) return std::nullopt;
  return static_cast<size_t>(found - groups.begin());
}

std::string query_link(size_t position) {
  return fmt::format("[{}](performance-baseline.md#query-{})", position + 1, position + 1);
}

const StatementProof* proof_of(const ReportFacts& facts, const std::string& id) {
  if (!facts.proof) return nullptr;
  for (const StatementProof& statement : facts.proof->statements)
    if (statement.not_run.empty() && fingerprint(statement.text) == id) return &statement;
  return nullptr;
}

std::string since_text(const Profile& profile) {
  return profile.since_ms ? "since " + utc_time(*profile.since_ms) : "since an unknown time";
}

std::string report_head(const std::string& title, const ReportFacts& facts) {
  return "# " + title + "\n\n**Date**: " + utc_date(facts.made_at_ms) +
         "  \n**Database**: " + markdown_code(facts.database) + " (PostgreSQL " +
         facts.server_version.substr(0, facts.server_version.find(' ')) +
         ")  \nWritten by `cairn tune report` from what was measured; nothing in it is estimated unless it says "
         "so.\n\n";
}

std::string change_text(double before, double after) {
  if (before <= 0) return "-";
  return fmt::format("{:+.1f} %", 100 * (after / before - 1));
}

Both in_both(const Profile& before, const Profile& after) {
  Both both;
  for (const StatementGroup* group : reported(before)) {
    const StatementGroup* later = same_group(after, group->id);
    if (later == nullptr || later->counters.calls == 0) continue;
    both.before += group->counters;
    both.after += later->counters;
  }
  return both;
}

std::string tables_text(const std::string& text) {
  std::vector<std::string> names;
  if (const auto tree = ParseTree::parse(text))
    for (const auto statement : tree->statements()) add_tables(statement, names);
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  if (list.size() > kShownTables)
    list.resize(list.rfind(',', kShownTables) == std::string::npos ? 0 : list.rfind(',', kShownTables));
  return list.empty() ? short_text(text) : list;
}

}  // namespace cairn::tuner
