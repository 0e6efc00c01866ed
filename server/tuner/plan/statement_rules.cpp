// Rules about the statement as a whole: caches, JIT, parallel workers.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tuner/plan/rules.h"

namespace cairn::tuner {
namespace {

// Under 90 % hits text-book dashboards turn yellow; under 8 MB read a disk of today is done in milliseconds.
constexpr double kReadPart = 0.1;
constexpr double kReadBlocks = 1024;
// Compiled expressions make a statement faster by a fifth at the very best: what costs more than that is lost.
constexpr double kJitPercent = 20;
constexpr double kJitMs = 10;
// Where parallel query is switched off: only what it would be felt on.
constexpr double kLongMs = 1000;
constexpr double kParallelRows = 1e6;
// Planning that takes less than this part of a call is not worth a thought.
constexpr double kPlanningPercent = 20;
// What max_parallel_workers takes.
constexpr double kMostWorkers = 1024;

int64_t own_reads(const PlanNode& node) {
  int64_t reads = node.buffers.shared_read;
  for (const PlanNode& child : node.children) reads -= child.buffers.shared_read;
  return reads;
}

}  // namespace

void cold_cache(RuleContext& context) {
  const PlanBuffers& buffers = context.plan.root.buffers;
  const double read = static_cast<double>(buffers.shared_read), hit = static_cast<double>(buffers.shared_hit);
  if (read < kReadBlocks || read < (read + hit) * kReadPart) return;
  const PlanNode* most = *std::max_element(context.nodes.begin(), context.nodes.end(),
                                           [](const auto* a, const auto* b) { return own_reads(*a) < own_reads(*b); });
  Finding finding = context.about(*most, "cold_cache");
  finding.share_percent.reset();
  if (buffers.read_ms && context.plan.execution_ms > 0)
    finding.share_percent = std::min(100.0, 100 * *buffers.read_ms / context.plan.execution_ms);
  finding.what = fmt::format("{} of {} blocks were not in shared buffers ({:.0f} % hits), most of them here",
                             grouped(read), grouped(read + hit), 100 * hit / (read + hit));
  finding.why = "what is read for the first time, or is larger than the cache, comes from the system or the disk";
  finding.numbers = {
      {"blocks_read", read}, {"blocks_hit", hit}, {"blocks_read_here", static_cast<double>(own_reads(*most))}};
  finding.mend = {
      .text = buffers.read_ms
                  ? "explain it once more: what stays cold needs fewer pages (an index) or more shared_buffers"
                  : "explain it once more: what stays cold needs fewer pages (an index) or more shared_buffers; "
                    "track_io_timing would show its time"};
  context.findings.push_back(std::move(finding));
}

void jit_cost(RuleContext& context) {
  const Plan& plan = context.plan;
  if (!plan.jit || plan.execution_ms <= 0) return;
  double processes = 1;  // each compiles for itself, and the times are added up
  for (const PlanNode* node : context.nodes)
    processes = std::max(processes, 1 + static_cast<double>(node->workers_launched));
  const double jit_ms = plan.jit->total_ms / processes;
  const double percent = std::min(100.0, 100 * jit_ms / plan.execution_ms);
  if (jit_ms < kJitMs || percent < kJitPercent) return;
  // Two leading digits, upwards, of twice this statement's cost.
  const double cost = std::max(plan.root.total_cost, context.facts.jit_above_cost) * 2;
  const double unit = std::pow(10, std::floor(std::log10(cost)) - 1);
  const std::string setting = fmt::format("{:.0f}", std::ceil(cost / unit) * unit);
  Finding finding;
  finding.kind = "jit";
  finding.share_percent = percent;
  finding.what = "compiling " + grouped(static_cast<double>(plan.jit->functions)) + " functions took " +
                 duration(jit_ms) + " of " + duration(plan.execution_ms);
  finding.why = "its estimated cost, " + grouped(plan.root.total_cost) +
                ", is above jit_above_cost; the gain is smaller than that";
  finding.numbers = {{"jit_ms", jit_ms}, {"functions", static_cast<double>(plan.jit->functions)}};
  finding.mend = {.text = "jit = off for the role that runs it, or jit_above_cost above its cost",
                  .statements = {"SET jit_above_cost = " + setting}};
  context.findings.push_back(std::move(finding));
}

void missing_workers(RuleContext& context, const PlanNode& node) {
  if (!context.plan.analyzed || node.workers_launched >= node.workers_planned) return;
  const double planned = static_cast<double>(node.workers_planned),
               launched = static_cast<double>(node.workers_launched);
  Finding finding = context.about(node, "missing_workers");
  finding.share_percent = node.subtree_percent * (1 - (launched + 1) / (planned + 1));
  finding.what = "had " + grouped(launched) + " of " + grouped(planned) + " parallel workers";
  finding.why =
      fmt::format("all others were taken (max_parallel_workers {}, max_worker_processes {}), or a cursor fetched it",
                  context.facts.max_parallel_workers, context.facts.max_worker_processes);
  finding.numbers = {{"workers_planned", planned}, {"workers_launched", launched}};
  finding.mend = {.text =
                      "more workers (as many as the machine has cores to spare), or fewer for a statement "
                      "(max_parallel_workers_per_gather)",
                  .statements = {fmt::format("ALTER SYSTEM SET max_parallel_workers = {}",
                                             context.facts.max_parallel_workers +
                                                 static_cast<int>(std::min(planned - launched, kMostWorkers)))}};
  context.findings.push_back(std::move(finding));
}

void parallel_off(RuleContext& context) {
  if (context.facts.max_parallel_workers_per_gather > 0 || context.plan.execution_ms < kLongMs) return;
  for (const PlanNode* node : context.nodes) {
    const double read = node->rows_total() + node->removed_total();
    if (node->type != "Seq Scan" || read < kParallelRows) continue;
    Finding finding = context.about(*node, "parallel_off");
    finding.share_percent.reset();
    finding.what = "one process reads " + grouped(read) + " rows";
    finding.why = "max_parallel_workers_per_gather is 0";
    finding.numbers = {{"rows_read", read}};
    finding.mend = {.text = "allow workers, where the machine has cores to spare",
                    .statements = {"SET max_parallel_workers_per_gather = 2"}};
    context.findings.push_back(std::move(finding));
    return;
  }
}

// PostgreSQL's plancache.c: after five executions the generic plan is kept unless it costs more than the custom plans
// did, and their planning, which counts as a thousand operators for each relation and a thousand more.
void planned_each_time(RuleContext& context) {
  const Plan& plan = context.plan;
  if (!plan.analyzed || !context.facts.generic_cost) return;
  const double percent = 100 * plan.planning_ms / std::max(plan.planning_ms + plan.execution_ms, 1e-6);
  if (percent < kPlanningPercent) return;
  const auto relations = std::ranges::count_if(context.nodes, [](const PlanNode* node) { return node->is_scan(); });
  const double planning = 1000 * context.facts.cpu_operator_cost * static_cast<double>(relations + 1);
  const double generic = *context.facts.generic_cost, custom = plan.root.total_cost;
  if (generic <= custom + planning) return;
  Finding finding;
  finding.kind = "planned_each_time";
  finding.share_percent = percent;
  finding.what = "planning takes " + duration(plan.planning_ms) + " beside " + duration(plan.execution_ms) +
                 " of execution, at each execution, prepared or not";
  finding.why = fmt::format(
      "PostgreSQL takes its generic plan to cost {:.2f}, the plan for these values {:.2f} and the making of that "
      "{:.2f}, "
      "and so does not keep the generic one",
      generic, custom, planning);
  finding.numbers = {{"planning_ms", plan.planning_ms}, {"generic_cost", generic}, {"custom_cost", custom}};
  finding.mend = {.text =
                      "where the plan is the same for all values (explain it without --parameters to see the generic "
                      "one): hide from the planner what it guesses by, as in = ANY (ARRAY(SELECT unnest($1))) for an "
                      "array; or plan_cache_mode for the role that runs it",
                  .statements = {"SET plan_cache_mode = force_generic_plan"}};
  context.findings.push_back(std::move(finding));
}

}  // namespace cairn::tuner
