-- text 002, Step 1.3: Generate Realistic Workload (scripts/generate_workload.py)
-- as is
SELECT
    m.model_name,
    mv.semver,
    d.status,
    d.replicas,
    d.deployed_at
FROM deployments d
INNER JOIN model_versions mv ON d.version_id = mv.version_id
INNER JOIN models m ON mv.model_id = m.model_id
WHERE d.environment_id = 1
  AND d.status = 'active'
ORDER BY d.deployed_at DESC;
