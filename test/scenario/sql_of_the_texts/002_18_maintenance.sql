-- text 002, Step 4.2: Manual Maintenance Operations
-- corrected: pgstatindex reads B-trees only, so GIN and BRIN indexes are left out; pg_indexes has no indexrelid; its ROUND needs numeric; Cairn's tables are in the schemas registry and tracking, not in public
-- =============================================================================
-- Database Maintenance Script
-- Run weekly or after bulk operations
-- =============================================================================

\timing on
\echo '================================'
\echo 'Running Database Maintenance'
\echo '================================'

-- =============================================================================
-- Step 1: Vacuum with Statistics Update
-- =============================================================================

\echo '\n[1/4] VACUUM ANALYZE: models...'
VACUUM (VERBOSE, ANALYZE, SKIP_LOCKED) models;

\echo '[2/4] VACUUM ANALYZE: model_versions...'
VACUUM (VERBOSE, ANALYZE, SKIP_LOCKED) model_versions;

\echo '[3/4] VACUUM ANALYZE: training_runs...'
VACUUM (VERBOSE, ANALYZE, SKIP_LOCKED) training_runs;

\echo '[4/4] VACUUM ANALYZE: deployments...'
VACUUM (VERBOSE, ANALYZE, SKIP_LOCKED) deployments;

-- =============================================================================
-- Step 2: Check for Bloat
-- =============================================================================

\echo '\n================================'
\echo 'Checking Table Bloat'
\echo '================================'

SELECT
    schemaname,
    tablename,
    pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) AS total_size,
    pg_size_pretty(pg_relation_size(schemaname||'.'||tablename)) AS table_size,
    pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename) - pg_relation_size(schemaname||'.'||tablename)) AS index_size,
    ROUND(100 * (pg_total_relation_size(schemaname||'.'||tablename) - pg_relation_size(schemaname||'.'||tablename))::numeric / NULLIF(pg_total_relation_size(schemaname||'.'||tablename), 0), 2) AS index_ratio
FROM pg_tables
WHERE schemaname IN ('registry', 'tracking')
ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC;

-- =============================================================================
-- Step 3: Check for Index Bloat (requires pgstattuple extension)
-- =============================================================================

CREATE EXTENSION IF NOT EXISTS pgstattuple;

\echo '\n================================'
\echo 'Checking Index Bloat'
\echo '================================'

SELECT
    n.nspname AS schemaname,
    t.relname AS tablename,
    i.relname AS indexname,
    pg_size_pretty(pg_relation_size(i.oid)) AS index_size,
    ROUND(s.avg_leaf_density::numeric, 2) AS leaf_density,
    CASE
        WHEN s.avg_leaf_density < 70 THEN 'High Bloat - Consider REINDEX'
        WHEN s.avg_leaf_density < 85 THEN 'Moderate Bloat'
        ELSE 'Healthy'
    END AS status
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_am a ON a.oid = i.relam AND a.amname = 'btree'
JOIN pg_class t ON t.oid = x.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
CROSS JOIN LATERAL pgstatindex(i.oid) s
WHERE n.nspname IN ('registry', 'tracking')
  AND i.relname LIKE 'idx_%'
  AND pg_relation_size(i.oid) > 1024 * 1024  -- Only check indexes > 1MB
ORDER BY s.avg_leaf_density ASC;

-- =============================================================================
-- Step 4: Update Extended Statistics (for multi-column correlations)
-- =============================================================================

\echo '\n================================'
\echo 'Creating Extended Statistics'
\echo '================================'

-- Create extended statistics for correlated columns
CREATE STATISTICS IF NOT EXISTS training_runs_exp_created_stats (dependencies)
    ON experiment_name, created_at
    FROM training_runs;

CREATE STATISTICS IF NOT EXISTS deployments_env_status_stats (dependencies)
    ON environment_id, status
    FROM deployments;

-- Update statistics
ANALYZE training_runs;
ANALYZE deployments;

\echo '\n================================'
\echo 'Maintenance Complete!'
\echo '================================'
