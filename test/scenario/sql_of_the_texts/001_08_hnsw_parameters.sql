-- text 001, HNSW Index
-- later: vectors and documents
CREATE INDEX ON documents
USING hnsw (embedding vector_cosine_ops)
WITH (m = 16, ef_construction = 64);
