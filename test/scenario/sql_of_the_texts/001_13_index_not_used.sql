-- text 001, Issue: Index Not Used
-- corrected: [...] stands for 1536 numbers: here those of the document 7
ANALYZE documents;
EXPLAIN ANALYZE
SELECT * FROM documents
ORDER BY embedding <=> (SELECT embedding FROM documents WHERE id = 7)
LIMIT 10;
