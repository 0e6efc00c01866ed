// The rules behind propose: which indexes one use of a table asks for, and when an index does what another would.
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "tuner/advise/candidates.h"
#include "tuner/sql/columns_used.h"

namespace cairn::tuner::rules {

struct Proposal {
  IndexDefinition index = {};
  // The first so many keys are compared for equality: their order and direction do not matter to who proposed it.
  size_t equalities = 0;
  bool ordered = false;  // the keys after them are wanted in that order; else a range, for which the direction is free
  std::string reason = {};
};

// What is known only from all statements together.
struct Workload {
  std::set<std::pair<const Table*, std::string>> asked_for_keys;  // jsonb columns that are asked ?, not only @>
  // How often a column was compared with a constant. One beside a placeholder is the program's own: it recurs.
  std::map<std::tuple<const Table*, std::string, std::string>, double> constants;
};
Workload summarise(std::span<const StatementUse> uses, std::span<const WorkloadStatement> statements);

std::vector<Proposal> proposals(const TableUse& use, const Workload& workload, const Catalog& catalog);

// Of them those that are no B-trees, in special_rules.cpp.
std::vector<Proposal> special_proposals(const TableUse& use, const Workload& workload, const Catalog& catalog);

// Whether the index that exists serves all that the proposal would.
bool covers(const Index& index, const Table& table, const Proposal& proposal);
bool same(const Proposal& one, const Proposal& other);

}  // namespace cairn::tuner::rules
