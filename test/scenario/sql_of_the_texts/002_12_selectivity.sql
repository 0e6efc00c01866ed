-- text 002, Step 2.3: Calculate Index Selectivity
-- as is
-- Check column selectivity (lower = more selective = better index)
SELECT
    'deployed_at' as column_name,
    COUNT(DISTINCT deployed_at)::float / COUNT(*)::float as selectivity,
    COUNT(*) as total_rows
FROM deployments
UNION ALL
SELECT
    'status',
    COUNT(DISTINCT status)::float / COUNT(*)::float,
    COUNT(*)
FROM deployments
UNION ALL
SELECT
    'environment_id',
    COUNT(DISTINCT environment_id)::float / COUNT(*)::float,
    COUNT(*)
FROM deployments;
