-- text 002, Step 3.3: Identify Unused Indexes
-- corrected: pg_stat_user_indexes calls the columns relname and indexrelname; Cairn's tables are in the schemas registry and tracking, not in public
-- Find indexes that have never been scanned
SELECT
    schemaname,
    relname,
    indexrelname,
    pg_size_pretty(pg_relation_size(indexrelid)) as size,
    idx_scan as scans,
    idx_tup_read as tuples_read
FROM pg_stat_user_indexes
WHERE schemaname IN ('registry', 'tracking')
  AND idx_scan = 0
  AND indexrelname LIKE 'idx_%'
ORDER BY pg_relation_size(indexrelid) DESC;
