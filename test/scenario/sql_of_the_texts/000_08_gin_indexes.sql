-- text 000, GIN Indexes for JSONB and Arrays
-- corrected: models is a view here, and an index belongs to the table below it, registry.models; the index on features is for later (feature store)
-- Index JSONB fields for fast querying
CREATE INDEX idx_models_metadata_gin ON registry.models USING GIN (metadata);
CREATE INDEX idx_models_tags ON registry.models USING GIN ((metadata->'tags'));

-- Index array columns
-- later: CREATE INDEX idx_features_vector_gin ON features USING GIN (feature_vector);

-- Query using indexed JSONB
SELECT id, name 
FROM models 
WHERE metadata @> '{"tags": ["computer_vision"]}'::jsonb;
