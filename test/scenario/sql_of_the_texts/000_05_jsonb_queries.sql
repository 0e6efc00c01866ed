-- text 000, JSONB Querying
-- corrected: the any-key operator looks at the keys of the top level, where the tags are not, so it never matched
-- Extract values from JSONB
SELECT 
    id,
    name,
    (metadata->'metrics'->>'accuracy')::FLOAT as accuracy,
    (metadata->'training_config'->>'epochs')::INTEGER as epochs
FROM models
WHERE (metadata->'metrics'->>'accuracy')::FLOAT > 0.9;

-- Search within JSON arrays
SELECT id, name
FROM models
WHERE metadata->'tags' ?| ARRAY['computer_vision', 'nlp'];

-- Full-text search on JSON fields
SELECT id, name, ts_rank_cd(
    to_tsvector('english', metadata->>'description'),
    plainto_tsquery('english', 'image classification')
) as rank
FROM models
WHERE to_tsvector('english', metadata->>'description') @@ plainto_tsquery('english', 'image classification')
ORDER BY rank DESC;
