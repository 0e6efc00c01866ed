-- text 000, Efficient Feature Retrieval
-- corrected: user-123 is not a uuid
-- Get latest feature values for an entity
SELECT 
    f.name,
    fv.value,
    fv.timestamp
FROM features f
JOIN feature_values fv ON f.feature_id = fv.feature_id
WHERE fv.entity_id = '00000000-0000-4000-8000-000000000123'
  AND fv.timestamp = (
      SELECT MAX(timestamp) 
      FROM feature_values 
      WHERE entity_id = '00000000-0000-4000-8000-000000000123' AND feature_id = f.feature_id
  );

-- Get feature values over time range
SELECT 
    f.name,
    fv.timestamp,
    fv.value
FROM features f
JOIN feature_values fv ON f.feature_id = fv.feature_id
WHERE fv.entity_id = '00000000-0000-4000-8000-000000000123'
  AND fv.feature_id IN (SELECT feature_id FROM features WHERE name IN ('age', 'income', 'engagement_score'))
  AND fv.timestamp >= NOW() - INTERVAL '7 days'
ORDER BY fv.timestamp, f.name;
