-- text 001, Key Metrics
-- corrected: documents is for later (vectors and documents); a table of this stage stands in
-- Table size
SELECT pg_size_pretty(pg_total_relation_size('tracking.metric_chunks'));

-- Index size
SELECT pg_size_pretty(pg_relation_size('tracking.metric_chunks_pkey'));

-- Index usage
SELECT * FROM pg_stat_user_indexes WHERE relname = 'metric_chunks';

-- Slow queries
SELECT * FROM pg_stat_statements
ORDER BY total_exec_time DESC
LIMIT 10;
