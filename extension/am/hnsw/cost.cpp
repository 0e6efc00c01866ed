// amcostestimate. A scan's cost is that of the nodes it reads: to find the first row it goes down the levels and reads
// ef_search nodes, and each further row costs some. With a filter the planner then weighs rows / selectivity of these
// against an exact search of the rows that pass.
#include <cmath>

#include "am/hnsw/am.h"
#include "pg/planner.h"

namespace cairn::hnsw {
namespace {

// What reading a node costs, by measurement on indexes in shared buffers beside the exact search of the same rows: a
// page's look-up, its lock, the vector's distance, the estimates of its neighbours, and the row that is fetched and
// filtered.
constexpr double kOperatorsPerNode = 480;
constexpr double kOperatorsPerCoordinate = 0.2;
constexpr double kNodesPerRow = 2;  // on the average of the sets that were measured; scan.cpp bounds it by 32

}  // namespace

void estimate_cost(PlannerInfo* root, IndexPath* path, double loops, Cost* startup, Cost* total,
                   Selectivity* selectivity, double* correlation, double* pages) {
  if (path->indexorderbys == NIL) {
    *selectivity = 0;
    *correlation = 0;
    *pages = 0;
    return pg::refuse_path(path, startup, total);
  }
  GenericCosts costs = {};
  genericcostestimate(root, path, loops, &costs);

  const double rows = Max(path->indexinfo->tuples, 1);
  const Relation index = index_open(path->indexinfo->indexoid, NoLock);
  const auto* options = reinterpret_cast<const Options*>(index->rd_options);
  const int m = options == nullptr ? kDefaultM : options->m;
  const double dimensions = Max(TupleDescAttr(RelationGetDescr(index), 0)->atttypmod, 1);
  index_close(index, NoLock);

  const double levels = std::log(rows) / std::log(Max(2.0 * m, 64.0));
  const double first = Min(rows, ef_search + 4 * levels);
  const double node = cpu_operator_cost * (kOperatorsPerNode + kOperatorsPerCoordinate * dimensions);
  double random_page_cost_here;
  get_tablespace_page_costs(path->indexinfo->reltablespace, &random_page_cost_here, nullptr);
  // Pages of an index that is larger than the cache are read from the disk now and then.
  const double cached = Min(1.0, effective_cache_size / Max(path->indexinfo->pages, 1.0));
  const double page = (1 - cached) * random_page_cost_here;

  *startup = first * (node + page);
  *total = rows * kNodesPerRow * (node + page);
  if (*total < *startup) *total = *startup;
  *selectivity = costs.indexSelectivity;
  *correlation = costs.indexCorrelation;
  *pages = costs.numIndexPages;
}

}  // namespace cairn::hnsw
