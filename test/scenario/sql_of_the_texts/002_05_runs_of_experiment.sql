-- text 002, Query 2: Training Runs by Experiment
-- corrected: $1 is bound by PREPARE and EXECUTE
PREPARE runs_of_experiment (text) AS
SELECT run_id, model_name, status, accuracy, created_at
FROM training_runs
WHERE experiment_name = $1
  AND created_at > NOW() - INTERVAL '7 days'
ORDER BY accuracy DESC NULLS LAST
LIMIT 20;
EXECUTE runs_of_experiment ('fraud-exp-001');
