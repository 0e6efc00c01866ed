-- text 001, Maintenance Tasks
-- as is
-- Regular vacuum
VACUUM ANALYZE documents;

-- Reindex periodically
REINDEX INDEX documents_embedding_idx;

-- Update statistics
ANALYZE documents;
