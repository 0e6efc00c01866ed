// Conditions on a function or a cast of a column, as conditions on the column itself: an index on it can serve those.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "tuner/rewrite/rewrite_rules.h"

namespace cairn::tuner {
namespace {

using std::chrono::sys_days;
using std::chrono::year_month_day;

// A function of a column that is the same for all its values between two moments.
struct Truncated {
  NamedColumn column = {};
  std::string column_sql = {};
  std::string function = {};  // as it is called, for the reason
  std::string unit = {};      // of date_trunc; empty: a day, and values are dates
  bool year = false;          // extract(year FROM …)
};

constexpr std::string_view kUnits[][2] = {{"hour", "1 hour"},   {"day", "1 day"},        {"week", "7 days"},
                                          {"month", "1 month"}, {"quarter", "3 months"}, {"year", "1 year"}};

std::string_view length_of(std::string_view unit) {
  for (const auto& [name, length] : kUnits)
    if (name == unit) return length;
  return {};
}

std::string string_constant(const Node& node) {
  const auto constant = as(node, "A_Const");
  const auto value = constant ? field(*constant, "sval") : std::nullopt;
  return value ? text_field(*value, "sval") : std::string();
}

// "int4" of pg_catalog.int4 or int4; empty for what has modifiers, bounds or a schema of its own.
std::string cast_type(const Node& cast) {
  const auto name = field(cast, "typeName");
  if (!name || field(*name, "typmods") || field(*name, "arrayBounds") || field(*name, "setof")) return {};
  std::vector<std::string> parts = strings(*name, "names");
  if (parts.size() == 2 && parts[0] == "pg_catalog") parts.erase(parts.begin());
  return parts.size() == 1 ? parts[0] : std::string();
}

std::optional<Truncated> truncated(const RewriteContext& context, const Node& node, const NameScope& scope) {
  Truncated made;
  std::optional<Node> argument;
  if (const auto cast = as(node, "TypeCast")) {
    if (cast_type(*cast) != "date") return std::nullopt;
    argument = field(*cast, "arg");
    made.function = "a cast to date";
  } else {
    const auto name = plain_call(node);
    const auto arguments = name ? list_field(*as(node, "FuncCall"), "args") : std::vector<Node>();
    if (!name || arguments.empty() || arguments.size() > 2) return std::nullopt;
    argument = arguments.back();
    made.function = *name + "()";
    const std::string unit = arguments.size() == 2 ? string_constant(arguments[0]) : std::string();
    if (*name == "date_trunc" && !length_of(unit).empty())
      made.unit = unit;
    else if ((*name == "extract" || *name == "date_part") && unit == "year")
      made.year = true;
    else if (*name != "date" || arguments.size() != 1)
      return std::nullopt;
  }
  const auto column = argument ? context.names.column(*argument, scope) : std::nullopt;
  const auto sql = column ? context.text.expression_text(*argument) : std::nullopt;
  if (!sql) return std::nullopt;
  const std::string& type = column->column->type;
  const bool days = type == "date" && made.year;
  if (type != "timestamp" && type != "timestamptz" && !days) return std::nullopt;
  made.column = *column;
  made.column_sql = *sql;
  return made;
}

// Whether an index holds the function already.
bool has_expression_index(const Truncated& truncated) {
  const std::string name = truncated.function.substr(0, truncated.function.find('('));
  return std::ranges::any_of(truncated.column.source->table->indexes, [&](const Index& index) {
    return std::ranges::any_of(index.definition.keys, [&](const IndexKey& key) {
      return key.is_expression && key.text.find(truncated.column.column->name) != std::string::npos &&
             (key.text.find(name) != std::string::npos || key.text.find("date") != std::string::npos);
    });
  });
}

std::optional<sys_days> iso_date(const std::string& text) {
  int year = 0;
  unsigned month = 0, day = 0;
  char rest = 0;
  if (text.size() != 10 || std::sscanf(text.c_str(), "%4d-%2u-%2u%c", &year, &month, &day, &rest) != 3 || year < 2 ||
      text[4] != '-' || text[7] != '-' || text.find_first_not_of("0123456789-") != std::string::npos)
    return std::nullopt;
  const year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  return date.ok() && year < 9999 ? std::optional(sys_days(date)) : std::nullopt;
}

std::string quoted(sys_days day) {
  const year_month_day date(day);
  return fmt::format("'{:04}-{:02}-{:02}'", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()));
}

// A value that the truncated column is compared with, as SQL; whether it is a plain date.
struct Bound {
  std::string sql = {};
  std::optional<sys_days> date = {};
};

std::optional<Bound> bound_of(const RewriteContext& context, const Node& node, const NameScope& scope) {
  const auto columns = context.names.columns_in(node, scope);
  const auto sql = columns && columns->empty() ? context.text.expression_text(node) : std::nullopt;
  if (!sql || !context.names.is_stable(node, scope)) return std::nullopt;
  Bound bound{.sql = *sql};
  if (const auto cast = as(node, "TypeCast")) {
    const auto inner = field(*cast, "arg");
    if (inner && cast_type(*cast) == "date") bound.date = iso_date(string_constant(*inner));
  } else {
    bound.date = iso_date(string_constant(node));
  }
  return bound;
}

struct Range {
  std::optional<Bound> low = {}, high = {};
  bool exact = false;  // an equality
  std::string op = {};
};

std::optional<Range> range_of(const RewriteContext& context, const Node& node, const NameScope& scope, Node& tested) {
  const auto expression = as(node, "A_Expr");
  const auto left = field(*expression, "lexpr"), right = field(*expression, "rexpr");
  if (!left || !right) return std::nullopt;
  Range range;
  if (text_field(*expression, "kind") == "AEXPR_BETWEEN") {
    const auto list = as(*right, "List");
    const std::vector<Node> bounds = list ? list_field(*list, "items") : std::vector<Node>();
    if (bounds.size() != 2) return std::nullopt;
    range = {.low = bound_of(context, bounds[0], scope), .high = bound_of(context, bounds[1], scope), .op = "between"};
    tested = *left;
    return range.low && range.high ? std::optional(range) : std::nullopt;
  }
  const auto compared = operation(node);
  if (!compared || !is_comparison(compared->name) || compared->name == "<>") return std::nullopt;
  const bool swapped = as(compared->right, "FuncCall").has_value() && !as(compared->left, "FuncCall");
  tested = swapped ? compared->right : compared->left;
  range.op = swapped ? mirrored(compared->name) : compared->name;
  const auto bound = bound_of(context, swapped ? compared->left : compared->right, scope);
  if (!bound) return std::nullopt;
  if (range.op != "<" && range.op != "<=") range.low = bound;
  if (range.op != ">" && range.op != ">=") range.high = bound;
  return range;
}

// c >= '2024-01-15' AND c < '2024-01-16': exactly the days of timestamps without a time zone.
std::optional<std::string> plain_days(const Truncated& value, const Range& range) {
  using std::chrono::days;
  if (!value.unit.empty() || value.year || value.column.column->type != "timestamp") return std::nullopt;
  if ((range.low && !range.low->date) || (range.high && !range.high->date)) return std::nullopt;
  std::string sql;
  if (range.low) sql = value.column_sql + " >= " + quoted(*range.low->date + days(range.op == ">" ? 1 : 0));
  if (range.high)
    sql += (sql.empty() ? "" : " AND ") + value.column_sql + " < " +
           quoted(*range.high->date + days(range.op == "<" ? 0 : 1));
  return sql;
}

// A range that holds at least what the condition does, to stand beside it.
std::string wide_range(const Truncated& value, const Range& range) {
  const bool zoned = value.column.column->type == "timestamptz";
  std::string low, high;
  if (value.unit.empty()) {
    const auto moved = [](const Bound& bound, int days) {
      if (bound.date) return quoted(*bound.date + std::chrono::days(days));
      const std::string cast = "(" + bound.sql + ")::date";
      return days == 0 ? cast : fmt::format("{} {} {}", cast, days < 0 ? '-' : '+', std::abs(days));
    };
    if (range.low) low = moved(*range.low, zoned ? -1 : 0);
    if (range.high) high = moved(*range.high, zoned ? 2 : 1);
  } else {
    const std::string type = zoned ? "timestamptz" : "timestamp";
    if (range.low) low = "(" + range.low->sql + ")::" + type + (zoned ? " - interval '1 day'" : "");
    if (range.high)
      high = "(" + range.high->sql + ")::" + type + " + interval '" + std::string(length_of(value.unit)) + "'" +
             (zoned ? " + interval '1 day'" : "");
  }
  std::string sql;
  if (!low.empty()) sql = value.column_sql + " >= " + low;
  if (!high.empty()) sql += (sql.empty() ? "" : " AND ") + value.column_sql + " <= " + high;
  return sql;
}

std::optional<std::string> year_range(const RewriteContext& context, const Truncated& value, const Node& node) {
  const auto compared = operation(node);
  const auto year = compared && compared->name == "=" ? context.text.integer(compared->right) : std::nullopt;
  if (!year || *year < 2 || *year > 9000) return std::nullopt;
  using std::chrono::January;
  const bool zoned = value.column.column->type == "timestamptz";
  const sys_days from = std::chrono::year(static_cast<int>(*year)) / January / 1;
  const sys_days to = std::chrono::year(static_cast<int>(*year) + 1) / January / 1;
  const std::chrono::days margin(zoned ? 1 : 0);
  return value.column_sql + " >= " + quoted(from - margin) + " AND " + value.column_sql + " < " + quoted(to + margin);
}

}  // namespace

void function_to_range(RewriteContext& context, const Node& node, const NameScope& scope, Position position) {
  Node tested = node;
  std::optional<Range> range;
  const auto compared = operation(node);
  auto value = compared ? truncated(context, compared->left, scope) : std::nullopt;
  const bool year = value && value->year;
  if (!year) {
    range = range_of(context, node, scope, tested);
    value = range ? truncated(context, tested, scope) : std::nullopt;
  }
  const auto span = value ? context.text.expression(node) : std::nullopt;
  if (!span || (value->year && !year) || has_expression_index(*value)) return;
  const bool zoned = value->column.column->type == "timestamptz";
  const auto exact = year ? year_range(context, *value, node) : plain_days(*value, *range);
  if (year && !exact) return;
  std::string sql = exact ? *exact : wide_range(*value, *range);
  RewriteSite site{
      .rule = "function-to-range",
      .reason = "an index on " + value->column.name() + " serves a range of it, but not " + value->function};
  if (exact && !zoned) {
    site.guarantee = "the days and years of " + value->column.name() + ", which has no time zone, are ranges of it";
  } else {
    sql += " AND " + context.text.text(*span);
    site.guarantee = "the condition itself stays, and the range beside it holds all that fulfils it";
    if (zoned)
      site.guarantee += " in every time zone: it is a day wider on either side, as " + value->column.name() +
                        " has no days but those of the session's time zone";
  }
  site.edits = {{*span, position == Position::kCondition ? sql : "(" + sql + ")"}};
  context.sites.push_back(std::move(site));
}

namespace {

struct Integers {
  std::string_view type;
  double least, most;
};
constexpr Integers kIntegers[] = {{"int2", -32768.0, 32767.0},
                                  {"int4", -2147483648.0, 2147483647.0},
                                  {"int8", -9007199254740992.0, 9007199254740992.0}};  // that a double holds

const Integers* integers_of(const std::string& type) {
  const auto found = std::ranges::find(kIntegers, type, &Integers::type);
  return found == std::end(kIntegers) ? nullptr : found;
}

// A constant of type numeric: 42.0, '42.5'::numeric, 42::numeric. Only what a double holds exactly enough.
std::optional<double> decimal(const StatementText& text, const Node& node) {
  std::string written;
  if (const auto cast = as(node, "TypeCast")) {
    const auto argument = field(*cast, "arg");
    if (!argument || cast_type(*cast) != "numeric") return std::nullopt;
    if (const auto whole = text.integer(*argument)) return static_cast<double>(*whole);
    written = string_constant(*argument);
  }
  const auto constant = as(node, "A_Const");
  const auto value = constant ? field(*constant, "fval") : std::nullopt;
  if (value) written = text_field(*value, "fval");
  if (written.empty() || written.size() > 15 || written.find_first_not_of("-0123456789.") != std::string::npos ||
      (value && written.find('.') == std::string::npos))
    return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(written.c_str(), &end);
  return *end == 0 ? std::optional(number) : std::nullopt;
}

bool is_canonical_integer(const std::string& text) {
  const size_t start = text.starts_with('-') ? 1 : 0;
  if (text == "0") return true;
  return text.size() > start && text.size() <= 16 && text[start] >= '1' && text[start] <= '9' &&
         text.find_first_not_of("0123456789", start) == std::string::npos;
}

bool is_canonical_uuid(const std::string& text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const char c = text[i];
    if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return true;
}

// integer_column > 4.5 compares as numeric, and an index on integers does not serve that.
void decimal_constant(RewriteContext& context, const Node& node, const Operation& compared, const NameScope& scope) {
  const auto column = context.names.column(compared.left, scope);
  const Integers* integers = column ? integers_of(column->column->type) : nullptr;
  const auto number = integers != nullptr ? decimal(context.text, compared.right) : std::nullopt;
  const auto span = number ? context.text.expression(node) : std::nullopt;
  const auto sql = span ? context.text.expression_text(compared.left) : std::nullopt;
  if (!sql || *number <= integers->least || *number >= integers->most) return;
  const std::string& op = compared.name;
  const bool whole = *number == std::floor(*number);
  if (!whole && (op == "=" || op == "<>")) return;
  const double rounded = op == ">" || op == "<=" ? std::floor(*number) : std::ceil(*number);
  context.sites.push_back(
      {.rule = "cast-on-column",
       .edits = {{*span, fmt::format("{} {} {:.0f}", *sql, op, whole ? *number : rounded)}},
       .reason = "compared with a numeric, " + column->name() + " is cast row by row and no index on it is used",
       .guarantee = column->name() + " has integers, of which the same ones fulfil both conditions"});
}

// column::text = '42'
void text_cast(RewriteContext& context, const Node& node, const Operation& compared, const NameScope& scope) {
  const auto cast = as(compared.left, "TypeCast");
  const auto argument = cast ? field(*cast, "arg") : std::nullopt;
  const auto column = argument ? context.names.column(*argument, scope) : std::nullopt;
  const std::string to = cast ? cast_type(*cast) : std::string();
  if (!column || (to != "text" && to != "varchar") || (compared.name != "=" && compared.name != "<>")) return;
  const std::string& type = column->column->type;
  const Integers* integers = integers_of(type);
  const bool label = column->column->category == 'E';
  if (integers == nullptr && type != "uuid" && !label) return;
  const auto span = context.text.expression(node);
  const auto sql = context.text.expression_text(*argument);
  const auto right = context.text.expression_text(compared.right);
  const std::string constant = string_constant(compared.right);
  if (!span || !sql || !right) return;
  const std::string tested = *sql + " " + compared.name + " ";
  RewriteSite site{.rule = "cast-on-column",
                   .edits = {{*span, tested + *right}},
                   .reason = "as text, " + column->name() + " is cast row by row and no index on it is used"};
  if (integers != nullptr && is_canonical_integer(constant)) {
    const double number = std::strtod(constant.c_str(), nullptr);
    if (number < integers->least || number > integers->most) return;
    site.edits[0].text = tested + constant;
    site.guarantee = "an integer has one text, and '" + constant + "' is that of one";
  } else if (type == "uuid" && is_canonical_uuid(constant)) {
    site.guarantee = "a uuid has one text, and the constant is that of one";
  } else if (label &&
             std::ranges::find(column->column->common, constant, &CommonValue::text) != column->column->common.end()) {
    site.guarantee = "'" + constant + "' is a label of the type " + type;
  } else if (as(compared.right, "ParamRef")) {
    site.edits[0].text = tested + *right + "::" + identifier(type);
    site.caveat = "a value that is no " + type +
                  " is an error then, where now it gives no rows, and one that is not "
                  "written as PostgreSQL writes it is found";
  } else {
    return;
  }
  context.sites.push_back(std::move(site));
}

// text_column::int = 42
void number_cast(RewriteContext& context, const Node& node, const Operation& compared, const NameScope& scope) {
  const auto cast = as(compared.left, "TypeCast");
  const auto argument = cast ? field(*cast, "arg") : std::nullopt;
  const auto column = argument ? context.names.column(*argument, scope) : std::nullopt;
  if (!column || column->column->category != 'S' || integers_of(cast_type(*cast)) == nullptr || compared.name != "=")
    return;
  const auto number = context.text.integer(compared.right);
  const auto span = context.text.expression(node);
  const auto sql = context.text.expression_text(*argument);
  if (!number || !span || !sql) return;
  context.sites.push_back({.rule = "cast-on-column",
                           .edits = {{*span, *sql + " = '" + std::to_string(*number) + "'"}},
                           .reason = "cast to a number row by row, " + column->name() + " is found by no index on it",
                           .caveat = "texts such as '0" + std::to_string(std::abs(*number)) + "' and ' " +
                                     std::to_string(*number) +
                                     "' are the same number, but not the same text: equal only where " +
                                     column->name() + " has numbers in their usual form"});
}

}  // namespace

void cast_on_column(RewriteContext& context, const Node& node, const NameScope& scope) {
  const auto compared = operation(node);
  if (!compared || !is_comparison(compared->name)) return;
  for (const Operation& each : {*compared, Operation{mirrored(compared->name), compared->right, compared->left}}) {
    decimal_constant(context, node, each, scope);
    text_cast(context, node, each, scope);
    number_cast(context, node, each, scope);
  }
}

}  // namespace cairn::tuner
