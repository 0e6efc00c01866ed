-- text 000, Designing a Feature Store Schema
-- corrected: feature_values is a view here, and an index belongs to the table below it, features.history
-- Dimension tables (slowly changing)
CREATE TABLE entities (
    entity_id UUID PRIMARY KEY,
    entity_type TEXT NOT NULL,
    created_at TIMESTAMPTZ DEFAULT NOW()
);

CREATE TABLE features (
    feature_id UUID PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    data_type TEXT NOT NULL,
    created_at TIMESTAMPTZ DEFAULT NOW()
);

-- Fact table (time-series features)
CREATE TABLE feature_values (
    entity_id UUID NOT NULL REFERENCES entities(entity_id),
    feature_id UUID NOT NULL REFERENCES features(feature_id),
    timestamp TIMESTAMPTZ NOT NULL,
    value NUMERIC,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    PRIMARY KEY (entity_id, feature_id, timestamp)
);

-- Add composite index for time-based queries
CREATE INDEX idx_feature_values_time ON features.history (event_time, entity_key, view_id);
