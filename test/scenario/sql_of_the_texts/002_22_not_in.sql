-- text 002, Step 5.1: Query Rewriting for Performance
-- as is
-- Slow for large subqueries
SELECT * FROM models
WHERE model_id NOT IN (SELECT model_id FROM model_versions);
