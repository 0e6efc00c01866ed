-- Distances of bit strings.
SELECT B'1010' <~> B'0110', hamming_distance(B'', B''), hamming_distance(B'111', B'111');
SELECT B'1010' <%> B'0110', jaccard_distance(B'0000', B'0000'), jaccard_distance(B'111', B'111'), jaccard_distance(B'', B'');
SELECT B'101' <~> B'10';
SELECT B'101' <%> B'10';
-- Of any length they are those of the bits one by one.
SELECT count(*) FROM (SELECT n, string_agg((i % 3 = 0)::int::text, '' ORDER BY i)::varbit::bit(2000) AS a,
                             string_agg((i % 2 = 0)::int::text, '' ORDER BY i)::varbit::bit(2000) AS b,
                             count(*) FILTER (WHERE (i % 3 = 0) <> (i % 2 = 0)) AS differing
                      FROM generate_series(1, 300) n, generate_series(1, n * 5) i GROUP BY n) x
    WHERE hamming_distance(a, b) <> differing;
