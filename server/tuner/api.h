// What other modules use of the tuner.
#pragma once

#include "tuner/advise/drops.h"
#include "tuner/apply/apply_session.h"
#include "tuner/catalog/catalog.h"
#include "tuner/catalog/index_size.h"
#include "tuner/catalog/local_disk.h"
#include "tuner/plan/explain.h"
#include "tuner/profile/statements.h"
#include "tuner/views/view_refresh.h"
