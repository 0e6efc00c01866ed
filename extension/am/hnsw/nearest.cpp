// The plan node Nearest, for ORDER BY column <op> query LIMIT k with a filter:
//
//   Limit
//     ->  Custom Scan (Nearest) on items
//           ->  Index Scan using items_embedding_idx on items
//                 Order By: ..., Filter: ...
//
// An index scan knows neither the filter nor k. To give its rows in order it must drop those that a search finds after
// a farther one has gone out, and what it drops may be one of the few that pass the filter. Under this node the index
// scan drops none: the first k rows that pass are taken as they come, and are put in order here. For the same recall
// the search then reads up to three fifths fewer nodes (docs/BENCHMARKS.md).
//
// Only where k is a hard limit on the rows that the node is asked for: one table, a constant LIMIT, nothing between
// them that drops or joins rows.
#include "am/hnsw/am.h"
#include "pg/executor.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cairn::hnsw {
namespace {

constexpr double kMostRows = 1000;  // are kept in memory
// Of the index scan's cost for as many rows.
constexpr double kShareOfCost = 0.8;

set_rel_pathlist_hook_type next_hook;

Plan* plan(PlannerInfo* root, RelOptInfo* rel, CustomPath* path, List* targets, List* clauses, List* plans);
Node* create_state(CustomScan* scan);
void begin(CustomScanState* node, EState* executor, int flags);
TupleTableSlot* execute(CustomScanState* node);
void rescan_node(CustomScanState* node);
void end(CustomScanState* node);

const CustomPathMethods kPathMethods = {
    .CustomName = "Nearest", .PlanCustomPath = plan, .ReparameterizeCustomPathByChild = nullptr};
const CustomScanMethods kScanMethods = {.CustomName = "Nearest", .CreateCustomScanState = create_state};
const CustomExecMethods kExecMethods = {.CustomName = "Nearest",
                                        .BeginCustomScan = begin,
                                        .ExecCustomScan = execute,
                                        .EndCustomScan = end,
                                        .ReScanCustomScan = rescan_node,
                                        .MarkPosCustomScan = nullptr,
                                        .RestrPosCustomScan = nullptr,
                                        .EstimateDSMCustomScan = nullptr,
                                        .InitializeDSMCustomScan = nullptr,
                                        .ReInitializeDSMCustomScan = nullptr,
                                        .InitializeWorkerCustomScan = nullptr,
                                        .ShutdownCustomScan = nullptr,
                                        .ExplainCustomScan = nullptr};

// -- planning -----------------------------------------------------------------------------------------------------

// Not one that is only estimated from what a stable function gives now.
bool is_constant(const Node* limit) { return limit == nullptr || IsA(limit, Const); }

bool has_hard_limit(const PlannerInfo* root, const RelOptInfo* rel, const RangeTblEntry* entry) {
  const Query* query = root->parse;
  return rel->reloptkind == RELOPT_BASEREL && entry->rtekind == RTE_RELATION &&
         bms_membership(root->all_baserels) == BMS_SINGLETON && root->limit_tuples >= 1 &&
         root->limit_tuples <= kMostRows && query->limitOption == LIMIT_OPTION_COUNT &&
         is_constant(query->limitCount) && is_constant(query->limitOffset) && query->rowMarks == NIL;
}

// Whether the path is a filtered scan of an hnsw index in the order that is wanted. Of an expression with a subquery
// that is no constant of the scan (IN (SELECT ...)) the distance cannot be computed outside of the plan's own nodes.
bool gains(const PlannerInfo* root, const Path* path) {
  if (!IsA(path, IndexPath) || path->param_info != nullptr || path->pathkeys == NIL) return false;
  const auto* scan = reinterpret_cast<const IndexPath*>(path);
  if (list_length(scan->indexorderbys) != 1) return false;
  auto* distance = static_cast<Node*>(linitial(scan->indexorderbys));
  return IsA(distance, OpExpr) && !contain_subplans(distance) && scan->indexinfo->indrestrictinfo != NIL &&
         reinterpret_cast<void (*)()>(scan->indexinfo->amcostestimate) == reinterpret_cast<void (*)()>(estimate_cost) &&
         pathkeys_contained_in(root->query_pathkeys, path->pathkeys);
}

void add_nearest(PlannerInfo* root, RelOptInfo* rel, const IndexPath* scan) {
  auto* child = makeNode(IndexPath);
  *child = *scan;  // that of the relation may be changed
  auto* path = makeNode(CustomPath);
  path->path.pathtype = T_CustomScan;
  path->path.parent = rel;
  path->path.pathtarget = rel->reltarget;
  path->path.rows = Min(root->limit_tuples, scan->path.rows);
  const Cost run = (scan->path.total_cost - scan->path.startup_cost) * path->path.rows / Max(scan->path.rows, 1);
  path->path.startup_cost = path->path.total_cost = scan->path.startup_cost + kShareOfCost * run;
#if PG_VERSION_NUM >= 180000
  path->path.disabled_nodes = scan->path.disabled_nodes;
#endif
  path->path.pathkeys = scan->path.pathkeys;
  path->flags = CUSTOMPATH_SUPPORT_PROJECTION;
  path->custom_paths = list_make1(child);
  path->custom_private = list_make1(makeInteger(static_cast<int>(root->limit_tuples)));
  path->methods = &kPathMethods;
  add_path(rel, &path->path);
}

void add_paths(PlannerInfo* root, RelOptInfo* rel, ::Index number, RangeTblEntry* entry) {
  if (next_hook != nullptr) next_hook(root, rel, number, entry);
  if (!has_hard_limit(root, rel, entry)) return;
  const IndexPath* cheapest = nullptr;
  ListCell* cell;
  foreach (cell, rel->pathlist) {
    const auto* path = static_cast<const Path*>(lfirst(cell));
    if (gains(root, path) && (cheapest == nullptr || path->total_cost < cheapest->path.total_cost))
      cheapest = reinterpret_cast<const IndexPath*>(path);
  }
  if (cheapest != nullptr) add_nearest(root, rel, cheapest);
}

template <class T>
T* copy_of(const T* node) {
  return static_cast<T*>(copyObjectImpl(node));
}

// A row of the node is the child's and, behind it, the distance: so the plan above need not compute it again.
Plan* plan(PlannerInfo*, RelOptInfo* rel, CustomPath* path, List* targets, List*, List* plans) {
  auto* scan = makeNode(CustomScan);
  const auto* child = static_cast<const Plan*>(linitial(plans));
  const auto* distance =
      static_cast<const OpExpr*>(linitial(reinterpret_cast<IndexPath*>(linitial(path->custom_paths))->indexorderbys));
  const auto column = static_cast<AttrNumber>(list_length(child->targetlist) + 1);
  scan->scan.plan.targetlist = targets;
  scan->scan.scanrelid = rel->relid;
  scan->flags = path->flags;
  scan->custom_plans = plans;
  scan->custom_scan_tlist = lappend(
      copy_of(child->targetlist), makeTargetEntry(reinterpret_cast<Expr*>(copy_of(distance)), column, nullptr, false));
  // Its operands alone: what is here is made to refer to the columns above, and that would be the distance itself.
  scan->custom_exprs = copy_of(distance->args);
  OpExpr* without_operands = makeNode(OpExpr);
  *without_operands = *distance;
  without_operands->args = NIL;
  scan->custom_private = lappend(copy_of(path->custom_private), without_operands);
  scan->methods = &kScanMethods;
  return &scan->scan.plan;
}

// -- execution ----------------------------------------------------------------------------------------------------

struct Kept {
  double distance;
  uint32_t arrival;
  MinimalTuple row;
};

bool nearer(const Kept& a, const Kept& b) {
  return a.distance < b.distance || (a.distance == b.distance && a.arrival < b.arrival);
}

// NULL and NaN are the farthest, as PostgreSQL has it.
double ordered(Datum distance, bool is_null) {
  const double value = is_null ? std::nan("") : DatumGetFloat8(distance);
  return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
}

struct State {
  CustomScanState node;
  PlanState* child;
  ExprState* distance;
  MemoryContext memory;  // of the rows
  Kept* kept;
  uint32_t wanted, count, next;
  bool is_read;
};

State* state_of(CustomScanState* node) { return reinterpret_cast<State*>(node); }

Node* create_state(CustomScan* scan) {
  auto* state = static_cast<State*>(palloc0(sizeof(State)));
  NodeSetTag(state, T_CustomScanState);
  state->node.methods = &kExecMethods;
  state->wanted = static_cast<uint32_t>(intVal(linitial(scan->custom_private)));
  return reinterpret_cast<Node*>(state);
}

// A condition that is the same for all rows is a node above the index scan.
IndexScanState* index_scan_below(PlanState* child) {
  while (child != nullptr && !IsA(child, IndexScanState)) child = outerPlanState(child);
  return reinterpret_cast<IndexScanState*>(child);
}

// Begins the index scan as its node would, so that it can be told to drop no row.
void begin_unordered(IndexScanState* scan, const EState* executor) {
  if (scan == nullptr) return;
#if PG_VERSION_NUM >= 180000
  scan->iss_ScanDesc = index_beginscan(scan->ss.ss_currentRelation, scan->iss_RelationDesc, executor->es_snapshot,
                                       &scan->iss_Instrument, scan->iss_NumScanKeys, scan->iss_NumOrderByKeys);
#else
  scan->iss_ScanDesc = index_beginscan(scan->ss.ss_currentRelation, scan->iss_RelationDesc, executor->es_snapshot,
                                       scan->iss_NumScanKeys, scan->iss_NumOrderByKeys);
#endif
  drop_no_row(scan->iss_ScanDesc);
  if (scan->iss_NumRuntimeKeys == 0 || scan->iss_RuntimeKeysReady)
    index_rescan(scan->iss_ScanDesc, scan->iss_ScanKeys, scan->iss_NumScanKeys, scan->iss_OrderByKeys,
                 scan->iss_NumOrderByKeys);
}

void begin(CustomScanState* node, EState* executor, int flags) {
  State* state = state_of(node);
  const auto* scan = reinterpret_cast<const CustomScan*>(node->ss.ps.plan);
  state->child = ExecInitNode(static_cast<Plan*>(linitial(scan->custom_plans)), executor, flags);
  node->custom_ps = list_make1(state->child);
  OpExpr* distance = copy_of(static_cast<const OpExpr*>(lsecond(scan->custom_private)));
  distance->args = scan->custom_exprs;
  set_opfuncid(distance);
  state->distance = ExecInitExpr(reinterpret_cast<Expr*>(distance), nullptr);
  state->memory = AllocSetContextCreate(CurrentMemoryContext, "nearest rows", ALLOCSET_DEFAULT_SIZES);
  if ((flags & EXEC_FLAG_EXPLAIN_ONLY) == 0) begin_unordered(index_scan_below(state->child), executor);
}

MinimalTuple row_with_distance(TupleTableSlot* row, Datum distance, bool is_null, TupleTableSlot* with_distance) {
  slot_getallattrs(row);
  const int columns = row->tts_tupleDescriptor->natts;
  ExecClearTuple(with_distance);
  std::copy_n(row->tts_values, columns, with_distance->tts_values);
  std::copy_n(row->tts_isnull, columns, with_distance->tts_isnull);
  with_distance->tts_values[columns] = distance;
  with_distance->tts_isnull[columns] = is_null;
  ExecStoreVirtualTuple(with_distance);
  return ExecCopySlotMinimalTuple(with_distance);
}

void read_all(State* state) {
  ExprContext* context = state->node.ss.ps.ps_ExprContext;
  state->kept = static_cast<Kept*>(MemoryContextAlloc(state->memory, state->wanted * sizeof(Kept)));
  while (state->count < state->wanted) {
    TupleTableSlot* row = ExecProcNode(state->child);
    if (TupIsNull(row)) break;
    context->ecxt_scantuple = row;
    bool is_null;
    const Datum distance = ExecEvalExprSwitchContext(state->distance, context, &is_null);
    const MemoryContext old = MemoryContextSwitchTo(state->memory);
    state->kept[state->count] = {ordered(distance, is_null), state->count,
                                 row_with_distance(row, distance, is_null, state->node.ss.ss_ScanTupleSlot)};
    MemoryContextSwitchTo(old);
    ++state->count;
    ResetExprContext(context);
  }
  std::sort(state->kept, state->kept + state->count, nearer);
  state->is_read = true;
}

TupleTableSlot* next_row(ScanState* node) {
  State* state = reinterpret_cast<State*>(node);
  TupleTableSlot* slot = node->ss_ScanTupleSlot;
  if (!state->is_read) read_all(state);
  if (state->next == state->count) return ExecClearTuple(slot);
  ExecForceStoreMinimalTuple(state->kept[state->next++].row, slot, false);
  return slot;
}

bool recheck(ScanState*, TupleTableSlot*) { return true; }

TupleTableSlot* execute(CustomScanState* node) { return ExecScan(&node->ss, next_row, recheck); }

void forget_rows(State* state) {
  MemoryContextReset(state->memory);
  state->kept = nullptr;
  state->count = state->next = 0;
  state->is_read = false;
}

void rescan_node(CustomScanState* node) {
  State* state = state_of(node);
  ExecClearTuple(node->ss.ss_ScanTupleSlot);
  forget_rows(state);
  if (node->ss.ps.chgParam != nullptr) UpdateChangedParamSet(state->child, node->ss.ps.chgParam);
  if (state->child->chgParam == nullptr) ExecReScan(state->child);
  ExecScanReScan(&node->ss);
}

void end(CustomScanState* node) {
  State* state = state_of(node);
  forget_rows(state);
  ExecEndNode(state->child);
}

}  // namespace

void init_nearest() {
  next_hook = set_rel_pathlist_hook;
  set_rel_pathlist_hook = add_paths;
  RegisterCustomScanMethods(&kScanMethods);
}

}  // namespace cairn::hnsw
