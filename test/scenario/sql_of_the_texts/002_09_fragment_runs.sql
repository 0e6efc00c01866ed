-- text 002, Step 2.2: Identify Index Candidates
-- corrected: a fragment, completed to a statement; $1 is bound by PREPARE and EXECUTE
PREPARE fragment_runs (text) AS SELECT run_id, accuracy FROM training_runs
WHERE experiment_name = $1                -- Equality filter
  AND created_at > NOW() - INTERVAL '7 days'  -- Range filter
ORDER BY accuracy DESC NULLS LAST;
EXECUTE fragment_runs ('fraud-exp-001');
