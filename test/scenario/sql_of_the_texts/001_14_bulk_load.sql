-- text 001, Issue: Slow Inserts with Index
-- corrected: CREATE INDEX ... stands for the index that was dropped
DROP INDEX documents_embedding_idx;
-- Bulk insert here
CREATE INDEX ON documents
USING ivfflat (embedding vector_cosine_ops)
WITH (lists = 100);
