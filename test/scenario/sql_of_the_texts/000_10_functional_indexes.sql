-- text 000, Functional Indexes for Common ML Patterns
-- corrected: models is a view here, and an index belongs to the table below it, registry.models; an index expression that is a cast needs parentheses of its own
-- Index on normalized text for case-insensitive searches
CREATE INDEX idx_models_lower_name ON registry.models (LOWER(model_name));

-- Index on extracted JSON values
CREATE INDEX idx_models_accuracy ON registry.models (((metadata->'metrics'->>'accuracy')::FLOAT));
CREATE INDEX idx_models_epochs ON registry.models (((metadata->'training_config'->>'epochs')::INTEGER));

-- Composite index for common query patterns
CREATE INDEX idx_models_status_accuracy 
ON registry.models (status, ((metadata->'metrics'->>'accuracy')::FLOAT) DESC);
