#include <algorithm>
#include <map>
#include <ostream>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "db/transaction.h"
#include "gc/api.h"
#include "gc/report.h"

namespace cairn::gc {
namespace {

using db::Params;
using db::Rows;
using db::Statement;
using std::chrono::steady_clock;

constexpr int kBatch = 100;
constexpr std::chrono::seconds kReportEvery{2};

// One row of what may go.
struct Candidate {
  int64_t experiment_id = 0;
  std::string id;
  std::string artifact_uri;
};

// How one kind of thing is found and removed. $1: the last key seen, $2: the time (ms) before which it was deleted, $3:
// the size of a batch. Columns: key, id, artifact URI, experiment.
struct Kind {
  const char* name;
  Statement find;
  Statement remove;
  int64_t Report::*removed;
};

// An experiment takes along what is in it, whenever that was deleted, and whether it was.
#define DELETED_BEFORE(row, time)                   \
  "((" row ".lifecycle_stage = 'deleted' AND " time \
  " <= $2) OR "                                     \
  "(e.lifecycle_stage = 'deleted' AND e.last_update_time <= $2 AND e.experiment_id <> 0))"

constexpr Kind kRuns{
    "run",
    {"gc_runs",
     "SELECT r.id::text, r.run_id::text, coalesce(nullif(r.artifact_uri, ''), "
     "'mlflow-artifacts:/' || r.experiment_id || '/' || r.run_id || '/artifacts'), r.experiment_id "
     "FROM tracking.training_runs r JOIN tracking.experiments e USING (experiment_id) "
     "WHERE r.id > coalesce(nullif($1, ''), '0')::bigint AND " DELETED_BEFORE(
         "r", "extract(epoch FROM coalesce(r.deleted_at, r.updated_at)) * 1000") " ORDER BY r.id LIMIT $3 "
                                                                                 "FOR UPDATE OF r SKIP LOCKED"},
    {"gc_remove_runs", "DELETE FROM tracking.training_runs WHERE run_id = ANY ($1)"},
    &Report::runs};

constexpr Kind kLoggedModels{
    "logged model",
    {"gc_logged_models",
     "SELECT l.model_id::text, l.model_id::text, coalesce(nullif(l.artifact_location, ''), "
     "'mlflow-artifacts:/' || l.experiment_id || '/models/' || l.model_id || '/artifacts'), l.experiment_id "
     "FROM tracking.logged_models l JOIN tracking.experiments e USING (experiment_id) "
     "WHERE l.model_id > $1 AND " DELETED_BEFORE("l", "l.last_updated_time") " ORDER BY l.model_id LIMIT $3 "
                                                                             "FOR UPDATE OF l SKIP LOCKED"},
    {"gc_remove_logged_models", "DELETE FROM tracking.logged_models WHERE model_id = ANY ($1)"},
    &Report::logged_models};

// Experiment 0 is always there. What is deleted may not be changed, so the last change is the deletion.
constexpr Kind kExperiments{
    "experiment",
    {"gc_experiments",
     "SELECT e.experiment_id::text, e.experiment_id::text, coalesce(nullif(artifact_location, ''), "
     "'mlflow-artifacts:/' || e.experiment_id), e.experiment_id FROM tracking.experiments e "
     "WHERE e.experiment_id > coalesce(nullif($1, ''), '0')::bigint AND lifecycle_stage = 'deleted' "
     "AND last_update_time <= $2 ORDER BY e.experiment_id LIMIT $3 FOR UPDATE SKIP LOCKED"},
    {"gc_remove_experiments", "DELETE FROM tracking.experiments WHERE experiment_id = ANY ($1::bigint[])"},
    &Report::experiments};

// A version names what it was made from by run, by logged model, or as a part of its paths.
constexpr Statement kReferences{
    "gc_references",
    "SELECT DISTINCT ON (p.part) p.part, m.model_name || '/' || v.version FROM registry.model_versions v "
    "JOIN registry.models m USING (model_id), unnest(string_to_array(translate(concat_ws('/', v.run_id, "
    "v.logged_model_id, v.source, v.storage_location), ':', '/'), '/')) AS p (part) "
    "WHERE p.part = ANY ($1) ORDER BY p.part"};
// Who was not locked by someone else, and not kept.
constexpr Statement kNotEmpty{
    "gc_experiments_with_content",
    "SELECT i.id FROM unnest($1::text[]) AS i (id) "
    "WHERE EXISTS (SELECT FROM tracking.training_runs r WHERE r.experiment_id = i.id::bigint) "
    "OR EXISTS (SELECT FROM tracking.logged_models l WHERE l.experiment_id = i.id::bigint)"};
constexpr Statement kAudit{"gc_audit",
                           "INSERT INTO audit.events (action, object_type, object_id) "
                           "SELECT 'gc', replace($1, ' ', '_'), id FROM unnest($2::text[]) AS i (id)"};

// None for what is in no place of this store, also where the URI is none that it could serve.
std::optional<std::string> place_of(const Candidate& candidate) {
  try {
    return artifacts::store_path(candidate.artifact_uri);
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Where in the store the artifacts are that belong to this run or logged model alone: …/ID/artifacts.
std::optional<std::string> own_directory(const Candidate& candidate) {
  const auto path = place_of(candidate);
  const std::string end = "/" + candidate.id + "/artifacts";
  if (!path || !("/" + *path).ends_with(end)) return std::nullopt;
  return path;
}

class Collector {
 public:
  Collector(db::Pool& pool, artifacts::ArtifactStore& store, const Options& options, std::ostream& progress)
      : pool_(pool), store_(store), progress_(progress), deleted_before_(now_ms() - options.older_than.count()) {
    report_.dry_run = options.dry_run;
  }

  task<Report> run() {
    co_await collect(kRuns);
    co_await collect(kLoggedModels);
    co_await collect(kExperiments);
    co_return std::move(report_);
  }

 private:
  struct Batch {
    std::string last_key;
    int found = 0;
    Report report;
    std::set<int64_t> experiments_kept;
  };

  task<> collect(const Kind& kind) {
    std::string last_key;
    for (;;) {
      auto body = [&](db::Transaction& tx) -> task<Batch> { co_return co_await collect_batch(tx, kind, last_key); };
      Batch batch = co_await db::with_transaction(pool_, db::Isolation::kReadCommitted, body);
      add(batch, kind);
      if (batch.found < kBatch) co_return;
      last_key = batch.last_key;
    }
  }

  task<Batch> collect_batch(db::Transaction& tx, const Kind& kind, const std::string& last_key) {
    Batch batch;
    const Rows rows = co_await tx.query(kind.find, Params::of(last_key, deleted_before_, kBatch));
    batch.found = rows.size();
    std::vector<Candidate> candidates;
    std::vector<std::string> ids;
    for (int row = 0; row < rows.size(); ++row) {
      batch.last_key = rows.text(row, 0);
      candidates.push_back({rows.integer(row, 3), rows.text(row, 1), rows.text(row, 2)});
      ids.push_back(candidates.back().id);
    }
    if (candidates.empty()) co_return batch;
    const std::map<std::string, std::string> keep = co_await reasons_to_keep(tx, kind, ids);
    std::vector<std::string> gone;
    for (const Candidate& candidate : candidates) {
      if (const auto reason = keep.find(candidate.id); reason != keep.end()) {
        batch.report.kept.add({kind.name, candidate.id, reason->second});
        batch.experiments_kept.insert(candidate.experiment_id);
        continue;
      }
      if (!co_await remove_artifacts(kind, candidate, batch)) continue;
      gone.push_back(candidate.id);
    }
    batch.report.*kind.removed = int64_t(gone.size());
    if (report_.dry_run || gone.empty()) co_return batch;
    std::vector<db::Query> last;
    last.push_back({kind.remove, Params::of(gone)});
    last.push_back({kAudit, Params::of(kind.name, gone)});
    co_await tx.run_and_commit(std::move(last));
    co_return batch;
  }

  task<std::map<std::string, std::string>> reasons_to_keep(db::Transaction& tx, const Kind& kind,
                                                           const std::vector<std::string>& ids) {
    std::map<std::string, std::string> reasons;
    if (&kind != &kExperiments) {
      const Rows rows = co_await tx.query(kReferences, Params::of(ids));
      for (int row = 0; row < rows.size(); ++row)
        reasons[rows.text(row, 0)] = "the model version " + rows.text(row, 1) + " was made from it";
      co_return reasons;
    }
    for (const std::string& id : ids)
      if (experiments_kept_.contains(std::stoll(id))) reasons[id] = "something in it was kept";
    if (report_.dry_run) co_return reasons;
    const Rows rows = co_await tx.query(kNotEmpty, Params::of(ids));
    for (int row = 0; row < rows.size(); ++row)
      reasons.try_emplace(rows.text(row, 0), "there is still something in it");
    co_return reasons;
  }

  // False when that failed, and the row must stay.
  task<bool> remove_artifacts(const Kind& kind, const Candidate& candidate, Batch& batch) {
    std::string error;
    try {
      task<bool> removing = &kind == &kExperiments ? remove_empty(candidate) : remove_own(candidate);
      if (co_await removing)
        ++batch.report.artifacts;
      else
        batch.report.elsewhere.add({kind.name, candidate.id, candidate.artifact_uri});
      co_return true;
    } catch (const Error& failure) {
      error = failure.what();
    }
    batch.report.failed.add({kind.name, candidate.id, error});
    batch.experiments_kept.insert(candidate.experiment_id);
    co_return false;
  }

  // False when the artifacts are not ours to remove.
  task<bool> remove_own(const Candidate& candidate) {
    const auto directory = own_directory(candidate);
    if (!directory) co_return false;
    if (report_.dry_run) co_return true;
    co_await store_.remove(*directory);
    const std::string parent = directory->substr(0, directory->rfind('/'));
    if (co_await is_empty(parent)) co_await store_.remove(parent);
    co_return true;
  }

  // An experiment's directory holds those of its runs and models, which went before it. What else is there belongs to
  // someone else: experiments may share a location.
  task<bool> remove_empty(const Candidate& candidate) {
    const auto directory = place_of(candidate);
    if (!directory || directory->empty()) co_return false;
    if (report_.dry_run) co_return true;
    const std::string models = *directory + "/models";
    if (co_await is_empty(models)) co_await store_.remove(models);
    if (!co_await is_empty(*directory)) co_return false;
    co_await store_.remove(*directory);
    co_return true;
  }

  task<bool> is_empty(std::string directory) {
    const std::vector<artifacts::Entry> entries = co_await store_.list(directory);
    co_return entries.empty();
  }

  void add(const Batch& batch, const Kind& kind) {
    report_.*kind.removed += batch.report.*kind.removed;
    report_.artifacts += batch.report.artifacts;
    add(batch.report.kept, report_.kept);
    add(batch.report.elsewhere, report_.elsewhere);
    add(batch.report.failed, report_.failed);
    experiments_kept_.insert(batch.experiments_kept.begin(), batch.experiments_kept.end());
    if (steady_clock::now() - last_progress_ < kReportEvery) return;
    last_progress_ = steady_clock::now();
    progress_ << kind.name << "s: " << report_.*kind.removed << std::endl;
  }
  static void add(const Report::List& from, Report::List& to) {
    for (const Report::Named& entry : from.first) to.add(entry);
  }

  db::Pool& pool_;
  artifacts::ArtifactStore& store_;
  std::ostream& progress_;
  const int64_t deleted_before_;
  Report report_;
  // Those that are not removed in the end.
  std::set<int64_t> experiments_kept_;
  steady_clock::time_point last_progress_ = steady_clock::now();
};

// A backup holds it exclusively: what its database names must still be there when it comes to the artifacts.
constexpr Statement kKeepBackupOut{"gc_lock", "SELECT pg_try_advisory_xact_lock_shared(x'636169726e67634'::bigint)"};

}  // namespace

task<int> collect(db::Pool& pool, artifacts::ArtifactStore& store, Options options, std::ostream& out,
                  std::ostream& progress) {
  db::Transaction lock(co_await pool.acquire(), db::Isolation::kReadCommitted);
  const Rows locked = co_await lock.query(kKeepBackupOut);
  if (!options.dry_run && !locked.boolean(0, 0))
    throw Error(ErrorCode::kResourceConflict, "a backup is being made, and must find what it names: try again later");
  Collector collector(pool, store, options, progress);
  const Report report = co_await collector.run();
  print(report, options.json, out);
  co_return report.failed.count > 0 ? 1 : 0;
}

}  // namespace cairn::gc
