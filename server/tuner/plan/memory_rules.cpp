// Rules about work_mem: what did not fit and went to disk.
#include <algorithm>
#include <cmath>

#include "tuner/plan/rules.h"

namespace cairn::tuner {
namespace {

// Measured on PostgreSQL 15: a sort in memory holds for each row, beyond what it writes to disk, an entry of 24 bytes
// in an array that may be twice as large as needed, the allocator's header and the rounding to 8 bytes.
constexpr double kSortBytesPerRow = 80;
// A row in a hash table: header of the entry and of the row, its alignment, its bucket.
constexpr double kHashBytesPerRow = 64;
// A group of an aggregate: its entry in a table that may be twice as large as needed, its key, its states, the
// allocator's headers of both.
constexpr double kHashBytesPerGroup = 160;
// What was estimated by such means is rounded up by a quarter.
constexpr double kReserve = 1.25;
// Of temporary blocks written by nodes that are neither sorts nor hashes: 8 MB.
constexpr int64_t kSpilledBlocks = 1024;

Mend more_memory(const std::string& needed, const std::string& also) {
  return {.text = "work_mem of " + needed + " for this statement's sessions (each sort and each process may take it)" +
                  also,
          .statements = {"SET work_mem = '" + needed + "'"}};
}

}  // namespace

void sort_on_disk(RuleContext& context, const PlanNode& node) {
  if ((node.type != "Sort" && node.type != "Incremental Sort") || node.memory.disk_kb == 0) return;
  const double rows_per_process = node.rows_total() / node.processes;
  const double needed_kb =
      (static_cast<double>(node.memory.disk_kb) + rows_per_process * kSortBytesPerRow / 1024) * kReserve;
  const std::string needed = memory_setting(needed_kb);
  Finding finding = context.about(node, "sort_on_disk");
  finding.what = "sorts " + grouped(node.rows_total()) + " rows on disk (" + node.memory.sort_method + ", " +
                 size_of(node.memory.disk_kb) + ")";
  finding.why = "they do not fit into work_mem (" + size_of(context.facts.work_mem_kb) + ")";
  finding.numbers = {{"disk_kb", static_cast<double>(node.memory.disk_kb)},
                     {"rows", node.rows_total()},
                     {"work_mem_kb_needed", std::ceil(needed_kb / 1024) * 1024}};
  std::string keys;
  for (const std::string& key : node.sort_key) keys += (keys.empty() ? "" : ", ") + key;
  finding.mend = more_memory(needed, "; or an index in the order of " + keys);
  context.findings.push_back(std::move(finding));
}

void hash_in_batches(RuleContext& context, const PlanNode& node) {
  const bool join = node.type == "Hash";
  if (!join && node.type != "Aggregate") return;
  if (node.memory.hash_batches <= 1 && node.memory.disk_kb == 0) return;
  const PlanNode* input = node.children.empty() ? &node : &node.children.front();
  const PlanNode& held = join ? *input : node;  // an aggregate holds its groups
  const double rows = held.rows_total() / held.processes;
  const double overhead = join ? kHashBytesPerRow : kHashBytesPerGroup;
  const double by_rows = rows * (static_cast<double>(held.width) + overhead) / 1024;
  const double by_batches =
      join ? static_cast<double>(node.memory.memory_kb) * static_cast<double>(node.memory.hash_batches) : 0;
  const double needed_kb = std::max(by_rows, by_batches) * kReserve / std::max(1.0, context.facts.hash_mem_multiplier);
  const std::string needed = memory_setting(std::max(needed_kb, static_cast<double>(context.facts.work_mem_kb) + 1024));
  const PlanNode* parent = context.parent(node);
  Finding finding = context.about(join && parent != nullptr ? *parent : node, "hash_in_batches");
  if (join && parent != nullptr) finding.share_percent = parent->share_percent + node.share_percent;
  finding.what = "a hash table of " + grouped(held.rows_total()) + " " + (join ? "rows" : "groups") + " in " +
                 grouped(static_cast<double>(node.memory.hash_batches)) + " batches, all but one of them through disk";
  finding.why = "it does not fit into work_mem × hash_mem_multiplier (" + size_of(context.facts.work_mem_kb) + " × " +
                std::to_string(context.facts.hash_mem_multiplier).substr(0, 3) + ")";
  if (node.memory.hash_batches > std::max<int64_t>(1, node.memory.hash_batches_planned) && join)
    finding.why +=
        "; planned were " + grouped(static_cast<double>(std::max<int64_t>(1, node.memory.hash_batches_planned)));
  finding.numbers = {{"batches", static_cast<double>(node.memory.hash_batches)},
                     {"peak_memory_kb", static_cast<double>(node.memory.memory_kb)},
                     {"disk_kb", static_cast<double>(node.memory.disk_kb)},
                     {"rows", held.rows_total()}};
  finding.mend = more_memory(needed, "");
  context.findings.push_back(std::move(finding));
}

void spilled_rows(RuleContext& context, const PlanNode& node) {
  if (node.type != "Materialize" && node.type != "CTE Scan" && node.type != "WindowAgg" && node.type != "Function Scan")
    return;
  int64_t written = node.buffers.temp_written;
  for (const PlanNode& child : node.children) written -= child.buffers.temp_written;
  if (written < kSpilledBlocks) return;
  const std::string needed = memory_setting(static_cast<double>(written) * 8 * 2);
  Finding finding = context.about(node, "rows_on_disk");
  finding.what = "keeps its rows in " + size_of(written * 8) + " of temporary files";
  finding.why = "they do not fit into work_mem (" + size_of(context.facts.work_mem_kb) + ")";
  finding.numbers = {{"temp_written_blocks", static_cast<double>(written)}};
  finding.mend = more_memory(needed, "; or fewer columns and rows into it");
  context.findings.push_back(std::move(finding));
}

}  // namespace cairn::tuner
