"""Rows that no edge of an hnsw index leads to: the next VACUUM makes ways to them, and a build leaves none."""
import random
import struct

import psycopg2
import pytest
from vectors import complaints, everything, out_of_reach, vector

ROWS = 1000
CUT = 150
PAGE, HEADER, NODE = 8192, 24, 88

pytestmark = [pytest.mark.timeout(600), pytest.mark.full]


def sparse(rng, dimensions=16, length=1.0):
    return "{" + ",".join(f"{i + 1}:{rng.gauss(0, length):.4f}" for i in sorted(rng.sample(range(dimensions), 3))) + f"}}/{dimensions}"


def among_hubs(rng):
    """Most have no element in common, and are nearer to a few short vectors than to each other."""
    return sparse(rng, 5000, 0.1 if rng.random() < 0.05 else 1.0)


KINDS = {"vector": ("vector(16)", vector), "sparsevec": ("sparsevec(16)", sparse)}  # with codes, without
BUILT = {**KINDS, "hubs": ("sparsevec(5000)", among_hubs)}


def make_items(connection, kind, rng, count=ROWS, built=True):
    column, value = BUILT[kind]
    cursor = connection.cursor()
    cursor.execute(f"CREATE EXTENSION vector; CREATE TABLE items (id int PRIMARY KEY, v {column})")
    index = f"CREATE INDEX items_v ON items USING hnsw (v {column.partition('(')[0]}_l2_ops)"
    if not built:
        cursor.execute(index)
    rows = ",".join(cursor.mogrify("(%s, %s)", (i, value(rng))).decode() for i in range(count))
    cursor.execute(f"INSERT INTO items VALUES {rows}")
    if built:
        cursor.execute(index)


def found_rows(connection, kind):
    return set(everything(connection, "hnsw", "items_v", BUILT[kind][1](random.Random(3))))


class Pages:
    """The nodes of an index's file (docs/formats/hnsw.md)."""

    def __init__(self, file):
        self.file, self.bytes = file, bytearray(file.read_bytes())
        code_dimensions, = struct.unpack_from("<I", self.bytes, HEADER + 12)
        self.edge_bytes = 16 + code_dimensions // 8
        self.nodes = {}  # by block and line pointer
        for block in range(1, len(self.bytes) // PAGE):
            page = block * PAGE
            lower, = struct.unpack_from("<H", self.bytes, page + 12)
            for i in range((lower - HEADER) // 4):
                pointer, = struct.unpack_from("<I", self.bytes, page + HEADER + 4 * i)
                if self.bytes[page + (pointer & 0x7FFF)] <= 12:
                    self.nodes[block, i + 1] = page + (pointer & 0x7FFF)

    def level(self, node):
        return self.bytes[self.nodes[node]]

    def row(self, node):
        high, low, offset = struct.unpack_from("<HHH", self.bytes, self.nodes[node] + 24)
        return high << 16 | low, offset

    def down(self, node):
        block, offset = struct.unpack_from("<I8xH", self.bytes, self.nodes[node] + 8)
        return block, offset

    def cut(self, from_node, goes):
        """Takes away the edges of a node to those of which goes(node) is true."""
        at = self.nodes[from_node]
        count, = struct.unpack_from("<H", self.bytes, at + 2)
        edges = [self.bytes[start:start + self.edge_bytes] for start in range(at + NODE, at + NODE + count * self.edge_bytes, self.edge_bytes)]
        kept = [edge for edge in edges if not goes((struct.unpack_from("<I", edge)[0], struct.unpack_from("<H", edge, 4)[0] & 0x3FFF))]
        struct.pack_into("<H", self.bytes, at + 2, len(kept))
        self.bytes[at + NODE:at + NODE + len(kept) * self.edge_bytes] = b"".join(kept)

    def write(self):
        self.file.write_bytes(self.bytes)


def cut_off(server, rng, wholly=True):
    """Takes all edges that lead to some elements of level 0 from others, and maybe those that lead back; their rows."""
    server.sql("CHECKPOINT")
    file = server.data / server.sql("SELECT pg_relation_filepath('items_v')")[0][0]
    rows = {(int(page), int(offset)): i for i, page, offset in server.sql(
        "SELECT id, (ctid::text::point)[0], (ctid::text::point)[1] FROM items")}
    server.stop()
    pages = Pages(file)
    above = {pages.down(node) for node in pages.nodes if pages.level(node) > 0}
    cluster = set(rng.sample(sorted(node for node in pages.nodes if pages.level(node) == 0 and node not in above), CUT))
    for node in pages.nodes:
        if pages.level(node) == 0 and (wholly or node not in cluster):
            pages.cut(node, lambda end: (end in cluster) != (node in cluster))
    pages.write()
    server.start()
    return {rows[pages.row(node)] for node in cluster}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wholly", [True, False], ids=["apart", "one_way"])
@pytest.mark.parametrize("deleted", [0, 50])
def test_vacuum_leads_to_rows_that_came_apart(cluster, rng, kind, wholly, deleted):
    server = cluster(wal_consistency_checking="generic")
    make_items(server.connect(), kind, rng)
    lost = cut_off(server, rng, wholly)
    connection = server.connect()
    assert not lost & found_rows(connection, kind)
    assert len(out_of_reach(connection, "items_v")) >= CUT
    cursor = connection.cursor()
    cursor.execute("DELETE FROM items WHERE id < %s", (deleted,))
    cursor.execute("VACUUM (INDEX_CLEANUP on) items")
    assert found_rows(connection, kind) == set(range(deleted, ROWS))
    assert complaints(connection, "items_v") == out_of_reach(connection, "items_v") == []
    # A search with the settings as they come finds them too.
    cursor.execute("SELECT id, v::text FROM items WHERE id = ANY(%s)", (sorted(lost),))
    rows = cursor.fetchall()
    cursor.execute("SET enable_seqscan = off; SET enable_sort = off")
    hits = 0
    for row, value in rows:
        cursor.execute("SELECT id FROM items ORDER BY v <-> %s LIMIT 1", (value,))
        hits += cursor.fetchone() == (row,)
    assert hits >= 0.9 * len(rows)
    cursor.execute("CREATE TABLE written ()")  # a commit writes the WAL of what was before it
    server.kill()
    server.start()
    assert found_rows(server.connect(), kind) == set(range(deleted, ROWS))


@pytest.mark.parametrize("kind", KINDS)
def test_a_vacuum_that_was_broken_off_hinders_not_the_next(cluster, rng, kind):
    server = cluster()
    make_items(server.connect(), kind, rng)
    cut_off(server, rng)
    connection = server.connect()
    cursor = connection.cursor()
    cursor.execute("DELETE FROM items WHERE id < 50")
    broken_off, known = 0, 0
    while True:
        cursor.execute(f"SET vacuum_cost_delay = 1; SET vacuum_cost_limit = 5; SET statement_timeout = {int(5 * 1.4 ** broken_off)}")
        try:
            cursor.execute("VACUUM (INDEX_CLEANUP on) items")
            break
        except psycopg2.errors.QueryCanceled:
            broken_off += 1
        cursor.execute("RESET ALL")
        assert complaints(connection, "items_v") == []
        found = found_rows(connection, kind)
        assert len(found) >= known  # what was attached stays so
        known = len(found)
    cursor.execute("RESET ALL")
    assert broken_off > 1
    assert found_rows(connection, kind) == set(range(50, ROWS))
    assert complaints(connection, "items_v") == out_of_reach(connection, "items_v") == []


@pytest.mark.parametrize("kind", BUILT)
@pytest.mark.parametrize("memory", ["64MB", "1MB"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_build_leads_to_every_row(cluster, rng, kind, memory, workers):
    """Also where all rows have the same few neighbours, which have no room for edges to all of them."""
    connection = cluster(maintenance_work_mem=memory, max_parallel_maintenance_workers=workers).connect()
    make_items(connection, kind, rng, 2000)
    assert found_rows(connection, kind) == set(range(2000))
    assert complaints(connection, "items_v") == out_of_reach(connection, "items_v") == []


@pytest.mark.parametrize("kind", BUILT)
def test_inserted_rows_are_all_led_to_after_vacuum(cluster, rng, kind):
    connection = cluster().connect()
    make_items(connection, kind, rng, 2000, built=False)
    connection.cursor().execute("VACUUM items")
    assert found_rows(connection, kind) == set(range(2000))
    assert complaints(connection, "items_v") == out_of_reach(connection, "items_v") == []
