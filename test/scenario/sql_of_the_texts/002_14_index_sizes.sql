-- text 002, Step 2.6: Verify Index Usage
-- corrected: pg_stat_user_indexes calls the columns relname and indexrelname; Cairn's tables are in the schemas registry and tracking, not in public
-- Check index sizes
SELECT
    schemaname,
    relname,
    indexrelname,
    pg_size_pretty(pg_relation_size(indexrelid)) as size,
    idx_scan as scans,
    idx_tup_read as tuples_read,
    idx_tup_fetch as tuples_fetched
FROM pg_stat_user_indexes
WHERE schemaname IN ('registry', 'tracking')
ORDER BY pg_relation_size(indexrelid) DESC;
