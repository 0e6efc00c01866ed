-- text 000, Array Types for Feature Vectors
-- corrected: text 000 calls two tables features, the one with vectors is feature_vectors here; uuid-123 is not a uuid, and ... is no number
-- Store small feature vectors directly in PostgreSQL
CREATE TABLE feature_vectors (
    id UUID PRIMARY KEY,
    model_id UUID REFERENCES models(id),
    feature_vector FLOAT4[],
    created_at TIMESTAMPTZ DEFAULT NOW()
);

-- Insert feature vector
INSERT INTO feature_vectors (model_id, feature_vector) VALUES
((SELECT id FROM models WHERE name = 'fraud-detection'), ARRAY[0.12, -0.34, 0.56, 0.78]);
