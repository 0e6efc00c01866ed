#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "features/answer.h"

namespace cairn::features {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

constexpr size_t kMaxLookups = 1'000'000;

// Why the arrays stand in subqueries: docs/ARCHITECTURE.md.
// Columns: the definitions' version, the number of the lookup, the time that it is for, and what was found, else nulls.
constexpr Statement kLatest{
    "read_latest_features",
    "SELECT (SELECT version FROM features.definitions), k.number::int8, now(), l.event_time, l.doubles, l.integers,"
    " l.texts FROM unnest((SELECT $1::int[]), (SELECT $2::text[])) WITH ORDINALITY k (view_id, entity_key, number)"
    " LEFT JOIN features.latest l USING (view_id, entity_key)"};
// $3: a time for each lookup. $4: values that came to be known after that time count, too. $5: none that came to be
// known after this.
const std::string kAtTimeSql =
    "SELECT (SELECT version FROM features.definitions), k.number::int8, k.at, h.event_time, h.doubles, h.integers, "
    "h.texts"
    " FROM (SELECT view_id, entity_key, at::timestamptz AS at, number "
    "FROM unnest((SELECT $1::int[]), (SELECT $2::text[]), $3::text[])"
    " WITH ORDINALITY u (view_id, entity_key, at, number)) k LEFT JOIN LATERAL (" +
    event_at_time("k.view_id", "k.entity_key", "k.at",
                  " AND ($4 OR h.created <= k.at) AND h.created <= coalesce($5::timestamptz, 'infinity')") +
    ") h ON true";
const Statement kAtTime{"read_features_at_time", kAtTimeSql};

Found found_in(const Rows& rows, int row, double ttl_s) {
  Found found;
  if (rows.is_null(row, 3)) return found;
  const int64_t event_us = rows.timestamp_us(row, 3);
  found.event_us = event_us;
  found.age_us = rows.timestamp_us(row, 2) - event_us;
  if (ttl_s > 0 && static_cast<double>(found.age_us) > ttl_s * 1e6) {
    found.state = FoundState::kOutsideMaxAge;
    return found;
  }
  found.state = FoundState::kPresent;
  found.values = {rows.optional_numbers(row, 4), rows.optional_integers(row, 5), rows.optional_texts(row, 6)};
  return found;
}

Lookups lookups_of(const std::vector<const FeatureView*>& views, const Columns& columns, bool at_times) {
  const size_t rows = row_count(columns);
  if (rows * std::max<size_t>(views.size(), 1) > kMaxLookups)
    throw invalid(fmt::format("at most {} entities times feature views can be asked for at once", kMaxLookups));
  Lookups lookups;
  std::vector<std::optional<std::string>> times;
  if (at_times) times = times_of(columns, "event_timestamp", rows);
  if (std::ranges::any_of(times, [](const auto& time) { return !time; }))
    throw invalid("column event_timestamp is expected: for each row the time that its values are to be of");
  for (const FeatureView* view : views) {
    for (std::string& key : entity_keys(*view, columns)) {
      lookups.view_ids.push_back(view->id);
      lookups.keys.push_back(std::move(key));
    }
    lookups.times.insert(lookups.times.end(), times.begin(), times.end());
  }
  return lookups;
}

// Where each lookup's row is.
std::vector<int> rows_by_number(const Rows& rows) {
  std::vector<int> row_of(static_cast<size_t>(rows.size()));
  for (int i = 0; i < rows.size(); ++i) row_of[static_cast<size_t>(rows.integer(i, 1) - 1)] = i;
  return row_of;
}

}  // namespace

// A group's lookups, and a request that asks for more by itself, so that others do not wait for it.
constexpr size_t kMaxShared = 1000;

FeatureReader::FeatureReader(db::Pool& pool)
    : pool_(pool),
      latest_(
          "feature reader", kMaxShared, [](const Lookups& lookups) { return lookups.keys.size(); },
          [this](Latest::Group& group) { return look_up_latest(group); }) {}

task<> FeatureReader::look_up_latest(Latest::Group& group) {
  Lookups all;
  for (const auto& item : group) {
    all.view_ids.insert(all.view_ids.end(), item->input.view_ids.begin(), item->input.view_ids.end());
    all.keys.insert(all.keys.end(), item->input.keys.begin(), item->input.keys.end());
  }
  Params params = Params::of(all.view_ids, all.keys);
  Rows found = co_await pool_.query(kLatest, std::move(params));
  const auto rows = std::make_shared<const Rows>(std::move(found));
  const std::vector<int> row_of = rows_by_number(*rows);
  auto begin = row_of.begin();
  for (const auto& item : group) {
    const auto end = begin + static_cast<ptrdiff_t>(item->input.keys.size());
    item->output = {rows, {begin, end}};
    begin = end;
  }
}

task<LookedUp> FeatureReader::look_up(Lookups lookups, const std::optional<PointInTime>& point) {
  if (!point && lookups.keys.size() <= kMaxShared) co_return co_await latest_.submit(std::move(lookups));
  Params params = Params::of(lookups.view_ids, lookups.keys);
  if (point) params.add(lookups.times).add(point->late_too).add(point->known_by);
  Rows found = co_await pool_.query(point ? kAtTime : kLatest, std::move(params));
  LookedUp looked_up{std::make_shared<const Rows>(std::move(found)), {}};
  looked_up.row_of = rows_by_number(*looked_up.rows);
  co_return looked_up;
}

task<std::optional<std::string>> FeatureReader::read(const FeatureQuery& query, const Columns& columns,
                                                     const std::optional<PointInTime>& point, AnswerForm form) {
  Lookups lookups = lookups_of(query.views, columns, point.has_value());
  std::vector<Found> found(lookups.keys.size());
  if (found.empty()) co_return answer_of(form, query, columns, found);
  try {
    const LookedUp looked_up = co_await look_up(std::move(lookups), point);
    const Rows& rows = *looked_up.rows;
    if (rows.integer(0, 0) != query.definitions->version) co_return std::nullopt;
    const size_t entities = row_count(columns);
    for (size_t i = 0; i < found.size(); ++i)
      found[i] = found_in(rows, looked_up.row_of[i], query.views[i / entities]->ttl_s);
    co_return answer_of(form, query, columns, found);
  } catch (const db::DbError& error) {
    if (!error.sqlstate().starts_with("22")) throw;
    throw invalid("the times are not to be read: " + std::string(error.what()));
  }
}

}  // namespace cairn::features
