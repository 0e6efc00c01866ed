-- text 001, 3. Vector Indexes
-- as is
CREATE INDEX ON documents
USING hnsw (embedding vector_cosine_ops);
