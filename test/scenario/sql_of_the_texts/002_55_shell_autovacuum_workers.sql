-- text 002, Checkpoint 4
-- as is
SELECT COUNT(*) as autovacuum_workers
FROM pg_stat_activity
WHERE query LIKE '%autovacuum%';
