-- text 002, Step 4.3: Configure Autovacuum
-- corrected: Cairn's tables are in the schemas registry and tracking, not in public
-- Check last autovacuum/analyze times
SELECT
    schemaname,
    relname,
    last_vacuum,
    last_autovacuum,
    last_analyze,
    last_autoanalyze,
    n_tup_ins as inserts,
    n_tup_upd as updates,
    n_tup_del as deletes,
    n_dead_tup as dead_tuples
FROM pg_stat_user_tables
WHERE schemaname IN ('registry', 'tracking')
ORDER BY n_dead_tup DESC;
