"""kill -9 of PostgreSQL while rows are inserted, deleted, vacuumed and indexed; the index must come back as good as new."""
import time

import pytest
from clusters import KILLS, eventually
from vectors import Work, check, make_table, methods, vector

ROWS = 1500

pytestmark = pytest.mark.timeout(1800)


def during_inserts(work, rng):
    for _ in range(2):
        work.start(work.insert, rng)
    work.start(work.update, rng)
    wanted = rng.randrange(1, 300)
    eventually(lambda: work.done >= wanted or work.errors, "the inserts")


def during_vacuum(work, rng):
    """Somewhere between the start of a slowed vacuum and its end, with inserts that take the room it makes."""
    work.delete(work.cluster.connect(), rng, 300)
    work.start(work.insert, rng)
    slow = work.cluster.connect()
    slow.cursor().execute("SET vacuum_cost_delay = 1; SET vacuum_cost_limit = 50")

    def vacuum(connection):
        slow.cursor().execute("VACUUM (INDEX_CLEANUP on) items")

    work.start(vacuum)
    time.sleep(rng.uniform(0, 0.5))


def during_build(work, rng):
    build = rng.choice(["REINDEX INDEX items_v", "REINDEX INDEX CONCURRENTLY items_v"])
    if "CONCURRENTLY" in build:
        work.start(work.insert, rng)
    work.start(lambda connection: connection.cursor().execute(build))
    time.sleep(rng.uniform(0, 1))


@pytest.mark.parametrize("method", methods())
def test_an_index_survives_kills_of_the_server(cluster, method, rng):
    server = cluster()
    connection = server.connect()
    make_table(connection, method, ROWS, rng)
    live, dead, next_id = set(range(ROWS)), set(), ROWS
    for kill in range(max(KILLS, 3)):
        if rng.random() < 0.5:
            server.sql("CHECKPOINT")
        work = Work(server, live)
        work.dead, work.next_id = dead, next_id
        [during_inserts, during_vacuum, during_build][kill % 3](work, rng)
        work.kill()
        server.start()
        live, dead, next_id = work.live, work.dead, work.next_id
        connection = server.connect()
        cursor = connection.cursor()
        # What a concurrent build leaves behind when it dies; PostgreSQL's documentation has the user drop it.
        cursor.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
        for name, in cursor.fetchall():
            cursor.execute(f"DROP INDEX {name}")
        check(connection, method, kill, live, dead)
        cursor.execute("VACUUM items")
        check(connection, method, kill, live, dead)
        server.no_crash()


@pytest.mark.parametrize("method", methods())
def test_a_promoted_replica_has_the_index(cluster, method, rng):
    """The standby replays and checks every page image that the index logs, answers scans meanwhile, and takes over."""
    server = cluster(wal_consistency_checking="generic")
    make_table(server.connect(), method, ROWS, rng)
    live, dead, next_id = set(range(ROWS)), set(), ROWS
    for kill in range(max(KILLS // 5, 1)):
        standby = cluster(copy_of=server, hot_standby_feedback="on", recovery_min_apply_delay=0)
        # An acknowledged statement is on the standby.
        server.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        server.sql("ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
        server.sql("SELECT pg_reload_conf()")
        eventually(lambda: server.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == [(1,)], "the standby")
        work, reads = Work(server, live), Work(standby, live)
        work.dead, work.next_id = dead, next_id
        work.start(work.insert, rng)
        work.start(work.delete, rng, 2)
        work.start(lambda connection: connection.cursor().execute("VACUUM (INDEX_CLEANUP on) items"))
        reads.start(lambda connection: connection.cursor().execute("SELECT id FROM items ORDER BY v <-> %s LIMIT 10", (vector(rng),)))
        wanted = rng.randrange(50, 300)
        eventually(lambda: work.done >= wanted and reads.done >= 20 or work.errors or reads.errors, "the work")
        reads.stop()
        work.kill()
        standby.promote()
        standby.sql("ALTER SYSTEM RESET ALL")
        standby.sql("SELECT pg_reload_conf()")
        live, dead, next_id, server = work.live, work.dead, work.next_id, standby
        check(standby.connect(), method, kill, live, dead)
        standby.no_crash()
