-- text 002, Step 5.1: Query Rewriting for Performance
-- as is
-- Prevents index usage
SELECT * FROM training_runs
WHERE DATE(created_at) = '2024-01-15';
