-- text 002, Step 1.3: Generate Realistic Workload (scripts/generate_workload.py)
-- corrected: %s is bound by the program: a literal here
SELECT
    run_id,
    model_name,
    status,
    accuracy,
    created_at
FROM training_runs
WHERE experiment_name = 'fraud-exp-001'
  AND created_at > NOW() - INTERVAL '7 days'
ORDER BY accuracy DESC NULLS LAST
LIMIT 20;
