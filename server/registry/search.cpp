#include "registry/search.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "base/json.h"
#include "registry/documents.h"
#include "registry/filter.h"

namespace cairn::registry {
namespace {

struct OrderKey {
  std::string_view name;
  std::string_view column;
  std::string_view type;
};

struct OrderColumn {
  OrderKey key;
  bool descending = false;
};

struct SearchTarget {
  const char* answer;    // name of the list
  const char* document;  // JSON of one row
  const char* from;
  FilterTarget filter;
  std::vector<OrderKey> order_keys;
  std::vector<OrderColumn> default_order;
  // Makes the order total.
  std::vector<OrderColumn> tie_break;
  const char* bad_order_key;
  const char* valid_order_keys;
};

const OrderKey kByName{"name", "m.model_name COLLATE \"C\"", "text"};

const SearchTarget& models() {
  static const OrderKey updated{"last_updated_timestamp", "m.last_updated_time", "bigint"};
  static const SearchTarget target{"registered_models",
                                   CAIRN_MODEL_JSON,
                                   "registry.models m",
                                   {{{"name", "m.model_name", false, true}}, "m.tags", "m.is_prompt", "{'name'}"},
                                   {kByName, updated, {"timestamp", updated.column, updated.type}},
                                   {},
                                   {{kByName}},
                                   "Invalid order by key '",
                                   "{'timestamp', 'name'}"};
  return target;
}

const SearchTarget& versions() {
  static const OrderKey updated{"last_updated_timestamp", "v.last_updated_time", "bigint"};
  static const OrderKey number{"version_number", "v.version", "bigint"};
  static const SearchTarget target{
      "model_versions",
      CAIRN_VERSION_JSON,
      "registry.models m JOIN registry.model_versions v USING (model_id)",
      {{{"name", "m.model_name", false, true},
        {"run_id", "coalesce(v.run_id, '')", false, true},
        {"source_path", "v.source", false, false},
        {"version_number", "v.version", true, false}},
       "v.tags",
       "(m.is_prompt OR coalesce(lower(v.tags ->> 'mlflow.prompt.is_prompt') = 'true', false))",
       "{'version_number', 'run_id', 'source_path', 'name'}"},
      {kByName, number, updated, {"creation_timestamp", "v.creation_time", "bigint"}},
      {{updated, true}},
      {{kByName}, {number, true}},
      "Invalid attribute key '",
      "{'version_number', 'creation_timestamp', 'last_updated_timestamp', 'name'}"};
  return target;
}

OrderColumn parse_order(const std::string& clause, const SearchTarget& target) {
  std::istringstream words(clause);
  std::string key, direction, more;
  words >> key >> direction >> more;
  if (key.empty() || clause.find(',') != std::string::npos)
    throw invalid("Invalid order_by clause '" + clause + "'. Could not be parsed.");
  std::ranges::transform(direction, direction.begin(), [](unsigned char c) { return std::toupper(c); });
  if ((!direction.empty() && direction != "ASC" && direction != "DESC") || !more.empty())
    throw invalid("Invalid ordering key in order_by clause '" + clause + "'.");
  for (const char* prefix : {"attribute.", "attributes."})
    if (key.starts_with(prefix)) key.erase(0, std::string_view(prefix).size());
  const auto found = std::ranges::find(target.order_keys, key, &OrderKey::name);
  if (found == target.order_keys.end())
    throw invalid(target.bad_order_key + key + "' specified. Valid keys are '" + target.valid_order_keys + "'");
  return {*found, direction == "DESC"};
}

// Each column once: a second mention cannot change the order.
std::vector<OrderColumn> order_of(const Search& search, const SearchTarget& target) {
  std::vector<OrderColumn> wanted;
  for (const std::string& clause : search.order_by) wanted.push_back(parse_order(clause, target));
  if (wanted.empty()) wanted = target.default_order;
  wanted.insert(wanted.end(), target.tie_break.begin(), target.tie_break.end());
  std::vector<OrderColumn> order;
  for (const OrderColumn& column : wanted) {
    const auto same = [&](const OrderColumn& other) { return other.key.column == column.key.column; };
    if (std::ranges::none_of(order, same)) order.push_back(column);
  }
  return order;
}

// A token is a JSON list of the last row's values in hexadecimal: text that no URL changes.
std::string make_token(const std::vector<std::string>& values) {
  std::string text;
  json::Writer writer(text);
  writer.begin_array();
  for (const std::string& value : values) writer.string(value);
  writer.end_array();
  std::string token;
  for (const unsigned char c : text) {
    token += "0123456789abcdef"[c >> 4];
    token += "0123456789abcdef"[c & 15];
  }
  return token;
}

std::vector<std::string> read_token(const std::string& token, const std::vector<OrderColumn>& order) {
  const auto bad = [&] { return invalid("Invalid page token: '" + token + "' is not one that this search gave."); };
  std::string text = R"({"t":)";
  if (token.size() % 2 != 0) throw bad();
  for (size_t at = 0; at < token.size(); at += 2) {
    const std::string_view digits = "0123456789abcdef";
    const size_t high = digits.find(token[at]), low = digits.find(token[at + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) throw bad();
    text += static_cast<char>(high << 4 | low);
  }
  std::vector<std::string> values;
  try {
    const json::Document document(text + "}");
    values = json::root_fields(document).strings("t");
  } catch (const Error&) {
    throw bad();
  }
  if (values.size() != order.size()) throw bad();
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t number = 0;
    const char* end = values[i].data() + values[i].size();
    const auto [stopped, error] = std::from_chars(values[i].data(), end, number);
    if (order[i].key.type != "text" && (error != std::errc() || stopped != end)) throw bad();
  }
  return values;
}

// Rows after the given one: the first column that differs decides.
std::string after(const std::vector<OrderColumn>& order, const std::vector<std::string>& values, db::Params& params) {
  std::string condition, equal;
  for (size_t i = 0; i < order.size(); ++i) {
    params.add(values[i]);
    const std::string column(order[i].key.column);
    const std::string value = "$" + std::to_string(params.size()) + "::text::" + std::string(order[i].key.type);
    condition += (i == 0 ? "(" : " OR (") + equal + column + (order[i].descending ? " < " : " > ") + value + ")";
    equal += column + " = " + value + " AND ";
  }
  return "(" + condition + ")";
}

task<std::string> run_search(db::Pool& pool, const SearchTarget& target, const Search& search) {
  db::Params params;
  const std::vector<OrderColumn> order = order_of(search, target);
  std::string where = compile_filter(search.filter, target.filter, params);
  if (!search.hidden.empty()) {
    params.add(search.hidden);
    where = "(" + where + ") AND m.model_name <> ALL ($" + std::to_string(params.size()) + ")";
  }
  if (!search.page_token.empty())
    where = "(" + where + ") AND " + after(order, read_token(search.page_token, order), params);
  std::string columns, order_by;
  for (const OrderColumn& column : order) {
    columns += ", (" + std::string(column.key.column) + ")::text";
    order_by += (order_by.empty() ? "" : ", ") + std::string(column.key.column) + (column.descending ? " DESC" : "");
  }
  const std::string sql = std::string("SELECT ") + target.document + columns + " FROM " + target.from + " WHERE " +
                          where + " ORDER BY " + order_by + " LIMIT " + std::to_string(search.max_results + 1);
  const db::Rows rows = co_await pool.query(db::Statement{"", sql}, std::move(params));
  std::string out;
  json::Writer writer(out);
  writer.begin_object();
  const int count = static_cast<int>(std::min<int64_t>(rows.size(), search.max_results));
  if (count > 0) {
    writer.key(target.answer);
    writer.begin_array();
    for (int row = 0; row < count; ++row) writer.raw(rows.text(row, 0));
    writer.end_array();
  }
  if (count > 0 && rows.size() > count) {
    std::vector<std::string> last;
    for (size_t i = 0; i < order.size(); ++i) last.push_back(rows.text(count - 1, static_cast<int>(i) + 1));
    writer.field("next_page_token", make_token(last));
  }
  writer.end_object();
  co_return out;
}

}  // namespace

task<std::string> search_models(db::Pool& pool, Search search) {
  co_return co_await run_search(pool, models(), search);
}
task<std::string> search_versions(db::Pool& pool, Search search) {
  co_return co_await run_search(pool, versions(), search);
}

}  // namespace cairn::registry
