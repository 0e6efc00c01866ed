-- text 001, Key Metrics
-- as is
-- Table size
SELECT pg_size_pretty(pg_total_relation_size('documents'));

-- Index size
SELECT pg_size_pretty(pg_relation_size('documents_embedding_idx'));

-- Index usage
SELECT * FROM pg_stat_user_indexes WHERE relname = 'documents';

-- Slow queries
SELECT * FROM pg_stat_statements
ORDER BY total_exec_time DESC
LIMIT 10;
