// Other texts of a statement that give the same rows for less work, or nearly the same ones, which is said. Made from
// its parse tree and the catalog; nothing is planned or run here.
//
// A guarantee is given only where the rule that it names holds for every content that the tables may have, with the
// constraints that they have now. Each text parses. A rewrite keeps the author's text but for what it changes.
#pragma once

#include <string>
#include <vector>

#include "tuner/advise/advice.h"
#include "tuner/catalog/catalog.h"

namespace cairn::tuner {

// Rewrites of less would not pay: of the largest table in the statement.
constexpr double kRewrittenRowsMin = 1000;

// Rewrite::statement is 0 in all of them.
std::vector<Rewrite> propose_rewrites(const Catalog& catalog, const std::string& statement,
                                      double rows_min = kRewrittenRowsMin);

}  // namespace cairn::tuner
