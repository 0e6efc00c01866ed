-- The type halfvec: input, output, functions and operators.
SELECT ' [ 1, 2.5 ,-3e2 ] '::halfvec, '[65504,65519,0.1,1e-7,1e-10,2049]'::halfvec;
SELECT '[65520]'::halfvec;
SELECT '[-1e39]'::halfvec;
SELECT '[1,2'::halfvec;
SELECT '{1,2}'::halfvec;
SELECT '[1,2] x'::halfvec;
SELECT '[]'::halfvec;
SELECT '[NaN]'::halfvec;
SELECT '[-Infinity]'::halfvec;
SELECT '[1,2,3]'::halfvec(2);
SELECT '[1,2]'::halfvec(0);
SELECT '[1,2]'::halfvec(16001);
SELECT ('[' || repeat('1,', 16000) || '1]')::halfvec;

SELECT '[1,2,3]'::halfvec + '[4,5,6]', '[1,2,3]'::halfvec - '[4,5,6]', '[1,2,3]'::halfvec * '[4,5,6]', '[1,2]'::halfvec || '[3]';
SELECT '[65504]'::halfvec + '[65504]';
SELECT '[-65504]'::halfvec - '[65504]';
SELECT '[256]'::halfvec * '[256]';
SELECT '[1e-4]'::halfvec * '[1e-4]';
SELECT '[1,2,3]'::halfvec + '[4,5]';

SELECT '[1,2]'::halfvec <-> '[4,6]', '[1,2]'::halfvec <#> '[4,6]', '[1,2]'::halfvec <=> '[2,4]', '[1,2]'::halfvec <+> '[4,6]';
SELECT l2_distance('[1,2]'::halfvec, '[4,6]'), inner_product('[1,2]'::halfvec, '[4,6]'), cosine_distance('[1,1]'::halfvec, '[-1,-1]'),
       l1_distance('[1,2]'::halfvec, '[4,6]'), cosine_distance('[1,2]'::halfvec, '[0,0]');
SELECT '[1,2]'::halfvec <-> '[1,2,3]';
SELECT halfvec_l2_squared_distance('[65504]', '[-65504]'), halfvec_negative_inner_product('[1,2]', '[4,6]'),
       halfvec_spherical_distance('[1,0]', '[0,1]');

SELECT vector_dims('[1,2,3]'::halfvec), l2_norm('[3,4]'::halfvec), l2_norm('[65504,65504]'::halfvec), l2_normalize('[3,4]'::halfvec),
       l2_normalize('[0,0]'::halfvec), l2_normalize('[65504]'::halfvec);
SELECT binary_quantize('[1,0,-1,0.5,-0.5,1,1,1,1]'::halfvec);
SELECT subvector('[1,2,3,4,5]'::halfvec, 1, 3), subvector('[1,2,3,4,5]'::halfvec, 3, 9), subvector('[1,2,3,4,5]'::halfvec, -1, 4);
SELECT subvector('[1,2,3]'::halfvec, 4, 1);
