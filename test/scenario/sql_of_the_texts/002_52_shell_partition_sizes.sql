-- text 002, Checkpoint 5
-- corrected: Cairn's tables are in the schemas registry and tracking, not in public; the partitions of step 5.2 are called training_runs_YYYY_MM
SELECT tablename, pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename))
FROM pg_tables
WHERE schemaname IN ('registry', 'tracking') AND tablename LIKE 'training_runs_2%'
ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC;
