-- text 001, 3. Vector Indexes
-- later: vectors and documents
CREATE INDEX ON documents
USING ivfflat (embedding vector_cosine_ops)
WITH (lists = 100);
