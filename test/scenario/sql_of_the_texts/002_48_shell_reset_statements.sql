-- text 002, Step 3.1: Re-run Workload After Optimization
-- as is
SELECT pg_stat_statements_reset();
