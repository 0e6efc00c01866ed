-- text 002, Query 3: Model Statistics Aggregation
-- as is
SELECT
    m.model_name,
    COUNT(DISTINCT mv.version_id) as version_count,
    COUNT(DISTINCT tr.run_id) as training_runs,
    MAX(tr.accuracy) as best_accuracy
FROM models m
LEFT JOIN model_versions mv ON m.model_id = mv.model_id
LEFT JOIN training_runs tr ON tr.version_id = mv.version_id
WHERE m.is_active = true
GROUP BY m.model_id, m.model_name
ORDER BY version_count DESC;
