-- text 002, Step 1.3: Generate Realistic Workload (scripts/generate_workload.py)
-- as is
SELECT
    m.model_name,
    COUNT(DISTINCT mv.version_id) as version_count,
    COUNT(DISTINCT tr.run_id) as training_runs,
    COUNT(DISTINCT d.deployment_id) as deployments,
    MAX(tr.accuracy) as best_accuracy
FROM models m
LEFT JOIN model_versions mv ON m.model_id = mv.model_id
LEFT JOIN training_runs tr ON tr.version_id = mv.version_id
LEFT JOIN deployments d ON d.version_id = mv.version_id
WHERE m.is_active = true
GROUP BY m.model_id, m.model_name
ORDER BY deployments DESC;
