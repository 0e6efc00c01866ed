-- text 001, 4. Analyze Tables
-- as is
ANALYZE documents;  -- Update statistics
VACUUM ANALYZE documents;  -- Reclaim space + analyze
