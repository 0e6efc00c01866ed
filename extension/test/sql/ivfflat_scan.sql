-- ivfflat: what a scan returns, by the index alone.
CREATE SCHEMA ivfflat_scan;
SET search_path = ivfflat_scan, public;
SET enable_seqscan = off;
SET enable_sort = off;
SET client_min_messages = warning;
CREATE TABLE t (id int, c int, v vector(3));
INSERT INTO t SELECT i, i % 20, ARRAY[i, 0, 0]::vector FROM generate_series(1, 2000) i;
CREATE INDEX t_v ON t USING ivfflat (v vector_l2_ops) WITH (lists = 20);

EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[700.2,0,0]' LIMIT 5;
SELECT id FROM t ORDER BY v <-> '[700.2,0,0]' LIMIT 5;
-- with a filter that one row of twenty passes all ten rows come, in order, from one probe
SELECT id FROM t WHERE c = 7 ORDER BY v <-> '[707.2,0,0]' LIMIT 10;
-- without LIMIT too, as far as ivfflat.max_probes goes
SET ivfflat.iterative_scan = relaxed_order;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> '[700,0,0]') rows;
SET ivfflat.max_probes = 1;
SELECT count(*) < 500 AS few FROM (SELECT id FROM t ORDER BY v <-> '[700,0,0]') rows;
-- where probes says more, it wins
SET ivfflat.probes = 20;
SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> '[700,0,0]') rows;
RESET ivfflat.probes;
RESET ivfflat.max_probes;
RESET ivfflat.iterative_scan;
-- what comes out is in order, whatever is left out
SELECT count(*) FILTER (WHERE d < before) AS out_of_order FROM
  (SELECT d, lag(d) OVER () AS before FROM (SELECT v <-> '[700,0,0]' AS d FROM t ORDER BY v <-> '[700,0,0]') rows) pairs;

-- the index does nothing but order
EXPLAIN (COSTS OFF) SELECT count(*) FROM t;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE v = '[700,0,0]';
-- a null query, a wrong one
SELECT count(*) > 0 AS some FROM (SELECT id FROM t ORDER BY v <-> (SELECT NULL::vector) LIMIT 3) rows;
SELECT id FROM t ORDER BY v <-> '[1,2]' LIMIT 1;
SELECT id FROM t ORDER BY v <-> (SELECT '[1,2]'::vector) LIMIT 1;

-- null and zero vectors
CREATE TABLE z (id int, v vector(3));
INSERT INTO z VALUES (1, '[0,0,0]'), (2, NULL), (3, '[1,1,1]'), (4, '[1,2,3]');
CREATE INDEX z_l2 ON z USING ivfflat (v vector_l2_ops) WITH (lists = 1);
INSERT INTO z VALUES (5, '[0,0,0]'), (6, NULL), (7, '[-1,-1,-1]');
SELECT id FROM z WHERE id <> 5 ORDER BY v <-> '[1,1,1.5]';
CREATE INDEX z_cosine ON z USING ivfflat (v vector_cosine_ops) WITH (lists = 1);
INSERT INTO z VALUES (8, '[0,0,0]'), (9, '[3,3,4]');
SELECT id FROM z ORDER BY v <=> '[1,1,1]';
SELECT count(*) FROM (SELECT id FROM z ORDER BY v <=> '[0,0,0]') rows;
CREATE INDEX z_ip ON z USING ivfflat (v vector_ip_ops) WITH (lists = 1);
SELECT id FROM z WHERE id NOT IN (5, 8) ORDER BY v <#> '[1,1,1]';
DROP TABLE z;

-- delete, vacuum, insert again: the room is used, nothing is lost
SELECT pg_relation_size('t_v') AS size \gset
DELETE FROM t WHERE id % 2 = 0;
VACUUM t;
SELECT count(*), min(id % 2) FROM (SELECT id FROM t ORDER BY v <-> '[700,0,0]') rows;
INSERT INTO t SELECT i, 0, ARRAY[i, 0, 0]::vector FROM generate_series(2, 2000, 2) i;
SELECT count(DISTINCT id) FROM (SELECT id FROM t ORDER BY v <-> '[700,0,0]') rows;
SELECT pg_relation_size('t_v') = :size AS no_larger;
UPDATE t SET v = ARRAY[-id, 0, 0]::vector WHERE id <= 3;
SELECT id FROM t ORDER BY v <-> '[-2.2,0,0]' LIMIT 3;

-- many queries of one scan: a nested loop
SELECT q.i, n.id FROM (VALUES (100), (1500)) q(i), LATERAL (SELECT id FROM t ORDER BY v <-> ARRAY[q.i + 0.3, 0, 0]::vector LIMIT 2) n;

-- a cursor, and one that goes on after more rows were inserted
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> '[1000.2,0,0]';
FETCH 2 FROM c;
INSERT INTO t VALUES (5000, 0, '[1000.1,0,0]');
FETCH 2 FROM c;
ROLLBACK;

-- partial and expression indexes
CREATE INDEX t_partial ON t USING ivfflat (v vector_l2_ops) WITH (lists = 2) WHERE c = 3;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE c = 3 ORDER BY v <-> '[50.2,0,0]' LIMIT 3;
CREATE INDEX t_half ON t USING ivfflat ((v::halfvec(3)) halfvec_l2_ops) WITH (lists = 2);
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v::halfvec(3) <-> '[50.2,0,0]' LIMIT 3;
SELECT id FROM t ORDER BY v::halfvec(3) <-> '[50.2,0,0]' LIMIT 3;
-- bits
CREATE INDEX t_bits ON t USING ivfflat ((binary_quantize(v)::bit(3)) bit_hamming_ops) WITH (lists = 2);
SELECT DISTINCT v FROM (SELECT binary_quantize(v)::bit(3) AS v FROM t ORDER BY binary_quantize(v)::bit(3) <~> '011' LIMIT 3) rows;
DROP TABLE t;

-- temporary and unlogged tables, partitions
CREATE TEMPORARY TABLE tmp (v vector(3));
CREATE INDEX ON tmp USING ivfflat (v) WITH (lists = 2);
INSERT INTO tmp VALUES ('[1,1,1]'), ('[9,9,9]'), ('[2,2,2]');
SELECT v FROM tmp ORDER BY v <-> '[0,0,0]';
CREATE UNLOGGED TABLE u (v vector(3));
CREATE INDEX ON u USING ivfflat (v) WITH (lists = 2);
INSERT INTO u VALUES ('[1,1,1]'), ('[9,9,9]'), ('[2,2,2]');
SELECT v FROM u ORDER BY v <-> '[0,0,0]';
ALTER TABLE u SET LOGGED;
SELECT v FROM u ORDER BY v <-> '[9,0,0]' LIMIT 1;
DROP TABLE u;
CREATE TABLE p (id int, v vector(3)) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
INSERT INTO p SELECT i, ARRAY[i % 100, i, 0]::vector FROM generate_series(0, 199) i;
CREATE INDEX ON p USING ivfflat (v) WITH (lists = 3);
EXPLAIN (COSTS OFF) SELECT id FROM p ORDER BY v <-> '[50,100.1,0]' LIMIT 3;
SELECT id FROM p ORDER BY v <-> '[50,100.1,0]' LIMIT 3;
DROP TABLE p;

-- values near the limits of a float, in vectors with codes
CREATE TABLE limits (id int, v vector(80));
INSERT INTO limits SELECT i, array_fill((CASE i % 3 WHEN 0 THEN 3e38 WHEN 1 THEN -1e-40 ELSE i END)::real, ARRAY[80])::vector FROM generate_series(1, 300) i;
CREATE INDEX limits_l2 ON limits USING ivfflat (v vector_l2_ops) WITH (lists = 5);
CREATE INDEX limits_ip ON limits USING ivfflat (v vector_ip_ops) WITH (lists = 5);
CREATE INDEX limits_cosine ON limits USING ivfflat (v vector_cosine_ops) WITH (lists = 5);
INSERT INTO limits SELECT * FROM limits WHERE id <= 30;
SET ivfflat.probes = 5;
SELECT count(*) FROM (SELECT id FROM limits ORDER BY v <-> array_fill(5, ARRAY[80])::vector) rows;
SELECT count(*) FROM (SELECT id FROM limits ORDER BY v <#> array_fill(5, ARRAY[80])::vector) rows;
SELECT count(*) FROM (SELECT id FROM limits ORDER BY v <=> array_fill(5, ARRAY[80])::vector) rows;
SELECT id FROM limits ORDER BY v <-> array_fill(5, ARRAY[80])::vector LIMIT 3;
SELECT problem FROM vector_index_check('limits_l2') UNION SELECT problem FROM vector_index_check('limits_ip')
  UNION SELECT problem FROM vector_index_check('limits_cosine');
DROP TABLE limits;
DROP SCHEMA ivfflat_scan;
