// The rules of rewrites.h. Each looks at one node of the tree and adds a site where it holds.
#pragma once

#include <string>
#include <vector>

#include "tuner/rewrite/rewrite_scope.h"
#include "tuner/rewrite/rewrite_text.h"

namespace cairn::tuner {

// A place where a rule holds; see Rewrite for the sentences.
struct RewriteSite {
  std::string rule = {};
  std::vector<Edit> edits = {};
  std::string reason = {};
  std::string guarantee = {};
  std::string caveat = {};
};

// Where an expression stands: as a condition that must be true (NULL is as good as false), as an operand of AND, OR or
// NOT, or anywhere else.
enum class Position { kCondition, kOperand, kValue };

struct RewriteContext {
  const StatementText& text;
  const Names& names;
  std::vector<RewriteSite>& sites;
};

// rewrite_columns.cpp: what keeps an index on a column from being used.
void function_to_range(RewriteContext& context, const Node& node, const NameScope& scope, Position position);
void cast_on_column(RewriteContext& context, const Node& node, const NameScope& scope);

// rewrite_subqueries.cpp
void count_to_exists(RewriteContext& context, const Node& node, const NameScope& scope, Position position);
void not_in_to_not_exists(RewriteContext& context, const Node& node, const NameScope& scope, Position position);
void correlated_extreme(RewriteContext& context, const Node& node, const NameScope& scope);
void subqueries_to_lateral(RewriteContext& context, const Node& select, const NameScope& scope);  // the whole statement

// rewrite_selects.cpp: of a SELECT that is the whole statement.
void or_to_union(RewriteContext& context, const Node& select, const NameScope& scope);
void offset_to_keyset(RewriteContext& context, const Node& select, const NameScope& scope);
void star_to_columns(RewriteContext& context, const Node& select, const NameScope& scope);

}  // namespace cairn::tuner
