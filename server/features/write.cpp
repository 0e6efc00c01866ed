#include <algorithm>

#include "base/error.h"
#include "db/transaction.h"
#include "features/values.h"
#include "features/write_sql.h"

namespace cairn::features {
namespace {

using db::Params;
using db::Statement;
using db::Transaction;

// $1: view; $2: its rows.
#define CAIRN_FEATURE_ROWS                                                                    \
  "WITH given AS (SELECT entity_key, coalesce(event_time::timestamptz, now()) AS event_time," \
  " coalesce(created::timestamptz, now()) AS created, doubles, integers, texts, number"       \
  " FROM unnest($2::features.given_row[]) WITH ORDINALITY g"                                  \
  " (entity_key, event_time, created, doubles, integers, texts, number)) "

constexpr Statement kLatest{"write_latest_features", CAIRN_FEATURE_ROWS CAIRN_WRITE_LATEST};
constexpr Statement kHistory{"write_feature_history", CAIRN_FEATURE_ROWS CAIRN_WRITE_HISTORY};

// What is not latest is an entity all the same.
constexpr Statement kNoteEntities{"note_feature_entities", "SELECT features.note_entities($1::bigint::int, $2)"};

Params params_of(int32_t view, const GivenRows& rows) {
  std::vector<Params> records;
  records.reserve(rows.keys.size());
  for (size_t i = 0; i < rows.keys.size(); ++i) {
    const StoredValues& values = rows.values[i];
    records.push_back(
        Params::of(rows.keys[i], rows.event_times[i], rows.created[i], values.doubles, values.integers, values.texts));
  }
  return Params::of(int64_t{view}, std::span<const Params>(records));
}

}  // namespace

task<> write(db::Pool& pool, std::vector<std::pair<int32_t, GivenRows>> views, WriteTo to) {
  std::ranges::sort(views, {}, &std::pair<int32_t, GivenRows>::first);
  auto body = [&](Transaction& transaction) -> task<> {
    std::vector<db::Query> queries;
    for (const auto& [view, rows] : views) {
      queries.push_back(to.latest ? db::Query{kLatest, params_of(view, rows)}
                                  : db::Query{kNoteEntities, Params::of(int64_t{view}, rows.keys)});
      if (to.history) queries.push_back({kHistory, params_of(view, rows)});
    }
    co_await transaction.run_and_commit(std::move(queries));
  };
  try {
    co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
  } catch (const db::DbError& error) {
    if (error.is_foreign_key_violation())
      throw not_found("FeatureViewNotFoundException: the feature view was just removed");
    if (error.sqlstate().starts_with("22")) throw invalid("a value cannot be stored: " + std::string(error.what()));
    throw;
  }
}

// $2 and $3: from when to when, both inclusive.
constexpr Statement kMaterialize{
    "materialize_features",
    "INSERT INTO features.latest AS l (view_id, entity_key, event_time, created, doubles, integers, texts)"
    " SELECT DISTINCT ON (entity_key) view_id, entity_key, event_time, created, doubles, integers, texts"
    " FROM features.history WHERE view_id = $1 AND event_time >= coalesce($2::timestamptz, '-infinity')"
    " AND event_time <= $3::timestamptz ORDER BY entity_key, event_time DESC, created DESC"
    " ON CONFLICT (view_id, entity_key) DO UPDATE SET event_time = excluded.event_time, created = excluded.created,"
    " doubles = excluded.doubles, integers = excluded.integers, texts = excluded.texts"
    " WHERE (excluded.event_time, excluded.created) > (l.event_time, l.created)"};

task<> materialize(db::Pool& pool, std::vector<int32_t> views, std::optional<std::string> start, std::string end) {
  try {
    for (const int32_t view : views) {
      Params params;
      params.add(int64_t{view}).add(start).add(end);
      co_await pool.query(kMaterialize, std::move(params));
    }
  } catch (const db::DbError& error) {
    if (error.sqlstate().starts_with("22"))
      throw invalid("start_ts and end_ts must be times: " + std::string(error.what()));
    throw;
  }
}

}  // namespace cairn::features
