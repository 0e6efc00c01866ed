-- text 001, Vector Documents Table
-- as is
CREATE TABLE vector_documents (
    id SERIAL PRIMARY KEY,
    title VARCHAR(255) NOT NULL,
    content TEXT NOT NULL,
    embedding VECTOR(1536),
    content_tsv TSVECTOR  -- For full-text search
);

-- Vector index (IVFFlat)
CREATE INDEX ON vector_documents
USING ivfflat (embedding vector_cosine_ops)
WITH (lists = 100);

-- Full-text search index
CREATE INDEX ON vector_documents
USING GIN(content_tsv);
