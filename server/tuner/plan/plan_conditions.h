// The conditions of a plan's nodes, as EXPLAIN prints them ("((d.status = 'active'::text) AND (d.n > 5))"), taken apart
// as far as a choice of index needs it. It reads text that PostgreSQL has put into brackets already; whatever else it
// is given, it answers with conditions of kind kOther.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cairn::tuner {

enum class ConditionKind {
  kEquality,  // =, = ANY, IS NOT DISTINCT FROM
  kRange,     // <, <=, >, >=
  kPattern,   // LIKE, ILIKE, regular expressions
  kContains,  // @>, <@, ?, && and their like: what GIN is for
  kTest,      // IS [NOT] NULL, a boolean column, NOT a boolean column
  kOr,        // alternatives
  kOther,
};

// One part of a conjunction, from the point of view of one relation.
struct Condition {
  ConditionKind kind = ConditionKind::kOther;
  std::string text = {};        // as printed, without outer brackets
  std::string column = {};      // the column that stands alone on one side; else empty
  std::string cast = {};        // "text" in (d.status)::text: then `column` is set all the same
  std::string expression = {};  // a column inside of something: SQL text without the alias; else empty
  std::string operator_name = {};
  std::string value = {};                    // the other side
  std::vector<std::string> columns = {};     // of the relation, all that are mentioned
  std::vector<Condition> alternatives = {};  // of kOr
};

// `alias` is the relation's in the plan; names of other relations count as values.
std::vector<Condition> read_conditions(std::string_view text, std::string_view alias);

// The columns of `alias` in any text of a plan, each once, in order.
std::vector<std::string> columns_in(std::string_view text, std::string_view alias);

// The text without "alias." before columns.
std::string without_alias(std::string_view text, std::string_view alias);

// Column name when `text` is one (qualified by the alias or not at all), else empty.
std::string bare_column(std::string_view text, std::string_view alias);

}  // namespace cairn::tuner
