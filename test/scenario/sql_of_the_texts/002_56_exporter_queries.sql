-- text 002, Step 4.4: Set Up Monitoring with Prometheus (queries.yaml)
-- corrected: pg_stat_user_indexes calls the column indexrelname; Cairn's tables are in the schemas registry and tracking, not in public
SELECT pg_database_size(current_database()) as bytes;

SELECT COUNT(*) as count
FROM pg_stat_statements
WHERE mean_exec_time > 100;

SELECT
  ROUND(100.0 * sum(blks_hit) / NULLIF(sum(blks_hit + blks_read), 0), 2) AS ratio
FROM pg_stat_database
WHERE datname = current_database();

SELECT
  schemaname || '.' || tablename as table_name,
  pg_total_relation_size(schemaname||'.'||tablename) as bytes
FROM pg_tables
WHERE schemaname IN ('registry', 'tracking');

SELECT
  schemaname || '.' || indexrelname as index_name,
  idx_scan as scans,
  pg_relation_size(indexrelid) as bytes
FROM pg_stat_user_indexes
WHERE schemaname IN ('registry', 'tracking');

SELECT deadlocks as count FROM pg_stat_database WHERE datname = current_database();

SELECT
  state,
  COUNT(*) as count
FROM pg_stat_activity
WHERE datname = current_database()
GROUP BY state;
