-- text 002, Procedure 2: Handle Table Bloat
-- as is
ALTER TABLE training_runs SET (
    autovacuum_vacuum_scale_factor = 0.1,
    autovacuum_vacuum_threshold = 5000
);
