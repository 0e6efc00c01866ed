// Materialised views as changes of an advice, for statements that compute the same aggregates again and again, each
// with the statement that reads the view in their place. They are applied on request only: their rows are as old as the
// last refresh, and the program that sends the statement must send the other one.
#pragma once

#include "base/task.h"
#include "tuner/advise/advice.h"
#include "tuner/catalog/catalog.h"

namespace cairn::db {
class Pool;
}

namespace cairn::tuner {

// What PostgreSQL expects of a view's query.
struct ViewPlan {
  double rows = 0;
  double width = 0;  // bytes of a row
  double cost = 0;
};

// What the view takes on disk with its index, and what reading all of it costs in the planner's units.
int64_t view_bytes(const ViewPlan& plan, size_t keys);
double read_cost(const ViewPlan& plan);

// Looks at the advice's statements, and at what they cost with the changes that are there already.
task<> add_views(db::Pool& pool, const Catalog& catalog, Advice& advice);

}  // namespace cairn::tuner
