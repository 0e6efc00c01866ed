// Distances of PostgreSQL's bit strings (VarBit of utils/varbit.h), which access methods know by their address.
#pragma once

#include "pg/pg.h"

PG_FUNCTION_DECLARE(hamming_distance);
PG_FUNCTION_DECLARE(jaccard_distance);
