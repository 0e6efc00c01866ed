// The wall: the one file that includes PostgreSQL's headers, for the whole extension. What differs between PostgreSQL
// 15 and 18 is evened out here.
#pragma once

extern "C" {
#include "postgres.h"

#include "access/amapi.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/varbit.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
}

// A function that SQL calls: PG_FUNCTION(name) { ... fcinfo ... }. Both it and its pg_finfo_ record must be seen from
// outside, and before PostgreSQL 16 the macro of fmgr.h hides the function itself under -fvisibility=hidden.
#define PG_FUNCTION_DECLARE(name) extern "C" PGDLLEXPORT Datum name(PG_FUNCTION_ARGS)
#define PG_FUNCTION(name)    \
  PG_FUNCTION_DECLARE(name); \
  extern "C" {               \
  PG_FUNCTION_INFO_V1(name); \
  }                          \
  extern "C" Datum name([[maybe_unused]] PG_FUNCTION_ARGS)
