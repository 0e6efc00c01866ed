-- text 002, Procedure 2: Handle Table Bloat
-- corrected: pg_stat_user_tables calls the column relname; Cairn's tables are in the schemas registry and tracking, not in public
SELECT
    relname,
    pg_size_pretty(pg_total_relation_size(relid)) as size,
    n_dead_tup,
    ROUND(100 * n_dead_tup::numeric / NULLIF(n_live_tup + n_dead_tup, 0), 2) as dead_pct
FROM pg_stat_user_tables
WHERE schemaname IN ('registry', 'tracking')
ORDER BY n_dead_tup DESC;
