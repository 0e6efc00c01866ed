-- The type vector: input, output, functions and operators.
SELECT ' [ 1, 2.5 ,-3e2 ] '::vector, '[0x1p3,+1,.5,5.]'::vector, '[1.23456789,1e10,1e15,1e16,0.0001,0.00001,-0]'::vector;
SELECT '[1,2,3'::vector;
SELECT '1,2,3]'::vector;
SELECT '[1,2,3]9'::vector;
SELECT '[1,,3]'::vector;
SELECT '[1,a]'::vector;
SELECT '[]'::vector;
SELECT '[NaN,1]'::vector;
SELECT '[Infinity,1]'::vector;
SELECT '[1.5,4e38]'::vector;
SELECT '[1e-50]'::vector;
SELECT '[1,2,3]'::vector(2);
SELECT '[1,2]'::vector(0);
SELECT '[1,2]'::vector(16001);
SELECT '[1,2]'::vector(1, 2);
SELECT ('[' || repeat('1,', 16000) || '1]')::vector;

SELECT '[1,2,3]'::vector + '[4,5,6]', '[1,2,3]'::vector - '[4,5,6]', '[1,2,3]'::vector * '[4,5,6]', '[1,2]'::vector || '[3]';
SELECT '[3e38]'::vector + '[3e38]';
SELECT '[-3e38]'::vector - '[3e38]';
SELECT '[1e37]'::vector * '[1e37]';
SELECT '[1e-37]'::vector * '[1e-37]';
SELECT '[1,2,3]'::vector + '[4,5]';
SELECT array_fill(0, ARRAY[16000])::vector || '[1]';

SELECT '[1,2]'::vector <-> '[4,6]', '[1,2]'::vector <#> '[4,6]', '[1,2]'::vector <=> '[2,4]', '[1,2]'::vector <+> '[4,6]';
SELECT l2_distance('[1,2]'::vector, '[4,6]'), inner_product('[1,2]'::vector, '[4,6]'), cosine_distance('[1,1]'::vector, '[-1,-1]'),
       l1_distance('[1,2]'::vector, '[4,6]');
SELECT cosine_distance('[1,2]'::vector, '[0,0]'), '[3e38]'::vector <-> '[-3e38]';
SELECT '[1,2]'::vector <-> '[1,2,3]';
SELECT '[1,2]'::vector <#> '[1,2,3]';
SELECT '[1,2]'::vector <=> '[1,2,3]';
SELECT '[1,2]'::vector <+> '[1,2,3]';
SELECT vector_l2_squared_distance('[1,2]', '[4,6]'), vector_negative_inner_product('[1,2]', '[4,6]'),
       vector_spherical_distance('[1,0]', '[0,1]');

SELECT vector_dims('[1,2,3]'::vector), vector_norm('[3,4]'), vector_norm('[3e37,4e37]'), l2_normalize('[3,4]'::vector),
       l2_normalize('[0,0]'::vector), l2_normalize('[3e38]'::vector);
SELECT binary_quantize('[1,0,-1,0.5,-0.5,1,1,1,1]'::vector);
SELECT subvector('[1,2,3,4,5]'::vector, 1, 3), subvector('[1,2,3,4,5]'::vector, 3, 9), subvector('[1,2,3,4,5]'::vector, -1, 4),
       subvector('[1,2,3,4,5]'::vector, 2, 2147483647);
SELECT subvector('[1,2,3]'::vector, 1, 0);
SELECT subvector('[1,2,3]'::vector, 4, 1);

-- The distances of any length are those of a plain sum, however the vectors are stored.
CREATE TABLE lengths (n int, inline_or_not vector, plain vector);
ALTER TABLE lengths ALTER plain SET STORAGE plain;
INSERT INTO lengths SELECT n, v, v FROM (SELECT n, array_agg((i * 7 % 11) - 5 ORDER BY i)::vector AS v
    FROM generate_series(1, 150) n, generate_series(1, n) i GROUP BY n) x;
INSERT INTO lengths SELECT 2000, array_agg((i * 7 % 11) - 5 ORDER BY i)::vector FROM generate_series(1, 2000) i;
SELECT count(*) FROM lengths l, LATERAL (SELECT sum((x - 1) ^ 2) AS l2, sum(x) AS ip, sum(abs(x - 1)) AS l1
    FROM unnest(l.inline_or_not::real[]) x) s, LATERAL (SELECT array_fill(1, ARRAY[n])::vector AS ones) o
    WHERE vector_l2_squared_distance(inline_or_not, ones) <> l2 OR inner_product(inline_or_not, ones) <> ip
       OR l1_distance(inline_or_not, ones) <> l1 OR (plain <-> ones) <> sqrt(l2) OR vector_dims(inline_or_not) <> n;
DROP TABLE lengths;
