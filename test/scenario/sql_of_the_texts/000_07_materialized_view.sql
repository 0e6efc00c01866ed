-- text 000, Materialized Views for ML Dashboards
-- as is
-- Create materialized view for model performance dashboard
CREATE MATERIALIZED VIEW model_performance_summary AS
SELECT 
    m.name as model_name,
    m.status,
    COUNT(*) as total_runs,
    AVG(mm.accuracy) as avg_accuracy,
    MAX(mm.timestamp) as last_run,
    MIN(mm.timestamp) as first_run,
    PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY mm.accuracy) as median_accuracy
FROM models m
JOIN model_metrics mm ON m.id = mm.model_id
GROUP BY m.id, m.name, m.status;

-- Refresh strategy (scheduled or manual)
REFRESH MATERIALIZED VIEW model_performance_summary;
