-- text 002, Step 1.3: Generate Realistic Workload (scripts/generate_workload.py)
-- as is
SELECT
    m.model_name,
    mv.semver,
    d.environment_id,
    d.status,
    d.deployed_at,
    d.deployed_by
FROM deployments d
INNER JOIN model_versions mv ON d.version_id = mv.version_id
INNER JOIN models m ON mv.model_id = m.model_id
WHERE d.deployed_at > NOW() - INTERVAL '30 days'
ORDER BY d.deployed_at DESC
LIMIT 50;
