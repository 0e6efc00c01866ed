-- Comparison, B-tree indexes, DISTINCT and joins by them.
SELECT '[1,2]'::vector < '[1,3]', '[1,2]'::vector < '[1,2,0]', '[2]'::vector < '[1,9]', '[0]'::vector = '[-0]', vector_cmp('[2]', '[1,1]');
SELECT '[1,2]'::halfvec < '[1,3]', '[1,2]'::halfvec < '[1,2,0]', '[2]'::halfvec < '[1,9]', '[0]'::halfvec = '[-0]', halfvec_cmp('[2]', '[1,1]');
SELECT '{}/2'::sparsevec < '{}/3', '{}/3'::sparsevec > '{3:-1}/3', '{1:1}/3'::sparsevec > '{2:1}/3', '{3:-1}/3'::sparsevec > '{}/2',
       sparsevec_cmp('{1:1,2:0}/3', '{1:1}/3'), '{1:1}/5'::sparsevec < '{1:1,2:1}/2';
-- A sparsevec is ordered as the vector that it stands for.
WITH v AS (SELECT ARRAY[a, b, c]::vector AS v FROM generate_series(-1, 1) a, generate_series(-1, 1) b, generate_series(-1, 1) c
           UNION SELECT ARRAY[a, b]::vector FROM generate_series(-1, 1) a, generate_series(-1, 1) b)
SELECT count(*) FROM v a, v b WHERE vector_cmp(a.v, b.v) <> sparsevec_cmp(a.v, b.v) OR vector_cmp(a.v, b.v) <> halfvec_cmp(a.v, b.v);

CREATE TABLE sorted (v vector, h halfvec, s sparsevec);
INSERT INTO sorted SELECT v, v, v FROM (SELECT ARRAY[i % 50, i % 3]::vector AS v FROM generate_series(1, 1000) i) x;
CREATE INDEX ON sorted (v);
CREATE INDEX ON sorted (h);
CREATE INDEX ON sorted (s);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM sorted WHERE v = '[7,1]';
SELECT count(*) FROM sorted WHERE v = '[7,1]';
SELECT count(*) FROM sorted WHERE h BETWEEN '[7,1]' AND '[8,0]';
SELECT count(*) FROM sorted WHERE s > '{1:48}/2';
SELECT DISTINCT v FROM sorted WHERE v < '[2]' ORDER BY v DESC;
SELECT count(*) FROM (SELECT DISTINCT v, h, s FROM sorted) x;
SET enable_hashjoin = off;
SET enable_nestloop = off;
SELECT count(*) FROM sorted a JOIN sorted b USING (v) WHERE a.v < '[1]';
CREATE UNIQUE INDEX ON sorted (v);
DROP TABLE sorted;
