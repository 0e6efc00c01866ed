"""`cairn tune apply` killed at every moment that can be told from outside: status finds what was left, --finish and --remove mend it,
and who writes is never blocked."""
import contextlib
import signal

import pytest

psycopg2 = pytest.importorskip("psycopg2")
from faults import KILLS  # noqa: E402
from tune_apply import Tuned, Writer, index  # noqa: E402

pytestmark = pytest.mark.timeout(120 + 30 * KILLS)

# An entry of an index is made only while nobody holds the lock 7 alone: a build can be stopped in its midst.
SCHEMA = """
CREATE FUNCTION held(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN PERFORM pg_advisory_lock_shared(7); PERFORM pg_advisory_unlock_shared(7); RETURN $1; END $$;
CREATE TABLE plain (k int, v int);
CREATE TABLE parts (k int, v int) PARTITION BY LIST (k);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2) PARTITION BY RANGE (v);
CREATE TABLE parts_2_a PARTITION OF parts_2 FOR VALUES FROM (0) TO (500);
CREATE TABLE parts_2_b PARTITION OF parts_2 DEFAULT;
INSERT INTO plain SELECT i % 3, i FROM generate_series(1, 3000) i;
INSERT INTO parts SELECT 1 + i % 2, i FROM generate_series(1, 3000) i;
CREATE INDEX ours ON plain (v, k);
"""
WRITES = "INSERT INTO plain VALUES (1, 2); INSERT INTO parts VALUES (1, 2), (2, 3), (2, 700)"

# What may be seen of an apply: how far the journal is, how far the build is, which indexes there are.
SEEN = """
SELECT (SELECT string_agg(state, ',' ORDER BY id) FROM cairn_tune.journal WHERE apply_id = (SELECT max(id) FROM cairn_tune.applies)),
       (SELECT string_agg(phase, ',') FROM pg_stat_progress_create_index WHERE datname = current_database()),
       (SELECT string_agg(i.indexrelid::text || i.indisready || i.indisvalid || c.relispartition, ',' ORDER BY i.indexrelid)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public')
"""


@pytest.fixture
def tuned(new_database, tmp_path):
    with new_database() as dsn:
        database = Tuned(dsn, tmp_path)
        database.sql(SCHEMA)
        database.advice(index("plain", "v"), index("parts", "v"), index("plain", "k"))
        database.apply()  # the journal is there from now on
        database.json("undo", "--last")
        yield database


def after_moments(tuned, moments, kill):
    """Starts an apply, calls `kill` when so many different things were seen of it; False: it came to its end before."""
    seen = set()
    with contextlib.closing(tuned.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(SEEN)
        seen.add(cursor.fetchone())
        apply = tuned.start("apply", "last", "--unproven")
        while len(seen) <= moments and apply.poll() is None:
            cursor.execute(SEEN)
            seen.add(cursor.fetchone())
        reached = apply.poll() is None
        if reached:
            kill(apply, cursor)
        apply.communicate(timeout=60)
        return reached


def settle(tuned):
    """Waits until PostgreSQL has ended what the killed one began; gives what status says then."""
    while True:
        status = tuned.status()
        if not status["at_work"]:
            return status


def only_whole_indexes(tuned):
    assert all(row[3] and row[4] for row in tuned.catalog()), tuned.catalog()


def test_R21_kill_minus_nine_of_apply(tuned):
    before = tuned.catalog()
    after = None
    last = max(row["id"] for row in tuned.status()["changes"])
    step = max(1, 20 // KILLS)
    with Writer(tuned, WRITES):
        for moment in range(1, 1000, step):
            reached = after_moments(tuned, moment, lambda apply, _: apply.send_signal(signal.SIGKILL))
            status = settle(tuned)
            mends = "--finish" if moment // step % 2 else "--remove"
            was_left = status["left"]
            mended = tuned.status(mends)
            assert not mended["left"]
            only_whole_indexes(tuned)
            if not reached or (was_left and mends == "--finish"):
                new = [row for row in tuned.catalog() if row not in before]
                assert {row[1] for row in new} >= {"idx_plain_v", "idx_parts_v", "idx_plain_k"}
                after = after or len(new)
                assert len(new) == after == 7
            if was_left and mends == "--remove":
                states = [row["state"] for row in mended["changes"] if row["id"] > last]
                assert "failed" in states and set(states) <= {"failed", "applied"}
            last = max(row["id"] for row in mended["changes"])
            tuned.json("undo", "--all")
            assert tuned.catalog() == before, f"at moment {moment}"
            if not reached:
                break


def test_R21_the_backend_of_apply_is_killed(tuned):
    before = tuned.catalog()

    def terminate(_, cursor):
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cairn tune apply'"
                       " AND datname = current_database()")

    step = max(1, 20 // KILLS)
    with Writer(tuned, WRITES):
        for moment in range(1, 1000, step):
            reached = after_moments(tuned, moment, terminate)
            settle(tuned)
            assert not tuned.status("--remove")["left"]
            only_whole_indexes(tuned)
            tuned.json("undo", "--all")
            assert tuned.catalog() == before, f"at moment {moment}"
            if not reached:
                break


def build_held(tuned, cursor):
    """An apply in the midst of CREATE INDEX CONCURRENTLY, until the cursor's connection gives its lock up."""
    change = index("plain", "k", name="held_index", keys=[{"expression": "held(k)", "operator_class": "", "descending": False, "nulls_first": False}])
    tuned.advice(change)
    cursor.execute("SELECT pg_advisory_lock(7)")
    apply = tuned.start("apply", "last", "--unproven")
    while True:
        cursor.execute("SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database()"
                       " AND command = 'CREATE INDEX CONCURRENTLY' AND phase LIKE 'building index%'")
        if cursor.fetchone()[0]:
            return apply
        assert apply.poll() is None, apply.communicate()


@pytest.mark.parametrize("mends", ["--finish", "--remove", "apply"])
def test_R21_killed_in_the_midst_of_a_build(tuned, mends):
    before = tuned.catalog()
    with contextlib.closing(tuned.connect()) as connection, connection.cursor() as cursor:
        apply = build_held(tuned, cursor)
        assert tuned.status()["at_work"].startswith("cairn tune apply (process ")
        apply.kill()
        apply.communicate()
        (left,) = [row for row in settle(tuned)["changes"] if row["left"]]
        assert left["state"] == "applying" and left["catalog"] == "the index is there and not valid"
        cursor.execute("SELECT pg_advisory_unlock(7)")
    if mends == "apply":
        assert tuned.apply()["changes"][0]["outcome"] == "applied"
    else:
        assert not tuned.status(mends)["left"]
    only_whole_indexes(tuned)
    assert ("held_index" in [row[1] for row in tuned.catalog()]) == (mends != "--remove")
    tuned.json("undo", "--all")
    assert tuned.catalog() == before
    assert not tuned.status()["left"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_R21_a_signal_in_the_midst_of_a_build_cleans_up(tuned, number):
    before = tuned.catalog()
    with contextlib.closing(tuned.connect()) as connection, connection.cursor() as cursor:
        apply = build_held(tuned, cursor)
        apply.send_signal(number)
        _, error = apply.communicate(timeout=60)
        assert apply.returncode not in (0, -number) and "stopped" in error
        assert tuned.catalog() == before
        assert not tuned.status()["left"]
        cursor.execute("SELECT pg_advisory_unlock(7)")


def test_R21_undo_killed_in_its_midst(tuned):
    before = tuned.catalog()
    tuned.advice(index("plain", "v"))
    tuned.apply()
    with contextlib.closing(psycopg2.connect(tuned.dsn)) as other, other.cursor() as cursor:
        cursor.execute("INSERT INTO plain VALUES (1, 1)")
        undo = tuned.start("undo", "--last")
        assert "waiting for transactions" in undo.stderr.readline()
        undo.kill()
        undo.communicate()
        (left,) = [row for row in settle(tuned)["changes"] if row["left"]]
        assert left["state"] == "undoing"
        other.rollback()
    assert not tuned.status("--finish")["left"]
    assert tuned.catalog() == before
