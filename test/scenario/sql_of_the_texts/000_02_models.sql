-- text 000, JSONB for Flexible Metadata
-- as is
-- Store model metadata with flexible schema
CREATE TABLE models (
    id UUID PRIMARY KEY DEFAULT uuid_generate_v4(),
    name TEXT NOT NULL,
    description TEXT,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    metadata JSONB,
    status TEXT CHECK (status IN ('draft', 'staging', 'production'))
);

-- Insert example with rich metadata
INSERT INTO models (name, description, metadata, status) VALUES
('resnet-50-v2', 'Improved ResNet-50 with better regularization',
 '{"training_config": {"epochs": 100, "batch_size": 32, "optimizer": "AdamW"},
   "metrics": {"accuracy": 0.942, "precision": 0.938},
   "artifacts": [{"name": "weights.h5", "size_bytes": 24576000}],
   "tags": ["computer_vision", "image_classification"]}',
 'production');
