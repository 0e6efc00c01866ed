"""Many rows with one vector in an hnsw index: they hide no other row, a scan returns each of them once, vacuum gives their room
back, and no crash loses one."""
import random
import time

import pytest
from clusters import KILLS, eventually
from vectors import Work, complaints, make_table, vector

EQUAL = 1500
OTHERS = 200
SAME = vector(random.Random(7))

pytestmark = [pytest.mark.timeout(600), pytest.mark.full]


def sparse(dense, rng):
    """The text of a sparse vector: a few of the dimensions are left out."""
    values = dense.strip("[]").split(",")
    return "{" + ",".join(f"{i + 1}:{value}" for i, value in enumerate(values) if rng.random() < 0.8) + f"}}/{len(values)}"


# Nodes with codes, without them, of different lengths, and with the vector in pages of its own.
TYPES = {
    "vector": ("vector(16)", "vector_l2_ops", "<->", SAME, vector),
    "bit": ("bit(32)", "bit_hamming_ops", "<~>", "01" * 16, lambda rng: f"{rng.getrandbits(32):032b}"),
    "sparsevec": ("sparsevec(16)", "sparsevec_l2_ops", "<->", "{1:1,7:2}/16", lambda rng: sparse(vector(rng), rng)),
    "long": ("vector(5000)", "vector_l2_ops", "<->", f"[{','.join(['1'] * 5000)}]",
             lambda rng: f"[{','.join(str(rng.randrange(100)) for _ in range(5000))}]"),
}


def insert(cursor, ids, values):
    rows = ",".join(cursor.mogrify("(%s, %s)", row).decode() for row in zip(ids, values))
    cursor.execute(f"INSERT INTO items VALUES {rows}")


def insert_equal(cursor, ids, value=SAME):
    cursor.execute("INSERT INTO items SELECT id, %s FROM unnest(%s) id", (value, list(ids)))


def scan(cursor, query=SAME, operator="<->"):
    """All ids by a scan of the index to its end."""
    cursor.execute("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off; SET hnsw.max_scan_tuples = 2147483647")
    cursor.execute("SET hnsw.iterative_scan = relaxed_order; SET hnsw.scan_mem_multiplier = 1000")
    cursor.execute(f"SELECT id FROM items ORDER BY v {operator} %s", (query,))
    found = [row[0] for row in cursor.fetchall()]
    cursor.execute("RESET ALL")
    return found


def holds(connection, wanted, query=SAME, operator="<->"):
    found = scan(connection.cursor(), query, operator)
    assert sorted(found) == sorted(wanted)
    assert complaints(connection, "items_v") == []


def size(connection):
    cursor = connection.cursor()
    cursor.execute("SELECT pg_relation_size('items_v')")
    return cursor.fetchone()[0]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("built", [True, False])
def test_rows_with_one_vector_come_and_go(cluster, rng, kind, built):
    column, operators, operator, same, other = TYPES[kind]
    connection = cluster().connect()
    cursor = connection.cursor()
    cursor.execute(f"CREATE EXTENSION vector; CREATE TABLE items (id int, v {column}) WITH (autovacuum_enabled = off)")
    index = f"CREATE INDEX items_v ON items USING hnsw (v {operators})"
    if not built:
        cursor.execute(index)
    others = range(10000, 10000 + (OTHERS if kind != "long" else 40))
    rows = [(i, same) for i in range(EQUAL)] + [(i, other(rng)) for i in others]
    rng.shuffle(rows)
    insert(cursor, *zip(*rows))
    if built:
        cursor.execute(index)
    held = [*range(EQUAL), *others]
    for query in same, rows[-1][1]:
        holds(connection, held, query, operator)
    # The nearest of the others, with the settings as they come.
    cursor.execute("SET enable_seqscan = off; SET enable_sort = off")
    for row, value in [row for row in rows if row[1] != same][:20]:
        cursor.execute(f"SELECT id FROM items ORDER BY v {operator} %s LIMIT 1", (value,))
        assert cursor.fetchone() == (row,)
    cursor.execute("RESET ALL")
    # A part goes: every second one, and all of the middle.
    cursor.execute("DELETE FROM items WHERE id < %s AND (id %% 2 = 0 OR id BETWEEN 400 AND 1100)", (EQUAL,))
    held = [i for i in held if i >= EQUAL or (i % 2 and not 400 <= i <= 1100)]
    holds(connection, held, same, operator)
    cursor.execute("VACUUM (INDEX_CLEANUP on) items")
    holds(connection, held, same, operator)
    insert_equal(cursor, range(20000, 20500), same)
    held += range(20000, 20500)
    holds(connection, held, same, operator)
    # All of them go, and others come.
    cursor.execute("DELETE FROM items WHERE id < %s OR id >= 20000", (EQUAL,))
    cursor.execute("VACUUM (INDEX_CLEANUP on) items")
    holds(connection, others, same, operator)
    before = size(connection)
    for first in 30000, 40000, 50000:
        insert_equal(cursor, range(first, first + EQUAL), same)
        holds(connection, [*others, *range(first, first + EQUAL)], same, operator)
        cursor.execute("DELETE FROM items WHERE id >= 30000")
        cursor.execute("VACUUM (INDEX_CLEANUP on) items")
    holds(connection, others, same, operator)
    # Three times 1,500 rows; where equal rows begin another page is chance.
    assert size(connection) <= before + 4 * 8192, "the room of rows that are gone was not used again"


def test_room_that_a_build_or_a_crash_left_is_used(cluster, rng):
    """A build leaves the places of the elements that have joined others; the free space map, which says where they are, may be lost."""
    server = cluster()
    connection = server.connect()
    make_table(connection, "hnsw", 1, rng)
    cursor = connection.cursor()
    cursor.execute("ALTER TABLE items SET (autovacuum_enabled = off)")
    insert_equal(cursor, range(1, EQUAL))
    cursor.execute("REINDEX INDEX items_v")
    built = size(connection)
    others = range(10000, 10000 + EQUAL // 2)
    insert(cursor, others, [vector(rng) for _ in others])
    assert size(connection) == built
    cursor.execute("DELETE FROM items WHERE id >= 10000")
    cursor.execute("VACUUM (INDEX_CLEANUP on) items")
    cursor.execute("SELECT pg_relation_filepath('items_v')")
    file = server.data / cursor.fetchone()[0]
    server.stop()
    file.with_name(file.name + "_fsm").unlink()
    server.start()
    connection = server.connect()
    cursor = connection.cursor()
    cursor.execute("DELETE FROM items WHERE id = 1")
    cursor.execute("VACUUM (INDEX_CLEANUP on) items")
    insert(cursor, others, [vector(rng) for _ in others])
    assert size(connection) == built
    holds(connection, [0, *range(2, EQUAL), *others])


@pytest.mark.parametrize("gone", [{2}, {1, 2}, {2, 4}])
def test_a_scan_goes_on_where_places_were_used_again(cluster, rng, gone):
    """A reader that stands in a chain while vacuum takes nodes out of it, and an insert puts them in front."""
    server = cluster()
    connection = server.connect()
    make_table(connection, "hnsw", 0, rng)
    cursor = connection.cursor()
    insert_equal(cursor, range(EQUAL))
    order = scan(cursor)
    assert sorted(order) == list(range(EQUAL))
    # Newer nodes come first: where the ids fall another node begins.
    starts = [i for i in range(1, EQUAL) if order[i] < order[i - 1]]
    parts = [order[i:j] for i, j in zip(starts, [*starts[1:], EQUAL])]
    assert len(parts) > max(gone)
    removed = {row for i in gone for row in parts[i]}
    cursor.execute("DELETE FROM items WHERE id = ANY(%s)", (list(removed),))
    reader = server.connect().cursor()
    reader.execute("SET enable_seqscan = off; SET enable_sort = off; BEGIN")
    reader.execute("DECLARE slow NO SCROLL CURSOR FOR SELECT id FROM items ORDER BY v <-> %s", (SAME,))
    until = next(row for row in parts[1] + parts[0][-1:] if row not in removed)
    found = []
    while until not in found:
        reader.execute("FETCH 1 FROM slow")
        found.append(reader.fetchone()[0])
    before = size(connection)
    cursor.execute("VACUUM (INDEX_CLEANUP on) items")
    insert_equal(cursor, range(10000, 10000 + len(removed)))
    assert size(connection) == before
    reader.execute("FETCH ALL FROM slow")
    found += [row[0] for row in reader.fetchall()]
    assert sorted(found) == sorted(set(range(EQUAL)) - removed)


class EqualWork(Work):
    """Rows of one vector that come and go; those under `lasting` stay."""

    lasting = EQUAL // 3

    def insert_some(self, connection, rng):
        with self.lock:
            rows = range(self.next_id, self.next_id + 40)
            self.next_id += 40
        insert_equal(connection.cursor(), rows)
        with self.lock:
            self.live.update(rows)

    def delete_some(self, connection, rng):
        with self.lock:
            rows = [row for row in self.live if row >= self.lasting and rng.random() < 0.7]
            self.live.difference_update(rows)
        connection.cursor().execute("DELETE FROM items WHERE id = ANY(%s)", (rows,))
        with self.lock:
            self.dead.update(rows)

    def vacuum(self, connection):
        connection.cursor().execute("VACUUM (INDEX_CLEANUP on) items")

    def read(self, connection):
        """Slowly: places are given back and used again while the scan is on."""
        cursor = connection.cursor()
        cursor.execute("SET enable_seqscan = off; SET enable_sort = off; SET hnsw.max_scan_tuples = 2147483647; SET hnsw.iterative_scan = relaxed_order")
        cursor.execute("BEGIN")
        cursor.execute("DECLARE slow NO SCROLL CURSOR FOR SELECT id FROM items ORDER BY v <-> %s", (SAME,))
        found = []
        while True:
            cursor.execute("FETCH 50 FROM slow")
            rows = cursor.fetchall()
            found += [row[0] for row in rows]
            if not rows:
                break
        cursor.execute("COMMIT")
        assert len(found) == len(set(found)), "a scan returned a row twice"
        missing = set(range(self.lasting)) - set(found)
        assert not missing, f"a scan missed {len(missing)} rows, as {min(missing)}"

    def start_all(self, rng):
        for step in self.insert_some, self.insert_some, self.delete_some:
            self.start(step, random.Random(rng.random()))
        self.start(self.vacuum)


def make_equal(server, rng):
    connection = server.connect()
    make_table(connection, "hnsw", 0, rng)
    cursor = connection.cursor()
    cursor.execute("ALTER TABLE items SET (autovacuum_enabled = off)")
    insert(cursor, range(100000, 100000 + OTHERS), [vector(rng) for _ in range(OTHERS)])
    # The lasting ones lie between those that go.
    rows = list(range(EQUAL))
    rng.shuffle(rows)
    insert_equal(cursor, rows)
    return connection


def test_scans_beside_inserts_and_vacuum_see_every_row_once(cluster, rng):
    server = cluster(wal_consistency_checking="generic")
    connection = make_equal(server, rng)
    standby = cluster(copy_of=server, hot_standby_feedback="on", wal_receiver_status_interval="1s")
    work, replayed = EqualWork(server, range(EQUAL)), EqualWork(standby, ())
    work.next_id = 200000
    work.start_all(rng)
    for _ in range(2):
        work.start(work.read)
    replayed.start(replayed.read)
    eventually(lambda: work.done >= 600 and replayed.done >= 20 or work.errors or replayed.errors, "the work")
    replayed.stop()
    work.stop()
    holds(connection, [*work.live, *range(100000, 100000 + OTHERS)])
    connection.cursor().execute("VACUUM (INDEX_CLEANUP on) items")
    holds(connection, [*work.live, *range(100000, 100000 + OTHERS)])
    server.no_crash()
    standby.no_crash()


def test_no_row_is_lost_in_a_crash(cluster, rng):
    server = cluster()
    make_equal(server, rng)
    live, next_id = set(range(EQUAL)), 200000
    for _ in range(KILLS):
        work = EqualWork(server, live)
        work.next_id = next_id
        work.start_all(rng)
        wanted = rng.randrange(1, 60)
        eventually(lambda: work.done >= wanted or work.errors, "the work")
        time.sleep(rng.uniform(0, 0.05))  # somewhere in the middle of the next
        work.kill()
        server.start()
        connection = server.connect()
        cursor = connection.cursor()
        for _ in range(2):
            cursor.execute("SET enable_indexscan = off; SELECT id FROM items")
            table = [row[0] for row in cursor.fetchall()]
            cursor.execute("RESET ALL")
            assert work.live <= set(table) and not work.dead & set(table)
            holds(connection, table)
            cursor.execute("VACUUM (INDEX_CLEANUP on) items")
        live, next_id = {row for row in table if not 100000 <= row < 200000}, max(table) + 1000
        server.no_crash()
