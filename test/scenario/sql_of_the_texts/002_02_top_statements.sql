-- text 002, Step 1.4: Capture Baseline Performance Metrics
-- as is
-- Top 10 slowest queries by total time
SELECT
    query,
    calls,
    total_exec_time / 1000 as total_time_sec,
    mean_exec_time as avg_time_ms,
    max_exec_time as max_time_ms,
    stddev_exec_time as stddev_ms,
    rows,
    100.0 * shared_blks_hit / NULLIF(shared_blks_hit + shared_blks_read, 0) AS cache_hit_ratio
FROM pg_stat_statements
WHERE query NOT LIKE '%pg_stat_statements%'
ORDER BY total_exec_time DESC
LIMIT 10;
