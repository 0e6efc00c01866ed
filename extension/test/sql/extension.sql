-- The extension as a whole: its version, and that it can be dropped, made in any schema and moved.
SELECT extversion FROM pg_extension WHERE extname = 'vector';
DROP EXTENSION vector;
CREATE SCHEMA elsewhere;
CREATE EXTENSION vector SCHEMA elsewhere;
ALTER EXTENSION vector SET SCHEMA public;
DROP SCHEMA elsewhere;
