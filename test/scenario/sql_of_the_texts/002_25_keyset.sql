-- text 002, Step 5.1: Query Rewriting for Performance
-- as is
-- Uses index, constant time
SELECT * FROM training_runs
WHERE created_at < '2024-01-15 10:00:00'
ORDER BY created_at DESC
LIMIT 20;
