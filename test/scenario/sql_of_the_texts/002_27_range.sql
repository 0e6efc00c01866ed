-- text 002, Step 5.1: Query Rewriting for Performance
-- as is
-- Uses index on created_at
SELECT * FROM training_runs
WHERE created_at >= '2024-01-15' AND created_at < '2024-01-16';
