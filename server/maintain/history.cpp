#include "maintain/history.h"

#include "base/error.h"
#include "db/transaction.h"
#include "schema/migration.h"

namespace cairn::maintain {
namespace {

using db::Params;
using db::Rows;
using db::Statement;

constexpr const char* kDenied = "42501";
constexpr const char* kFormat = "cairn maintenance, format 1";
constexpr std::string_view kMigration = "maintenance";

constexpr Statement kExists{"maintain_exists", R"(/* cairn tune */
SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'maintenance')"};
constexpr Statement kRole{"maintain_role",
                          "/* cairn tune */ SELECT quote_ident(current_user), quote_ident(current_database())"};

}  // namespace

task<bool> History::exists() {
  const Rows rows = co_await pool_.query(kExists);
  if (rows.empty()) co_return false;
  if (rows.optional_text(0, 0) != kFormat)
    throw Error(ErrorCode::kInvalidState,
                "the schema maintenance of this database is not Cairn's (its comment is not '" + std::string(kFormat) +
                    "'): rename it, or use the version that made it");
  co_return true;
}

task<> History::prepare() {
  const bool there = co_await exists();
  if (there) co_return;
  std::string script;
  for (const schema::Migration& migration : schema::embedded())
    if (migration.name == kMigration) script = migration.up;
  bool denied = false;
  try {
    db::Transaction transaction(co_await pool_.acquire(), db::Isolation::kReadCommitted);
    for (const std::string& sql : schema::split_statements(script)) {
      const Statement statement{"", sql};
      co_await transaction.query(statement);
    }
    co_await transaction.commit();
  } catch (const db::DbError& error) {
    if (error.sqlstate() != kDenied) throw;
    denied = true;
  }
  if (!denied) co_return;
  const Rows role = co_await pool_.query(kRole);
  throw Error(
      ErrorCode::kPermissionDenied,
      "what is done is written to the schema maintenance, which this role may not make: as the database's owner, GRANT "
      "CREATE ON DATABASE " +
          role.text(0, 1) + " TO " + role.text(0, 0));
}

constexpr Statement kAddJob{"maintain_add_job", R"(/* cairn tune */
INSERT INTO maintenance.jobs (name, schedule, quiet_hours) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING)"};

task<> History::add_job(std::string name, std::string schedule, std::optional<std::string> quiet_hours) {
  Params params = Params::of(name, schedule, quiet_hours);
  co_await pool_.query(kAddJob, std::move(params));
}

constexpr Statement kJobs{"maintain_jobs", R"(/* cairn tune */
SELECT j.name, j.schedule, j.quiet_hours, j.enabled, extract(epoch FROM j.created_at)::int8,
       extract(epoch FROM r.started_at)::int8, coalesce(r.state, ''), coalesce(r.summary, '')
FROM maintenance.jobs j LEFT JOIN LATERAL (SELECT * FROM maintenance.runs r WHERE r.job = j.name
  ORDER BY r.started_at DESC LIMIT 1) r ON true ORDER BY j.name)"};

task<std::vector<JobRow>> History::jobs() {
  const Rows rows = co_await pool_.query(kJobs);
  std::vector<JobRow> jobs;
  for (int i = 0; i < rows.size(); ++i)
    jobs.push_back({.name = rows.text(i, 0),
                    .schedule = rows.text(i, 1),
                    .quiet_hours = rows.optional_text(i, 2),
                    .enabled = rows.boolean(i, 3),
                    .created_s = rows.integer(i, 4),
                    .last_started_s = rows.optional_integer(i, 5),
                    .last_state = rows.text(i, 6),
                    .last_summary = rows.text(i, 7)});
  co_return jobs;
}

constexpr Statement kChangeJob{"maintain_change_job", R"(/* cairn tune */
UPDATE maintenance.jobs SET schedule = coalesce($2, schedule), enabled = coalesce($4, enabled),
  quiet_hours = CASE WHEN $3::text IS NULL THEN quiet_hours ELSE nullif($3, '') END
WHERE name = $1)"};

task<> History::change_job(JobChange change) {
  Params params = Params::of(change.name, change.schedule, change.quiet_hours, change.enabled);
  const Rows rows = co_await pool_.query(kChangeJob, std::move(params));
  if (rows.affected() == 0) throw not_found("there is no job " + change.name + ": `cairn maintain jobs` lists them");
}

#define CAIRN_RUN                                                                                                    \
  "'run_id', run_id, 'job', job, 'trigger', trigger, 'role', role, 'started_at', (extract(epoch FROM started_at) * " \
  "1000)::int8, 'finished_at', (extract(epoch FROM finished_at) * 1000)::int8, 'state', state, 'summary', summary"

constexpr Statement kRuns{"maintain_runs",
                          "/* cairn tune */ SELECT coalesce(json_agg(json_build_object(" CAIRN_RUN
                          ", 'actions', actions) ORDER BY run_id DESC), '[]') FROM (SELECT r.*, (SELECT count(*) FROM "
                          "maintenance.actions a WHERE a.run_id = r.run_id) AS actions FROM maintenance.runs r "
                          "WHERE ($1::text IS NULL OR job = $1) AND ($2::int8 IS NULL OR run_id < $2) "
                          "ORDER BY run_id DESC LIMIT $3) r"};

task<std::string> History::runs(std::optional<std::string> job, std::optional<int64_t> before, int64_t limit) {
  Params params = Params::of(job, before, limit);
  const Rows rows = co_await pool_.query(kRuns, std::move(params));
  co_return rows.text(0, 0);
}

constexpr Statement kRun{
    "maintain_run",
    "/* cairn tune */ SELECT json_build_object(" CAIRN_RUN
    ", 'report', report, 'actions', (SELECT coalesce(json_agg(json_build_object('number', number, 'kind', "
    "kind, 'object', object, 'statement', statement, 'undo', undo, 'reason', reason, 'state', a.state, "
    "'error', error, 'seconds', seconds, 'bytes_before', bytes_before, 'bytes_after', bytes_after) "
    "ORDER BY number), '[]') FROM maintenance.actions a WHERE a.run_id = r.run_id)) "
    "FROM maintenance.runs r WHERE run_id = $1"};

task<std::string> History::run(int64_t run_id) {
  Params params = Params::of(run_id);
  const Rows rows = co_await pool_.query(kRun, std::move(params));
  if (rows.empty()) throw not_found("there is no run " + std::to_string(run_id) + " of maintenance");
  co_return rows.text(0, 0);
}

constexpr Statement kLastReport{"maintain_last_report", R"(/* cairn tune */
SELECT report::text FROM maintenance.runs WHERE job = $1 AND state = 'done' ORDER BY started_at DESC LIMIT 1)"};

task<std::optional<std::string>> History::last_report(std::string job) {
  Params params = Params::of(job);
  const Rows rows = co_await pool_.query(kLastReport, std::move(params));
  co_return rows.empty() ? std::nullopt : std::optional(rows.text(0, 0));
}

constexpr Statement kLastEnding{"maintain_last_ending", R"(/* cairn tune */
SELECT extract(epoch FROM started_at)::int8, state = 'done', coalesce(summary, '') FROM maintenance.runs
WHERE job = $1 AND state IN ('done', 'failed') ORDER BY started_at DESC LIMIT 1)"};

task<std::optional<Ending>> History::last_ending(std::string job) {
  Params params = Params::of(job);
  const Rows rows = co_await pool_.query(kLastEnding, std::move(params));
  if (rows.empty()) co_return std::nullopt;
  co_return Ending{.started_s = rows.integer(0, 0), .good = rows.boolean(0, 1), .summary = rows.text(0, 2)};
}

constexpr Statement kPurge{"maintain_purge", R"(/* cairn tune */
DELETE FROM maintenance.runs WHERE started_at < now() - interval '400 days' AND state <> 'running')"};

task<> History::purge() { co_await pool_.query(kPurge); }

constexpr Statement kLock{"maintain_lock", R"(/* cairn tune */
SELECT pg_try_advisory_lock(hashtext('cairn job'), hashtext($1)))"};
constexpr Statement kForgotten{"maintain_forgotten", R"(/* cairn tune */
UPDATE maintenance.runs SET state = 'interrupted', finished_at = clock_timestamp(), summary = 'killed, or its connection was lost'
WHERE job = $1 AND state = 'running')"};
constexpr Statement kBegin{"maintain_begin", R"(/* cairn tune */
INSERT INTO maintenance.runs (job, trigger) VALUES ($1, $2) RETURNING run_id)"};
constexpr Statement kName{"maintain_name", "/* cairn tune */ SELECT set_config('application_name', $1, false)"};

task<std::optional<Run>> Run::begin(db::Pool& pool, std::string job, std::string trigger) {
  auto connection = co_await db::Connection::connect(pool.options().connection_string);
  Params name = Params::of("cairn job " + job);
  co_await connection->query(kName, std::move(name));
  Params lock = Params::of(job);
  const Rows locked = co_await connection->query(kLock, std::move(lock));
  if (!locked.boolean(0, 0)) co_return std::nullopt;
  Run run(std::move(connection), job);
  Params forgotten = Params::of(job);
  co_await run.connection_->query(kForgotten, std::move(forgotten));
  Params begin = Params::of(job, trigger);
  const Rows id = co_await run.connection_->query(kBegin, std::move(begin));
  run.id_ = id.integer(0, 0);
  co_return std::optional<Run>(std::move(run));
}

constexpr Statement kPlan{"maintain_plan", R"(/* cairn tune */
INSERT INTO maintenance.actions (run_id, number, kind, object, statement, undo, reason)
VALUES ($1, $2::int8::int4, $3, $4, $5, $6, $7))"};

task<> Run::plan(const std::vector<Action>& actions) {
  std::vector<db::Query> queries;
  for (size_t i = 0; i < actions.size(); ++i) {
    const Action& action = actions[i];
    queries.push_back({kPlan, Params::of(id_, static_cast<int64_t>(i + 1), kind_name(action.kind), action.object,
                                         action.statement, action.undo, action.reason)});
  }
  if (!queries.empty()) co_await connection_->run(std::move(queries));
}

constexpr Statement kBeginAction{"maintain_begin_action", R"(/* cairn tune */
UPDATE maintenance.actions SET state = 'running', started_at = clock_timestamp(), bytes_before = $3
WHERE run_id = $1 AND number = $2::int8)"};

task<> Run::begin_action(int64_t number, const Action& action) {
  Params params = Params::of(id_, number, action.bytes);
  co_await connection_->query(kBeginAction, std::move(params));
}

constexpr Statement kEndAction{"maintain_end_action", R"(/* cairn tune */
UPDATE maintenance.actions SET state = $3, error = $4, bytes_after = $5,
  seconds = extract(epoch FROM clock_timestamp() - started_at)::float8
WHERE run_id = $1 AND number = $2::int8)"};

task<> Run::end_action(int64_t number, std::string state, std::string error, std::optional<int64_t> bytes_after) {
  Params params = Params::of(id_, number, state, error, bytes_after);
  co_await connection_->query(kEndAction, std::move(params));
}

constexpr Statement kFinish{"maintain_finish", R"(/* cairn tune */
UPDATE maintenance.runs SET state = $2, summary = $3, report = $4, finished_at = clock_timestamp() WHERE run_id = $1)"};
constexpr Statement kUnlock{"maintain_unlock", R"(/* cairn tune */
SELECT pg_advisory_unlock(hashtext('cairn job'), hashtext($1)))"};

task<> Run::finish(std::string state, std::string summary, std::string report) {
  Params params = Params::of(id_, state, summary, db::Jsonb{report});
  co_await connection_->query(kFinish, std::move(params));
  // A connection's end is not known to PostgreSQL at once.
  Params job = Params::of(job_);
  co_await connection_->query(kUnlock, std::move(job));
}

constexpr Statement kForget{"maintain_forget", "/* cairn tune */ DELETE FROM maintenance.runs WHERE run_id = $1"};

task<> Run::forget() {
  Params params = Params::of(id_);
  co_await connection_->query(kForget, std::move(params));
  Params job = Params::of(job_);
  co_await connection_->query(kUnlock, std::move(job));
}

}  // namespace cairn::maintain
