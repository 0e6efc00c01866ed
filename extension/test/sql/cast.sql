-- Casts between the vector types and arrays, and which of them happen by themselves.
SELECT ARRAY[1,2,3]::vector, ARRAY[1.5,2.5]::real[]::vector, ARRAY[1.5,2.5]::double precision[]::vector, ARRAY[1.5,2.5]::numeric[]::vector;
SELECT ARRAY[1,2,3]::halfvec, ARRAY[1.5,2.5]::real[]::halfvec, ARRAY[1.5,2.5]::double precision[]::halfvec, ARRAY[1.5,2.5]::numeric[]::halfvec;
SELECT ARRAY[1,0,3]::sparsevec, ARRAY[0,2.5]::real[]::sparsevec, ARRAY[0,2.5]::double precision[]::sparsevec, ARRAY[0,2.5]::numeric[]::sparsevec;
SELECT '[1,2.5]'::vector::real[], '[1,2.5]'::halfvec::real[];
SELECT '[1,0,2.5]'::vector::halfvec, '[1,0,2.5]'::halfvec::vector, '[1,0,2.5]'::vector::sparsevec, '[1,0,2.5]'::halfvec::sparsevec,
       '{1:1,3:2.5}/3'::sparsevec::vector, '{1:1,3:2.5}/3'::sparsevec::halfvec;
SELECT '{1,NULL}'::int[]::vector;
SELECT '{{1},{2}}'::int[]::vector;
SELECT '{}'::int[]::vector;
SELECT '{NaN}'::real[]::vector;
SELECT '{1e39}'::double precision[]::vector;
SELECT '{1e39}'::numeric[]::vector;
SELECT '{65520}'::int[]::halfvec;
SELECT '{1,NULL}'::int[]::halfvec;
SELECT '{NaN}'::real[]::sparsevec;
SELECT '{{1},{2}}'::int[]::sparsevec;
SELECT array_fill(1, ARRAY[16001])::vector;
SELECT '[65520]'::vector::halfvec;
SELECT '{1:65520}/1'::sparsevec::halfvec;
SELECT '{1:1}/16001'::sparsevec::vector;
SELECT '{1:1}/16001'::sparsevec::halfvec;
SELECT '[1,2]'::vector::vector(3);
SELECT '[1,2]'::vector::halfvec(3);
SELECT '[1,2]'::vector::sparsevec(3);
SELECT '[1,2]'::halfvec::vector(3);
SELECT '{1:1}/2'::sparsevec::vector(3);
SELECT ARRAY[1,2]::vector(3);

CREATE TABLE casts (v vector(3), h halfvec(3), s sparsevec(3), r real[]);
INSERT INTO casts VALUES (ARRAY[1,2,3], ARRAY[1,2,3], ARRAY[1,2,3], '[1,2,3]'::vector);
INSERT INTO casts SELECT h, v, v, h FROM casts;
INSERT INTO casts SELECT s, s, h, v FROM casts LIMIT 1;
SELECT * FROM casts;
INSERT INTO casts (v) VALUES ('[1,2]');
INSERT INTO casts (h) VALUES ('[1,2]');
INSERT INTO casts (s) VALUES ('{}/2');
INSERT INTO casts (v) SELECT v || '[1]' FROM casts;
-- An array is not taken for a vector by itself in an expression, nor a vector for one of two others that both would fit.
SELECT ARRAY[1,2] <-> '[1,2]'::vector;
SELECT l2_norm('[3,4]'::vector);
SELECT array_length('[1,2,3]'::vector, 1);
DROP TABLE casts;
