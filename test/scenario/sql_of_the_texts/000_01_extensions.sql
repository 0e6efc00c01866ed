-- text 000, Essential Extensions for ML
-- as is
-- Enable essential extensions
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";  -- UUID generation
CREATE EXTENSION IF NOT EXISTS "pg_trgm";   -- Text similarity
CREATE EXTENSION IF NOT EXISTS "hstore";    -- Key-value store
CREATE EXTENSION IF NOT EXISTS "jsonb_plperl"; -- JSON processing
-- For vector search (install pgvector separately)
-- CREATE EXTENSION IF NOT EXISTS "vector";
