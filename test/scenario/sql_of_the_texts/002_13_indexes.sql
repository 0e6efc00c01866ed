-- text 002, Step 2.5: Implement Indexes (DDL Script)
-- corrected: pg_indexes has no indexrelid (pg_class.oid is it); Cairn's tables are in the schemas registry and tracking, not in public
-- =============================================================================
-- ML Model Registry - Performance Indexes
-- =============================================================================
-- This script creates indexes to optimize query performance.
-- All indexes use CONCURRENTLY to avoid blocking production writes.
--
-- Estimated execution time: 5-15 minutes (depending on data volume)
-- =============================================================================

-- Enable timing
\timing on

-- Show progress
\echo '================================'
\echo 'Creating Performance Indexes'
\echo '================================'

-- =============================================================================
-- Priority 1: Foreign Key Indexes (Critical)
-- =============================================================================

\echo '\n[1/18] Creating index on model_versions(model_id)...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_model_versions_model_id
    ON model_versions (model_id);

\echo '[2/18] Creating index on training_runs(version_id)...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_training_runs_version_id
    ON training_runs (version_id);

\echo '[3/18] Creating index on deployments(version_id)...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_deployments_version_id
    ON deployments (version_id);

\echo '[4/18] Creating index on deployments(environment_id)...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_deployments_environment_id
    ON deployments (environment_id);

\echo '[5/18] Creating index on approvals(version_id)...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_approvals_version_id
    ON approvals (version_id);

-- =============================================================================
-- Priority 2: Time-Range Query Indexes
-- =============================================================================

\echo '[6/18] Creating index on deployments(deployed_at DESC)...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_deployments_deployed_at_desc
    ON deployments (deployed_at DESC);

\echo '[7/18] Creating index on training_runs(created_at DESC)...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_training_runs_created_at_desc
    ON training_runs (created_at DESC);

\echo '[8/18] Creating BRIN index on training_runs(started_at)...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_training_runs_started_at_brin
    ON training_runs USING BRIN (started_at)
    WITH (pages_per_range = 128);  -- Tune based on table size

\echo '[9/18] Creating index on model_versions(registered_at DESC)...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_model_versions_registered_at_desc
    ON model_versions (registered_at DESC);

-- =============================================================================
-- Priority 3: Composite Indexes for Common Queries
-- =============================================================================

\echo '[10/18] Creating composite index on training_runs(experiment_name, created_at)...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_training_runs_exp_created
    ON training_runs (experiment_name, created_at DESC)
    INCLUDE (accuracy, status);  -- Covering index for SELECT fields

\echo '[11/18] Creating composite index on training_runs(model_name, status)...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_training_runs_model_status
    ON training_runs (model_name, status)
    INCLUDE (accuracy, created_at);

\echo '[12/18] Creating composite index on deployments(environment, status, deployed_at)...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_deployments_env_status_deployed
    ON deployments (environment_id, status, deployed_at DESC)
    INCLUDE (version_id);

-- =============================================================================
-- Priority 4: Partial Indexes for Hot Queries
-- =============================================================================

\echo '[13/18] Creating partial index on active production deployments...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_deployments_prod_active
    ON deployments (version_id, deployed_at DESC)
    WHERE environment_id = 1 AND status = 'active';

\echo '[14/18] Creating partial index on successful training runs...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_training_runs_succeeded
    ON training_runs (model_name, created_at DESC)
    INCLUDE (accuracy, run_id)
    WHERE status = 'succeeded';

\echo '[15/18] Creating partial index on approved versions...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_approvals_approved
    ON approvals (version_id, approved_at DESC)
    WHERE status = 'approved';

-- =============================================================================
-- Priority 5: JSONB Indexes for Metadata Queries
-- =============================================================================

\echo '[16/18] Creating GIN index on training_runs.hyperparameters...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_training_runs_hyperparameters_gin
    ON training_runs USING GIN (hyperparameters jsonb_path_ops);

\echo '[17/18] Creating GIN index on training_runs.metrics...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_training_runs_metrics_gin
    ON training_runs USING GIN (metrics jsonb_path_ops);

\echo '[18/18] Creating GIN index on model_versions.metadata_...'
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_model_versions_metadata_gin
    ON model_versions USING GIN (metadata_ jsonb_path_ops);

-- =============================================================================
-- Verify Index Creation
-- =============================================================================

\echo '\n================================'
\echo 'Verifying Indexes'
\echo '================================'

SELECT
    schemaname,
    tablename,
    indexname,
    pg_size_pretty(pg_relation_size(pg_class.oid)) as index_size
FROM pg_indexes
LEFT JOIN pg_class ON pg_class.relname = indexname
WHERE schemaname IN ('registry', 'tracking')
  AND indexname LIKE 'idx_%'
ORDER BY tablename, indexname;

-- =============================================================================
-- Analyze Tables to Update Statistics
-- =============================================================================

\echo '\n================================'
\echo 'Updating Table Statistics'
\echo '================================'

ANALYZE VERBOSE models;
ANALYZE VERBOSE model_versions;
ANALYZE VERBOSE training_runs;
ANALYZE VERBOSE deployments;
ANALYZE VERBOSE approvals;

\echo '\n================================'
\echo 'Index Creation Complete!'
\echo '================================'
