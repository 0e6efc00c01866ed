-- text 002, Step 2.2: Identify Index Candidates
-- corrected: a fragment, completed to a statement
SELECT d.deployment_id FROM deployments d
WHERE d.deployed_at > NOW() - INTERVAL '30 days'  -- Range filter
ORDER BY d.deployed_at DESC                       -- Sorting
