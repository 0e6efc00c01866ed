-- text 002, Checkpoint 3
-- corrected: pg_stat_user_indexes calls the columns relname and indexrelname
SELECT COUNT(*) as unused_indexes
FROM pg_stat_user_indexes
WHERE idx_scan = 0 AND indexrelname LIKE 'idx_%';
