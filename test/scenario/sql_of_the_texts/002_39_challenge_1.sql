-- text 002, Challenge 1: Optimize a Complex Analytical Query
-- as is
SELECT
    m.model_name,
    COUNT(DISTINCT d.deployment_id) as total_deployments,
    COUNT(DISTINCT d.deployment_id) FILTER (WHERE d.status = 'active') as active_deployments,
    MAX(d.deployed_at) as last_deployment,
    AVG(tr.accuracy) FILTER (WHERE tr.status = 'succeeded') as avg_accuracy,
    COUNT(DISTINCT tr.run_id) as total_runs
FROM models m
LEFT JOIN model_versions mv ON m.model_id = mv.model_id
LEFT JOIN deployments d ON mv.version_id = d.version_id
LEFT JOIN training_runs tr ON mv.version_id = tr.version_id
WHERE m.created_at > NOW() - INTERVAL '90 days'
GROUP BY m.model_id, m.model_name
HAVING COUNT(DISTINCT d.deployment_id) > 0
ORDER BY total_deployments DESC;
