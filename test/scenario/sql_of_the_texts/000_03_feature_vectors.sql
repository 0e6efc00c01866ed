-- text 000, Array Types for Feature Vectors
-- later: feature store (arrays as feature vectors)
-- Store small feature vectors directly in PostgreSQL
CREATE TABLE features (
    id UUID PRIMARY KEY,
    model_id UUID REFERENCES models(id),
    feature_vector FLOAT4[],
    created_at TIMESTAMPTZ DEFAULT NOW()
);

-- Insert feature vector
INSERT INTO features (model_id, feature_vector) VALUES
('uuid-123', ARRAY[0.12, -0.34, 0.56, 0.78, ...]);
