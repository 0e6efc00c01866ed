-- ivfflat: what CREATE INDEX takes and refuses, and what lies in the catalog.
CREATE SCHEMA ivfflat_build;
SET search_path = ivfflat_build, public;
CREATE TABLE t (id int, v vector(3), h halfvec(3), b bit(8));

-- options
CREATE INDEX ON t USING ivfflat (v vector_l2_ops) WITH (lists = 0);
CREATE INDEX ON t USING ivfflat (v vector_l2_ops) WITH (lists = 32769);
CREATE INDEX ON t USING ivfflat (v vector_l2_ops) WITH (m = 1);
SHOW ivfflat.probes;
SHOW ivfflat.iterative_scan;
SHOW ivfflat.max_probes;
SET ivfflat.probes = 0;
SET ivfflat.probes = 32769;
SET ivfflat.iterative_scan = strict_order;
SET ivfflat.max_probes = 0;
SET ivfflat.nothing = 1;

-- columns
CREATE INDEX ON t USING ivfflat (v, v);
CREATE UNIQUE INDEX ON t USING ivfflat (v);
CREATE INDEX ON t USING ivfflat (v) INCLUDE (id);
CREATE INDEX ON t USING ivfflat (id);
CREATE TABLE x (v vector, h halfvec, vb bit varying(10), v2 vector(2001), h2 halfvec(4001), b2 bit(64001));
CREATE INDEX ON x USING ivfflat (v);
CREATE INDEX ON x USING ivfflat (h halfvec_l2_ops);
CREATE INDEX ON x USING ivfflat (vb bit_hamming_ops);
CREATE INDEX ON x USING ivfflat (v2);
CREATE INDEX ON x USING ivfflat (h2 halfvec_l2_ops);
CREATE INDEX ON x USING ivfflat (b2 bit_hamming_ops);
DROP TABLE x;

-- little data
CREATE INDEX ON t USING ivfflat (v);
INSERT INTO t SELECT i, ARRAY[i, i, i]::vector, ARRAY[i, i, i]::halfvec, i::bit(8) FROM generate_series(1, 50) i;
CREATE INDEX ON t USING ivfflat (v) WITH (lists = 51);
CREATE INDEX t_v ON t USING ivfflat (v) WITH (lists = 50);
CREATE INDEX t_h ON t USING ivfflat (h halfvec_cosine_ops) WITH (lists = 3);
CREATE INDEX t_b ON t USING ivfflat (b bit_hamming_ops) WITH (lists = 3);
ALTER INDEX t_b SET (lists = 5);
SELECT pg_get_indexdef('t_b'::regclass);
REINDEX INDEX t_b;
REINDEX INDEX CONCURRENTLY t_h;

-- all that fits: the largest of each type
CREATE TABLE large (id int, v vector(2000), h halfvec(4000), b bit(64000));
INSERT INTO large SELECT i, array_fill(i, ARRAY[2000])::vector, array_fill(i, ARRAY[4000])::halfvec, repeat(i::bit(8)::text, 8000)::bit(64000)
  FROM generate_series(1, 20) i;
CREATE INDEX large_v ON large USING ivfflat (v) WITH (lists = 4);
CREATE INDEX large_h ON large USING ivfflat (h halfvec_l2_ops) WITH (lists = 4);
CREATE INDEX large_b ON large USING ivfflat (b bit_hamming_ops) WITH (lists = 4);
INSERT INTO large SELECT 21, array_fill(21, ARRAY[2000])::vector, array_fill(21, ARRAY[4000])::halfvec, repeat(21::bit(8)::text, 8000)::bit(64000);
SET enable_seqscan = off;
SET enable_sort = off;
SELECT id FROM large ORDER BY v <-> array_fill(15, ARRAY[2000])::vector LIMIT 3;
SELECT id FROM large ORDER BY h <-> array_fill(20.8, ARRAY[4000])::halfvec LIMIT 2;
SELECT id FROM large ORDER BY b <~> repeat(21::bit(8)::text, 8000)::bit(64000) LIMIT 1;
SELECT count(*) FROM (SELECT id FROM large ORDER BY v <-> array_fill(15, ARRAY[2000])::vector) rows;

-- memory
SET maintenance_work_mem = '1MB';
CREATE INDEX ON large USING ivfflat (v) WITH (lists = 100);
RESET maintenance_work_mem;
DROP TABLE large;

-- what the catalog says
SELECT amname, pg_indexam_has_property(oid, 'can_order') AS can_order, pg_indexam_has_property(oid, 'can_unique') AS can_unique,
       pg_indexam_has_property(oid, 'can_multi_col') AS can_multi_col, pg_indexam_has_property(oid, 'can_include') AS can_include
  FROM pg_am WHERE amname = 'ivfflat';
SELECT pg_index_has_property('t_v', 'index_scan') AS index_scan, pg_index_has_property('t_v', 'bitmap_scan') AS bitmap_scan,
       pg_index_has_property('t_v', 'backward_scan') AS backward_scan;
SELECT n, pg_indexam_progress_phasename(oid, n) FROM pg_am, generate_series(1, 5) n WHERE amname = 'ivfflat';

DROP TABLE t;
DROP SCHEMA ivfflat_build;
