"""Inserts, updates, deletes, vacuum, rebuilds and scans at once, for CAIRN_CONCURRENCY_SECONDS: no error, no deadlock, no row
lost; and what a session holds does not grow with what it did."""
import os
import time

import pytest
from vectors import METHODS, Work, check, make_table, methods, nearest, use_index, vector

SECONDS = float(os.environ.get("CAIRN_CONCURRENCY_SECONDS", "8"))
ROWS = 1500

pytestmark = pytest.mark.timeout(SECONDS + 600)


@pytest.mark.parametrize("method", methods())
def test_everything_at_once(cluster, method, rng):
    server = cluster(deadlock_timeout="100ms", statement_timeout="60s")
    connection = server.connect()
    make_table(connection, method, ROWS, rng)
    work = Work(server, range(ROWS))
    hits = []

    def scan(connection):
        """One snapshot, the exact answer and the index's."""
        cursor, query = connection.cursor(), vector(rng)
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off")
        exact = nearest(cursor, "items", query)
        cursor.execute("SET LOCAL enable_indexscan = on; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        for setting in METHODS[method]["recall"]:
            cursor.execute(f"SET LOCAL {setting}")
        hits.append(len(set(exact) & set(nearest(cursor, "items", query))) / len(exact))
        cursor.execute("COMMIT")

    def vacuum(connection):
        connection.cursor().execute("VACUUM (INDEX_CLEANUP on) items")

    def rebuild(connection):
        connection.cursor().execute("REINDEX INDEX CONCURRENTLY items_v")

    def delete(connection):
        """As many as are inserted: the table stays about as large as it was."""
        work.delete(connection, rng, max(len(work.live) - ROWS, 0))

    for step in (work.insert, work.insert, work.update):
        work.start(step, rng)
    for step in (delete, scan, scan, vacuum, rebuild):
        work.start(step)
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and not work.errors:
        time.sleep(0.1)
    work.stop()
    assert len(hits) > 10 and sum(hits) / len(hits) > 0.9, f"recall during the work: {sum(hits) / max(len(hits), 1):.3f} of {len(hits)}"
    check(connection, method, 0, work.live, work.dead)
    server.no_crash()


def held_bytes(cursor):
    cursor.execute("SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts")
    return cursor.fetchone()[0]


@pytest.mark.parametrize("method", methods())
def test_a_session_holds_no_more_after_a_thousand_scans_and_inserts(cluster, method, rng):
    connection = cluster().connect()
    make_table(connection, method, ROWS, rng)
    cursor = connection.cursor()
    use_index(cursor, "items_v")

    def scans(count):
        for _ in range(count):
            nearest(cursor, "items", vector(rng))

    def failing_scans(count):
        for _ in range(count):
            with pytest.raises(Exception, match="different vector dimensions"):
                cursor.execute("SELECT id FROM items ORDER BY v <-> '[1,2]' LIMIT 1")

    def inserts(count):
        cursor.execute("INSERT INTO items SELECT nextval('ids'), %s FROM generate_series(1, %s)", (vector(rng), count))

    cursor.execute("CREATE SEQUENCE ids START 1000000")
    for step in (scans, failing_scans, inserts):
        step(50)
        before = held_bytes(cursor)
        step(1000)
        assert held_bytes(cursor) - before < 100_000, step.__name__


@pytest.mark.parametrize("method", methods())
def test_a_statement_holds_no_more_after_a_thousand_rescans_or_inserts(cluster, method, rng):
    """The index scan is the inner side of a join, and memory is looked at before the statement ends."""
    connection = cluster().connect()
    make_table(connection, method, ROWS, rng)
    cursor = connection.cursor()
    use_index(cursor, "items_v")
    cursor.execute("CREATE TABLE queries AS SELECT id AS n, v AS query FROM items")
    rescans = """SELECT sum(total_bytes)::bigint FROM
                   (SELECT count(*) AS n FROM (SELECT query FROM queries LIMIT %s) q,
                           LATERAL (SELECT id FROM items ORDER BY v <-> query LIMIT 10) nearest) work,
                   LATERAL (SELECT total_bytes FROM pg_backend_memory_contexts WHERE work.n > 0) held"""
    inserts = """WITH done AS (INSERT INTO items SELECT n + 100000 + %s, query FROM queries LIMIT %s RETURNING 1)
                 SELECT sum(total_bytes)::bigint FROM (SELECT count(*) AS n FROM done) work,
                        LATERAL (SELECT total_bytes FROM pg_backend_memory_contexts WHERE work.n > 0) held"""
    held = {}
    for name, count in (("few", 100), ("many", 1100)):
        cursor.execute(rescans, (count,))
        held[name] = cursor.fetchone()[0]
        cursor.execute(inserts, (count * 1000, count))
        held[name + " inserts"] = cursor.fetchone()[0]
    assert held["many"] - held["few"] < 200_000, held
    assert held["many inserts"] - held["few inserts"] < 400_000, held
