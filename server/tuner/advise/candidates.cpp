#include "tuner/advise/candidates.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "tuner/advise/candidate_rules.h"
#include "tuner/sql/columns_used.h"

namespace cairn::tuner {
namespace {

using rules::Proposal;

// One index and all that asked for it.
struct Merged {
  Proposal proposal;
  std::set<size_t> statements;
};

std::string described(const TableName& table) { return table.schema + "." + table.name; }

void merge(std::vector<Merged>& all, const Catalog& catalog, Proposal proposal, std::optional<size_t> statement) {
  const Table* table = catalog.find(proposal.index.table.schema, proposal.index.table.name);
  for (const Index& index : table->indexes)
    if (rules::covers(index, *table, proposal)) return;
  for (Merged& known : all) {
    if (!rules::same(known.proposal, proposal)) continue;
    if (proposal.ordered && !known.proposal.ordered) known.proposal.index.keys = proposal.index.keys;
    known.proposal.ordered = known.proposal.ordered || proposal.ordered;
    if (statement) known.statements.insert(*statement);
    return;
  }
  all.push_back({std::move(proposal), {}});
  if (statement) all.back().statements.insert(*statement);
}

void foreign_keys(std::vector<Merged>& all, const Catalog& catalog) {
  for (const ForeignKey& key : catalog.foreign_keys) {
    const Table *table = catalog.table(key.table), *referenced = catalog.table(key.referenced);
    if (table == nullptr || referenced == nullptr || !table->indexable() || table->pages < kTablePagesMin) continue;
    Proposal proposal{.index = {.table = table->name}, .equalities = key.columns.size()};
    std::string names;
    for (const std::string& column : key.columns) {
      proposal.index.keys.push_back({.text = column});
      names += (names.empty() ? "" : ", ") + column;
    }
    proposal.reason = fmt::format(
        "foreign key {} ({}) without an index: joins with {} and every DELETE or change of a key there read the whole "
        "table",
        key.name, names, described(referenced->name));
    merge(all, catalog, std::move(proposal), std::nullopt);
  }
}

}  // namespace

std::vector<Candidate> propose(const Catalog& catalog, std::span<const WorkloadStatement> workload) {
  std::vector<StatementUse> uses;
  for (const WorkloadStatement& statement : workload) uses.push_back(columns_used(catalog, statement.text));
  const rules::Workload whole = rules::summarise(uses, workload);
  std::vector<Merged> all;
  foreign_keys(all, catalog);
  for (size_t i = 0; i < uses.size(); ++i)
    for (const TableUse& use : uses[i].tables)
      if (use.table->pages >= kTablePagesMin)
        for (Proposal& proposal : rules::proposals(use, whole, catalog)) merge(all, catalog, std::move(proposal), i);

  const auto weight = [&](const Merged& merged) {
    return std::accumulate(merged.statements.begin(), merged.statements.end(), 0.0,
                           [&](double sum, size_t i) { return sum + workload[i].weight; });
  };
  std::ranges::stable_sort(all, std::greater<>(), weight);
  std::vector<Candidate> candidates;
  for (Merged& merged : all)
    candidates.push_back({.index = std::move(merged.proposal.index),
                          .reason = std::move(merged.proposal.reason),
                          .statements = {merged.statements.begin(), merged.statements.end()}});
  return candidates;
}

}  // namespace cairn::tuner
