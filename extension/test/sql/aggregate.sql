-- sum and avg, also in parallel workers and over windows.
CREATE TABLE measured AS SELECT i, i % 7 AS g, ARRAY[i, -i, 0.5]::vector AS v, ARRAY[i % 100, 1, 0]::halfvec AS h FROM generate_series(1, 1000) i; -- whose sums are exact in any order
SELECT sum(v), avg(v), avg(h) FROM measured;
SELECT sum(h) FROM measured WHERE i < 40;
SELECT g, sum(v), avg(v), count(*) FROM measured WHERE i < 100 GROUP BY g ORDER BY g;
SELECT sum(v), avg(v), sum(h), avg(h) FROM measured WHERE false;
SELECT avg(v), sum(v) FROM (VALUES ('[1,2,3]'::vector), (NULL), ('[3]')) AS t (v);
SELECT avg(v) FROM (VALUES ('[1,2,3]'::vector), (NULL), ('[3]')) AS t (v);
SELECT avg(v), sum(v) FROM (VALUES (NULL::vector), ('[1,2,3]')) AS t (v);
SELECT avg(v) FROM (VALUES ('[3e38]'::vector), ('[3e38]')) AS t (v);
SELECT sum(v) FROM (VALUES ('[3e38]'::vector), ('[3e38]')) AS t (v);
SELECT avg(h) FROM (VALUES ('[65504]'::halfvec), ('[65504]')) AS t (h);
SELECT sum(h) FROM (VALUES ('[65504]'::halfvec), ('[65504]')) AS t (h);
-- A row's result stays what it was when the next row's is computed.
SELECT i, sum(v) OVER w, avg(v) OVER w FROM (SELECT i, ARRAY[i, 1]::vector AS v FROM generate_series(1, 5) i) t
    WINDOW w AS (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);
SELECT i, sum(v) OVER w, avg(v) OVER w FROM (SELECT i, ARRAY[i, 1]::vector AS v FROM generate_series(1, 5) i) t WINDOW w AS (ORDER BY i);

SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT sum(v), avg(v), avg(h) FROM measured;
SELECT sum(v), avg(v), avg(h) FROM measured;
SELECT g, avg(v) FROM measured GROUP BY g ORDER BY g;

SELECT vector_accum('{}', '[1]');
SELECT vector_accum('{1,2}', '[1,2]');
SELECT vector_combine('{1,2}', '{1,2,3}');
SELECT vector_combine('{0}', '{2,3,4}'), vector_combine('{2,3,4}', '{0}'), vector_avg('{0}'), vector_avg('{2,3,4}'), halfvec_avg('{2,3,4}');
SELECT halfvec_avg('{1,65520}');
DROP TABLE measured;
