-- text 001, 4. Analyze Tables
-- later: vectors and documents
ANALYZE documents;  -- Update statistics
VACUUM ANALYZE documents;  -- Reclaim space + analyze
