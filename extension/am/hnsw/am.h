// The callbacks of the access method, a file each.
#pragma once

#include "am/hnsw/hnsw.h"

namespace cairn::hnsw {

bytea* options(Datum reloptions, bool validate);                          // settings.cpp
IndexBuildResult* build(Relation heap, Relation index, IndexInfo* info);  // build.cpp
void build_empty(Relation index);                                         // build.cpp
bool insert(Relation index, Datum* values, bool* isnull, ItemPointer tid, Relation heap, IndexUniqueCheck unique,
            bool unchanged,
            IndexInfo* info);  // insert.cpp
IndexBulkDeleteResult* bulk_delete(IndexVacuumInfo* info, IndexBulkDeleteResult* stats,
                                   IndexBulkDeleteCallback callback,
                                   void* state);                                             // vacuum.cpp
IndexBulkDeleteResult* vacuum_cleanup(IndexVacuumInfo* info, IndexBulkDeleteResult* stats);  // vacuum.cpp
void estimate_cost(PlannerInfo* root, IndexPath* path, double loops, Cost* startup, Cost* total,
                   Selectivity* selectivity, double* correlation, double* pages);                   // cost.cpp
IndexScanDesc begin_scan(Relation index, int keys, int orderbys);                                   // scan.cpp
void rescan(IndexScanDesc scan, ScanKey keys, int key_count, ScanKey orderbys, int orderby_count);  // scan.cpp
bool get_tuple(IndexScanDesc scan, ScanDirection direction);                                        // scan.cpp
void end_scan(IndexScanDesc scan);                                                                  // scan.cpp

// Of a scan that has begun: rows may come in any order from now on, for one who orders them himself.
void drop_no_row(IndexScanDesc scan);  // scan.cpp

bool replace_dead_edges(const core::NodeLayout& layout, core::Node* node, const core::IdSet& dead, const uint8_t* edges,
                        size_t count);

}  // namespace cairn::hnsw
