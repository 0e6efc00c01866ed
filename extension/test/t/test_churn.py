"""Rows that come and go for long: what vacuum and inserts leave of an index still leads to every row."""
import psycopg2
import pytest
from vectors import complaints, everything, fill, make_table, methods, nearest, out_of_reach, recall, use_index

ROWS = 1500
CHANGED = 300
ROUNDS = 30  # a fifth of the rows each: of those that the index was built with one in a thousand is left

pytestmark = [pytest.mark.timeout(600), pytest.mark.full]


@pytest.mark.parametrize("method", methods())
def test_an_index_holds_together_under_churn(cluster, method, rng):
    connection = cluster().connect()
    make_table(connection, method, ROWS, rng)
    cursor = connection.cursor()
    live, next_id = set(range(ROWS)), ROWS
    for _ in range(ROUNDS):
        gone = rng.sample(sorted(live), CHANGED)
        cursor.execute("DELETE FROM items WHERE id = ANY(%s)", (gone,))
        cursor.execute("VACUUM items")
        added = range(next_id, next_id + CHANGED)
        fill(cursor, "items", added, rng)
        live, next_id = live - set(gone) | set(added), next_id + CHANGED
    found = everything(connection, method, "items_v")
    assert len(found) == len(set(found))
    # Inserts may part a few from the rest.
    assert set(found) <= live and len(found) >= 0.98 * len(live)
    cursor.execute("VACUUM items")
    assert set(everything(connection, method, "items_v")) == live
    assert recall(connection, method, "items", rng.random()) >= 0.9
    assert complaints(connection, "items_v") == []


CENTRES = 30


def near_centre(centre, spread, rng):
    return "[" + ",".join(f"{x + rng.gauss(0, spread):.4f}" for x in centre) + "]"


def test_searches_come_to_every_cluster_under_churn(cluster, rng):
    """Far clusters, too small to have a node above level 0 each, in an index with few edges: those from one to another are soon gone.

    That a way leads to a cluster is not enough: a search that looks at few nodes must find it.
    """
    connection = cluster().connect()
    cursor = connection.cursor()
    centres = [[rng.gauss(0, 1) for _ in range(8)] for _ in range(CENTRES)]
    cursor.execute("CREATE EXTENSION vector; CREATE TABLE items (id int PRIMARY KEY, centre int, v vector(8))")

    def add(ids):
        rows = [(i, c, near_centre(centres[c], 0.1, rng)) for i in ids for c in [rng.randrange(CENTRES)]]
        cursor.execute("INSERT INTO items VALUES " + ",".join(cursor.mogrify("(%s, %s, %s)", row).decode() for row in rows))

    add(range(ROWS))
    cursor.execute("CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops) WITH (m = 4, ef_construction = 16)")
    live, next_id, searches, lost = set(range(ROWS)), ROWS, 0, 0
    for _ in range(15):
        gone = rng.sample(sorted(live), CHANGED)
        cursor.execute("DELETE FROM items WHERE id = ANY(%s)", (gone,))
        cursor.execute("VACUUM (INDEX_CLEANUP on) items")
        live -= set(gone)
        use_index(cursor, "items_v", near_centre(centres[0], 0, rng))
        cursor.execute("SELECT id, centre FROM items")
        centre_of = dict(cursor.fetchall())
        for c in range(CENTRES):
            found = nearest(cursor, "items", near_centre(centres[c], 0, rng))
            lost += c not in {centre_of[row] for row in found}
            searches += 1
        cursor.execute("RESET ALL")
        add(range(next_id, next_id + CHANGED))
        live, next_id = live | set(range(next_id, next_id + CHANGED)), next_id + CHANGED
    assert lost <= searches // 100, f"{lost} of {searches} searches ended in other clusters"


@pytest.mark.parametrize("method", methods())
def test_a_vacuum_that_was_broken_off_leaves_a_sound_index(cluster, method, rng):
    """At ever later moments, so that each of its steps is met; the next vacuum ends the work."""
    connection = cluster().connect()
    make_table(connection, method, ROWS, rng)
    cursor = connection.cursor()
    live, next_id, broken_off = set(range(ROWS)), ROWS, 0
    for i in range(12):
        gone = rng.sample(sorted(live), CHANGED)
        cursor.execute("DELETE FROM items WHERE id = ANY(%s)", (gone,))
        cursor.execute(f"SET vacuum_cost_delay = 1; SET vacuum_cost_limit = 5; SET statement_timeout = {int(5 * 1.7 ** i)}")
        try:
            cursor.execute("VACUUM (INDEX_CLEANUP on) items")
        except psycopg2.errors.QueryCanceled:
            broken_off += 1
        cursor.execute("RESET ALL")
        added = range(next_id, next_id + CHANGED)
        fill(cursor, "items", added, rng)
        live, next_id = live - set(gone) | set(added), next_id + CHANGED
        for ended in False, True:
            assert complaints(connection, "items_v") == []
            found = everything(connection, method, "items_v")
            assert len(found) == len(set(found)) and set(found) <= live
            if ended:
                assert set(found) == live and out_of_reach(connection, "items_v") == []
            cursor.execute("VACUUM (INDEX_CLEANUP on) items")
    assert broken_off > 1
