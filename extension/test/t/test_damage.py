"""Damaged pages of an index, as a bad disk leaves them, with data checksums off: scans, inserts, vacuum and the checker may
report them and may miss rows, but never end the server or hang; a REINDEX heals."""
import os

import psycopg2
import pytest
from clusters import KILLS
from vectors import check, make_table, methods, vector

ROWS = 600
PAGE = 8192

pytestmark = pytest.mark.timeout(1800)


def flip_bits(page, rng):
    for _ in range(rng.choice([1, 8, 64])):
        page[rng.randrange(len(page))] ^= 1 << rng.randrange(8)


def overwrite(page, rng):
    start = rng.randrange(len(page))
    end = min(len(page), start + rng.choice([8, 512, PAGE]))
    page[start:end] = rng.choice([b"\0", b"\xff", rng.randbytes(1)]) * (end - start)


def damage(file, rng):
    """Spoils some pages of a file; what it did."""
    done = []
    with open(file, "r+b") as stream:
        blocks = os.path.getsize(file) // PAGE
        for block in {rng.randrange(blocks) for _ in range(rng.choice([1, 3, blocks]))} | ({0} if rng.random() < 0.2 else set()):
            stream.seek(block * PAGE)
            page = bytearray(stream.read(PAGE))
            spoil = rng.choice([flip_bits, flip_bits, overwrite])
            spoil(page, rng)
            stream.seek(block * PAGE)
            stream.write(page)
            done.append((block, spoil.__name__))
    return done


def attempt(cursor, statement, *values):
    """An error is an answer; a lost connection or a statement that does not end is not."""
    try:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else None
    except psycopg2.errors.QueryCanceled as error:
        raise AssertionError(f"{statement} hangs") from error
    except psycopg2.OperationalError as error:
        assert error.pgcode, f"{statement} ended the connection: {error}"
    except psycopg2.Error:
        pass
    return None


@pytest.mark.parametrize("method", methods())
def test_a_damaged_index_ends_no_server(cluster, method, rng):
    server = cluster(statement_timeout="30s", restart_after_crash="off")
    make_table(server.connect(), method, ROWS, rng)
    # Rows of one vector lie in a way of their own; the last check, which counts what is found, is without them.
    same = vector(rng)
    server.sql("INSERT INTO items SELECT -id, %s FROM generate_series(1, 400) id", same)
    next_id = ROWS
    for _ in range(max(KILLS, 3)):
        # REINDEX gives the index a new file; CHECKPOINT writes it.
        server.sql("REINDEX INDEX items_v")
        server.sql("CHECKPOINT")
        file = server.data / server.sql("SELECT pg_relation_filepath('items_v')")[0][0]
        server.stop()
        what = damage(file, rng)
        server.start()
        cursor = server.connect().cursor()
        try:
            attempt(cursor, "SELECT * FROM vector_index_check('items_v')")
            cursor.execute("SET enable_seqscan = off; SET enable_sort = off")
            for _ in range(20):
                attempt(cursor, "SELECT id FROM items ORDER BY v <-> %s LIMIT 20", vector(rng))
            for _ in range(20):
                attempt(cursor, "INSERT INTO items VALUES (%s, %s)", next_id, vector(rng))
                attempt(cursor, "INSERT INTO items VALUES (%s, %s)", -next_id, same)
                next_id += 1
            attempt(cursor, "SELECT id FROM items ORDER BY v <-> %s LIMIT 1000", same)
            attempt(cursor, "DELETE FROM items WHERE abs(id) %% 10 = %s AND id < %s", rng.randrange(10), next_id - 20)
            attempt(cursor, "VACUUM (INDEX_CLEANUP on) items")
            for _ in range(10):
                attempt(cursor, "SELECT id FROM items ORDER BY v <-> %s LIMIT 20", vector(rng))
            attempt(cursor, "SELECT * FROM vector_index_check('items_v')")
            server.no_crash()
        except AssertionError as error:
            raise AssertionError(f"after {what}: {error}") from error
    server.sql("DELETE FROM items WHERE id < 0")
    server.sql("REINDEX INDEX items_v")
    check(server.connect(), method, 0)
