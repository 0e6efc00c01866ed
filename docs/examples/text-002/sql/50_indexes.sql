-- Indexes for registry, proposed by `cairn tune advise`. For psql; it may be run again.
-- None of it blocks anybody who writes. Each may be dropped again: DROP INDEX CONCURRENTLY.
\set ON_ERROR_STOP on
\timing on

-- joined by version_id (selectivity 0.0998); with deployment_id in it the table need not be read
-- Rejected by its proof: used, but without it alone no slower: 1 (1.01 of the time, 0.821 to 1.35 with it)
-- CREATE INDEX CONCURRENTLY "idx_deployments_version_id" ON "public"."deployments" USING "btree" ("version_id") INCLUDE ("deployment_id");

-- joined by version_id (selectivity 0.0237); with accuracy, run_id in it the table need not be read
\echo '[1/4] idx_training_runs_version_id'
CREATE INDEX CONCURRENTLY IF NOT EXISTS "idx_training_runs_version_id" ON "public"."training_runs" USING "btree" ("version_id") INCLUDE ("accuracy", "run_id");

-- experiment_name (selectivity 0.0012) =, a range of created_at (selectivity 1), in the order of accuracy DESC, of which only the first rows are wanted; with model_name, run_id, status in it the table need not be read
\echo '[2/4] idx_training_runs_experiment_name_accuracy_created_at'
CREATE INDEX CONCURRENTLY IF NOT EXISTS "idx_training_runs_experiment_name_accuracy_created_at" ON "public"."training_runs" USING "btree" ("experiment_name", "accuracy" DESC NULLS LAST, "created_at") INCLUDE ("model_name", "run_id", "status");

-- in the order of deployed_at DESC, of which only the first rows are wanted; with deployed_by, environment_id, status, version_id in it the table need not be read
\echo '[3/4] idx_deployments_deployed_at'
CREATE INDEX CONCURRENTLY IF NOT EXISTS "idx_deployments_deployed_at" ON "public"."deployments" USING "btree" ("deployed_at" DESC) INCLUDE ("deployed_by", "environment_id", "status", "version_id");

-- status (selectivity 0.00025) =, environment_id (selectivity 0.00015) =, in the order of deployed_at DESC; with replicas, version_id in it the table need not be read
\echo '[4/4] idx_deployments_status_environment_id_deployed_at'
CREATE INDEX CONCURRENTLY IF NOT EXISTS "idx_deployments_status_environment_id_deployed_at" ON "public"."deployments" USING "btree" ("status", "environment_id", "deployed_at" DESC) INCLUDE ("replicas", "version_id");

SELECT schemaname, relname, indexrelname, pg_size_pretty(pg_relation_size(indexrelid)) AS size, idx_scan
FROM pg_stat_user_indexes ORDER BY 1, 2, 3;

ANALYZE "public"."deployments";
ANALYZE "public"."training_runs";
