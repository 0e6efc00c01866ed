-- text 002, Step 2.5: Implement Indexes (DDL Script)
-- as is
SELECT
    now() - query_start AS duration,
    state,
    query
FROM pg_stat_activity
WHERE query LIKE '%CREATE INDEX%' AND state != 'idle';
