// The handler of hnsw, and the functions that its operator classes name.
#include "am/hnsw/am.h"

namespace cairn::hnsw {
namespace {

bool validate(Oid) { return true; }

char* phase_name(int64 phase) {
  switch (phase) {
    case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
      return pstrdup("initializing");
    case 2:
      return pstrdup("loading tuples");
    default:
      return nullptr;
  }
}

IndexAmRoutine* routine() {
  IndexAmRoutine* am = makeNode(IndexAmRoutine);
  am->amstrategies = 0;
  am->amsupport = 3;
  am->amoptsprocnum = 0;
  am->amcanorderbyop = true;
  am->amoptionalkey = true;
  am->amusemaintenanceworkmem = false;
  am->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL;
  am->amkeytype = InvalidOid;
  am->ambuild = build;
  am->ambuildempty = build_empty;
  am->aminsert = insert;
  am->ambulkdelete = bulk_delete;
  am->amvacuumcleanup = vacuum_cleanup;
  am->amcostestimate = estimate_cost;
  am->amoptions = options;
  am->ambuildphasename = phase_name;
  am->amvalidate = validate;
  am->ambeginscan = begin_scan;
  am->amrescan = rescan;
  am->amgettuple = get_tuple;
  am->amendscan = end_scan;
  return am;
}

}  // namespace
}  // namespace cairn::hnsw

PG_FUNCTION(hnswhandler) { PG_RETURN_POINTER(cairn::hnsw::routine()); }

// What tells the element type of an operator class; the address is enough (index.cpp).
PG_FUNCTION(hnsw_halfvec_support) { PG_RETURN_POINTER(nullptr); }
PG_FUNCTION(hnsw_bit_support) { PG_RETURN_POINTER(nullptr); }
PG_FUNCTION(hnsw_sparsevec_support) { PG_RETURN_POINTER(nullptr); }
