#include "tuner/guard/guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json.h"

namespace cairn::tuner {
namespace {

constexpr int64_t kFormat = 1;
// A plan of another join method is worse already when it costs so much more: it is not only the tables' growth.
constexpr double kOtherJoinRatio = 1.2;
// Fewer blocks than that are read differently from run to run: catalogs, hint bits.
constexpr int64_t kBlocksMin = 100;
constexpr size_t kDiffMax = 2000;  // lines of both plans, multiplied in memory

constexpr std::pair<GuardState, std::string_view> kStates[] = {
    {GuardState::kSame, "same"}, {GuardState::kChanged, "changed"}, {GuardState::kWorse, "worse"},
    {GuardState::kNew, "new"},   {GuardState::kGone, "gone"},       {GuardState::kFailed, "failed"}};

void add_lines(const PlanNode& node, int depth, std::vector<std::string>& lines) {
  const std::string indent(static_cast<size_t>(depth) * 2, ' ');
  lines.push_back(indent + (node.subplan_name.empty() ? "" : node.subplan_name + ": ") + node.title());
  const auto detail = [&](const char* what, const std::string& text) {
    if (!text.empty()) lines.push_back(indent + "    " + what + ": " + text);
  };
  detail("index condition", node.index_condition);
  detail("join condition", node.join_condition);
  detail("join filter", node.join_filter);
  detail("filter", node.filter);
  std::string keys;
  for (const std::string& key : node.sort_key) keys += (keys.empty() ? "" : ", ") + key;
  detail("sorted by", keys);
  for (const PlanNode& child : node.children) add_lines(child, depth + 1, lines);
}

bool is_join(const PlanNode& node) {
  return node.type == "Nested Loop" || node.type == "Hash Join" || node.type == "Merge Join";
}

bool spills(const PlanNode& node, int64_t work_mem_kb) {
  if (node.type != "Sort" && node.type != "Hash") return false;
  return work_mem_kb > 0 &&
         node.rows_planned * static_cast<double>(node.width) > static_cast<double>(work_mem_kb) * 1024;
}

// As few digits as tell it: a file that people read.
std::string short_number(double value) {
  if (std::abs(value) >= 1e15) return fmt::format("{:.6g}", value);
  return value == std::floor(value) ? fmt::format("{:.0f}", value) : fmt::format("{:.2f}", value);
}

template <class Items, class Write>
std::string list(const Items& items, const std::string& indent, const Write& write) {
  if (items.empty()) return "[]";
  std::string text = "[";
  bool first = true;
  for (const auto& item : items) {
    text += (first ? "\n" : ",\n") + indent + "  " + write(item);
    first = false;
  }
  return text + "\n" + indent + "]";
}

std::string scan_json(const GuardScan& scan) {
  return "{\"table\": " + json::quote(scan.table) + ", \"alias\": " + json::quote(scan.alias) +
         ", \"method\": " + json::quote(scan.method) + ", \"cost\": " + short_number(scan.cost) + "}";
}

std::string statement_json(const GuardStatement& statement) {
  std::string joins;
  for (const auto& [method, count] : statement.joins)
    joins += (joins.empty() ? "" : ", ") + json::quote(method) + ": " + std::to_string(count);
  std::string text =
      "{\n      \"name\": " + json::quote(statement.name) + ",\n      \"statement\": " + json::quote(statement.text) +
      ",\n      \"cost\": " + short_number(statement.cost) + ",\n      \"rows\": " + short_number(statement.rows) +
      ",\n      \"plan\": " + list(statement.plan, "      ", [](const auto& l) { return json::quote(l); }) +
      ",\n      \"scans\": " + list(statement.scans, "      ", scan_json) + ",\n      \"joins\": {" + joins +
      "},\n      \"spills\": " + std::to_string(statement.spills);
  if (statement.figures)
    text += ",\n      \"ms\": " + fmt::format("{:.3f}", statement.figures->ms) +
            ",\n      \"calibration_ms\": " + fmt::format("{:.3f}", statement.figures->calibration_ms) +
            ",\n      \"blocks\": " + std::to_string(statement.figures->blocks) +
            ",\n      \"temp_blocks\": " + std::to_string(statement.figures->temp_blocks);
  return text + "\n    }";
}

GuardStatement read_statement(const json::Fields& fields) {
  GuardStatement statement{.name = fields.required_string("name"),
                           .text = fields.required_string("statement"),
                           .cost = fields.required_number("cost"),
                           .rows = fields.number("rows").value_or(0),
                           .plan = fields.strings("plan")};
  for (const json::Fields& scan : fields.objects("scans"))
    statement.scans.push_back({scan.required_string("table"), scan.string("alias").value_or(""),
                               scan.required_string("method"), scan.number("cost").value_or(0)});
  if (const auto joins = fields.object("joins"))
    for (const char* method : {"Nested Loop", "Hash Join", "Merge Join"})
      if (const auto count = joins->integer(method)) statement.joins[method] = *count;
  statement.spills = fields.integer("spills").value_or(0);
  if (fields.has("ms"))
    statement.figures = GuardFigures{fields.required_number("ms"), fields.required_number("calibration_ms"),
                                     fields.required_integer("blocks"), fields.integer("temp_blocks").value_or(0)};
  return statement;
}

double ratio(double after, double before) { return after / std::max(before, 1e-9); }

std::string grown(const char* what, double before, double after) {
  return fmt::format("{} {} → {} ({:.1f} times)", what, short_number(before), short_number(after),
                     ratio(after, before));
}

void judge_scans(const GuardStatement& before, const GuardStatement& after, const GuardLimits& limits,
                 GuardVerdict& verdict) {
  for (const GuardScan& scan : after.scans) {
    if (scan.method != "Seq Scan" || scan.cost < limits.cost_min) continue;
    const auto was = std::ranges::find_if(before.scans, [&](const GuardScan& old) {
      return old.table == scan.table && old.alias == scan.alias && old.method != "Seq Scan";
    });
    const auto is = std::ranges::find_if(before.scans, [&](const GuardScan& old) {
      return old.table == scan.table && old.alias == scan.alias && old.method == "Seq Scan";
    });
    if (was != before.scans.end() && is == before.scans.end())
      verdict.reasons.push_back(scan.table + " is read as a whole, where it was by " + was->method);
  }
}

void judge_figures(const GuardStatement& before, const GuardStatement& after, const GuardLimits& limits,
                   GuardVerdict& verdict) {
  if (!after.figures) return;
  if (!before.figures) {
    verdict.remarks.push_back("no figures were saved: save with --run");
    return;
  }
  const GuardFigures &old = *before.figures, &now = *after.figures;
  const double blocks = ratio(static_cast<double>(now.blocks), static_cast<double>(old.blocks));
  if (now.blocks >= kBlocksMin && blocks > limits.blocks_ratio)
    verdict.reasons.push_back(grown("blocks", static_cast<double>(old.blocks), static_cast<double>(now.blocks)));
  if (old.temp_blocks == 0 && now.temp_blocks > 0)
    verdict.reasons.push_back(fmt::format("it spills: {} blocks to disk, where it needed none", now.temp_blocks));
  const double time = ratio(ratio(now.ms, now.calibration_ms), ratio(old.ms, old.calibration_ms));
  const std::string told =
      fmt::format("time {:.3g} ms → {:.3g} ms, {:.2f} times by this machine's speed", old.ms, now.ms, time);
  if (limits.time_ratio && time > *limits.time_ratio)
    verdict.reasons.push_back(told);
  else
    verdict.remarks.push_back(told);
}

}  // namespace

std::string_view state_name(GuardState state) {
  for (const auto& [known, name] : kStates)
    if (known == state) return name;
  return "";
}

std::string to_json(const GuardFile& file) {
  return "{\n  \"format\": " + std::to_string(kFormat) +
         ",\n  \"server_version\": " + std::to_string(file.server_version) +
         ",\n  \"statements\": " + list(file.statements, "  ", statement_json) + "\n}\n";
}

GuardFile guard_file_from_json(const std::string& text) {
  const json::Document document(text);
  const json::Fields fields = json::root_fields(document);
  if (fields.integer("format") != kFormat || !fields.has("statements"))
    throw invalid("it is not what `cairn tune guard save` of this version writes");
  GuardFile file{.server_version = fields.integer("server_version").value_or(0)};
  for (const json::Fields& statement : fields.objects("statements"))
    file.statements.push_back(read_statement(statement));
  return file;
}

GuardStatement guard_statement(std::string name, std::string text, const Plan& plan, int64_t work_mem_kb) {
  GuardStatement statement{.name = std::move(name),
                           .text = std::move(text),
                           .cost = std::round(plan.root.total_cost * 100) / 100,
                           .rows = plan.root.rows_planned};
  add_lines(plan.root, 0, statement.plan);
  for (const PlanNode* node : plan_nodes(plan)) {
    if (node->is_scan() && node->type != "Bitmap Index Scan")
      statement.scans.push_back({(node->schema.empty() ? "" : node->schema + ".") + node->relation, node->alias,
                                 node->type, std::round(node->total_cost * 100) / 100});
    if (is_join(*node)) ++statement.joins[node->type];
    if (spills(*node, work_mem_kb)) ++statement.spills;
  }
  return statement;
}

GuardVerdict judge(const GuardStatement& before, const GuardStatement& after, const GuardLimits& limits) {
  GuardVerdict verdict{.name = before.name, .cost_before = before.cost, .cost_after = after.cost};
  const double costs = ratio(after.cost, before.cost);
  if (before.text != after.text) verdict.remarks.emplace_back("its text is not the one that was saved");
  judge_scans(before, after, limits, verdict);
  if (after.cost >= limits.cost_min) {
    if (after.spills > before.spills)
      verdict.reasons.push_back(
          fmt::format("sorts and hashes larger than work_mem: {} → {}", before.spills, after.spills));
    if (after.joins != before.joins && costs > kOtherJoinRatio && costs <= limits.cost_ratio)
      verdict.reasons.push_back("other joins, and " + grown("cost", before.cost, after.cost));
    if (costs > limits.cost_ratio) verdict.reasons.push_back(grown("cost", before.cost, after.cost));
  }
  judge_figures(before, after, limits, verdict);
  if (before.plan != after.plan) verdict.diff = line_diff(before.plan, after.plan);
  if (!verdict.reasons.empty())
    verdict.state = GuardState::kWorse;
  else if (!verdict.diff.empty())
    verdict.state = GuardState::kChanged;
  return verdict;
}

std::vector<std::string> line_diff(const std::vector<std::string>& before, const std::vector<std::string>& after) {
  std::vector<std::string> diff;
  if (before.size() > kDiffMax || after.size() > kDiffMax) {
    for (const std::string& line : before) diff.push_back("- " + line);
    for (const std::string& line : after) diff.push_back("+ " + line);
    return diff;
  }
  // The longest common subsequence, from the ends on.
  std::vector<std::vector<int>> common(before.size() + 1, std::vector<int>(after.size() + 1, 0));
  for (size_t i = before.size(); i-- > 0;)
    for (size_t j = after.size(); j-- > 0;)
      common[i][j] = before[i] == after[j] ? common[i + 1][j + 1] + 1 : std::max(common[i + 1][j], common[i][j + 1]);
  size_t i = 0, j = 0;
  while (i < before.size() || j < after.size()) {
    if (i < before.size() && j < after.size() && before[i] == after[j])
      diff.push_back("  " + before[i++]), ++j;
    else if (j == after.size() || (i < before.size() && common[i + 1][j] >= common[i][j + 1]))
      diff.push_back("- " + before[i++]);
    else
      diff.push_back("+ " + after[j++]);
  }
  return diff;
}

}  // namespace cairn::tuner
