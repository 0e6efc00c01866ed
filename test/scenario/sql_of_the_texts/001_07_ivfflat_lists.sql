-- text 001, IVFFlat Index
-- later: vectors and documents
CREATE INDEX ON documents
USING ivfflat (embedding vector_cosine_ops)
WITH (lists = 100);  -- Adjust lists based on row count
