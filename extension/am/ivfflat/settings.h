// Settings of ivfflat: storage parameters, and the variables ivfflat.*.
#pragma once

#include "pg/am.h"

namespace cairn::ivfflat {

struct Options {  // reloptions
  int32 vl_len_;
  int lists;
};

enum IterativeScan { kIterativeScanOff, kIterativeScanRelaxed };

extern int probes;
extern int iterative_scan;
extern int max_probes;

int lists_of(Relation index);
bytea* parse_options(Datum options, bool validate);

// Registers all of them; from _PG_init.
void init_settings();

}  // namespace cairn::ivfflat
