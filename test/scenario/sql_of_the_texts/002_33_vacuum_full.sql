-- text 002, Procedure 2: Handle Table Bloat
-- as is
-- ⚠️ Locks table for writes
VACUUM FULL training_runs;
