-- text 002, Step 5.1: Query Rewriting for Performance
-- as is
-- Scans all preceding rows
SELECT * FROM training_runs
ORDER BY created_at DESC
LIMIT 20 OFFSET 10000;  -- Slow for high offsets
