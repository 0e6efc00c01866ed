-- text 002, Procedure 3: Emergency Performance Triage
-- as is
ALTER SYSTEM SET log_min_duration_statement = 0;  -- Log all queries
SELECT pg_reload_conf();
