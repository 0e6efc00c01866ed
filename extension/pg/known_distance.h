// A distance that an index scan has just computed, for the function that the executor calls for the same row right
// after: the ORDER BY expression is also a column of the plan, so every row that comes from the index has its distance
// computed again, and where the vector is TOASTed fetching it costs more than the rest of the search. Used only where
// the argument is that very value in that very row, which is checked in the row itself.
#pragma once

#include "pg/am.h"

namespace cairn::pg {

struct KnownDistance {
  IndexScanDesc scan;  // its xs_heaptid is the row's place once it has been fetched
  AttrNumber column;   // of the table
  PGFunction function;
  Datum query;
  double value;
};

void know_distance(const KnownDistance& known);
void forget_distance();

// Forgets when the context is reset or deleted: a scan that an error ends is not ended by its access method.
void forget_distance_with(MemoryContext context);

// Whether the call is the one whose distance is known: of the operator's function on a TOASTed value of that row and
// the query, in either order. (Of a value that is not TOASTed computing is as fast.)
bool known_distance(FunctionCallInfo call, double* value);

}  // namespace cairn::pg

#define RETURN_IF_KNOWN(fcinfo)                                             \
  do {                                                                      \
    double known;                                                           \
    if (cairn::pg::known_distance(fcinfo, &known)) PG_RETURN_FLOAT8(known); \
  } while (0)
