-- text 002, Step 5.1: Query Rewriting for Performance
-- as is
-- Forces sequential scan
SELECT * FROM training_runs
WHERE model_name = 'fraud-detection' OR experiment_name = 'exp-001';
