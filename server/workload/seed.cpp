// The registry's data: every value is drawn from a hash of the seed, the row's number and the purpose, so that the
// same seed and scale give the same rows on any machine, relative to the time of seeding.
//
// Things have happened in an order that could be true: a version is younger than its model, a deployment than its
// version, and a run that made a version is older than it.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <span>

#include "base/error.h"
#include "base/reactor.h"
#include "db/transaction.h"
#include "workload/api.h"

namespace cairn::workload {
namespace {

using db::Params;
using db::Statement;

// In the order in which they may be filled.
const std::vector<std::string> kTables = {"environments", "models",        "model_versions",
                                          "deployments",  "training_runs", "approvals"};

struct Sizes {
  int64_t models, versions, deployments, runs, experiments;
};

// What happens grows with the scale; what there is (models, experiments) grows slower.
Sizes sizes(double scale) {
  const auto of = [](double rows) { return std::max<int64_t>(3, std::llround(rows)); };
  const double root = std::sqrt(scale);
  return {of(500 * root), of(2000 * scale), of(20000 * scale), of(50000 * scale), of(60 * root)};
}

// One seed at a time; and the settings under which a large one may take its time.
constexpr Statement kLock{"workload_lock",
                          "SELECT pg_advisory_xact_lock(hashtext('cairn workload seed'), 0), "
                          "set_config('statement_timeout', '0', true)"};

// $1: the names. What an unqualified name finds, and whether it is a table of an earlier seed.
constexpr Statement kExisting{"workload_existing", R"(
SELECT n.nspname, c.relname,
       c.relkind = 'r' AND coalesce(obj_description(c.oid, 'pg_class') LIKE 'Made by cairn workload seed%', false)
FROM unnest($1::text[]) AS t(name) JOIN pg_class c ON c.oid = to_regclass(t.name)
     JOIN pg_namespace n ON n.oid = c.relnamespace)"};

// Rows are drawn by number and purpose; the last tells apart what is drawn for one row.
constexpr Statement kFunctions[] = {
    {"workload_chance", R"(
CREATE FUNCTION pg_temp.chance(seed bigint, number bigint, purpose int) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (hashint8extended(number, seed * 1000 + purpose) & 4503599627370495)::float8 / 4503599627370496.0::float8 $$)"},
    {"workload_id", R"(
CREATE FUNCTION pg_temp.id_of(seed bigint, kind text, number bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT md5(kind || seed::text || '/' || number::text)::uuid $$)"},
    {"workload_model_name", R"(
CREATE FUNCTION pg_temp.model_name(rank bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT (ARRAY['fraud-detection', 'churn-prediction', 'product-recommender', 'search-ranking', 'demand-forecast',
              'price-optimizer', 'image-classifier', 'sentiment-analysis', 'credit-scoring', 'anomaly-detector',
              'document-parser', 'speech-to-text'])[1 + rank % 12]
       || CASE WHEN rank < 12 THEN '' ELSE '-' || (1 + rank / 12)::text END $$)"},
    {"workload_experiment_name", R"(
CREATE FUNCTION pg_temp.experiment_name(rank bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT (ARRAY['fraud', 'churn', 'recommender', 'ranking', 'forecast', 'pricing', 'vision', 'sentiment', 'credit',
              'anomaly', 'documents', 'speech'])[1 + rank % 12]
       || '-exp-' || lpad((rank + 1)::text, greatest(3, length((rank + 1)::text)), '0') $$)"},
    // Days since a version was registered, of `versions` over 360 days: more and more of them.
    {"workload_version_age", R"(
CREATE FUNCTION pg_temp.version_age(number bigint, versions bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 360 * (1 - power((number + 0.5::float8) / versions, 0.7::float8)) $$)"},
    // A version's model: among those that were there (over 540 days, at an even rate), the oldest are the busiest.
    {"workload_model_of", R"(
CREATE FUNCTION pg_temp.model_of(seed bigint, number bigint, versions bigint, models bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT floor(greatest(models * (1 - pg_temp.version_age(number, versions) / 540) - 1, 0)
             * power(pg_temp.chance(seed, number, 10), 2))::bigint $$)"},
    // How many versions there were so many days ago; the one of number n came when there were n + 0.5.
    {"workload_versions_at", R"(
CREATE FUNCTION pg_temp.versions_at(age double precision, versions bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT versions * power(1 - age / 360, 1 / 0.7::float8) $$)"},
};

constexpr Statement kCreate[] = {
    {"workload_create_environments", R"(
CREATE TABLE environments (environment_id int NOT NULL, environment_name text NOT NULL, created_at timestamptz NOT NULL))"},
    {"workload_create_models", R"(
CREATE TABLE models (
    model_id uuid NOT NULL, model_name text NOT NULL, description text NOT NULL, owner text NOT NULL,
    is_active boolean NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL))"},
    {"workload_create_versions", R"(
CREATE TABLE model_versions (
    version_id uuid NOT NULL, model_id uuid NOT NULL, semver text NOT NULL, framework text NOT NULL,
    artifact_uri text NOT NULL, metadata_ jsonb NOT NULL, registered_at timestamptz NOT NULL, registered_by text NOT NULL))"},
    {"workload_create_deployments", R"(
CREATE TABLE deployments (
    deployment_id uuid NOT NULL DEFAULT gen_random_uuid(), version_id uuid NOT NULL, environment_id int NOT NULL,
    status text NOT NULL, replicas int NOT NULL, deployed_at timestamptz NOT NULL DEFAULT now(),
    deployed_by text NOT NULL, config jsonb NOT NULL))"},
    {"workload_create_runs", R"(
CREATE TABLE training_runs (
    run_id uuid NOT NULL DEFAULT gen_random_uuid(), version_id uuid, model_name text NOT NULL,
    experiment_name text NOT NULL, status text NOT NULL, accuracy double precision, hyperparameters jsonb NOT NULL,
    metrics jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), started_at timestamptz,
    finished_at timestamptz))"},
    {"workload_create_approvals", R"(
CREATE TABLE approvals (
    approval_id uuid NOT NULL, version_id uuid NOT NULL, status text NOT NULL, requested_at timestamptz NOT NULL,
    approved_by text, approved_at timestamptz))"},
};

constexpr Statement kFillEnvironments{"workload_fill_environments", R"(
INSERT INTO environments
SELECT number, name, now() - interval '540 days'
FROM (VALUES (1, 'production'), (2, 'staging'), (3, 'development')) AS e(number, name))"};

// $1: seed, $2: models.
constexpr Statement kFillModels{"workload_fill_models", R"(
INSERT INTO models
SELECT pg_temp.id_of($1, 'model', i), pg_temp.model_name(i), 'Model ' || i::text || ' of the registry',
       'team-' || (i % 23)::text, i < 12 OR pg_temp.chance($1, i, 1) < 0.8, at, at + (now() - at) * pg_temp.chance($1, i, 2)
FROM generate_series(0::bigint, $2::bigint - 1) AS i,
     LATERAL (SELECT now() - interval '1 day' * (540 * (1 - (i + pg_temp.chance($1, i, 3)) / $2)) AS at) a)"};

// $1: seed, $2: versions, $3: models.
constexpr Statement kFillVersions{"workload_fill_versions", R"(
INSERT INTO model_versions
SELECT pg_temp.id_of($1, 'version', i), pg_temp.id_of($1, 'model', model),
       (1 + nth / 20)::text || '.' || (nth % 20)::text || '.0', framework,
       'models:/' || pg_temp.model_name(model) || '/' || nth::text,
       jsonb_build_object('framework', framework, 'size_mb', floor(1 + 2000 * power(pg_temp.chance($1, i, 11), 4)),
                          'dataset', 'snapshot-' || (i % 97)::text, 'gpu', pg_temp.chance($1, i, 12) < 0.3,
                          'checksum', md5(i::text)),
       now() - interval '1 day' * pg_temp.version_age(i, $2),
       'user' || floor(40 * power(pg_temp.chance($1, i, 13), 2))::text
FROM (SELECT i, model, row_number() OVER (PARTITION BY model ORDER BY i) - 1 AS nth,
             (ARRAY['sklearn', 'pytorch', 'xgboost', 'tensorflow', 'onnx'])
                 [1 + floor(5 * power(pg_temp.chance($1, i, 14), 1.5))::int] AS framework
      FROM (SELECT i, pg_temp.model_of($1, i, $2, $3) AS model
            FROM generate_series(0::bigint, $2::bigint - 1) AS i) numbered) named
ORDER BY i)"};

// $1: seed, $2: deployments, $3: versions, $4: models. The last two of a model in an environment serve, unless they
// failed; so what is active grows with the models, not with the history.
constexpr Statement kFillDeployments{"workload_fill_deployments", R"(
INSERT INTO deployments
SELECT pg_temp.id_of($1, 'deployment', i), pg_temp.id_of($1, 'version', version), environment,
       CASE WHEN fate < 0.06 THEN 'failed' WHEN fate < 0.1 THEN 'rolled_back'
            WHEN fate < 0.5 AND age < 0.2 THEN 'pending'
            WHEN row_number() OVER (PARTITION BY model, environment ORDER BY i DESC) <= 2 THEN 'active'
            ELSE 'inactive' END,
       CASE environment WHEN 1 THEN 2 + floor(8 * power(pg_temp.chance($1, i, 31), 2))::int ELSE 1 END,
       now() - interval '1 day' * age,
       CASE WHEN pg_temp.chance($1, i, 32) < 0.4 THEN 'ci'
            ELSE 'user' || floor(40 * power(pg_temp.chance($1, i, 33), 2))::text END,
       jsonb_build_object(
           'image', 'model-server@sha256:' || md5(i::text) || md5(version::text), 'strategy',
           (ARRAY['rolling', 'canary', 'blue-green'])[1 + i % 3], 'cpu', 1 + i % 8, 'memory_mb', 512 * (1 + i % 16),
           'environment', jsonb_build_object('LOG_LEVEL', 'info', 'MODEL_PATH', '/models/' || md5(model::text),
                                             'WORKERS', 1 + i % 4, 'TRACE', md5('trace' || i::text)),
           'probe', jsonb_build_object('path', '/health', 'period_s', 10, 'timeout_s', 2, 'failures', 3))
FROM (SELECT i, age, version, pg_temp.model_of($1, version, $3, $4) AS model, pg_temp.chance($1, i, 34) AS fate,
             CASE WHEN pg_temp.chance($1, i, 35) < 0.2 THEN 1 WHEN pg_temp.chance($1, i, 35) < 0.55 THEN 2
                  ELSE 3 END AS environment
      FROM generate_series(0::bigint, $2::bigint - 1) AS i,
           LATERAL (SELECT 180 * (1 - power((i + pg_temp.chance($1, i, 36)) / $2, 0.6::float8)) AS age) a,
           LATERAL (SELECT floor((pg_temp.versions_at(age, $3) - 0.5)
                                 * (1 - power(pg_temp.chance($1, i, 37), 3)))::bigint AS version) v) drawn
ORDER BY i)"};

// $1: seed, $2: runs, $3: versions, $4: models, $5: experiments. Half of the runs led to a version, registered
// some time after them.
constexpr Statement kFillRuns{"workload_fill_runs", R"(
INSERT INTO training_runs
SELECT pg_temp.id_of($1, 'run', i), CASE WHEN linked THEN pg_temp.id_of($1, 'version', version) END,
       pg_temp.model_name(CASE WHEN linked THEN pg_temp.model_of($1, version, $3, $4)
                               ELSE floor($4 * power(pg_temp.chance($1, i, 50), 2))::bigint END),
       pg_temp.experiment_name(floor($5::bigint * power(pg_temp.chance($1, i, 51), 2))::bigint), status,
       CASE WHEN status = 'succeeded' AND pg_temp.chance($1, i, 52) > 0.03 THEN accuracy END,
       jsonb_build_object('learning_rate', (ARRAY[0.1, 0.01, 0.003, 0.001, 0.0001])[1 + floor(5 * pg_temp.chance($1, i, 53))::int],
                          'batch_size', 16 << floor(5 * pg_temp.chance($1, i, 54))::int,
                          'optimizer', (ARRAY['adam', 'adamw', 'sgd', 'rmsprop'])[1 + floor(4 * power(pg_temp.chance($1, i, 55), 2))::int],
                          'epochs', 5 * (1 + i % 20), 'dropout', round((0.5 * pg_temp.chance($1, i, 56))::numeric, 2),
                          'data', md5((i % 997)::text)),
       CASE WHEN status = 'succeeded' THEN
           jsonb_build_object('accuracy', round(accuracy::numeric, 4), 'loss', round((1.2 - accuracy)::numeric, 4),
                              'val_loss', round((1.3 - accuracy + 0.2 * pg_temp.chance($1, i, 57))::numeric, 4),
                              'f1', round((accuracy * (0.9 + 0.1 * pg_temp.chance($1, i, 58)))::numeric, 4),
                              'auc', round((0.5 + accuracy / 2)::numeric, 4),
                              'samples_per_s', round((5000 * pg_temp.chance($1, i, 59))::numeric, 1))
            ELSE '{}' END,
       at, started, CASE WHEN status <> 'running' THEN least(now(), started + interval '1 hour' * pg_temp.chance($1, i, 60)) END
FROM (SELECT i, age, pg_temp.chance($1, i, 62) AS fate,
             1 - 0.5 * power(pg_temp.chance($1, i, 63), 1.5) AS accuracy, now() - interval '1 day' * age AS at
      FROM generate_series(0::bigint, $2::bigint - 1) AS i,
           LATERAL (SELECT 180 * (1 - power((i + pg_temp.chance($1, i, 64)) / $2, 0.6::float8)) AS age) a) aged,
     LATERAL (SELECT pg_temp.versions_at(age, $3) AS before) b,
     LATERAL (SELECT ceil(before - 0.5 + ($3 - before) * power(pg_temp.chance($1, i, 65), 3))::bigint AS version) v,
     LATERAL (SELECT version < $3 AND pg_temp.chance($1, i, 61) < 0.5 AS linked) l,
     LATERAL (SELECT CASE WHEN age < 0.5 AND fate < 0.4 THEN 'running' WHEN fate < 0.14 THEN 'failed'
                          WHEN fate < 0.2 THEN 'killed' ELSE 'succeeded' END AS status) s,
     LATERAL (SELECT least(now(), at + interval '10 minutes' * power(pg_temp.chance($1, i, 66), 3)) AS started) t)"};

// $1: seed, $2: versions.
constexpr Statement kFillApprovals{"workload_fill_approvals", R"(
INSERT INTO approvals
SELECT pg_temp.id_of($1, 'approval', i), pg_temp.id_of($1, 'version', i), status, at,
       CASE WHEN status <> 'pending' THEN 'user' || floor(9 * pg_temp.chance($1, i, 80))::text END,
       CASE WHEN status <> 'pending' THEN at + (now() - at) * power(pg_temp.chance($1, i, 81), 4) END
FROM generate_series(0::bigint, $2::bigint - 1) AS i,
     LATERAL (SELECT now() - interval '1 day' * pg_temp.version_age(i, $2) AS at,
                     CASE WHEN pg_temp.chance($1, i, 82) < 0.3 THEN 'approved'
                          WHEN pg_temp.chance($1, i, 82) < 0.8 THEN 'pending' ELSE 'rejected' END AS status) a
WHERE pg_temp.chance($1, i, 83) < 0.7)"};

// Foreign keys, as a registry has them: they make no index.
constexpr Statement kConstrain[] = {
    {"workload_key_1", "ALTER TABLE environments ADD PRIMARY KEY (environment_id)"},
    {"workload_key_2", "ALTER TABLE models ADD PRIMARY KEY (model_id)"},
    {"workload_key_3", "ALTER TABLE model_versions ADD PRIMARY KEY (version_id)"},
    {"workload_key_4", "ALTER TABLE deployments ADD PRIMARY KEY (deployment_id)"},
    {"workload_key_5", "ALTER TABLE training_runs ADD PRIMARY KEY (run_id)"},
    {"workload_key_6", "ALTER TABLE approvals ADD PRIMARY KEY (approval_id)"},
    {"workload_reference_1", "ALTER TABLE model_versions ADD FOREIGN KEY (model_id) REFERENCES models"},
    {"workload_reference_2",
     "ALTER TABLE deployments ADD FOREIGN KEY (version_id) REFERENCES model_versions, "
     "ADD FOREIGN KEY (environment_id) REFERENCES environments"},
    {"workload_reference_3", "ALTER TABLE training_runs ADD FOREIGN KEY (version_id) REFERENCES model_versions"},
    {"workload_reference_4", "ALTER TABLE approvals ADD FOREIGN KEY (version_id) REFERENCES model_versions"},
};

constexpr Statement kSize{"workload_size", "SELECT pg_total_relation_size($1::regclass)"};

std::vector<db::Query> queries_of(std::span<const Statement> statements) {
  std::vector<db::Query> queries;
  for (const Statement& statement : statements) queries.push_back({statement, Params()});
  return queries;
}

// Tables of an earlier seed go; whatever else has one of the names stops everything.
task<> make_room(db::Transaction& tx) {
  const db::Rows existing = co_await tx.query(kExisting, Params::of(kTables));
  std::string others, ours;
  for (int i = 0; i < existing.size(); ++i) {
    std::string& list = existing.boolean(i, 2) ? ours : others;
    list += (list.empty() ? "" : ", ") + db::quote_identifier(existing.text(i, 0)) + "." +
            db::quote_identifier(existing.text(i, 1));
  }
  if (!others.empty()) {
    throw Error(ErrorCode::kResourceConflict, "the database has " + others +
                                                  " already, not made by `cairn workload seed`: nothing was touched. "
                                                  "Give a database for this purpose with --database-url");
  }
  if (ours.empty()) co_return;
  const std::string sql = "DROP TABLE " + ours;
  const Statement drop{"", sql};
  try {
    co_await tx.query(drop);
  } catch (const db::DbError& error) {
    if (error.sqlstate() != "2BP01") throw;  // dependent_objects_still_exist
    throw Error(ErrorCode::kResourceConflict,
                std::string("tables of an earlier seed cannot be replaced while something depends on them: drop it "
                            "first. ") +
                    error.what());
  }
}

task<> make_tables(db::Transaction& tx, const SeedOptions& options) {
  co_await tx.run(queries_of(kFunctions));
  co_await tx.run(queries_of(kCreate));
  for (const std::string& table : kTables) {
    const std::string comment =
        fmt::format("COMMENT ON TABLE {} IS 'Made by cairn workload seed, scale {}, seed {}: a later seed replaces it'",
                    db::quote_identifier(table), options.scale, options.seed);
    const Statement statement{"", comment};
    co_await tx.query(statement);
  }
}

task<std::vector<SeededTable>> fill(db::Transaction& tx, const SeedOptions& options, const Say& say) {
  const Sizes n = sizes(options.scale);
  const int64_t seed = options.seed;
  const db::Query fills[] = {
      {kFillEnvironments, Params()},
      {kFillModels, Params::of(seed, n.models)},
      {kFillVersions, Params::of(seed, n.versions, n.models)},
      {kFillDeployments, Params::of(seed, n.deployments, n.versions, n.models)},
      {kFillRuns, Params::of(seed, n.runs, n.versions, n.models, n.experiments)},
      {kFillApprovals, Params::of(seed, n.versions)},
  };
  std::vector<SeededTable> tables;
  for (size_t i = 0; i < kTables.size(); ++i) {
    say("filling " + kTables[i]);
    const db::Rows filled = co_await tx.query(fills[i].statement, fills[i].params);
    tables.push_back({kTables[i], filled.affected(), 0});
  }
  say("adding primary and foreign keys");
  co_await tx.run(queries_of(kConstrain));
  co_return tables;
}

task<std::vector<SeededTable>> seed_database(db::Pool& pool, const SeedOptions& options, const Say& say) {
  auto body = [&](db::Transaction& tx) -> task<std::vector<SeededTable>> {
    co_await tx.query(kLock);
    co_await make_room(tx);
    co_await make_tables(tx, options);
    co_return co_await fill(tx, options, say);
  };
  std::vector<SeededTable> tables = co_await db::with_transaction(pool, db::Isolation::kReadCommitted, body);
  // The visibility map too: else the first autovacuum would change what a run measures.
  say("vacuum and analyze");
  for (SeededTable& table : tables) {
    const std::string sql = "VACUUM (ANALYZE) " + db::quote_identifier(table.name);
    const Statement vacuum{"", sql};
    co_await pool.query(vacuum);
    const db::Rows size = co_await pool.query(kSize, Params::of(table.name));
    table.bytes = size.integer(0, 0);
  }
  co_return tables;
}

}  // namespace

SeedReport seed(const SeedOptions& options, const Say& say) {
  const auto begun = std::chrono::steady_clock::now();
  Reactor reactor;
  db::PoolOptions pool_options;
  pool_options.connection_string = options.connection_string;
  pool_options.size = 1;
  pool_options.max_overflow = 0;
  db::Pool pool(pool_options);
  SeedReport report;
  report.scale = options.scale;
  report.seed = options.seed;
  report.tables = reactor.block_on(seed_database(pool, options, say));
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  return report;
}

}  // namespace cairn::workload
