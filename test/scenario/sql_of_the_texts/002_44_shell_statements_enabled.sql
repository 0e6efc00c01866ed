-- text 002, Checkpoint 1
-- as is
SELECT COUNT(*) FROM pg_stat_statements;
