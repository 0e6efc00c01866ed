-- text 001, 2. Vector Operations
-- later: vectors and documents
-- Find nearest neighbors
SELECT * FROM documents
ORDER BY embedding <=> '[0.1, 0.2, ...]'
LIMIT 5;
