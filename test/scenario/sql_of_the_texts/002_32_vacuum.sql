-- text 002, Procedure 2: Handle Table Bloat
-- as is
VACUUM (VERBOSE, ANALYZE) training_runs;
