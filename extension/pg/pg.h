// The wall: the one file that includes PostgreSQL's headers, for the whole extension.
#pragma once

extern "C" {
#include "postgres.h"

#include "fmgr.h"
}
