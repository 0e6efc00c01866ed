// What a statement asks of each table that it names: comparisons, joins, grouping, order, the columns that it reads.
// From its parse tree and the catalog alone. Subqueries and CTEs that PostgreSQL would merge into the query around them
// are looked through; views are not.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tuner/catalog/catalog.h"
#include "tuner/sql/expression.h"

namespace cairn::tuner {

enum class Test {
  kEqual,       // also IS TRUE, and a lone boolean
  kIn,          // IN (…), = ANY (…), an OR of equalities
  kRange,       // < <= > >= BETWEEN
  kPrefix,      // LIKE 'x%'; of a placeholder: perhaps
  kPattern,     // LIKE '%x%', ILIKE, regular expressions, similarity
  kNull,        // IS NULL
  kNotNull,     // IS NOT NULL
  kContains,    // @>, jsonpath's @? and @@
  kContained,   // <@
  kHasKey,      // ? ?| ?&
  kOverlap,     // &&
  kTextSearch,  // @@ of a tsvector
};

struct Predicate {
  Expression operand = {};
  Test test = Test::kEqual;
  bool join = false;  // compared with a column of something else in the statement
  std::optional<Literal> constant = {};
};

struct SortKey {
  Expression operand = {};
  bool descending = false;
  bool nulls_first = false;
};

// ORDER BY column <-> value.
struct Distance {
  std::string column = {};
  std::string operator_name = {};
};

// One use of a table: a reference in FROM, or one arm of an OR over it.
struct TableUse {
  const Table* table = nullptr;  // of the catalog that was given
  std::vector<Predicate> predicates = {};
  std::vector<SortKey> order = {};        // the leading keys of ORDER BY (or a window's) that are this table's
  std::vector<Expression> grouping = {};  // of GROUP BY or DISTINCT, when all are this table's
  std::optional<Distance> distance = {};
  bool limited = false;
  std::set<std::string> columns = {};  // all that are read
  bool whole_row = false;
};

struct StatementUse {
  bool parsed = false;
  std::vector<TableUse> tables = {};
};

StatementUse columns_used(const Catalog& catalog, const std::string& statement);

}  // namespace cairn::tuner
