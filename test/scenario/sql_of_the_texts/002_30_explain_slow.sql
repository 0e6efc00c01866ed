-- text 002, Procedure 1: Investigate Slow Query
-- corrected: <slow_query> is a placeholder
EXPLAIN (ANALYZE, BUFFERS, VERBOSE) SELECT * FROM training_runs WHERE experiment_name = 'fraud-exp-001';
