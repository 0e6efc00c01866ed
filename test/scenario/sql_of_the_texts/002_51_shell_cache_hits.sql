-- text 002, Checkpoint 3
-- corrected: the name of the database is this one's
SELECT
    ROUND(100.0 * sum(blks_hit) / NULLIF(sum(blks_hit + blks_read), 0), 2) AS cache_hit_ratio
FROM pg_stat_database
WHERE datname = current_database();
