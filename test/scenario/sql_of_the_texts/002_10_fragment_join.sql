-- text 002, Step 2.2: Identify Index Candidates
-- corrected: a fragment, completed to a statement
SELECT mv.version_id, tr.run_id FROM model_versions mv
LEFT JOIN training_runs tr ON tr.version_id = mv.version_id  -- Foreign key join
