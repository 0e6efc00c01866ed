-- text 001, IVFFlat Index
-- as is
CREATE INDEX ON documents
USING ivfflat (embedding vector_cosine_ops)
WITH (lists = 100);  -- Adjust lists based on row count
