-- text 002, Checkpoint 2
-- corrected: pg_stat_user_indexes calls the columns relname and indexrelname; Cairn's tables are in the schemas registry and tracking, not in public
SELECT relname, indexrelname, idx_scan
FROM pg_stat_user_indexes
WHERE schemaname IN ('registry', 'tracking')
ORDER BY idx_scan DESC
LIMIT 10;
