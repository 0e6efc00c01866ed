-- text 001, 2. Vector Operations
-- corrected: [0.1, 0.2, ...] stands for 1536 numbers: here those of the document 7
-- Find nearest neighbors
SELECT * FROM documents
ORDER BY embedding <=> (SELECT embedding FROM documents WHERE id = 7)
LIMIT 5;
