-- text 000, hstore for Key-Value Pairs
-- corrected: uuid-123 is not a uuid
-- Store dynamic properties efficiently
CREATE TABLE experiments (
    id UUID PRIMARY KEY,
    model_id UUID REFERENCES models(id),
    parameters HSTORE,
    results HSTORE,
    created_at TIMESTAMPTZ DEFAULT NOW()
);

-- Insert with hstore
INSERT INTO experiments (model_id, parameters, results) VALUES
((SELECT id FROM models WHERE name = 'resnet-50-v2' LIMIT 1),
 '"learning_rate"=>"0.001", "batch_size"=>"32", "epochs"=>"100"',
 '"accuracy"=>"0.942", "loss"=>"0.058", "training_time"=>"18432"');
