// Stands in for an access method that is not linked in: weak symbols, which its own code overrides, so that the catalog
// is whole before every part is there. No index can be made with it.
#include "pg/pg.h"

#define PENDING_FUNCTION(name)                                                               \
  extern "C" PGDLLEXPORT __attribute__((weak)) Datum name(PG_FUNCTION_ARGS);                 \
  extern "C" PGDLLEXPORT __attribute__((weak)) const Pg_finfo_record* pg_finfo_##name(void); \
  PG_FUNCTION(name)

namespace {

IndexBuildResult* refuse(Relation, Relation, IndexInfo*) {
  ereport(ERROR,
          (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("this access method is not in this build of the extension")));
}

IndexAmRoutine* make_routine(uint16 support_functions) {
  IndexAmRoutine* const routine = makeNode(IndexAmRoutine);
  routine->amsupport = support_functions;
  routine->amcanorderbyop = true;
  routine->ambuild = refuse;
  return routine;
}

}  // namespace

PENDING_FUNCTION(hnswhandler) { PG_RETURN_POINTER(make_routine(3)); }
PENDING_FUNCTION(hnsw_halfvec_support) { PG_RETURN_NULL(); }
PENDING_FUNCTION(hnsw_bit_support) { PG_RETURN_NULL(); }
PENDING_FUNCTION(hnsw_sparsevec_support) { PG_RETURN_NULL(); }
