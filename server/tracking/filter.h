// The filter strings and order_by clauses of MLflow's searches, parsed to a tree. Pure: knows nothing of a database.
//
//   filter    = any ; any = all { OR all } ; all = primary { [AND] primary } ; primary = "(" any ")" | condition
//   condition = key comparator value | key IS [NOT] NULL
//
// OR and parentheses are Cairn's own, though a search for logged models takes no OR, as MLflow; the rest is MLflow's,
// with its looseness: a missing, leading or dangling AND is accepted. Texts are taken as they stand between their
// quotes: there are no escapes. Whatever it is given, the parser returns or throws Error(kInvalidParameterValue); depth
// and size are bounded.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cairn::tracking {

// What is searched for: they differ in their keys and in some messages.
enum class Subject { kRuns, kExperiments, kLoggedModels };
enum class Entity { kMetric, kParam, kTag, kAttribute, kDataset };
enum class Comparator {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kLike,
  kIlike,
  kIn,
  kNotIn,
  kIsNull,
  kIsNotNull
};

// A checked condition: the comparator suits the entity, and the value is in the member that suits both.
struct Condition {
  Entity entity = Entity::kAttribute;
  std::string key;  // an attribute's aliases are resolved
  Comparator comparator = Comparator::kEqual;
  bool numeric = false;
  double number = 0;               // when numeric
  std::string text;                // else
  std::vector<std::string> texts;  // of IN and NOT IN
};

struct Filter {
  enum class Kind { kAll, kAny, kCondition };
  Kind kind = Kind::kAll;
  std::vector<Filter> children;  // of kAll and kAny; kAll without children is true
  Condition condition;           // of kCondition
};

// A dataset that points of logged models were measured on; without a digest any of that name.
struct DatasetName {
  std::string name, digest;
};

struct OrderBy {
  Entity entity = Entity::kAttribute;
  std::string key;
  bool descending = false;
  DatasetName dataset;  // of a logged model's metric; no name: any point
};

// "" is a filter that is always true.
Filter parse_filter(Subject subject, std::string_view text);
// Not for logged models, whose order is no text: see parse_model_order().
std::vector<OrderBy> parse_order_by(Subject subject, const std::vector<std::string>& clauses);
// One field of the order of logged models: an attribute or metrics.KEY.
OrderBy parse_model_order(const std::string& field, bool descending);

}  // namespace cairn::tracking
