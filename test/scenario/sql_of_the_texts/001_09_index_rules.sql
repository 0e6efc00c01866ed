-- text 001, 1. Index Configuration
-- not SQL: only comments
-- IVFFlat: Adjust lists
-- rows < 100K: lists = 100
-- rows > 100K: lists = rows / 1000

-- HNSW: Adjust m and ef_construction
-- Higher values = better recall, slower build
