// What PostgreSQL asks of the module as a whole.
#include "pg/pg.h"

extern "C" {
PG_MODULE_MAGIC;
}
