// What PostgreSQL asks of the access method as a whole.
#include "am/ivfflat/build.h"
#include "am/ivfflat/cost.h"
#include "am/ivfflat/insert.h"
#include "am/ivfflat/metric.h"
#include "am/ivfflat/scan.h"
#include "am/ivfflat/settings.h"
#include "am/ivfflat/vacuum.h"

namespace cairn::ivfflat {
namespace {

bool validate(Oid) { return true; }

}  // namespace
}  // namespace cairn::ivfflat

PG_FUNCTION(ivfflathandler) {
  using namespace cairn::ivfflat;
  IndexAmRoutine* am = makeNode(IndexAmRoutine);
  am->amstrategies = 0;
  am->amsupport = kProcs;
  am->amoptsprocnum = 0;
  am->amcanorderbyop = true;
  am->amoptionalkey = true;  // else no partial index could be scanned without a key
  am->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL;
  am->ambuild = build;
  am->ambuildempty = build_empty;
  am->aminsert = insert;
  am->ambulkdelete = bulk_delete;
  am->amvacuumcleanup = vacuum_cleanup;
  am->amcostestimate = estimate_cost;
  am->amoptions = parse_options;
  am->ambuildphasename = build_phase_name;
  am->amvalidate = validate;
  am->ambeginscan = begin_scan;
  am->amrescan = rescan;
  am->amgettuple = get_tuple;
  am->amendscan = end_scan;
  PG_RETURN_POINTER(am);
}
