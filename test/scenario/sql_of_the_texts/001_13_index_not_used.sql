-- text 001, Issue: Index Not Used
-- later: vectors and documents
ANALYZE documents;
EXPLAIN ANALYZE
SELECT * FROM documents
ORDER BY embedding <=> '[...]'
LIMIT 10;
