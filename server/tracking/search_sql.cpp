#include "tracking/search_sql.h"

#include <openssl/evp.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <set>

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"

namespace cairn::tracking {
namespace {

// The status as MLflow names it, which is what filters and orders mean.
constexpr const char* kStatus =
    "CASE r.status WHEN 'pending' THEN 'SCHEDULED' WHEN 'running' THEN 'RUNNING' WHEN 'succeeded' THEN 'FINISHED' "
    "WHEN 'failed' THEN 'FAILED' ELSE 'KILLED' END";

struct Column {
  std::string_view name;
  const char* sql;
  SortTerm::Type type;
  bool nullable;
};
constexpr Column kRunColumns[] = {{"run_id", "r.run_id", SortTerm::Type::kText, false},
                                  {"run_name", "r.run_name", SortTerm::Type::kText, false},
                                  {"status", kStatus, SortTerm::Type::kText, false},
                                  {"user_id", "r.user_id", SortTerm::Type::kText, false},
                                  {"artifact_uri", "r.artifact_uri", SortTerm::Type::kText, false},
                                  {"start_time", "r.start_time", SortTerm::Type::kInteger, true},
                                  {"end_time", "r.end_time", SortTerm::Type::kInteger, true}};
constexpr Column kExperimentColumns[] = {{"name", "e.name", SortTerm::Type::kText, false},
                                         {"experiment_id", "e.experiment_id", SortTerm::Type::kInteger, false},
                                         {"creation_time", "e.creation_time", SortTerm::Type::kInteger, false},
                                         {"last_update_time", "e.last_update_time", SortTerm::Type::kInteger, false}};
constexpr Column kModelColumns[] = {{"name", "l.name", SortTerm::Type::kText, false},
                                    {"model_id", "l.model_id", SortTerm::Type::kText, false},
                                    {"model_type", "l.model_type", SortTerm::Type::kText, false},
                                    {"status", "l.status", SortTerm::Type::kText, false},
                                    {"source_run_id", "l.source_run_id", SortTerm::Type::kText, true},
                                    {"experiment_id", "l.experiment_id", SortTerm::Type::kInteger, false},
                                    {"lifecycle_stage", "l.lifecycle_stage", SortTerm::Type::kText, false},
                                    {"creation_time", "l.creation_time", SortTerm::Type::kInteger, false},
                                    {"last_updated_time", "l.last_updated_time", SortTerm::Type::kInteger, false}};

std::span<const Column> columns_of(Subject subject) {
  if (subject == Subject::kRuns) return kRunColumns;
  if (subject == Subject::kLoggedModels) return kModelColumns;
  return kExperimentColumns;
}

const Column& find_column(Subject subject, std::string_view name) {
  for (const Column& column : columns_of(subject)) {
    if (column.name == name) return column;
  }
  throw Error(ErrorCode::kInternalError, "no column for the attribute " + std::string(name));
}

const char* operator_of(Comparator comparator) {
  switch (comparator) {
    case Comparator::kEqual:
      return " = ";
    case Comparator::kNotEqual:
      return " <> ";
    case Comparator::kLess:
      return " < ";
    case Comparator::kLessEqual:
      return " <= ";
    case Comparator::kGreater:
      return " > ";
    case Comparator::kGreaterEqual:
      return " >= ";
    case Comparator::kLike:
      return " LIKE ";
    case Comparator::kIlike:
      return " ILIKE ";
    case Comparator::kIn:
      return " = ANY ";
    case Comparator::kNotIn:
      return " <> ALL ";
    case Comparator::kIsNull:
      return " IS NULL";
    case Comparator::kIsNotNull:
      return " IS NOT NULL";
  }
  return " = ";
}

void collect_keys(const Filter& filter, std::set<std::string>& names) {
  const Entity entity = filter.condition.entity;
  if (filter.kind == Filter::Kind::kCondition && entity != Entity::kAttribute && entity != Entity::kDataset)
    names.insert(filter.condition.key);
  for (const Filter& child : filter.children) collect_keys(child, names);
}

Error bad_token() {
  return invalid(
      "Invalid page token: it was not given by a search with this order_by. Leave it out to begin at the first page.");
}

std::string decode_base64(const std::string& text) {
  std::string out(text.size(), '\0');
  const int length =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()),
                      static_cast<int>(text.size()));
  if (length < 0) throw bad_token();
  out.resize(static_cast<size_t>(length));
  for (size_t i = text.size(); i > 0 && text[i - 1] == '=' && !out.empty(); --i) out.pop_back();
  return out;
}

template <class T>
T exactly(const std::string& text) {
  T value{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) throw bad_token();
  return value;
}

std::string shortest(double value) {
  char buffer[40];
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
}

SortValues read_token(const std::string& token, const std::string& fingerprint) {
  const std::string decoded = decode_base64(token);
  SortValues values;
  try {
    const json::Document document(decoded);
    if (std::string_view(document.root()["order"]) != fingerprint) throw bad_token();
    for (const auto element : document.root()["after"].get_array()) {
      if (element.is_null()) {
        values.emplace_back();
      } else {
        values.emplace_back(std::string(std::string_view(element)));
        if (values.back()->find('\0') != std::string::npos) throw bad_token();
      }
    }
  } catch (const std::exception&) {
    throw bad_token();
  }
  return values;
}

}  // namespace

std::vector<std::string> SearchQuery::key_names(const Filter& filter, const std::vector<OrderBy>& order) {
  std::set<std::string> names;
  collect_keys(filter, names);
  for (const OrderBy& by : order) {
    if (by.entity != Entity::kAttribute) names.insert(by.key);
  }
  return {names.begin(), names.end()};
}

std::string SearchQuery::key_id(const std::string& name) {
  const auto found = keys_.find(name);
  return bind(found == keys_.end() ? int32_t{-1} : found->second);
}

std::string SearchQuery::condition(const Filter& filter) {
  if (filter.kind == Filter::Kind::kCondition) {
    if (subject_ == Subject::kRuns) return run_condition(filter.condition);
    if (subject_ == Subject::kLoggedModels) return model_condition(filter.condition);
    return experiment_condition(filter.condition);
  }
  if (filter.children.empty()) return "TRUE";
  std::string out = "(";
  for (const Filter& child : filter.children) {
    if (out.size() > 1) out += filter.kind == Filter::Kind::kAll ? " AND " : " OR ";
    out += condition(child);
  }
  return out + ")";
}

std::string SearchQuery::compare(const std::string& expression, const Condition& condition) {
  const std::string left = expression + operator_of(condition.comparator);
  if (condition.comparator == Comparator::kIsNull || condition.comparator == Comparator::kIsNotNull) return left;
  if (condition.comparator == Comparator::kIn || condition.comparator == Comparator::kNotIn)
    return left + "(" + bind(condition.texts) + ")";
  if (!condition.numeric) return left + bind(condition.text);
  // Whole numbers are compared as such: a bigint column's index can be used then.
  const bool whole = condition.entity == Entity::kAttribute && std::abs(condition.number) < 9007199254740992.0 &&
                     condition.number == std::floor(condition.number);
  // The type is written out: statements are prepared by their text, and PostgreSQL reads a parameter's bytes as the
  // type that it was prepared with.
  if (whole) return left + bind(static_cast<int64_t>(condition.number)) + "::bigint";
  return left + bind(condition.number) + "::double precision";
}

std::string SearchQuery::run_condition(const Condition& condition) {
  switch (condition.entity) {
    case Entity::kAttribute:
      return compare(find_column(subject_, condition.key).sql, condition);
    case Entity::kDataset:
      return "r.id IN (SELECT i.run FROM tracking.inputs i JOIN tracking.datasets d USING (dataset_id) WHERE " +
             compare(condition.key == "context" ? "i.tags ->> 'mlflow.data.context'" : "d." + condition.key,
                     condition) +
             ")";
    default:
      break;
  }
  if (keys_.contains(condition.key)) return keyed_condition(condition);
  return condition.comparator == Comparator::kIsNull ? "TRUE" : "FALSE";
}

// PostgreSQL takes NaN for the largest number; for IEEE, and so for MLflow, it compares as unequal only. `value` is
// written once, for reading it is most of the work.
std::string SearchQuery::compare_metric(const std::string& value, const Condition& condition) {
  const bool greater =
      condition.comparator == Comparator::kGreater || condition.comparator == Comparator::kGreaterEqual;
  return compare(greater ? "nullif(" + value + ", 'NaN')" : value, condition);
}

// The last value of a metric, from the run's document: a look-up in metric_series for each run takes twice as long.
std::string SearchQuery::metric_of_run(const std::string& name) {
  return "(r.metrics ->> " + bind(name) + "::text)::double precision";
}

std::string SearchQuery::keyed_condition(const Condition& condition) {
  if (condition.entity == Entity::kMetric) return compare_metric(metric_of_run(condition.key), condition);
  const std::string key = key_id(condition.key);
  const std::string table = condition.entity == Entity::kParam ? "tracking.params" : "tracking.tags";
  const std::string rows = "(SELECT v.run FROM " + table + " v WHERE v.key_id = " + key;
  if (condition.comparator == Comparator::kIsNotNull) return "r.id IN " + rows + ")";
  if (condition.comparator == Comparator::kIsNull)
    return "NOT EXISTS (SELECT 1 FROM " + table + " v WHERE v.run = r.id AND v.key_id = " + key + ")";
  if (condition.comparator != Comparator::kEqual)
    return "r.id IN " + rows + " AND " + compare("v.value", condition) + ")";
  // A value of fewer bytes is its own head: then the index alone answers.
  const std::string value = bind(condition.text);
  if (condition.text.size() < 128) return "r.id IN " + rows + " AND v.value_head = " + value + ")";
  return "r.id IN " + rows + " AND v.value_head = left(" + value + ", 128) AND v.value = " + value + ")";
}

std::string SearchQuery::experiment_condition(const Condition& condition) {
  if (condition.entity == Entity::kAttribute) {
    const std::string cast = condition.key == "experiment_id" ? "::text" : "";
    return compare(find_column(subject_, condition.key).sql + cast, condition);
  }
  return compare("(e.tags ->> " + bind(condition.key) + ")", condition);
}

std::string SearchQuery::measured_on(const DatasetName& dataset) {
  const std::string digest = dataset.digest.empty() ? "" : " AND p.dataset_digest = " + bind(dataset.digest);
  return "p.dataset_name = " + bind(dataset.name) + digest;
}

void SearchQuery::only_on(const std::vector<DatasetName>& datasets) {
  if (datasets.empty()) return;
  for (const DatasetName& dataset : datasets) points_ += (points_.empty() ? " AND (" : " OR ") + measured_on(dataset);
  points_ += ")";
  where("EXISTS (SELECT FROM tracking.logged_model_metrics p WHERE p.model_id = l.model_id" + points_ + ")");
}

std::string SearchQuery::model_condition(const Condition& condition) {
  switch (condition.entity) {
    case Entity::kAttribute: {
      const std::string cast = condition.key == "experiment_id" ? "::text" : "";
      return compare(find_column(subject_, condition.key).sql + cast, condition);
    }
    case Entity::kMetric:
      return "EXISTS (SELECT FROM tracking.logged_model_metrics p WHERE p.model_id = l.model_id AND p.key_id = " +
             key_id(condition.key) + points_ + " AND " + compare_metric("p.value", condition) + ")";
    case Entity::kParam:
      return compare("(l.params ->> " + bind(condition.key) + ")", condition);
    default:
      return compare("(l.tags ->> " + bind(condition.key) + ")", condition);
  }
}

void SearchQuery::add_column(const std::string& name, bool descending) {
  const Column& column = find_column(subject_, name);
  for (const SortTerm& term : terms_) {
    if (term.sql == column.sql) return;
  }
  terms_.push_back({column.sql, column.type, descending, column.nullable});
}

// Numbers, then NaN, then rows without the metric, in both directions.
void SearchQuery::add_metric_term(const std::string& value, bool descending) {
  terms_.push_back({"nullif(" + value + ", 'NaN')", SortTerm::Type::kNumber, descending, true});
  terms_.push_back({"(" + value + " IS NULL)::int", SortTerm::Type::kInteger, false, false});
}

void SearchQuery::add_term(const OrderBy& order) {
  if (order.entity == Entity::kAttribute) return add_column(order.key, order.descending);
  const std::string alias = "o" + std::to_string(terms_.size());
  if (subject_ == Subject::kLoggedModels) {
    joins_ +=
        " LEFT JOIN LATERAL (SELECT p.value FROM tracking.logged_model_metrics p WHERE p.model_id = l.model_id "
        "AND p.key_id = " +
        key_id(order.key) + (order.dataset.name.empty() ? "" : " AND " + measured_on(order.dataset)) +
        " ORDER BY p.timestamp DESC, p.step DESC, p.value DESC LIMIT 1) " + alias + " ON TRUE";
    return add_metric_term(alias + ".value", order.descending);
  }
  if (order.entity == Entity::kMetric) {
    // OFFSET 0 keeps the planner from writing the value out into each of its uses.
    joins_ += " CROSS JOIN LATERAL (SELECT " + metric_of_run(order.key) + " AS value OFFSET 0) " + alias;
    return add_metric_term(alias + ".value", order.descending);
  }
  const std::string table = order.entity == Entity::kParam ? "tracking.params" : "tracking.tags";
  joins_ += " LEFT JOIN " + table + " " + alias + " ON " + alias + ".run = r.id AND " + alias +
            ".key_id = " + key_id(order.key);
  terms_.push_back({alias + ".value", SortTerm::Type::kText, order.descending, true});
}

void SearchQuery::order_by(const std::vector<OrderBy>& order) {
  order_ = order;
  for (const OrderBy& by : order) add_term(by);
  if (subject_ == Subject::kRuns) {
    add_column("start_time", true);
    add_column("run_id", false);
  } else if (subject_ == Subject::kLoggedModels) {
    add_column("creation_time", true);
    add_column("model_id", false);
  } else {
    if (order.empty()) add_column("creation_time", true);
    add_column("experiment_id", order.empty());
  }
}

// A token is only good for the order that it was made in. The SQL does not tell it: names are bound there.
std::string SearchQuery::fingerprint() const {
  std::string all;
  json::Writer writer(all);
  writer.begin_array();
  writer.integer(static_cast<int64_t>(subject_));
  for (const OrderBy& by : order_) {
    writer.integer(static_cast<int64_t>(by.entity));
    for (const std::string* part : {&by.key, &by.dataset.name, &by.dataset.digest}) writer.string(*part);
    writer.boolean(by.descending);
  }
  writer.end_array();
  uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : all) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return std::to_string(hash);
}

// True of the rows that come after the given values, of which those before `first` are equal.
std::string SearchQuery::beyond(size_t first, const std::vector<std::string>& bound, const SortValues& values) const {
  std::string out, equal;
  for (size_t i = first; i < terms_.size(); ++i) {
    const std::string& sql = terms_[i].sql;
    if (values[i]) {
      std::string later = sql + (terms_[i].descending ? " < " : " > ") + bound[i];
      if (terms_[i].nullable && i > 0) later = "(" + later + " OR " + sql + " IS NULL)";
      out += (out.empty() ? "" : " OR ") + equal + later;
    }
    equal += sql + (values[i] ? " = " + bound[i] : " IS NULL") + " AND ";
  }
  return out.empty() ? "FALSE" : "(" + out + ")";
}

void SearchQuery::after(const std::string& token) {
  const SortValues values = read_token(token, fingerprint());
  if (values.size() != terms_.size()) throw bad_token();
  std::vector<std::string> bound(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) {
      if (!terms_[i].nullable) throw bad_token();
      continue;
    }
    switch (terms_[i].type) {
      case SortTerm::Type::kInteger:
        bound[i] = bind(exactly<int64_t>(*values[i]));
        break;
      case SortTerm::Type::kNumber:
        bound[i] = bind(exactly<double>(*values[i]));
        break;
      case SortTerm::Type::kText:
        bound[i] = bind(*values[i]);
        break;
    }
  }
  const std::string& first = terms_[0].sql;
  if (!values[0]) {
    branches_ = {" AND " + first + " IS NULL AND " + beyond(1, bound, values)};
    return;
  }
  // The bound on the first value says nothing new, but an index can begin at it; so NULLs have a branch of their own.
  branches_ = {" AND " + first + (terms_[0].descending ? " <= " : " >= ") + bound[0] + " AND " +
               beyond(0, bound, values)};
  if (terms_[0].nullable) branches_.push_back(" AND " + first + " IS NULL");
}

std::string SearchQuery::select(const std::string& more) const {
  std::string out = subject_ == Subject::kRuns           ? "SELECT r.id"
                    : subject_ == Subject::kLoggedModels ? "SELECT l.model_id"
                                                         : "SELECT e.experiment_id";
  for (const SortTerm& term : terms_) out += ", " + term.sql;
  out += subject_ == Subject::kRuns           ? " FROM tracking.training_runs r"
         : subject_ == Subject::kLoggedModels ? " FROM tracking.logged_models l"
                                              : " FROM tracking.experiments e";
  return out + joins_ + " WHERE " + where_ + more;
}

std::string SearchQuery::sql(int64_t wanted) const {
  // NULLS LAST only where there may be one: with it, the index of a column that has none does not give the order.
  std::string order = " ORDER BY ";
  for (size_t i = 0; i < terms_.size(); ++i) {
    order += (i == 0 ? "" : ", ") + std::to_string(i + 2) + (terms_[i].descending ? " DESC" : " ASC") +
             (terms_[i].nullable ? " NULLS LAST" : "");
  }
  // Written out, because the best plan depends on it: a bound one would be planned anew each time.
  const std::string end = order + " LIMIT " + std::to_string(std::bit_ceil(static_cast<uint64_t>(wanted)));
  if (branches_.empty()) return select("") + end;
  if (branches_.size() == 1) return select(branches_[0]) + end;
  return "(" + select(branches_[0]) + end + ") UNION ALL (" + select(branches_[1]) + end + ")" + end;
}

std::string SearchQuery::token(const db::Rows& rows, int row) const {
  std::string out;
  json::Writer writer(out);
  writer.begin_object();
  writer.field("order", fingerprint());
  writer.key("after");
  writer.begin_array();
  for (size_t i = 0; i < terms_.size(); ++i) {
    const int column = static_cast<int>(i) + 1;
    if (rows.is_null(row, column)) {
      writer.null();
    } else if (terms_[i].type == SortTerm::Type::kText) {
      writer.string(rows.view(row, column));
    } else if (terms_[i].type == SortTerm::Type::kInteger) {
      writer.string(std::to_string(rows.integer(row, column)));
    } else {
      writer.string(shortest(rows.number(row, column)));
    }
  }
  writer.end_array();
  writer.end_object();
  return base64(out);
}

}  // namespace cairn::tracking
