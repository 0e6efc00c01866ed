-- text 002, Step 5.1: Query Rewriting for Performance
-- as is
-- Much faster
SELECT m.*
FROM models m
LEFT JOIN model_versions mv ON m.model_id = mv.model_id
WHERE mv.model_id IS NULL;
