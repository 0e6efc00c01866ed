// Storage parameters and settings of hnsw.
#include <climits>

#include "am/hnsw/am.h"

namespace cairn::hnsw {

int ef_search;
int iterative_scan;
int max_scan_tuples;
double scan_mem_multiplier;

namespace {

relopt_kind kind;

const config_enum_entry kIterativeScans[] = {{"off", kScanOff, false},
                                             {"relaxed_order", kScanRelaxed, false},
                                             {"strict_order", kScanStrict, false},
                                             {nullptr, 0, false}};

}  // namespace

void init_settings() {
  kind = add_reloption_kind();
  add_int_reloption(kind, "m", "Max number of connections", kDefaultM, 2, 100, AccessExclusiveLock);
  add_int_reloption(kind, "ef_construction", "Size of the dynamic candidate list for construction",
                    kDefaultEfConstruction, 4, 1000, AccessExclusiveLock);
  DefineCustomIntVariable("hnsw.ef_search", "Sets the size of the dynamic candidate list for search",
                          "Valid range is 1..1000.", &ef_search, 40, 1, 1000, PGC_USERSET, 0, nullptr, nullptr,
                          nullptr);
  DefineCustomEnumVariable("hnsw.iterative_scan", "Sets the mode for iterative scans", nullptr, &iterative_scan,
                           kScanOff, kIterativeScans, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("hnsw.max_scan_tuples", "Sets the max number of tuples to visit for iterative scans", nullptr,
                          &max_scan_tuples, 20000, 1, INT_MAX, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomRealVariable("hnsw.scan_mem_multiplier", "Sets the multiple of work_mem to use for iterative scans",
                           nullptr, &scan_mem_multiplier, 1, 1, 1000, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  MarkGUCPrefixReserved("hnsw");
}

bytea* options(Datum reloptions, bool validate) {
  static const relopt_parse_elt table[] = {
      {"m", RELOPT_TYPE_INT, offsetof(Options, m)},
      {"ef_construction", RELOPT_TYPE_INT, offsetof(Options, ef_construction)},
  };
  return static_cast<bytea*>(build_reloptions(reloptions, validate, kind, sizeof(Options), table, lengthof(table)));
}

}  // namespace cairn::hnsw
