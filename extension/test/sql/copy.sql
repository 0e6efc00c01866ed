-- Values go out and come back as text; what they are in binary; a column says how many dimensions it has.
CREATE TABLE copied (v vector(3), h halfvec(3), s sparsevec(3));
\d copied
INSERT INTO copied VALUES ('[1,-2.5,1e-45]', '[1,-2.5,6e-8]', '{1:1,3:1e38}/3'), (NULL, NULL, NULL);
COPY copied TO STDOUT;
COPY copied FROM STDIN;
[1,2,3]	[4,5,6]	{2:7}/3
\.
COPY copied FROM STDIN;
[1,2]	\N	\N
\.
SELECT encode(vector_send(v), 'hex'), encode(halfvec_send(h), 'hex'), encode(sparsevec_send(s), 'hex') FROM copied;
DROP TABLE copied;
