// The statements that bring one catalog to another.
//
// What goes away is dropped first, each thing after all that needs it; then what is new or changed is made, each after
// what it needs. What must make room for a change (a view over a column whose type changes, a default that calls a
// function that is replaced) is dropped and made again. Throws Error(kNotImplemented) for what no statement can do.
#pragma once

#include <string>
#include <vector>

#include "schema/catalog.h"

namespace cairn::schema {

struct Change {
  std::string sql;  // without the last semicolon
  // What it does to who uses the database meanwhile, or to the data: locks, rewrites, losses.
  std::string warning;
};

std::vector<Change> difference(const Catalog& from, const Catalog& to);

}  // namespace cairn::schema
