// Values in and out: the latest of each entity and view, and their history (docs/formats/feature-store.md).
#pragma once

#include <simdjson.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "db/batcher.h"
#include "features/definitions.h"
#include "features/point_in_time.h"

namespace cairn::features {

// A request's columns: name to one value a row.
using Columns = std::map<std::string, simdjson::dom::array, std::less<>>;

// The columns of {name: […], …}, all of one length. Throws Error(kInvalidParameterValue).
Columns columns_of(simdjson::dom::element object);
size_t row_count(const Columns& columns);

// The entity's key as it is stored: one join key's value itself, several as a JSON array. Throws
// Error(kInvalidParameterValue) where a column is missing or a value is null or of the wrong type.
std::vector<std::string> entity_keys(const FeatureView& view, const Columns& columns);

// The times of a column as text; absent where they are null, or the column is.
std::vector<std::optional<std::string>> times_of(const Columns& columns, const char* name, size_t rows);

// The arrays of one stored row.
struct StoredValues {
  std::vector<std::optional<double>> doubles;
  std::vector<std::optional<int64_t>> integers;
  std::vector<std::optional<std::string>> texts;
};

// Rows of a view as they are to be stored.
struct GivenRows {
  std::vector<std::string> keys;
  std::vector<std::optional<std::string>> event_times, created;  // text; absent: now
  std::vector<StoredValues> values;
};

// Throws Error(kInvalidParameterValue) that names the column and the row.
GivenRows given_rows(const FeatureView& view, const Columns& columns);

struct WriteTo {
  bool latest = true;
  bool history = true;
};

// All rows of all views in one transaction. An older event never overwrites a newer latest value; the same row again
// changes nothing. Throws Error(kInvalidParameterValue) for times that PostgreSQL does not read.
task<> write(db::Pool& pool, std::vector<std::pair<int32_t, GivenRows>> views, WriteTo to);

// What history has between two times, both inclusive, becomes latest where it is newer: what was pushed offline.
// Without a start: all of it. A transaction a view.
task<> materialize(db::Pool& pool, std::vector<int32_t> views, std::optional<std::string> start, std::string end);

// The feature's value as JSON; nothing where there is none.
std::optional<std::string> stored_json(const Feature& feature, const StoredValues& stored);
// RFC 3339, with as many digits of the second as it needs: 0, 3 or 6.
std::string shown_time(int64_t micros);

enum class AnswerForm {
  kFeast,    // {"metadata": …, "results": […]}: of each column a list of values, of statuses and of event times
  kColumns,  // {"columns": …, "views": …}: statuses, event times and ages once for each view
  kBinary,   // docs/formats/feature-columns.md
};

// What a request asks for, with what follows from it whatever the rows.
struct FeatureQuery {
  FeatureQuery(std::shared_ptr<const Definitions> definitions, std::vector<Reference> references,
               std::vector<std::string> given, bool full_names);

  std::shared_ptr<const Definitions> definitions;
  std::vector<Reference> references;
  std::vector<std::string> given;  // columns that the answer begins with: the join keys
  std::vector<const FeatureView*> views;
  std::vector<size_t> view_of;     // of each reference, among the views
  std::vector<std::string> names;  // of the answer's columns: given, then one for each reference
};

// A lookup for each view and row, view by view.
struct Lookups {
  std::vector<int32_t> view_ids;
  std::vector<std::string> keys;
  std::vector<std::optional<std::string>> times;  // of a point in time only
};

// Where each lookup's row is among `rows`, which several requests may share.
struct LookedUp {
  std::shared_ptr<const db::Rows> rows;
  std::vector<int> row_of;
};

class FeatureReader {
 public:
  explicit FeatureReader(db::Pool& pool);

  // The latest values, or those of a point in time. Values of all views are of one snapshot. Nothing when the
  // definitions have changed since: read them anew, and ask again.
  task<std::optional<std::string>> read(const FeatureQuery& query, const Columns& columns,
                                        const std::optional<PointInTime>& point, AnswerForm form);

 private:
  using Latest = db::Batcher<Lookups, LookedUp>;
  task<> look_up_latest(Latest::Group& group);
  task<LookedUp> look_up(Lookups lookups, const std::optional<PointInTime>& point);

  db::Pool& pool_;
  // Small requests that come at once share a statement: most of what it costs is to be sent and started.
  Latest latest_;
};

}  // namespace cairn::features
