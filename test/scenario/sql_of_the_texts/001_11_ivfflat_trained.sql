-- text 001, Issue: Slow Vector Search
-- as is
-- For IVFFlat, train on sample data first
CREATE INDEX ON documents
USING ivfflat (embedding vector_cosine_ops)
WITH (lists = 100);
