// Drives a database with the extension through npm's `pg` and `pgvector`; prints what it found as JSON.
// Run by test_vector_node.py from the folder that holds node_modules: node talk.js '{"host": ..., "user": ..., "database": ...}'
import pg from 'pg';
import { SparseVector } from 'pgvector';
import pgvector from 'pgvector/pg';

const found = {};
const pool = new pg.Pool(JSON.parse(process.argv[2]));
pool.on('error', error => { throw error; });
const client = await pool.connect();
try {
  await client.query('CREATE EXTENSION IF NOT EXISTS vector');
  await pgvector.registerTypes(client);
  await client.query('CREATE TABLE items (id bigserial PRIMARY KEY, kind int, v vector(3), h halfvec(3), s sparsevec(3), b bit(3))');
  const insert = 'INSERT INTO items (kind, v, h, s, b) VALUES ($1, $2, $3, $4, $5)';
  await client.query(insert, [1, pgvector.toSql([1, 1, 1]), pgvector.toSql([1, 1, 1]), new SparseVector([1, 0, 3]), '101']);
  await client.query(insert, [2, pgvector.toSql([1.5, -2, 3e38]), pgvector.toSql([0.5, 65504, 0]), new SparseVector({1: 1.25}, 3), '000']);
  await client.query(insert, [1, null, null, null, null]);
  found.rows = (await client.query('SELECT v, h, s, b FROM items ORDER BY id')).rows.map(
    row => [row.v, row.h, row.s && row.s.toArray(), row.b]);

  await client.query('TRUNCATE items RESTART IDENTITY');
  await client.query('INSERT INTO items (kind, v) SELECT i % 2, array[i, i, i + 1]::real[] FROM generate_series(1, 1000) i');
  await client.query('CREATE INDEX hnsw_l2 ON items USING hnsw (v vector_l2_ops)');
  await client.query('CREATE INDEX ivfflat_cosine ON items USING ivfflat (v vector_cosine_ops) WITH (lists = 1)');
  await client.query('ANALYZE items');
  await client.query('SET hnsw.ef_search = 100; SET enable_seqscan = off');
  const query = pgvector.toSql([500.2, 500.2, 501.2]);
  const ids = async (text, values) => (await client.query(text, values)).rows.map(row => Number(row.id));
  found.nearest = await ids({name: 'nearest', text: 'SELECT id FROM items ORDER BY v <-> $1 LIMIT 5'}, [query]);
  found.again = await ids({name: 'nearest', text: 'SELECT id FROM items ORDER BY v <-> $1 LIMIT 5'}, [query]);
  found.plan = (await client.query('EXPLAIN SELECT id FROM items ORDER BY v <-> $1 LIMIT 5', [query])).rows.map(row => row['QUERY PLAN']).join('\n');
  found.filtered = await ids('SELECT id FROM items WHERE kind = 1 ORDER BY v <-> $1 LIMIT 3', [query]);
  found.threshold = await ids('SELECT id FROM items WHERE v <-> $1 < 3 ORDER BY v <-> $1', [query]);
  found.cosine = await ids('SELECT id FROM items ORDER BY v <=> $1 LIMIT 3', [pgvector.toSql([0, 0, 1])]);
  found.average = (await client.query('SELECT avg(v) AS v FROM items')).rows[0].v;
  found.errors = [];
  for (const wrong of ['[1,2]', '[1,2,NaN]', 'abc']) {
    try {
      await client.query('INSERT INTO items (v) VALUES ($1)', [wrong]);
    } catch (error) {
      found.errors.push([error.code, error.message]);
    }
  }
} finally {
  client.release();
  await pool.end();
}
console.log(JSON.stringify(found));
