"""`cairn partitions convert`, `finish` and `undo` killed at every step of their journal, with a writer beside them: the same command goes on, undo
takes it back, also after the exchange, and no acknowledged write is lost."""
import contextlib
import pathlib
import signal
import sys
import time

import pytest

psycopg2 = pytest.importorskip("psycopg2")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from faults import KILLS  # noqa: E402
from partitioned import SCHEMA, Partitioned, Writer, catalog, contents  # noqa: E402

pytestmark = pytest.mark.timeout(120 + 30 * KILLS)

# What may be seen of a conversion: its state, how far the copy is, what there is.
SEEN = """SELECT (SELECT string_agg(concat_ws('/', state, last_key, after_done), ',') FROM cairn_partitions.conversions WHERE state <> 'undone'),
                 (SELECT count(*) FROM pg_class WHERE relname LIKE 'cairn\\_i%')"""


UNVALIDATED = "SELECT EXISTS (SELECT FROM cairn_partitions.conversions WHERE state = 'swapped' AND after_done < cardinality(after_swap))"
# Of a way back: how many keys wait, roughly, and how far it is.
SEEN_BACK = """SELECT (SELECT string_agg(concat_ws('/', state, after_done), ',') FROM cairn_partitions.conversions),
                      (SELECT string_agg(concat_ws('/', validated, returned), ',') FROM cairn_partitions.kept),
                      (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'cairn\\_%'),
                      (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cairn partitions undo'),
                      (SELECT left(query, 30) FROM pg_stat_activity WHERE application_name = 'cairn partitions undo' AND state <> 'idle' LIMIT 1)"""


@pytest.fixture
def orders(new_database):
    with new_database() as dsn:
        database = Partitioned(dsn)
        database.sql(SCHEMA % {"rows": 8000})
        database.sql("CREATE TABLE other (id int PRIMARY KEY, t timestamptz NOT NULL)")
        database.run("convert", "public.other", "--column", "t")  # the journal is there from now on
        database.run("finish", "public.other")
        yield database


def kill_after(orders, moments, *command, seen_by=SEEN):
    """Starts the command (a conversion, or what goes on with it) and kills it once so many different things were seen; False: it came to its
    end before, or was killed between its last commit and its exit."""
    command = command or ("convert", "public.orders", "--column", "created_at")
    last = {"convert": "swapped", "finish": "done", "undo": "undone"}[command[0]]
    seen = set()
    with contextlib.closing(orders.connect()) as connection, connection.cursor() as cursor:
        running = orders.start(*command)
        while len(seen) <= moments and running.poll() is None:
            cursor.execute(seen_by)
            seen.add(cursor.fetchone())
        running.send_signal(signal.SIGKILL)
        _, error = running.communicate(timeout=60)
        # 5: the machine is so busy that it gave up for now.
        assert running.returncode in (0, 5, -signal.SIGKILL), error
        return running.returncode != 0 and not (state(orders) == last and not orders.one(UNVALIDATED))


def state(orders):
    rows = orders.sql("SELECT state FROM cairn_partitions.conversions WHERE table_name = 'orders' ORDER BY id DESC LIMIT 1")
    return rows[0][0] if rows else None


def test_R29_killed_at_every_step_it_goes_on(orders):
    """One conversion, killed again and again: each time one moment later."""
    before = contents(orders)
    states = set()
    with Writer(orders, rate=200) as writer:
        kills = 0
        while kill_after(orders, 1 + kills % 3 if kills < 3 * KILLS else 10**6):
            states.add(state(orders))
            kills += 1
            assert kills < 100
        assert state(orders) == "swapped"
        while kill_after(orders, kills % 2, "finish", "public.orders") and state(orders) != "done":
            kills += 1
        assert state(orders) == "done"
        at = writer.count
        while writer.count < at + 20 and not writer.errors:
            time.sleep(0.01)
    writer.check()
    assert contents(orders) == before
    assert orders.one("SELECT count(*) FROM orders") == orders.one("SELECT count(*) FROM orders_id_keys")
    assert len(states) >= 2, states


def test_R29_killed_at_every_step_it_is_taken_back(orders):
    """Conversions that are killed each at a later moment than the one before, and undone."""
    before, rows = catalog(orders), contents(orders)
    with Writer(orders, rate=200) as writer:
        for moment in range(1, 1000, max(1, 20 // KILLS)):
            killed = kill_after(orders, moment)
            if state(orders) in (None, "undone"):
                continue
            if not killed or state(orders) == "swapped":
                break
            undo = orders.start("undo", "public.orders")
            if moment % 2:
                time.sleep(0)
                undo.send_signal(signal.SIGKILL)
            undo.communicate(timeout=60)
            if state(orders) != "undone":
                orders.run("undo", "public.orders")
            assert catalog(orders) == before, f"at moment {moment}"
    writer.check()
    assert contents(orders) == rows


@pytest.mark.full
def test_R29_killed_at_every_step_it_is_taken_back_after_the_exchange(orders):
    """Conversions that are through, and an undo that is killed each time one moment later until it comes to its end."""
    before, rows = catalog(orders), contents(orders)
    states, kills = set(), 0
    with Writer(orders, rate=200) as writer:
        for _ in range(KILLS):
            while state(orders) != "swapped":
                orders.start("convert", "public.orders", "--column", "created_at").communicate(timeout=120)
            at = writer.count
            while writer.count < at + 20 and not writer.errors:
                time.sleep(0.01)
            moment = 1
            while state(orders) != "undone":
                if not kill_after(orders, moment, "undo", "public.orders", seen_by=SEEN_BACK):
                    continue
                kills += 1
                moment += 1 + kills % 2
                states.add((state(orders), orders.one("SELECT max(validated) FROM cairn_partitions.kept")))
            assert catalog(orders) == before
    writer.check()
    assert contents(orders) == rows
    assert {name for name, _ in states} >= {"swapped", "undoing"}, states
