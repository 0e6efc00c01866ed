// Rewrites of a workload's statements as part of an advice: proposed from the tree, tried with the planner.
#pragma once

#include <vector>

#include "tuner/advise/advice.h"
#include "tuner/advise/what_if.h"
#include "tuner/catalog/catalog.h"

namespace cairn::tuner {

// Those that PostgreSQL plans. Their reason ends with the planner's costs: as things are, with the indexes that the
// advice proposes, and with an index that the new text alone could use. One that only makes the plan another (OR to
// UNION, an extreme in one pass) is left out where none of these is less than what the statement costs already.
std::vector<Rewrite> tried_rewrites(WhatIf& what_if, const Catalog& catalog, const Advice& advice);

}  // namespace cairn::tuner
