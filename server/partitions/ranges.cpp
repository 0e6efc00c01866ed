#include "partitions/ranges.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "base/error.h"

namespace cairn::partitions {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

constexpr int kMostPartitions = 500;   // planning looks at each
constexpr int64_t kWorthOfOwn = 1000;  // rows of a value in the default partition

constexpr std::pair<By, std::string_view> kNames[] = {
    {By::kMonth, "month"}, {By::kWeek, "week"}, {By::kDay, "day"}, {By::kNumber, "number"}, {By::kList, "list"}};

}  // namespace

std::string_view by_name(By by) {
  return std::find_if(std::begin(kNames), std::end(kNames), [&](const auto& n) { return n.first == by; })->second;
}

By by_of(const std::string& name) {
  for (const auto& [by, known] : kNames) {
    if (known == name) return by;
  }
  throw invalid("a table is divided by month, week, day, number or list, not by '" + name + "'");
}

std::string strategy(By by) { return by == By::kList ? "LIST" : "RANGE"; }
std::string default_name(const std::string& table) { return fitted(table, "_default"); }

namespace {

// Read with standard_conforming_strings, which is PostgreSQL's default and which a session sets.
std::string literal(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "''" : std::string(1, c);
  return quoted + "'";
}

std::string range_bounds(const std::string& from, const std::string& to) {
  return "FROM (" + literal(from) + ") TO (" + literal(to) + ")";
}

}  // namespace

std::string condition(const Scheme& scheme, const Range& range) {
  const std::string column = db::quote_identifier(scheme.column);
  if (scheme.by == By::kList) return column + " = " + literal(range.from);
  return fmt::format("({0} >= {1} AND {0} < {2})", column, literal(range.from), literal(range.to));
}

// The first moment of each period between two, and of the one after it. $1, $2: times; $3: month, week or day; $4: how
// many more; $5: how a partition is named.
constexpr Statement kPeriods{"partitions_periods", R"(
SELECT to_char(p, $5), to_char(p, 'YYYY-MM-DD HH24:MI:SS"+00"'), to_char(p + s, 'YYYY-MM-DD HH24:MI:SS"+00"')
FROM (SELECT ('1 ' || $3)::interval) i (s), generate_series(date_trunc($3, $1::text::timestamp),
     date_trunc($3, $2::text::timestamp) + $4::int8 * s, s) p LIMIT 10000)"};

namespace {

void check_number(size_t number) {
  if (number > kMostPartitions)
    throw invalid(
        fmt::format("that would make over {} partitions, and every statement is planned over all of them: "
                    "divide by more at once (--by, --step)",
                    kMostPartitions));
}

task<std::vector<Range>> periods(Session& session, const std::string& table, const Scheme& scheme, std::string first,
                                 std::string last) {
  const char* format = scheme.by == By::kMonth ? "YYYY_MM" : scheme.by == By::kWeek ? "IYYY_\"w\"IW" : "YYYY_MM_DD";
  Params params = Params::of(first, last, by_name(scheme.by), scheme.ahead, format);
  const Rows rows = co_await session.query(kPeriods, std::move(params));
  std::vector<Range> ranges;
  for (int i = 0; i < rows.size(); ++i)
    ranges.push_back({fitted(table, "_" + rows.text(i, 0)), range_bounds(rows.text(i, 1), rows.text(i, 2)),
                      rows.text(i, 1), rows.text(i, 2)});
  co_return ranges;
}

std::vector<Range> numbers(const std::string& table, const Scheme& scheme, int64_t first, int64_t last) {
  const int64_t step = scheme.step;
  const auto floor = [&](int64_t n) { return (n >= 0 ? n / step : -((-(n + 1)) / step) - 1); };
  const int64_t from = floor(first), to = floor(last) + scheme.ahead;
  check_number(static_cast<size_t>(std::min<int64_t>(to - from, kMostPartitions + 1)));
  std::vector<Range> ranges;
  for (int64_t n = from; n <= to; ++n) {
    const std::string begin = std::to_string(n * step), end = std::to_string((n + 1) * step);
    std::string name = "_" + begin;
    std::replace(name.begin(), name.end(), '-', 'm');
    ranges.push_back({fitted(table, name), range_bounds(begin, end), begin, end});
  }
  return ranges;
}

// A value as part of a name.
std::string slug(const std::string& value) {
  std::string text;
  for (const char c : value.substr(0, 30)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    const bool upper = c >= 'A' && c <= 'Z';
    text += plain ? c : upper ? static_cast<char>(c - 'A' + 'a') : '_';
  }
  return text;
}

std::vector<Range> lists(const std::string& table, const std::vector<std::string>& values,
                         std::set<std::string> taken) {
  std::vector<Range> ranges;
  for (const std::string& value : values) {
    const std::string base = fitted(table, "_" + slug(value));
    std::string name = base;
    for (int n = 2; !taken.insert(name).second; ++n) name = fitted(base, "_" + std::to_string(n));
    ranges.push_back({name, "IN (" + literal(value) + ")", value, ""});
  }
  return ranges;
}

// Times before 1970 or far ahead are strays: they lie in the default partition.
std::string times_sql(const std::string& column, const std::string& table) {
  return fmt::format(
      "SELECT to_char(coalesce(min({0}) FILTER (WHERE {0} >= '1970-01-01'), now()), 'YYYY-MM-DD HH24:MI:SS.US'),"
      " to_char(greatest(max({0}) FILTER (WHERE {0} < now() + interval '1 year'), now()), 'YYYY-MM-DD HH24:MI:SS.US')"
      " FROM {1}",
      column, table);
}

}  // namespace

task<std::vector<Range>> wanted_ranges(Session& session, const TableFacts& facts, const Scheme& scheme) {
  const std::string column = db::quote_identifier(scheme.column);
  const std::string from = "ONLY " + facts.full_name();
  std::vector<Range> ranges;
  if (scheme.of_time()) {
    const Rows rows = co_await session.run(times_sql(column + "::timestamptz", from));
    ranges = co_await periods(session, facts.name, scheme, rows.text(0, 0), rows.text(0, 1));
  } else if (scheme.by == By::kNumber) {
    const Rows rows = co_await session.run(
        fmt::format("SELECT coalesce(min({0}), 0)::int8, coalesce(max({0}), 0)::int8 FROM {1}", column, from));
    ranges = numbers(facts.name, scheme, rows.integer(0, 0), rows.integer(0, 1));
  } else {
    const Rows rows = co_await session.run(fmt::format(
        "SELECT {0}::text FROM {1} GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {2}", column, from, kMostPartitions + 1));
    std::vector<std::string> values;
    for (int i = 0; i < rows.size(); ++i) values.push_back(rows.text(i, 0));
    ranges = lists(facts.name, values, {default_name(facts.name)});
  }
  check_number(ranges.size());
  co_return ranges;
}

constexpr Statement kPartitions{"partitions_of", R"(
SELECT c.oid::int8, c.relname::text, replace(b.bound, 'FOR VALUES ', ''),
       coalesce(substring(b.bound FROM $$FROM \('?([^')]*)'?\) TO$$), substring(b.bound FROM $$IN \('(.*)'\)$$), ''),
       coalesce(substring(b.bound FROM $$TO \('?([^')]*)'?\)$$), ''), b.bound = 'DEFAULT',
       greatest(c.reltuples, 0)::float8, pg_total_relation_size(c.oid)
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid)) b (bound)
WHERE i.inhparent = (SELECT t.oid FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
                     WHERE n.nspname = $1 AND t.relname = $2)
ORDER BY b.bound = 'DEFAULT', CASE WHEN b.bound ~ $$FROM \('?-?[0-9]+'?\)$$
  THEN substring(b.bound FROM $$FROM \('?(-?[0-9]+)$$)::numeric END, b.bound)"};

task<std::vector<Partition>> partitions_of(Session& session, const std::string& schema, const std::string& table) {
  Params params = Params::of(schema, table);
  const Rows rows = co_await session.query(kPartitions, std::move(params));
  std::vector<Partition> partitions;
  for (int i = 0; i < rows.size(); ++i)
    partitions.push_back({rows.integer(i, 0), rows.text(i, 1), rows.text(i, 2), rows.text(i, 3), rows.text(i, 4),
                          rows.boolean(i, 5), rows.number(i, 6), rows.integer(i, 7)});
  co_return partitions;
}

namespace {

// What lies in no partition of its own.
task<std::vector<Range>> periods_missing(Session& session, const std::string& table, const Scheme& scheme,
                                         std::string first) {
  Rows now = co_await session.run("SELECT to_char(now(), 'YYYY-MM-DD HH24:MI:SS')");
  if (first.empty()) first = now.text(0, 0);
  co_return co_await periods(session, table, scheme, first, now.text(0, 0));
}

task<std::vector<Range>> values_missing(Session& session, const std::string& rest, const std::string& table,
                                        const Scheme& scheme, std::set<std::string> taken) {
  const Rows rows = co_await session.run(
      fmt::format("SELECT {0}::text FROM {1} GROUP BY 1 HAVING count(*) >= {2} ORDER BY count(*) DESC LIMIT 24",
                  db::quote_identifier(scheme.column), rest, kWorthOfOwn));
  std::vector<std::string> values;
  for (int i = 0; i < rows.size(); ++i) values.push_back(rows.text(i, 0));
  co_return lists(table, values, std::move(taken));
}

}  // namespace

task<std::vector<Range>> missing_ranges(Session& session, const std::string& schema, const std::string& table,
                                        const Scheme& scheme) {
  const std::vector<Partition> partitions = co_await partitions_of(session, schema, table);
  std::string first, rest;
  std::set<std::string> taken, begun;
  for (const Partition& partition : partitions) {
    taken.insert(partition.name);
    if (partition.is_default) rest = qualified(schema, partition.name);
    if (!partition.is_default && first.empty()) first = partition.from;
    begun.insert(partition.from);
  }
  std::vector<Range> wanted;
  if (scheme.of_time()) {
    wanted = co_await periods_missing(session, table, scheme, first);
  } else if (scheme.by == By::kNumber) {
    const Rows rows = co_await session.run(fmt::format("SELECT coalesce(max({0}), 0)::int8 FROM {1}",
                                                       db::quote_identifier(scheme.column), qualified(schema, table)));
    const int64_t last = rows.integer(0, 0);
    wanted = numbers(table, scheme, first.empty() ? last : std::stoll(first), last);
  } else if (!rest.empty()) {
    wanted = co_await values_missing(session, rest, table, scheme, taken);
  }
  std::vector<Range> missing;
  for (Range& range : wanted) {
    // Bounds of a date have no hour.
    const bool there = begun.contains(range.from) || (scheme.of_time() && begun.contains(range.from.substr(0, 10))) ||
                       (scheme.of_time() && begun.contains(range.from.substr(0, 19)));
    if (!there) missing.push_back(std::move(range));
  }
  co_return missing;
}

}  // namespace cairn::partitions
