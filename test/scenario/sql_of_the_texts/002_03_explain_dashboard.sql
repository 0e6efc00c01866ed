-- text 002, Step 1.5: Analyze Execution Plans with EXPLAIN
-- as is
EXPLAIN (ANALYZE, BUFFERS, VERBOSE, TIMING)
SELECT
    m.model_name,
    mv.semver,
    d.environment_id,
    d.status,
    d.deployed_at
FROM deployments d
INNER JOIN model_versions mv ON d.version_id = mv.version_id
INNER JOIN models m ON mv.model_id = m.model_id
WHERE d.deployed_at > NOW() - INTERVAL '30 days'
ORDER BY d.deployed_at DESC
LIMIT 50;
