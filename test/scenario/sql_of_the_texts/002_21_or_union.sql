-- text 002, Step 5.1: Query Rewriting for Performance
-- as is
-- Can use indexes
SELECT * FROM training_runs WHERE model_name = 'fraud-detection'
UNION
SELECT * FROM training_runs WHERE experiment_name = 'exp-001';
