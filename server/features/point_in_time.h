// The SQL of a point in time: for rows with a time, the values of an entity as they were then.
//
// Of the events not after that time, not older than the view's ttl, and known by then, the latest; of its versions the
// last. A row of which nothing is known stays, with NULLs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "features/definitions.h"

namespace cairn::features {

// Values as they were at the time that each row gives in the column event_timestamp. What came to be known only later
// does not count: a model that is trained on it would know the future.
struct PointInTime {
  bool late_too = false;                // but let it count
  std::optional<std::string> known_by;  // nothing that came to be known after this: the same set, made again
};

// The one event that counts: a SELECT of event_time, created, doubles, integers, texts. `view`, `key` and `at` are SQL
// of the row that is looked up; `conditions`, SQL that begins with AND, may name the history's row as h.
std::string event_at_time(const std::string& view, const std::string& key, const std::string& at,
                          const std::string& conditions);

// Months of the history without a gap, each in a partition of its own: [from, to), as timestamptz reads it.
struct Months {
  std::string from, to;
  bool are_all = false;  // history has nothing outside
};
// One row, or none: from, to, and the default partition where that alone may have something outside. For a session in
// UTC.
inline constexpr const char* kMonths =
    "SELECT to_char(min(m), 'YYYY-MM-DD \"00:00:00+00\"'), to_char(max(m) + interval '1 month', 'YYYY-MM-DD "
    "\"00:00:00+00\"'), CASE WHEN count(*) = (SELECT count(*) - 1 FROM pg_inherits WHERE inhparent = "
    "'features.history'::regclass) THEN (SELECT partdefid::regclass::text FROM pg_partitioned_table WHERE partrelid ="
    " 'features.history'::regclass AND partdefid <> 0) END"
    " FROM (SELECT m, m - row_number() OVER (ORDER BY m) * interval '1 month' AS run FROM (SELECT"
    " to_date(substr(c.relname, 9), 'YYYY_MM')::timestamp AS m FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = 'features.history'::regclass AND c.relname ~ '^history_[0-9]{4}_[0-9]{2}$') p) r"
    " GROUP BY run ORDER BY count(*) DESC, run DESC LIMIT 1";

// A column of the rows that features are joined to.
struct SpineColumn {
  std::string name;
  std::string type;  // as format_type() writes it
};

struct TrainingSetQuery {
  std::vector<SpineColumn> columns;
  std::vector<Reference> references;
  std::vector<std::string> names;  // of all columns of the result: the spine's, then one for each reference
  bool late_too = false;
  std::optional<Months> months;             // as they are now: for speed alone
  bool known_by = false, snapshot = false;  // what is known is bounded by the session's settings below
};

// COPY takes no parameters, so these are settings of the session: a time, and a pg_snapshot.
inline constexpr const char* kKnownBySetting = "cairn.known_by";
inline constexpr const char* kSnapshotSetting = "cairn.snapshot";

// The training set's rows in the spine's order, each column with its type. `spine` is a relation with the columns
// number, at and columns text[].
std::string training_table_sql(const TrainingSetQuery& query, const std::string& spine);

// The same rows as they leave the database: the spine's columns in one array, then arrays of values, from which
// TrainingCsv makes text. To make it in PostgreSQL takes longer than to find the values.
struct PackedSet {
  struct Place {
    size_t array = 0;    // from 1: the row's columns come first
    size_t element = 0;  // from 1
  };
  std::string sql;
  size_t arrays = 0;
  std::vector<Place> places;  // of each reference
};
PackedSet packed_set_sql(const TrainingSetQuery& query, const std::string& spine);

// Reads all keys of the spine, so that one that cannot be read is found before anything is made.
std::string check_keys_sql(const TrainingSetQuery& query, const std::string& spine);

// The features' names, behind those that are given. Throws Error(kInvalidParameterValue) where one is there twice.
std::vector<std::string> result_names(std::vector<std::string> given, const std::vector<Reference>& references,
                                      bool full_names);
std::vector<const FeatureView*> views_of(const std::vector<Reference>& references);

}  // namespace cairn::features
