-- text 002, Step 2.6: Verify Index Usage
-- as is
EXPLAIN (ANALYZE, BUFFERS, VERBOSE)
SELECT
    m.model_name,
    mv.semver,
    d.status,
    d.deployed_at
FROM deployments d
INNER JOIN model_versions mv ON d.version_id = mv.version_id
INNER JOIN models m ON mv.model_id = m.model_id
WHERE d.deployed_at > NOW() - INTERVAL '30 days'
ORDER BY d.deployed_at DESC
LIMIT 50;
