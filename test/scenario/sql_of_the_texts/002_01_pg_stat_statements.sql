-- text 002, Step 1.1: Enable Query Statistics
-- corrected: the psql line is a shell command
-- Enable the extension
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;

-- Verify it's working
SELECT * FROM pg_stat_statements LIMIT 5;
