#include "features/range.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "db/pool.h"

namespace cairn::features {
namespace {

using db::Params;
using db::Rows;
using db::Statement;
using simdjson::dom::element;

constexpr size_t kMaxEntities = 10'000;
constexpr int64_t kMaxPage = 10'000;
constexpr int64_t kMaxCells = 200'000;

void check(const Range& range, const std::vector<std::string>& keys) {
  if (range.references.empty()) throw invalid("name features of a feature view");
  for (const Reference& reference : range.references)
    if (reference.view != range.references.front().view)
      throw invalid("a range is of one feature view: ask for those of " + range.references.front().view->name +
                    " and of " + reference.view->name + " one after the other");
  if (keys.size() > kMaxEntities)
    throw invalid(fmt::format("a range is of at most {} entities at once, not {}", kMaxEntities, keys.size()));
}

// Columns by name, a cell at a time.
class Table {
 public:
  explicit Table(std::vector<std::string> names) : names_(std::move(names)), cells_(names_.size()) {
    for (std::string& column : cells_) column = "[";
  }
  void add(size_t column, std::string_view json) {
    if (cells_[column].size() > 1) cells_[column] += ',';
    cells_[column] += json;
  }
  // The first columns: who it is of.
  void add_keys(const std::vector<std::string>& values) {
    for (size_t i = 0; i < values.size(); ++i) add(i, values[i]);
  }
  std::string json(const std::optional<std::string>& next_page) const {
    std::string text;
    json::Writer out(text);
    out.begin_object();
    out.key("columns");
    out.begin_object();
    for (size_t i = 0; i < names_.size(); ++i) {
      out.key(names_[i]);
      out.raw(cells_[i] + "]");
    }
    out.end_object();
    out.field("next_page_token", next_page);
    out.end_object();
    return text;
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::string> cells_;
};

// For each entity its join keys' values, as they were given.
std::vector<std::vector<std::string>> given_keys(const FeatureView& view, const Columns& entities) {
  std::vector<std::vector<std::string>> given(row_count(entities));
  for (const Entity& entity : view.entities) {
    size_t row = 0;
    for (const element value : entities.find(entity.join_key)->second) given[row++].push_back(simdjson::minify(value));
  }
  return given;
}

std::vector<std::string> key_names(const FeatureView& view) {
  std::vector<std::string> names;
  for (const Entity& entity : view.entities) names.push_back(entity.join_key);
  return names;
}

// "3:1767225600000000": the third entity is read up to that microsecond.
struct Position {
  int64_t number = 1;
  std::optional<int64_t> after_us;
};

Position position_of(const std::optional<std::string>& token) {
  Position position;
  if (!token) return position;
  const char* end = token->data() + token->size();
  int64_t after = 0;
  const auto number = std::from_chars(token->data(), end, position.number);
  const auto time = number.ptr == end ? number : std::from_chars(number.ptr + 1, end, after);
  if (number.ec != std::errc() || number.ptr == end || *number.ptr != ':' || time.ec != std::errc() || time.ptr != end)
    throw invalid("the page_token '" + *token + "' is none that was given out");
  position.after_us = after;
  return position;
}

}  // namespace

// $1: view, $2: keys, $3 and $4: from when to before when, $5: rows, $6 and $7: the entity and the microsecond behind
// which the page begins. Entities come in their order, so that the LIMIT ends the look-ups.
constexpr Statement kRange{
    "read_feature_range",
    "SELECT k.number, h.event_time, h.created, h.doubles, h.integers, h.texts FROM (SELECT entity_key, number"
    " FROM unnest($2::text[]) WITH ORDINALITY u (entity_key, number) WHERE number >= $6 ORDER BY number) k"
    " CROSS JOIN LATERAL (SELECT DISTINCT ON (h.event_time) h.event_time, h.created, h.doubles, h.integers, h.texts"
    " FROM features.history h WHERE h.view_id = $1 AND h.entity_key = k.entity_key AND h.event_time >= $3::timestamptz"
    " AND h.event_time < $4::timestamptz AND (k.number > $6 OR $7::bigint IS NULL"
    " OR h.event_time > timestamptz 'epoch' + $7 * interval '1 microsecond')"
    " ORDER BY h.event_time, h.created DESC LIMIT $5) h ORDER BY k.number, h.event_time LIMIT $5"};

task<std::string> read_range(db::Pool& pool, Range range, const Columns& entities, RangePage page) {
  if (page.limit < 1 || page.limit > kMaxPage) throw invalid(fmt::format("limit must be between 1 and {}", kMaxPage));
  if (range.references.empty()) throw invalid("name features of a feature view");
  const FeatureView& view = *range.references.front().view;
  const std::vector<std::string> keys = entity_keys(view, entities);
  check(range, keys);
  const Position position = position_of(page.token);
  std::vector<std::string> names = key_names(view);
  const size_t times = names.size();
  names.insert(names.end(), {"event_timestamp", "created"});
  for (const Reference& reference : range.references) names.push_back(reference.feature->name);
  Table table(names);
  const auto given = given_keys(view, entities);
  // One more, which tells whether there is a next page.
  Params params =
      Params::of(int64_t{view.id}, keys, range.start, range.end, page.limit + 1, position.number, position.after_us);
  const Rows rows = co_await pool.query(kRange, std::move(params));
  const int count = std::min(rows.size(), static_cast<int>(page.limit));
  for (int i = 0; i < count; ++i) {
    table.add_keys(given[static_cast<size_t>(rows.integer(i, 0) - 1)]);
    table.add(times, json::quote(shown_time(rows.timestamp_us(i, 1))));
    table.add(times + 1, json::quote(shown_time(rows.timestamp_us(i, 2))));
    const StoredValues stored{rows.optional_numbers(i, 3), rows.optional_integers(i, 4), rows.optional_texts(i, 5)};
    for (size_t f = 0; f < range.references.size(); ++f)
      table.add(times + 2 + f, stored_json(*range.references[f].feature, stored).value_or("null"));
  }
  std::optional<std::string> next;
  if (rows.size() > count) next = fmt::format("{}:{}", rows.integer(count - 1, 0), rows.timestamp_us(count - 1, 1));
  co_return table.json(next);
}

namespace {

// $1 to $4 as above; $5: seconds a window, $6: windows before that the moving average takes, too; $7 and $8: whether
// each feature lies in the doubles, and its slot. Windows of whole days begin at midnight (UTC), whole weeks on
// Mondays.
constexpr Statement kWindows{
    "read_feature_windows",
    "WITH events AS (SELECT DISTINCT ON (k.number, h.event_time) k.number, h.event_time, h.doubles, h.integers"
    " FROM unnest($2::text[]) WITH ORDINALITY k (entity_key, number) JOIN features.history h ON h.view_id = $1"
    " AND h.entity_key = k.entity_key AND h.event_time >= $3::timestamptz AND h.event_time < $4::timestamptz"
    " ORDER BY k.number, h.event_time, h.created DESC),"
    " points AS (SELECT e.number, f.ordinal, date_bin(make_interval(secs => $5::float8), e.event_time,"
    " '2001-01-01 00:00:00+00') AS start, extract(epoch FROM e.event_time - $3::timestamptz)::float8 AS second,"
    " CASE WHEN f.in_doubles THEN e.doubles[f.slot] ELSE e.integers[f.slot]::float8 END AS value"
    " FROM events e CROSS JOIN unnest($7::bigint[], $8::bigint[]) WITH ORDINALITY g (in_doubles, slot, ordinal)"
    " CROSS JOIN LATERAL (SELECT g.in_doubles = 1, g.slot::int, g.ordinal) f (in_doubles, slot, ordinal))"
    " SELECT number, ordinal, start, count(*), avg(value), min(value), max(value), stddev_samp(value),"
    " ((max(ARRAY[second, value]))[2] - (min(ARRAY[second, value]))[2]) / nullif(max(second) - min(second), 0),"
    " regr_slope(value, second), sum(sum(value)) OVER w / sum(count(*)) OVER w"
    " FROM points WHERE value IS NOT NULL GROUP BY number, ordinal, start WINDOW w AS (PARTITION BY number, ordinal"
    " ORDER BY start RANGE BETWEEN make_interval(secs => $5::float8 * $6::bigint) PRECEDING AND CURRENT ROW)"
    " ORDER BY number, start, ordinal LIMIT $9"};

// The same of a view with a rollup of $10 seconds, whole buckets from the rollup where they are not marked. History is
// read for the ends of the range and for marked buckets, and for all of it while the view is not rolled up: then no
// bucket is whole. All is of one snapshot, in which what is not marked is rolled up. Sums of squares are around a
// mean each; put together, they are around the mean of all (`x`, `y`).
constexpr Statement kRolledWindows{
    "read_rolled_feature_windows",
    "WITH span AS (SELECT coalesce(b.first, $4::timestamptz) AS first, coalesce(b.last, $4::timestamptz) AS last,"
    " b.step"
    " FROM (SELECT) one LEFT JOIN LATERAL (SELECT s.step, date_bin(s.step, $3::timestamptz + s.step - interval"
    " '1 microsecond', '2001-01-01 00:00:00+00') AS first, date_bin(s.step, $4::timestamptz,"
    " '2001-01-01 00:00:00+00') AS last"
    " FROM features.feature_views v CROSS JOIN make_interval(secs => v.rollup_s) s (step)"
    " WHERE v.view_id = $1 AND v.rolled_up AND v.rollup_s = $10) b ON b.first < b.last),"
    " keys AS (SELECT number, entity_key FROM unnest($2::text[]) WITH ORDINALITY k (entity_key, number)),"
    " slots AS (SELECT ordinal, in_doubles = 1 AS in_doubles, slot::int AS slot"
    " FROM unnest($7::bigint[], $8::bigint[]) WITH ORDINALITY g (in_doubles, slot, ordinal)),"
    " marked AS MATERIALIZED (SELECT k.number, k.entity_key, m.bucket, m.bucket + s.step AS until FROM keys k"
    " CROSS JOIN span s CROSS JOIN LATERAL (SELECT m.bucket FROM features.rollup_marks m WHERE m.view_id = $1"
    " AND m.entity_key = k.entity_key AND m.bucket >= s.first AND m.bucket < s.last UNION SELECT r.bucket"
    " FROM features.rollups r WHERE r.view_id = $1 AND r.entity_key = k.entity_key AND r.bucket >= s.first"
    " AND r.bucket < s.last AND r.syy IS NULL) m),"
    " pieces AS (SELECT k.number, k.entity_key, $3::timestamptz AS since, s.first AS until FROM keys k, span s"
    " WHERE $3::timestamptz < s.first UNION ALL SELECT k.number, k.entity_key, s.last, $4::timestamptz FROM keys k,"
    " span s WHERE s.last < $4::timestamptz"
    " UNION ALL SELECT * FROM marked),"
    " points AS (SELECT p.number, g.ordinal, w.start, extract(epoch FROM h.event_time - w.start)::float8 AS second,"
    " CASE WHEN g.in_doubles THEN h.doubles[g.slot] ELSE h.integers[g.slot]::float8 END AS value FROM pieces p"
    " CROSS JOIN LATERAL (SELECT DISTINCT ON (h.event_time) h.event_time, h.doubles, h.integers"
    " FROM features.history h WHERE h.view_id = $1 AND h.entity_key = p.entity_key AND h.event_time >= p.since AND "
    "h.event_time < p.until"
    " ORDER BY h.event_time, h.created DESC) h CROSS JOIN LATERAL (SELECT date_bin(make_interval(secs => $5),"
    " h.event_time, '2001-01-01 00:00:00+00')) w (start) CROSS JOIN slots g),"
    " parts AS (SELECT number, ordinal, start, count(*)::float8 AS count, regr_avgy(value, second) AS avg,"
    " regr_avgx(value, second) AS avg_second, regr_syy(value, second) AS syy, regr_sxx(value, second) AS sxx,"
    " regr_sxy(value, second) AS sxy, min(value) AS min, max(value) AS max, min(ARRAY[second, value]) AS first,"
    " max(ARRAY[second, value]) AS last FROM points WHERE value IS NOT NULL GROUP BY number, ordinal, start"
    " UNION ALL SELECT k.number, g.ordinal, w.start, r.count, r.avg, r.avg_second + w.shift, r.syy, r.sxx, r.sxy,"
    " r.min, r.max, ARRAY[r.first_second + w.shift, r.first], ARRAY[r.last_second + w.shift, r.last]"
    " FROM keys k CROSS JOIN slots g CROSS JOIN span s CROSS JOIN LATERAL (SELECT * FROM features.rollups r"
    " WHERE r.view_id = $1 AND r.entity_key = k.entity_key AND r.in_doubles = g.in_doubles AND r.slot = g.slot"
    " AND r.bucket >= s.first AND r.bucket < s.last OFFSET 0) r CROSS JOIN LATERAL (SELECT d.start,"
    " extract(epoch FROM r.bucket - d.start)::float8 FROM date_bin(make_interval(secs => $5), r.bucket,"
    " '2001-01-01 00:00:00+00') d (start)) w (start, shift)"
    " WHERE NOT EXISTS (SELECT FROM marked m WHERE m.number = k.number AND m.bucket = r.bucket)),"
    " around AS (SELECT *, sum(count * avg) OVER g / sum(count) OVER g AS y,"
    " sum(count * avg_second) OVER g / sum(count) OVER g AS x FROM parts"
    " WINDOW g AS (PARTITION BY number, ordinal, start))"
    " SELECT number, ordinal, start, sum(count)::bigint, min(y), min(min), max(max),"
    " sqrt(sum(syy + count * (avg - y) ^ 2) / nullif(sum(count) - 1, 0)),"
    " ((max(last))[2] - (min(first))[2]) / nullif((max(last))[1] - (min(first))[1], 0),"
    " sum(sxy + count * (avg_second - x) * (avg - y)) / nullif(sum(sxx + count * (avg_second - x) ^ 2), 0),"
    " sum(sum(count * avg)) OVER w / sum(sum(count)) OVER w"
    " FROM around GROUP BY number, ordinal, start WINDOW w AS (PARTITION BY number, ordinal"
    " ORDER BY start RANGE BETWEEN make_interval(secs => $5 * $6::bigint) PRECEDING AND CURRENT ROW)"
    " ORDER BY number, start, ordinal LIMIT $9"};
constexpr const char* kMeasures[] = {"count", "avg", "min", "max", "stddev", "rate", "trend", "moving_avg"};

std::string number_json(const Rows& rows, int row, int column) {
  if (rows.is_null(row, column)) return "null";
  std::string text;
  append_json_of_double(text, ValueType::kDouble, rows.number(row, column));
  return text;
}

// The features that are numbers, as the statement takes them.
struct Numbers {
  std::vector<int64_t> in_doubles, slots;
  std::vector<std::string> names;
};

Numbers numbers_of(const Range& range) {
  Numbers numbers;
  for (const Reference& reference : range.references) {
    const Feature& feature = *reference.feature;
    if (slots_of(feature.type) == Slots::kTexts)
      throw invalid(
          fmt::format("feature {} is of type {}: windows are over numbers", feature.name, type_name(feature.type)));
    numbers.in_doubles.push_back(slots_of(feature.type) == Slots::kDoubles ? 1 : 0);
    numbers.slots.push_back(feature.slot);
    numbers.names.push_back(feature.name);
  }
  return numbers;
}

// Rows are one a feature, those of a window one after the other; the table has them side by side.
std::string windows_json(const FeatureView& view, const Columns& entities, const Numbers& numbers, bool moving,
                         const Rows& rows) {
  const size_t measures = std::size(kMeasures) - (moving ? 0 : 1);
  std::vector<std::string> names = key_names(view);
  const size_t first = names.size() + 1;
  names.emplace_back("window_start");
  for (const std::string& feature : numbers.names)
    for (size_t m = 0; m < measures; ++m) names.push_back(feature + "__" + kMeasures[m]);
  Table table(names);
  const auto given = given_keys(view, entities);
  for (int i = 0; i < rows.size();) {
    const int64_t number = rows.integer(i, 0), start = rows.timestamp_us(i, 2);
    table.add_keys(given[static_cast<size_t>(number - 1)]);
    table.add(first - 1, json::quote(shown_time(start)));
    for (size_t feature = 0; feature < numbers.names.size(); ++feature) {
      const bool there = i < rows.size() && rows.integer(i, 0) == number && rows.timestamp_us(i, 2) == start &&
                         rows.integer(i, 1) == static_cast<int64_t>(feature + 1);
      for (size_t m = 0; m < measures; ++m) {
        const std::string cell = m == 0  ? std::to_string(there ? rows.integer(i, 3) : 0)
                                 : there ? number_json(rows, i, static_cast<int>(3 + m))
                                         : "null";
        table.add(first + feature * measures + m, cell);
      }
      i += there ? 1 : 0;
    }
  }
  return table.json(std::nullopt);
}

}  // namespace

task<std::string> read_windows(db::Pool& pool, Range range, const Columns& entities, Windows windows) {
  if (!(windows.length_s >= 1e-3 && windows.length_s <= 366 * 86400.0))
    throw invalid("window_s must be between 0.001 and 31622400 seconds");
  if (windows.moving < 0 || windows.moving > 1000) throw invalid("moving_average must be between 1 and 1000 windows");
  if (range.references.empty()) throw invalid("name features of a feature view");
  const FeatureView& view = *range.references.front().view;
  const std::vector<std::string> keys = entity_keys(view, entities);
  check(range, keys);
  const Numbers numbers = numbers_of(range);
  Params params =
      Params::of(int64_t{view.id}, keys, range.start, range.end, windows.length_s,
                 std::max<int64_t>(windows.moving - 1, 0), numbers.in_doubles, numbers.slots, kMaxCells + 1);
  const bool rolled = view.rollup_s > 0 && std::fmod(windows.length_s, static_cast<double>(view.rollup_s)) == 0;
  if (rolled) params.add(view.rollup_s);
  const Statement& statement = rolled ? kRolledWindows : kWindows;
  const Rows rows = co_await pool.query(statement, std::move(params));
  if (rows.size() > kMaxCells)
    throw invalid(
        fmt::format("there are more than {} windows times features: ask for fewer entities, features or a "
                    "shorter time, or take longer windows",
                    kMaxCells));
  co_return windows_json(view, entities, numbers, windows.moving > 0, rows);
}

}  // namespace cairn::features
