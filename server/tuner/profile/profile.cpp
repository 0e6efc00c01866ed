#include "tuner/profile/profile.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace cairn::tuner {
namespace {

struct Counted {
  const StatementRow* row;
  Counters counters;
  bool from_zero = false;
};

std::string id_of(const StatementRow& row) {
  if (row.hidden) return "hidden";
  return row.fingerprint.empty() ? "q" + std::to_string(row.queryid) : row.fingerprint;
}

double key_of(const Counters& counters, Order order) {
  switch (order) {
    case Order::kTotal:
      return counters.total_ms;
    case Order::kMean:
      return counters.mean_ms();
    case Order::kMax:
      return counters.max_ms;
    case Order::kCalls:
      return static_cast<double>(counters.calls);
    case Order::kRows:
      return static_cast<double>(counters.rows);
    case Order::kCache:
      return static_cast<double>(counters.shared_reads);
    case Order::kTemp:
      return static_cast<double>(counters.temp_blocks);
    case Order::kWal:
      return static_cast<double>(counters.wal_bytes);
  }
  return 0;
}

template <class T>
void add_new(std::vector<T>& values, const T& value) {
  if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
}

void add_to_group(StatementGroup& group, double& longest_ms, const Counted& counted) {
  const bool first = group.roles.empty();
  group.nested = (first || group.nested) && !counted.row->top_level;
  group.from_zero |= counted.from_zero;
  if (first)
    group.counters = counted.counters;
  else
    group.counters += counted.counters;
  if (!counted.row->hidden) add_new(group.queryids, counted.row->queryid);
  add_new(group.roles, counted.row->role);
  if (!first && counted.counters.total_ms <= longest_ms) return;
  longest_ms = counted.counters.total_ms;
  group.text = counted.row->text;
}

void group_statements(const std::vector<Counted>& statements, Order order, Profile& profile) {
  std::map<std::string, std::pair<StatementGroup, double>> groups;
  for (const Counted& counted : statements) {
    const std::string id = id_of(*counted.row);
    auto& [group, longest_ms] = groups[id];
    group.id = id;
    add_to_group(group, longest_ms, counted);
    if (counted.row->top_level) profile.all += counted.counters;
  }
  for (auto& [id, group] : groups) {
    if (profile.all.total_ms > 0) group.first.share = group.first.counters.total_ms / profile.all.total_ms;
    profile.groups.push_back(std::move(group.first));
  }
  std::stable_sort(profile.groups.begin(), profile.groups.end(), [order](const auto& a, const auto& b) {
    const double key_a = key_of(a.counters, order), key_b = key_of(b.counters, order);
    return key_a != key_b ? key_a > key_b : a.counters.total_ms > b.counters.total_ms;
  });
}

std::optional<double> ratio(int64_t hits, int64_t reads) {
  if (hits + reads <= 0) return std::nullopt;
  return static_cast<double>(hits) / static_cast<double>(hits + reads);
}

Profile head_of(const Reading& reading) {
  Profile profile;
  profile.database = reading.database;
  profile.server_version = reading.server_version;
  profile.extension_version = reading.extension_version;
  profile.taken_at_ms = reading.taken_at_ms;
  profile.notes = reading.notes;
  return profile;
}

void set_cache(const Reading* before, const Reading& after, Profile& profile) {
  const bool continued = before != nullptr && before->database_reset_at_ms == after.database_reset_at_ms &&
                         before->cache_hits <= after.cache_hits && before->cache_reads <= after.cache_reads;
  profile.cache_since_ms = continued ? before->taken_at_ms : after.database_reset_at_ms;
  profile.cache_hit_ratio = continued
                                ? ratio(after.cache_hits - before->cache_hits, after.cache_reads - before->cache_reads)
                                : ratio(after.cache_hits, after.cache_reads);
}

using Key = std::tuple<int64_t, int64_t, bool, bool>;

Key key_of(const StatementRow& row) { return {row.role_id, row.queryid, row.top_level, row.hidden}; }

bool begun_anew(const StatementRow& before, const StatementRow& after) {
  if (before.since_ms && after.since_ms && *before.since_ms != *after.since_ms) return true;
  return !has_grown(before.counters, after.counters);
}

bool has_hidden(const Reading& reading) {
  return std::any_of(reading.statements.begin(), reading.statements.end(), [](const auto& row) { return row.hidden; });
}

std::vector<Counted> changes(const Reading& before, const Reading& after, Profile& profile) {
  std::map<Key, const StatementRow*> earlier;
  for (const StatementRow& row : before.statements) earlier[key_of(row)] = &row;
  std::vector<Counted> statements;
  int64_t from_zero = 0;
  for (const StatementRow& row : after.statements) {
    const auto known = earlier.find(key_of(row));
    Counted counted{&row, row.counters};
    if (known != earlier.end()) {
      counted.from_zero = begun_anew(*known->second, row);
      from_zero += counted.from_zero;
      if (!counted.from_zero) counted.counters = since(known->second->counters, row.counters);
      earlier.erase(known);
    }
    if (counted.counters.calls > 0) statements.push_back(counted);
  }
  const int64_t evictions = after.evictions.value_or(0) - before.evictions.value_or(0);
  const std::string remedy = evictions > 0 ? "raise pg_stat_statements.max (it needs a restart)" : "";
  if (has_hidden(before) != has_hidden(after))
    profile.notes.push_back(
        {"other statements than at the snapshot may be read by this role: those that it did not "
         "see are shown with all that is counted",
         ""});
  if (from_zero > 0)
    profile.notes.push_back({fmt::format("{} statements were evicted or reset in between: they count from zero, and "
                                         "what they did before that is not known",
                                         from_zero),
                             remedy});
  if (!earlier.empty() && !after.extension_version.empty())
    profile.notes.push_back({fmt::format("{} statements were evicted or reset in between and have not run since: what "
                                         "they did is not known",
                                         earlier.size()),
                             remedy});
  return statements;
}

}  // namespace

Profile make_profile(const Reading& reading, Order order) {
  Profile profile = head_of(reading);
  profile.since_ms = reading.reset_at_ms;
  profile.evictions = reading.evictions;
  if (reading.evictions.value_or(0) > 0)
    profile.notes.push_back(
        {fmt::format("{} times the least used statements were evicted: what they did is not known", *reading.evictions),
         "raise pg_stat_statements.max (it needs a restart)"});
  set_cache(nullptr, reading, profile);
  std::vector<Counted> statements;
  for (const StatementRow& row : reading.statements) statements.push_back({&row, row.counters});
  group_statements(statements, order, profile);
  return profile;
}

Profile make_profile(const Reading& before, const Reading& after, Order order) {
  if (before.database_id != after.database_id || before.database != after.database)
    throw invalid(fmt::format("the snapshot is of database {} ({}), and this is {} ({})", before.database,
                              before.database_id, after.database, after.database_id));
  Profile profile = head_of(after);
  set_cache(&before, after, profile);
  // With the statistics of all statements gone, what is counted now was counted since then.
  const bool reset = before.reset_at_ms && after.reset_at_ms && *before.reset_at_ms != *after.reset_at_ms;
  if (reset) {
    profile.since_ms = after.reset_at_ms;
    profile.evictions = after.evictions;
    profile.notes.push_back({fmt::format("all statistics were reset at {:%Y-%m-%d %H:%M:%S} UTC: what ran before that "
                                         "is not known",
                                         fmt::gmtime(static_cast<time_t>(*after.reset_at_ms / 1000))),
                             ""});
    std::vector<Counted> statements;
    for (const StatementRow& row : after.statements) statements.push_back({&row, row.counters});
    group_statements(statements, order, profile);
    return profile;
  }
  profile.since_ms = before.taken_at_ms;
  if (before.evictions && after.evictions) profile.evictions = *after.evictions - *before.evictions;
  if (before.extension_version.empty()) {
    profile.notes.push_back({"the snapshot holds no statements: all that is counted now is shown", ""});
    profile.since_ms = after.reset_at_ms;
  }
  group_statements(changes(before, after, profile), order, profile);
  return profile;
}

}  // namespace cairn::tuner
