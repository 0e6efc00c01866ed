// What PostgreSQL asks of the module as a whole.
#include "am/hnsw/hnsw.h"
#include "am/ivfflat/settings.h"
#include "pg/pg.h"

extern "C" {
PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init();

void _PG_init() {
  cairn::hnsw::init_settings();
  cairn::hnsw::init_nearest();
  cairn::ivfflat::init_settings();
}
}
