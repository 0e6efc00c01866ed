-- text 000, Parallel Query Tuning
-- as is
-- Enable parallel queries for analytical workloads
SET max_parallel_workers_per_gather = 4;
SET parallel_setup_cost = 1000;
SET parallel_tuple_cost = 0.01;

-- Test parallel query performance
EXPLAIN (ANALYZE, VERBOSE) 
SELECT COUNT(*), AVG(accuracy)
FROM model_metrics
WHERE timestamp > NOW() - INTERVAL '30 days';
