-- text 000, GIN Indexes for JSONB and Arrays
-- corrected: models is a view here, and an index belongs to the table below it, registry.models, as the vectors' does, features.latest
-- Index JSONB fields for fast querying
CREATE INDEX idx_models_metadata_gin ON registry.models USING GIN (metadata);
CREATE INDEX idx_models_tags ON registry.models USING GIN ((metadata->'tags'));

-- Index array columns
CREATE INDEX idx_features_vector_gin ON features.latest USING GIN (texts);

-- Query using indexed JSONB
SELECT id, name 
FROM models 
WHERE metadata @> '{"tags": ["computer_vision"]}'::jsonb;
