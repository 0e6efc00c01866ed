-- text 002, Step 2.2: Identify Index Candidates
-- corrected: a fragment, completed to a statement
SELECT d.deployment_id FROM deployments d
WHERE d.environment_id = 1 AND d.status = 'active'  -- Filters on subset
