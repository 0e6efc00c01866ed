-- text 001, 3. Vector Indexes
-- as is
CREATE INDEX ON documents
USING ivfflat (embedding vector_cosine_ops)
WITH (lists = 100);
