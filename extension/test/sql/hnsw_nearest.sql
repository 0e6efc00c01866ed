-- The plan node Nearest: a filter over an hnsw index under a constant LIMIT.
CREATE SCHEMA hnsw_nearest;
SET search_path = hnsw_nearest, public;
SET client_min_messages = warning;
CREATE TABLE spots (id int, kind int, name text, v vector(3));
INSERT INTO spots SELECT i, i % 10, 'spot ' || i, ARRAY[i, (i * 7919) % 1000, (i * 104729) % 1000]::vector FROM generate_series(1, 2000) i;
CREATE INDEX spots_v ON spots USING hnsw (v vector_l2_ops);
ANALYZE spots;
SET enable_seqscan = off;
SET hnsw.ef_search = 400;  -- exact, among so few
EXPLAIN (COSTS OFF) SELECT id FROM spots WHERE kind = 3 ORDER BY v <-> '[500,500,500]' LIMIT 5;

-- the rows of an exact search, for every shape of a query
CREATE FUNCTION same(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE nearest text[]; exact text[]; plan text; line text;
BEGIN
  plan := '';
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP plan := plan || line || E'\n'; END LOOP;
  EXECUTE 'SELECT array_agg(q::text) FROM (' || query || ') q' INTO nearest;
  SET LOCAL enable_indexscan = off;
  EXECUTE 'SELECT array_agg(q::text) FROM (' || query || ') q' INTO exact;
  SET LOCAL enable_indexscan = on;
  RETURN CASE WHEN plan LIKE '%Custom Scan (Nearest)%' THEN 'nearest' WHEN plan LIKE '%Index Scan using spots_v%' THEN 'index' ELSE 'exact' END
    || CASE WHEN nearest IS NOT DISTINCT FROM exact THEN ', same' ELSE ', ' || nearest::text || ' not ' || exact::text END;
END $$;
SELECT same($$SELECT id, v <-> '[500,500,500]' AS d FROM spots WHERE kind = 3 ORDER BY d LIMIT 20$$);
SELECT same($$SELECT ctid, tableoid::regclass, s FROM spots s WHERE kind = 3 AND name LIKE '%3' ORDER BY v <-> '[1,1,1]' LIMIT 5$$);
SELECT same($$SELECT id + 1, upper(name) FROM spots WHERE kind IN (1, 2) ORDER BY v <-> '[900.31,1.17,1.73]' LIMIT 7 OFFSET 13$$);
SELECT same($$SELECT id FROM spots WHERE v <-> '[500,500,500]' < 80 ORDER BY v <-> '[500,500,500]' LIMIT 10$$);
SELECT same($$SELECT id FROM spots WHERE kind = 3 AND now() > '2020-01-01' ORDER BY v <-> '[500,500,500]' LIMIT 5$$);
SELECT same($$SELECT id FROM spots WHERE kind = 3 AND now() < '2020-01-01' ORDER BY v <-> '[500,500,500]' LIMIT 5$$);
SELECT same($$SELECT id FROM spots WHERE kind = (SELECT 4) ORDER BY v <-> (SELECT v FROM spots WHERE id = 77) LIMIT 5$$);
SELECT same($$SELECT id FROM spots WHERE kind = 11 ORDER BY v <-> '[500,500,500]' LIMIT 5$$);
SELECT same($$SELECT q.id, s.id AS near FROM spots q, LATERAL (SELECT id FROM spots WHERE kind = q.kind ORDER BY v <-> q.v LIMIT 3) s WHERE q.id < 20$$);
SELECT same($$SELECT max(id) FROM (SELECT id FROM spots WHERE kind = 5 ORDER BY v <-> '[20,20,20]' LIMIT 4) s$$);
SELECT same($$WITH near AS MATERIALIZED (SELECT id, v <-> '[1,2,3]' AS d FROM spots WHERE kind > 5 ORDER BY v <-> '[1,2,3]' LIMIT 10) SELECT * FROM near WHERE d < 700 ORDER BY d DESC$$);

-- a vector to search for that a subquery is a part of: the index scan is alone
SELECT same($$SELECT id FROM spots WHERE kind = 3 ORDER BY v <-> CASE WHEN 3 IN (SELECT n FROM generate_series(1, 3) n) THEN '[1,1,1]' ELSE '[9,9,9]' END::vector LIMIT 5$$);

-- where more rows may be asked for than the LIMIT says, the index scan is alone
SELECT same($$SELECT id FROM spots ORDER BY v <-> '[500,500,500]' LIMIT 5$$);
SELECT same($$SELECT id FROM spots WHERE kind = 3 ORDER BY v <-> '[500,500,500]' FETCH FIRST 5 ROWS WITH TIES$$);
SELECT same($$SELECT id FROM spots WHERE kind = 3 ORDER BY v <-> '[500,500,500]' LIMIT CASE WHEN now() > '2020-01-01' THEN 5 END$$);
SELECT same($$SELECT id FROM spots WHERE kind = 3 ORDER BY v <-> '[500,500,500]' LIMIT 1001$$);
SELECT same($$SELECT s.id FROM spots s JOIN spots o ON o.id = s.id + 1 WHERE s.kind = 3 ORDER BY s.v <-> '[500,500,500]' LIMIT 5$$);
SELECT same($$SELECT id, generate_series(1, 2) FROM spots WHERE kind = 3 ORDER BY v <-> '[500,500,500]' LIMIT 5$$);
EXPLAIN (COSTS OFF) SELECT id FROM spots WHERE kind = 3 ORDER BY v <-> '[500,500,500]' LIMIT 5 FOR UPDATE;

-- prepared, with the LIMIT as a parameter; generic plans know no limit
PREPARE near (vector, int, int) AS SELECT id FROM spots WHERE kind = $2 ORDER BY v <-> $1 LIMIT $3;
SET plan_cache_mode = force_custom_plan;
EXPLAIN (COSTS OFF) EXECUTE near ('[500,500,500]', 3, 5);
EXECUTE near ('[500,500,500]', 3, 5);
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE near ('[500,500,500]', 3, 5);
EXECUTE near ('[500,500,500]', 3, 5);
PREPARE nearest (vector, int) AS SELECT id FROM spots WHERE kind = $2 ORDER BY v <-> $1 LIMIT 5;
EXECUTE nearest ('[500,500,500]', 3);
EXECUTE nearest (NULL, 30);
CREATE FUNCTION near_to(q vector, k int) RETURNS SETOF int LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT id FROM spots WHERE kind = k ORDER BY v <-> q LIMIT 2;
END $$;
SELECT array_agg(n) FROM near_to('[500,500,500]', 3) n;
RESET plan_cache_mode;

-- cursors, also backwards
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM spots WHERE kind = 3 ORDER BY v <-> '[500,500,500]' LIMIT 5;
FETCH 3 FROM c;
FETCH BACKWARD 2 FROM c;
FETCH ALL FROM c;
ROLLBACK;

-- a filter that is the partial index's condition is none; an index on an expression
CREATE INDEX spots_threes ON spots USING hnsw (v vector_l2_ops) WHERE kind = 3;
DROP INDEX spots_v;
EXPLAIN (COSTS OFF) SELECT id FROM spots WHERE kind = 3 ORDER BY v <-> '[500,500,500]' LIMIT 5;
CREATE INDEX spots_v ON spots USING hnsw ((v::halfvec(3)) halfvec_l2_ops);
SELECT same($$SELECT id FROM spots WHERE kind = 4 ORDER BY v::halfvec(3) <-> '[500,500,500]' LIMIT 5$$);

-- an update of the rows that it finds; errors in the filter
UPDATE spots SET name = 'near' WHERE id IN (SELECT id FROM spots WHERE kind = 4 ORDER BY v::halfvec(3) <-> '[500,500,500]' LIMIT 5);
SELECT count(*) FROM spots WHERE name = 'near';
SELECT id FROM spots WHERE 1 / (kind - 4) > 5 ORDER BY v::halfvec(3) <-> '[500,500,500]' LIMIT 5;
SELECT same($$SELECT id FROM spots WHERE kind = 4 ORDER BY v::halfvec(3) <-> '[500,500,500]' LIMIT 5$$);
