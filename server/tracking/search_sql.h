// Turns a parsed search into SQL, and its place in the order into page tokens. Pure: sends nothing.
//
// Every value is bound; only names from this file's own tables become text. Pages are by keyset: a token holds the sort
// values of the last row given, so a page costs the same wherever it is and rows that come and go between two pages
// neither repeat nor hide others.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "db/statement.h"
#include "tracking/filter.h"

namespace cairn::tracking {

// tracking.keys of the names that a search mentions. A name that is not there has no rows.
using KeyIds = std::unordered_map<std::string, int32_t>;

// One sort value of a row; NULL is last in both directions.
struct SortTerm {
  enum class Type { kInteger, kNumber, kText };
  std::string sql;
  Type type = Type::kText;
  bool descending = false;
  bool nullable = true;
};

// The sort values of a row, as text; in a token they are a JSON list.
using SortValues = std::vector<std::optional<std::string>>;

class SearchQuery {
 public:
  SearchQuery(Subject subject, KeyIds keys) : subject_(subject), keys_(std::move(keys)) {}

  // The names whose ids the constructor wants.
  static std::vector<std::string> key_names(const Filter& filter, const std::vector<OrderBy>& order);

  template <class T>
  std::string bind(const T& value) {
    params_.add(value);
    return "$" + std::to_string(params_.size());
  }
  void where(const std::string& sql) { where_ += (where_.empty() ? "" : " AND ") + sql; }
  void where(const Filter& filter) { where(condition(filter)); }
  // For logged models: those with a point on one of the datasets, and only such points are compared with. Call first.
  void only_on(const std::vector<DatasetName>& datasets);
  void order_by(const std::vector<OrderBy>& order);
  // Continues after the row that a token tells of. Call after order_by().
  void after(const std::string& token);

  // SELECT of the id (of a logged model: text) and the sort values of the first rows: `wanted` of them or, so that the
  // texts of searches that differ in it only are few, up to twice as many.
  std::string sql(int64_t wanted) const;
  db::Params take_params() { return std::move(params_); }
  std::string token(const db::Rows& rows, int row) const;

 private:
  std::string condition(const Filter& filter);
  std::string run_condition(const Condition& condition);
  std::string experiment_condition(const Condition& condition);
  std::string model_condition(const Condition& condition);
  std::string measured_on(const DatasetName& dataset);
  std::string metric_of_run(const std::string& name);
  void add_metric_term(const std::string& value, bool descending);
  std::string keyed_condition(const Condition& condition);
  std::string compare(const std::string& expression, const Condition& condition);
  std::string compare_metric(const std::string& value, const Condition& condition);
  void add_term(const OrderBy& order);
  void add_column(const std::string& column, bool descending);
  std::string key_id(const std::string& name);
  std::string fingerprint() const;
  std::string beyond(size_t first, const std::vector<std::string>& bound, const SortValues& values) const;
  std::string select(const std::string& more) const;

  Subject subject_;
  KeyIds keys_;
  db::Params params_;
  std::string where_;
  std::string joins_;
  std::string points_;  // which points of logged models count
  std::vector<OrderBy> order_;
  std::vector<SortTerm> terms_;
  std::vector<std::string> branches_;  // each with a condition of its own; several are put together by UNION ALL
};

}  // namespace cairn::tracking
