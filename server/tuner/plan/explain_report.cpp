// How `cairn tune explain` shows what it found: the plan as a tree with marks, then the findings; or JSON.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <ostream>

#include "tuner/plan/explain.h"
#include "tuner/plan/rules.h"

namespace cairn::tuner {
namespace {

constexpr int kBarCells = 8;
constexpr size_t kDetailCharacters = 110;

// One line, without what would steer the terminal, cut at a character's border.
std::string shown(std::string text, size_t most) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80 && ++characters > most) return text.substr(0, i) + "…";
  }
  return text;
}

std::string bar(double percent) {
  const int full = std::clamp(static_cast<int>(std::lround(percent / 100 * kBarCells)), 0, kBarCells);
  std::string cells;
  for (int i = 0; i < kBarCells; ++i) cells += i < full ? "█" : "·";
  return cells;
}

std::string joined(const std::vector<std::string>& items) {
  std::string list;
  for (const std::string& item : items) list += (list.empty() ? "" : ", ") + item;
  return list;
}

// What a reader of the tree wants to know of the node beside its numbers.
std::vector<std::string> details(const PlanNode& node) {
  std::vector<std::string> lines;
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) lines.push_back(shown(std::string(name) + value, kDetailCharacters));
  };
  add("", node.join_condition);
  add("index: ", node.index_condition);
  add("filter: ", node.filter);
  add("join filter: ", node.join_filter);
  add("by: ", joined(node.sort_key));
  add("group by: ", joined(node.group_key));
  if (node.removed_total() > 0) lines.push_back(grouped(node.removed_total()) + " rows removed by the filter");
  if (node.removed_by_join_filter > 0)
    lines.push_back(grouped(node.removed_by_join_filter * node.loops) + " rows removed by the join filter");
  if (node.memory.disk_kb > 0)
    lines.push_back(node.memory.sort_method + (node.memory.sort_method.empty() ? "" : ", ") +
                    size_of(node.memory.disk_kb) + " on disk");
  if (node.memory.hash_batches > 1)
    lines.push_back(grouped(static_cast<double>(node.memory.hash_batches)) + " batches");
  if (node.heap_fetches > 0) lines.push_back(grouped(static_cast<double>(node.heap_fetches)) + " heap fetches");
  if (node.workers_planned > 0)
    lines.push_back(fmt::format("workers: {} planned, {} launched", node.workers_planned, node.workers_launched));
  return lines;
}

struct Tree {
  const Explained& explained;
  std::map<std::string, std::string> marks;  // by the node's path
  std::ostream& out;

  std::string numbers(const PlanNode& node) const {
    if (!explained.plan.analyzed)
      return fmt::format("{} {:>3.0f} % {:>12}   ", bar(node.share_percent), node.share_percent,
                         grouped(node.rows_planned));
    if (node.loops == 0) return fmt::format("{:>10} {} {:>5} {:>12} {:>12}   ", "never run", bar(0), "", "", "");
    return fmt::format("{:>10} {} {:>3.0f} % {:>12} {:>12}   ", duration(node.own_ms), bar(node.share_percent),
                       node.share_percent, grouped(node.rows), grouped(node.rows_planned));
  }

  void print(const PlanNode& node, const std::string& lead, const std::string& rest) const {
    std::string title = shown(node.title(), kDetailCharacters);
    if (!node.subplan_name.empty()) title = shown(node.subplan_name, kDetailCharacters) + ": " + title;
    if (node.loops > node.processes) title += fmt::format("  × {}", grouped(node.loops / node.processes));
    if (const auto mark = marks.find(node.path); mark != marks.end()) title += "  ◀ " + mark->second;
    out << numbers(node) << lead << title << "\n";
    const std::string blank(explained.plan.analyzed ? 54 : 30, ' ');
    const std::string below = rest + (node.children.empty() ? "     " : "│    ");
    for (const std::string& line : details(node)) out << blank << below << line << "\n";
    for (size_t i = 0; i < node.children.size(); ++i) {
      const bool last = i + 1 == node.children.size();
      print(node.children[i], rest + (last ? "└─ " : "├─ "), rest + (last ? "   " : "│  "));
    }
  }
};

std::string headline(const std::string& kind) {
  static const std::map<std::string, std::string> kHeadlines = {
      {"sequential_scan", "Sequential scan for few rows"},
      {"function_on_column", "A function hides the column from its index"},
      {"filter_after_index", "The index finds too much"},
      {"heap_fetches", "Index-only scan that reads the table"},
      {"lossy_bitmap", "Bitmap too large for work_mem"},
      {"cte_materialized", "CTE worked out in full"},
      {"sort_on_disk", "Sort on disk"},
      {"hash_in_batches", "Hash table on disk"},
      {"rows_on_disk", "Rows kept on disk"},
      {"wrong_estimate", "Wrong estimate"},
      {"nested_loop", "Nested loop that goes round too often"},
      {"whole_table_join", "Whole table read for a small join"},
      {"multiplied_rows", "Joins that multiply rows"},
      {"subplan_per_row", "Subquery for each row"},
      {"large_offset", "Large OFFSET"},
      {"cold_cache", "Cold cache"},
      {"jit", "JIT costs more than it gives"},
      {"missing_workers", "Parallel workers missing"},
      {"parallel_off", "Parallel query is off"},
      {"planned_each_time", "Planned at each execution"},
  };
  const auto found = kHeadlines.find(kind);
  return found == kHeadlines.end() ? kind : found->second;
}

void print_finding(const Finding& finding, size_t number, bool analyzed, std::ostream& out) {
  out << "\n" << number << ". " << headline(finding.kind);
  if (finding.share_percent)
    out << fmt::format(": {:.0f} % of the {}", *finding.share_percent, analyzed ? "time" : "cost");
  if (!finding.node.empty()) out << "  (" << shown(finding.node, kDetailCharacters) << ")";
  std::string what = shown(finding.what, 4 * kDetailCharacters);
  if (!what.empty() && what[0] >= 'a' && what[0] <= 'z') what[0] = static_cast<char>(what[0] - 'a' + 'A');
  out << "\n   " << what;
  if (!finding.why.empty()) out << ": " << shown(finding.why, 4 * kDetailCharacters);
  out << ".\n   Mend: " << shown(finding.mend.text, 4 * kDetailCharacters) << "\n";
  for (const std::string& statement : finding.mend.statements)
    out << "         " << shown(statement, 100 * kDetailCharacters) << ";\n";
}

void write_node(json::Writer& writer, const PlanNode& node, bool analyzed) {
  writer.begin_object();
  writer.field("path", node.path);
  writer.field("title", node.title());
  if (analyzed) {
    writer.field("own_ms", node.own_ms);
    writer.field("total_ms", node.total_ms);
    writer.field("rows", node.rows);
    writer.field("loops", node.loops);
    writer.field("processes", node.processes);
  }
  writer.field("rows_planned", node.rows_planned);
  writer.field("share_percent", node.share_percent);
  writer.end_object();
}

// Line for line as auto_explain wrote it.
void print_text_plan(const Explained& explained, std::ostream& out) {
  std::string_view rest = explained.text_plan;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    out << "\n" << shown(std::string(rest.substr(0, end)), 4 * kDetailCharacters);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  out << "\n";
  for (const std::string& note : explained.notes) out << "\nNote: " << note << "\n";
}

}  // namespace

void print_explained(const Explained& explained, std::ostream& out) {
  const Plan& plan = explained.plan;
  if (explained.logged_ms) out << "From the log: a call of " << duration(*explained.logged_ms) << ".\n";
  if (!explained.text_plan.empty()) {
    print_text_plan(explained, out);
    return;
  }
  if (plan.analyzed) {
    out << "Ran in " << duration(plan.execution_ms) << ", planned in " << duration(plan.planning_ms) << ".\n\n";
    out << fmt::format("{:>10} {:<14} {:>12} {:>12}   {}\n", "own time", "share", "rows", "expected", "node");
  } else {
    out << "Planned, not run; estimated cost " << grouped(plan.root.total_cost) << ".\n\n";
    out << fmt::format("{:<14} {:>12}   {}\n", "share of cost", "rows", "node");
  }
  Tree tree{explained, {}, out};
  for (size_t i = 0; i < explained.findings.size(); ++i) {
    std::string& mark = tree.marks[explained.findings[i].path];
    mark += (mark.empty() ? "" : ", ") + std::to_string(i + 1);
  }
  tree.print(plan.root, "", "");
  if (plan.jit) out << "\nJIT: " << duration(plan.jit->total_ms) << " for " << plan.jit->functions << " functions\n";
  for (size_t i = 0; i < explained.findings.size(); ++i)
    print_finding(explained.findings[i], i + 1, plan.analyzed, out);
  if (explained.findings.empty())
    out << "\nNothing to mend " << (plan.analyzed ? "in this plan.\n" : "that the plan alone shows.\n");
  for (const std::string& note : explained.notes) out << "\nNote: " << note << "\n";
}

std::string explained_json(const Explained& explained) {
  const Plan& plan = explained.plan;
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.field("analyzed", plan.analyzed);
  writer.field("generic_plan", explained.generic);
  writer.field("planning_ms", plan.planning_ms);
  if (plan.analyzed) writer.field("execution_ms", plan.execution_ms);
  writer.field("total_cost", plan.root.total_cost);
  writer.key("findings");
  writer.begin_array();
  for (const Finding& finding : explained.findings) write_json(writer, finding);
  writer.end_array();
  writer.key("nodes");
  writer.begin_array();
  for (const PlanNode* node : plan_nodes(plan)) write_node(writer, *node, plan.analyzed);
  writer.end_array();
  writer.key("notes");
  writer.begin_array();
  for (const std::string& note : explained.notes) writer.string(note);
  writer.end_array();
  if (explained.logged_ms) writer.field("logged_ms", *explained.logged_ms);
  if (!explained.text_plan.empty()) {
    writer.field("plan_text", explained.text_plan);
  } else {
    writer.key("plan");
    writer.raw(explained.plan_json);
  }
  writer.end_object();
  return text;
}

}  // namespace cairn::tuner
