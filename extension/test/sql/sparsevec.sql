-- The type sparsevec: input, output, functions and operators.
SELECT ' { 3 : 1.5 , 1 : -2e1 , 2 : 0 } / 5 '::sparsevec, '{}/1000000000'::sparsevec, '{0:0,9:-0}/5'::sparsevec;
SELECT '{1:1'::sparsevec;
SELECT '[1]'::sparsevec;
SELECT '{1:1}'::sparsevec;
SELECT '{1:1}/5x'::sparsevec;
SELECT '{1:a}/5'::sparsevec;
SELECT '{1.5:1}/5'::sparsevec;
SELECT '{1:1,}/5'::sparsevec;
SELECT '{1:1}/'::sparsevec;
SELECT '{0:1}/5'::sparsevec;
SELECT '{6:1}/5'::sparsevec;
SELECT '{2147483648:1}/5'::sparsevec;
SELECT '{2:1,1:1,2:1}/5'::sparsevec;
SELECT '{1:NaN}/5'::sparsevec;
SELECT '{1:Infinity}/5'::sparsevec;
SELECT '{1:4e38}/5'::sparsevec;
SELECT '{1:1e-50}/5'::sparsevec;
SELECT '{}/0'::sparsevec;
SELECT '{}/1000000001'::sparsevec;
SELECT '{1:1}/5'::sparsevec(4);
SELECT '{1:1}/5'::sparsevec(0);
SELECT '{1:1}/5'::sparsevec(1000000001);
SELECT ('{' || repeat(',', 16000) || '}/5')::sparsevec;

SELECT '{1:1,2:2}/4'::sparsevec <-> '{1:4,3:6}/4', '{1:1,2:2}/4'::sparsevec <#> '{1:4,3:6}/4', '{1:1,2:2}/4'::sparsevec <=> '{1:2,2:4}/4',
       '{1:1,2:2}/4'::sparsevec <+> '{1:4,3:6}/4';
SELECT l2_distance('{1:1}/4'::sparsevec, '{}/4'), inner_product('{1:1}/4'::sparsevec, '{2:1}/4'), cosine_distance('{1:1}/4'::sparsevec, '{1:-3}/4'),
       l1_distance('{4:1}/4'::sparsevec, '{1:-1}/4'), cosine_distance('{1:1}/4'::sparsevec, '{}/4');
SELECT '{1:1}/4'::sparsevec <-> '{1:1}/5';
SELECT '{1:1}/4'::sparsevec <#> '{1:1}/5';
SELECT sparsevec_l2_squared_distance('{1:1,2:2}/4', '{1:4,3:6}/4'), sparsevec_negative_inner_product('{1:1,2:2}/4', '{1:4,3:6}/4');

SELECT l2_norm('{1:3,5:4}/9'::sparsevec), l2_norm('{}/9'::sparsevec), l2_normalize('{1:3,5:4}/9'::sparsevec), l2_normalize('{}/9'::sparsevec),
       l2_normalize('{1:1e-38,2:1e38}/3'::sparsevec);
