-- text 001, Issue: Slow Inserts with Index
-- later: vectors and documents
DROP INDEX documents_embedding_idx;
-- Bulk insert here
CREATE INDEX ...;
