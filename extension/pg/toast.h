// Reading values that PostgreSQL moved out of their rows. Its own way (detoast_attr) looks each of them up in the TOAST
// table's index, which for a vector of 768 dimensions takes most of the time of an exact search. The chunks of rows
// that are read one after another lie one after another, so here a value is first looked for where the last one ended.
#pragma once

#include "pg/pg.h"

namespace cairn::pg {

// As PG_DETOAST_DATUM_PACKED, with its errors: the value itself where it is whole, else a copy of it in the current
// memory context. Of the calling backend only, as all of PostgreSQL is.
struct varlena* detoast_packed(Datum datum);

}  // namespace cairn::pg
