#include "search/filter.h"

#include <fmt/format.h>

#include <map>

#include "base/error.h"
#include "base/json.h"

namespace cairn::search {
namespace {

using simdjson::dom::element;

constexpr int kMaxConditions = 100;
constexpr size_t kMaxListed = 256;

const std::map<std::string_view, const char*> kRanges = {{"gt", ">"}, {"gte", ">="}, {"lt", "<"}, {"lte", "<="}};

class Compiler {
 public:
  Compiler(const std::string& column, db::Params& params) : column_(column), params_(params) {}

  std::string condition(element filter) {
    if (++conditions_ > kMaxConditions)
      throw invalid(fmt::format("a filter has at most {} conditions", kMaxConditions));
    const std::string type = text(filter, "type");
    if (type == "and" || type == "or") return joined(filter, type);
    const std::string key = text(filter, "key");
    if (type == "exists") return has(key);
    element value;
    if (filter["value"].get(value) != simdjson::SUCCESS)
      throw invalid("the filter's condition '" + type + "' on '" + key + "' has no value");
    if (type == "eq") return equals(key, value);
    if (type == "ne") return "(" + has(key) + " AND NOT " + equals(key, value) + ")";
    if (type == "in") return listed(key, value);
    if (type == "nin") return "(" + has(key) + " AND NOT " + listed(key, value) + ")";
    if (const auto range = kRanges.find(type); range != kRanges.end()) return compared(key, range->second, value);
    throw invalid("a filter's type is eq, ne, gt, gte, lt, lte, in, nin, exists, and, or: not '" + type + "'");
  }

 private:
  static std::string text(element filter, const char* name) {
    std::string_view value;
    if (!filter.is_object() || filter[name].get(value) != simdjson::SUCCESS)
      throw invalid(fmt::format("a filter is an object with a text '{}', got {}", name, shown(filter)));
    return std::string(value);
  }

  static std::string shown(element value) {
    std::string json = simdjson::minify(value);
    if (json.size() > 80) json.resize(json.find_last_not_of("\x80\xbf", 77)), json += "…";
    return json;
  }

  static void require_scalar(element value, const std::string& key) {
    if (value.is_object() || value.is_array() || value.is_null())
      throw invalid("the filter compares '" + key + "' with a text, a number, true or false, not " + shown(value));
  }

  std::string bound(const std::string& json) {
    params_.add(db::Jsonb{json});
    return fmt::format("${}", params_.size());
  }

  std::string joined(element filter, const std::string& type) {
    simdjson::dom::array parts;
    if (filter["filters"].get(parts) != simdjson::SUCCESS || parts.size() == 0)
      throw invalid("a filter of type " + type + " has a list 'filters' that is not empty");
    std::string sql;
    for (const element part : parts) sql += (sql.empty() ? "(" : type == "and" ? " AND " : " OR ") + condition(part);
    return sql + ")";
  }

  std::string has(const std::string& key) {
    params_.add(key);
    return fmt::format("{} ? ${}::text", column_, params_.size());
  }

  // By containment, which the index on the metadata answers.
  std::string equals(const std::string& key, element value) {
    require_scalar(value, key);
    return fmt::format("{} @> {}", column_, bound("{" + json::quote(key) + ":" + simdjson::minify(value) + "}"));
  }

  std::string listed(const std::string& key, element value) {
    simdjson::dom::array values;
    if (value.get(values) != simdjson::SUCCESS || values.size() == 0 || values.size() > kMaxListed)
      throw invalid(fmt::format("the filter's list for '{}' has 1 to {} values", key, kMaxListed));
    std::string sql;
    for (const element one : values) sql += (sql.empty() ? "(" : " OR ") + equals(key, one);
    return sql + ")";
  }

  std::string compared(const std::string& key, const char* sign, element value) {
    if (!value.is_string() && !value.is_number())
      throw invalid("the filter compares '" + key + "' with a text or a number, not " + shown(value));
    params_.add(key);
    const std::string field = fmt::format("{} -> ${}::text", column_, params_.size());
    return fmt::format("(jsonb_typeof({0}) = '{1}' AND ({0}) {2} {3})", field, value.is_string() ? "string" : "number",
                       sign, bound(simdjson::minify(value)));
  }

  const std::string& column_;
  db::Params& params_;
  int conditions_ = 0;
};

}  // namespace

std::string filter_sql(element filter, const std::string& column, db::Params& params) {
  return Compiler(column, params).condition(filter);
}

std::string filter_json(const std::string& condition) {
  const size_t at = condition.find_first_of("=<>!");
  static const std::map<std::string, const char*> signs = {{"=", "eq"},   {"!=", "ne"}, {">", "gt"},
                                                           {">=", "gte"}, {"<", "lt"},  {"<=", "lte"}};
  const size_t behind = at == condition.npos ? at : condition.find_first_not_of("=<>!", at);
  const auto sign = at == condition.npos ? signs.end() : signs.find(condition.substr(at, behind - at));
  if (sign == signs.end() || at == 0)
    throw invalid("a condition is key=value (or != > >= < <=), got '" + condition + "'");
  std::string value = behind == condition.npos ? "" : condition.substr(behind);
  try {
    const json::Document parsed(value);
    if (parsed.root().is_object() || parsed.root().is_array() || parsed.root().is_null()) value = json::quote(value);
  } catch (const Error&) {
    value = json::quote(value);
  }
  return fmt::format(R"({{"type":"{}","key":{},"value":{}}})", sign->second, json::quote(condition.substr(0, at)),
                     value);
}

}  // namespace cairn::search
