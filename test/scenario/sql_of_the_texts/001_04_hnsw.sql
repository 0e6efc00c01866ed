-- text 001, 3. Vector Indexes
-- later: vectors and documents
CREATE INDEX ON documents
USING hnsw (embedding vector_cosine_ops);
