"""asyncpg with pgvector-python: its binary protocol, prepared statements, COPY of records, several connections at once."""
import asyncio

import pytest

asyncpg = pytest.importorskip("asyncpg")
pytest.importorskip("psycopg")
pytest.importorskip("pgvector")
np = pytest.importorskip("numpy")
from pgvector import HalfVector, SparseVector  # noqa: E402  after the skip
from pgvector.asyncpg import register_vector  # noqa: E402

CREATE = "CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v vector(3), h halfvec(3), s sparsevec(3), b bit(3))"


@pytest.fixture
def talk(vector_database):
    """Runs a coroutine with a pool of connections that know the types."""
    from psycopg.conninfo import conninfo_to_dict

    place = conninfo_to_dict(vector_database)

    def run(conversation):
        async def main():
            async with asyncpg.create_pool(host=place["host"], user=place["user"], database=place["dbname"], min_size=1, max_size=4,
                                           init=register_vector) as pool:
                await pool.execute(CREATE)
                await conversation(pool)

        asyncio.run(main())

    return run


def plain(value):
    return value.to_list() if hasattr(value, "to_list") else value.tolist() if hasattr(value, "tolist") else value


def test_asyncpg_values_come_back_as_they_were_given(talk):
    async def conversation(pool):
        await pool.execute("INSERT INTO items (v, h, s, b) VALUES ($1, $2, $3, $4)", np.array([1.5, -2, 3], dtype=np.float32),
                           HalfVector([0.5, 65504, 0]), SparseVector([0, 1.25, 0]), asyncpg.BitString("101"))
        await pool.execute("INSERT INTO items (v, h, s, b) VALUES ($1, $2, $3, $4)", None, None, None, None)
        first, second = await pool.fetch("SELECT v, h, s, b FROM items ORDER BY id")
        assert [plain(first["v"]), plain(first["h"]), plain(first["s"]), first["b"].as_string()] == [
            [1.5, -2, 3], [0.5, 65504, 0], [0, 1.25, 0], "101"]
        assert list(second) == [None] * 4
        assert await pool.fetchval("SELECT v <-> $1 FROM items WHERE id = 1", [1.5, -2, 4]) == 1
        assert [plain(v) for v in await pool.fetchval("SELECT array_agg(v) FROM items WHERE id = 1")] == [[1.5, -2, 3]]

    talk(conversation)


def test_asyncpg_errors_carry_their_sqlstate(talk):
    async def conversation(pool):
        for value, message in [([1, 2], "expected 3 dimensions, not 2"), ([1, 2, float("nan")], "NaN not allowed in vector")]:
            with pytest.raises(asyncpg.exceptions.DataError, match=message) as refused:
                await pool.execute("INSERT INTO items (v) VALUES ($1)", value)
            assert refused.value.sqlstate == "22000"

    talk(conversation)


def test_asyncpg_copy_index_and_concurrent_search(talk):
    rng = np.random.default_rng(5)
    vectors = rng.random((2000, 3)).astype(np.float32)

    async def conversation(pool):
        await pool.copy_records_to_table("items", columns=["v"], records=[(v,) for v in vectors])
        await pool.execute("CREATE INDEX ON items USING hnsw (v vector_l2_ops)")
        await pool.execute("ANALYZE items")

        async def search(query):
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("SET LOCAL hnsw.ef_search = 200; SET LOCAL enable_seqscan = off")
                plan = await connection.fetch("EXPLAIN SELECT id FROM items ORDER BY v <-> $1 LIMIT 10", query)
                assert any("Index Scan using items_v_idx" in line[0] for line in plan)
                return [row["id"] for row in await connection.fetch("SELECT id FROM items ORDER BY v <-> $1 LIMIT 10", query)]

        queries = rng.random((40, 3)).astype(np.float32)
        found = await asyncio.gather(*map(search, queries))
        exact = [(np.argsort(((vectors - q) ** 2).sum(1))[:10] + 1).tolist() for q in queries]
        hits = sum(len(set(f) & set(e)) for f, e in zip(found, exact))
        assert hits >= 0.99 * 400

    talk(conversation)


def test_asyncpg_cursor_over_an_index_scan(talk):
    async def conversation(pool):
        await pool.execute("INSERT INTO items (v) SELECT array[i, i, i] FROM generate_series(1, 500) i")
        await pool.execute("CREATE INDEX ON items USING hnsw (v vector_l2_ops)")
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL hnsw.iterative_scan = strict_order")
            cursor = await connection.cursor("SELECT id FROM items ORDER BY v <-> $1", [0, 0, 0])
            first = [row["id"] for row in await cursor.fetch(20)]
            assert first == list(range(1, 21))
            assert [row["id"] for row in await cursor.fetch(80)] == list(range(21, 101))

    talk(conversation)
