// Training sets in bulk: rows with a time (the spine) and the features of their entities as they were then, streamed
// out of the database or made a table in it. A set with a name can be made again byte for byte: its spine, its
// specification, the database's snapshot and the SHA-256 of its CSV are kept (docs/formats/feature-store.md).
//
// Nothing is held in memory but a piece of the stream. All on the reactor's thread.
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "db/copy.h"
#include "db/pool.h"
#include "features/definitions.h"
#include "features/point_in_time.h"
#include "features/records.h"
#include "features/training_csv.h"
#include "http/message.h"

namespace cairn::features {

// Where the rows come from: one of them. Each has a column event_timestamp and the join keys; all columns are kept.
// A query runs in a read-only transaction, as cairn_reader where that role may be taken, and no other way.
struct Spine {
  std::optional<std::string> query;
  std::optional<std::string> table;  // schema.table
  std::unique_ptr<http::BodyStream> csv;
};

struct TrainingSetRequest {
  std::optional<std::string> name;  // to keep it by
  std::vector<std::string> features;
  std::optional<std::string> feature_service;
  bool full_names = false;
  PointInTime point;
  std::optional<std::string> to_table;  // schema.table, made; else CSV is streamed
};

struct TrainingSetReport {
  int64_t rows = 0, bytes = 0;
  std::string sha256;  // of the CSV; empty for a table without a name
};

// A training set's CSV. It is complete, and kept where it has a name, once next() has given nothing.
class TrainingSet : public http::BodyStream {
 public:
  ~TrainingSet() override;

  // What is made: of `spine`, by the newest definitions. Throws Error(kInvalidParameterValue) for what cannot be read
  // of the spine, Error(kResourceDoesNotExist) for unknown features, Error(kResourceConflict) for a name or a table
  // that is taken; then nothing was made.
  static task<std::unique_ptr<TrainingSet>> make(db::Pool& pool, TrainingSetRequest request, Spine spine);
  // What was kept. The stream's end throws Error(kResourceConflict) where it is not what it was.
  static task<std::unique_ptr<TrainingSet>> again(db::Pool& pool, std::string name);

  task<std::optional<std::string>> next() override;
  // Reads it to its end.
  task<TrainingSetReport> finish();
  const TrainingSetReport& report() const { return report_; }

 private:
  struct Hash;
  explicit TrainingSet(std::unique_ptr<db::CopySession> session);
  task<> begin(const TrainingSetRequest& request, Spine spine);
  task<> begin_kept(std::string specification);
  task<> read_months();
  task<> keep(const TrainingSetRequest& request, const std::string& spine);
  task<> begin_stream(std::string spine);
  task<std::string> read_lines();
  task<> end();
  std::string counted(std::string piece);

  std::unique_ptr<db::CopySession> session_;
  std::shared_ptr<const Definitions> definitions_;  // what query_ points into
  TrainingSetQuery query_;
  std::unique_ptr<BinaryReader> rows_;  // where there is a stream
  std::optional<TrainingCsv> csv_;      // of its rows
  std::unique_ptr<Hash> hash_;
  TrainingSetReport report_;
  std::optional<TrainingSetReport> expected_;  // when it is made again
  std::string name_, made_at_;
  std::optional<int64_t> kept_id_;
  bool began_ = false, ended_ = false;
};

// All that are kept, as JSON: {"training_sets": […]}; or one, with the runs that were trained on it.
task<std::string> list_training_sets(db::Pool& pool);
task<std::string> show_training_set(db::Pool& pool, std::string name);
// Its digest there is the beginning of its SHA-256. Throws Error(kResourceDoesNotExist).
task<> log_training_set(db::Pool& pool, std::string name, std::string run_id);
task<> remove_training_set(db::Pool& pool, std::string name);

}  // namespace cairn::features
