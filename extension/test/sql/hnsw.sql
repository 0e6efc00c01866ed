-- hnsw: what it accepts, what it refuses, and that a scan by the index gives the exact search's rows.
CREATE SCHEMA hnsw;
SET search_path = hnsw, public;
SET client_min_messages = warning;
CREATE TABLE t (id int, c int, v vector(3), h halfvec(3), b bit(8), s sparsevec(3));
INSERT INTO t SELECT i, i % 20, ARRAY[i, 0, 0]::vector, ARRAY[i % 2000, 0, 0]::vector::halfvec, (i % 256)::bit(8),
  ARRAY[i, 0, 0]::vector::sparsevec FROM generate_series(1, 2000) i;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);

-- parameters
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 1);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 101);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (ef_construction = 3);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (m = 16, ef_construction = 31);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (lists = 3);
SET hnsw.ef_search = 0;
SHOW hnsw.ef_search;
SHOW hnsw.iterative_scan;
SHOW hnsw.max_scan_tuples;
SHOW hnsw.scan_mem_multiplier;

-- what cannot be indexed
CREATE TABLE wide (v vector, w vector(3072), h halfvec(4001));
CREATE INDEX ON wide USING hnsw (v vector_l2_ops);
CREATE INDEX ON wide USING hnsw (h halfvec_l2_ops);
CREATE INDEX ON wide USING hnsw (w vector_l2_ops);  -- more than 2,000 dimensions: as well

SET enable_seqscan = off;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[700.2,0,0]' LIMIT 5;
SELECT id FROM t ORDER BY v <-> '[700.2,0,0]' LIMIT 5;
-- one row in twenty passes: ten rows come, in order, though iterative_scan is off
SELECT id FROM t WHERE c = 7 ORDER BY v <-> '[707.2,0,0]' LIMIT 10;
-- without LIMIT what comes out is in order
SELECT count(*) FILTER (WHERE d < before) AS out_of_order, count(*) > 1900 AS nearly_all FROM
  (SELECT d, lag(d) OVER () AS before FROM (SELECT v <-> '[700,0,0]' AS d FROM t ORDER BY v <-> '[700,0,0]') rows) pairs;
SET hnsw.iterative_scan = relaxed_order;
SELECT count(*) > 1990 AS all_rows, count(*) = count(DISTINCT id) AS once FROM (SELECT id FROM t ORDER BY v <-> '[700,0,0]') rows;
SET hnsw.max_scan_tuples = 100;
SELECT count(*) BETWEEN 100 AND 300 AS bounded FROM (SELECT id FROM t ORDER BY v <-> '[700,0,0]') rows;
RESET hnsw.max_scan_tuples;
RESET hnsw.iterative_scan;
-- a null query, a wrong one
SELECT count(*) > 0 AS some FROM (SELECT id FROM t ORDER BY v <-> (SELECT NULL::vector) LIMIT 3) rows;
SELECT id FROM t ORDER BY v <-> '[1,2]' LIMIT 1;

-- every type
CREATE INDEX ON t USING hnsw (h halfvec_l2_ops);
SELECT id FROM t ORDER BY h <-> '[12.2,0,0]' LIMIT 3;
CREATE INDEX ON t USING hnsw (s sparsevec_l2_ops);
SELECT id FROM t ORDER BY s <-> '{1:12.2}/3' LIMIT 3;
CREATE INDEX ON t USING hnsw (b bit_hamming_ops);
SELECT b FROM t ORDER BY b <~> '11110000' LIMIT 3;

-- rows that come and go
UPDATE t SET v = ARRAY[id + 5000, 0, 0]::vector WHERE id BETWEEN 690 AND 710;
DELETE FROM t WHERE id BETWEEN 711 AND 1000;
SELECT id FROM t ORDER BY v <-> '[700.2,0,0]' LIMIT 3;
VACUUM t;
SELECT id FROM t ORDER BY v <-> '[700.2,0,0]' LIMIT 3;
INSERT INTO t (id, c, v) SELECT i, 0, ARRAY[i, 0, 0]::vector FROM generate_series(700, 702) i;
SELECT id FROM t ORDER BY v <-> '[700.2,0,0]' LIMIT 3;
SELECT * FROM vector_index_check('t_v');
REINDEX INDEX t_v;
SELECT id FROM t ORDER BY v <-> '[5700.2,0,0]' LIMIT 3;

-- none indexed: NULL, and zero under cosine
CREATE TABLE z (id int, v vector(2));
INSERT INTO z VALUES (1, '[0,0]'), (2, NULL), (3, '[1,1]');
CREATE INDEX z_v ON z USING hnsw (v vector_cosine_ops);
SELECT id FROM z ORDER BY v <=> '[1,0]';
TRUNCATE z;
SELECT id FROM z ORDER BY v <=> '[1,0]';
SELECT * FROM vector_index_check('z_v');
SELECT * FROM vector_index_check('t');

-- memory: the build goes on in pages
SET maintenance_work_mem = '1MB';
CREATE TABLE big (id int, v vector(64));
INSERT INTO big SELECT i, (SELECT array_agg(sin(i * k)) FROM generate_series(1, 64) k)::vector FROM generate_series(1, 1500) i;
CREATE INDEX big_v ON big USING hnsw (v vector_l2_ops);
SELECT id FROM big ORDER BY v <-> (SELECT v FROM big WHERE id = 1400) LIMIT 1;
SELECT * FROM vector_index_check('big_v');
-- longer than a page
CREATE TABLE long (id int, v vector(5000));
INSERT INTO long SELECT i, (SELECT array_agg(sin(i * k)) FROM generate_series(1, 5000) k)::vector FROM generate_series(1, 40) i;
SET maintenance_work_mem = '64MB';
CREATE INDEX long_v ON long USING hnsw (v vector_cosine_ops);
INSERT INTO long SELECT i, (SELECT array_agg(sin(i * k)) FROM generate_series(1, 5000) k)::vector FROM generate_series(41, 60) i;
SELECT id FROM long ORDER BY v <=> (SELECT v FROM long WHERE id = 50) LIMIT 1;
DELETE FROM long WHERE id % 2 = 0;
VACUUM long;
SELECT count(*) FROM (SELECT id FROM long ORDER BY v <=> (SELECT v FROM long WHERE id = 51)) rows;
SELECT * FROM vector_index_check('long_v');
-- an operator class of one's own; the message has the function's oid
CREATE OPERATOR CLASS own_ops FOR TYPE vector USING hnsw AS OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops, FUNCTION 1 l2_distance(vector, vector);
\set VERBOSITY sqlstate
CREATE INDEX ON long USING hnsw (v own_ops);
\set VERBOSITY default
