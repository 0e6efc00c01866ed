"""Tables of vectors with an index, the work that goes on on them, and what must hold of such an index whatever befell it."""
import random
import threading

import psycopg2
from clusters import ROOT

DIMENSIONS = 16
LISTS = 10
QUERIES = 200  # so many that one alone, all of whose answers are others, makes less than the slack
RECALL_SLACK = 0.01  # what a repaired index may lose against one that is built afresh
# `everything` makes a scan of the index go on until it has returned every row; `recall` are the settings to measure with: where
# an index's start is random, such that chance alone does not make a difference.
METHODS = {
    "hnsw": {"options": "", "recall": [], "everything": ["hnsw.iterative_scan = relaxed_order", "hnsw.max_scan_tuples = 2147483647",
                                           "hnsw.scan_mem_multiplier = 1000"]},
    "ivfflat": {"options": f"WITH (lists = {LISTS})", "recall": [f"ivfflat.probes = {LISTS // 2}"], "everything": [f"ivfflat.probes = {LISTS}"]},
}


def methods():
    """The access methods that the extension has."""
    return [name for name in METHODS if any((ROOT / "extension/am" / name).glob("*.cpp"))]


def vector(rng, dimensions=DIMENSIONS):
    """Text of a vector near one of ten centres."""
    centre = random.Random(rng.randrange(10))
    return "[" + ",".join(f"{centre.gauss(0, 1) + rng.gauss(0, 0.4):.4f}" for _ in range(dimensions)) + "]"


def fill(cursor, table, ids, rng, dimensions=DIMENSIONS):
    for at in range(0, len(ids), 500):
        part = ids[at:at + 500]
        values = ",".join(cursor.mogrify("(%s, %s)", (i, vector(rng, dimensions))).decode() for i in part)
        cursor.execute(f"INSERT INTO {table} (id, v) VALUES {values}")


def make_table(connection, method, count, rng, dimensions=DIMENSIONS):
    """Table items(id, v) of count rows with the index items_v."""
    cursor = connection.cursor()
    cursor.execute(f"CREATE EXTENSION IF NOT EXISTS vector; CREATE TABLE items (id bigint PRIMARY KEY, v vector({dimensions}))")
    fill(cursor, "items", range(count), rng, dimensions)
    cursor.execute(f"CREATE INDEX items_v ON items USING {method} (v vector_l2_ops) {METHODS[method]['options']}")


def use_index(cursor, index, query=None):
    """Lets the planner take nothing but an index for what comes."""
    cursor.execute("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off")
    cursor.execute("EXPLAIN SELECT id FROM " + index.removesuffix("_v") + " ORDER BY v <-> %s LIMIT 10", (query or vector(random.Random(1)),))
    plan = "\n".join(line for line, in cursor.fetchall())
    assert f"Index Scan using {index}" in plan, plan


def nearest(cursor, table, query, limit=10):
    cursor.execute(f"SELECT id, v <-> %s FROM {table} ORDER BY v <-> %s LIMIT %s", (query, query, limit))
    rows = cursor.fetchall()
    ids, distances = [row[0] for row in rows], [row[1] for row in rows]
    assert len(set(ids)) == len(ids), f"a row came twice: {ids}"
    assert distances == sorted(distances), f"not in the order of distance: {distances}"
    return ids


def some_queries(seed):
    rng = random.Random(seed)
    return [vector(rng) for _ in range(QUERIES)]


def exactly(connection, table, seed):
    """The ten nearest of each of some queries."""
    cursor = connection.cursor()
    cursor.execute("SET enable_indexscan = off")
    exact = [set(nearest(cursor, table, query)) for query in some_queries(seed)]
    cursor.execute("RESET enable_indexscan")
    return exact


def recall(connection, method, table, seed, exact=None):
    """Share of the ten nearest of each of some queries that a scan of the table's index finds."""
    exact, cursor = exact or exactly(connection, table, seed), connection.cursor()
    for setting in METHODS[method]["recall"]:
        cursor.execute(f"SET {setting}")
    use_index(cursor, f"{table}_v")
    found = [set(nearest(cursor, table, query)) for query in some_queries(seed)]
    cursor.execute("RESET ALL")
    return sum(len(a & b) for a, b in zip(exact, found)) / sum(map(len, exact))


def everything(connection, method, index, query=None):
    """Every id that the index leads to, as a scan to its end returns them."""
    cursor = connection.cursor()
    for setting in METHODS[method]["everything"]:
        cursor.execute(f"SET {setting}")
    use_index(cursor, index, query)
    cursor.execute("SELECT id FROM " + index.removesuffix("_v") + " ORDER BY v <-> %s", (query or vector(random.Random(2)),))
    found = [row[0] for row in cursor.fetchall()]
    cursor.execute("RESET ALL")
    return found


def findings(connection, index):
    cursor = connection.cursor()
    cursor.execute("SELECT to_regprocedure('vector_index_check(regclass)') IS NOT NULL")
    if not cursor.fetchone()[0]:
        return []
    cursor.execute("SELECT * FROM vector_index_check(%s::regclass)", (index,))
    return cursor.fetchall()


NO_WAY = "no way leads from the entry"


def complaints(connection, index):
    """What vector_index_check says is wrong with the index; not of nodes that a crash or deletions have left alone: VACUUM sees to them."""
    return [row for row in findings(connection, index) if NO_WAY not in row[1]]


def out_of_reach(connection, index):
    """What vector_index_check says of nodes that no search comes to."""
    return [row for row in findings(connection, index) if NO_WAY in row[1]]


def check(connection, method, seed, live=(), dead=()):
    """Holds items_v against the table and against an index built afresh: no row is missing, none comes twice, recall is as good.

    `live` are ids that must be in the table, `dead` ids that must not.
    """
    cursor = connection.cursor()
    cursor.execute("SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; SELECT id FROM items")
    table = {row[0] for row in cursor.fetchall()}
    cursor.execute("RESET ALL")
    assert not set(live) - table, f"committed rows are gone: {sorted(set(live) - table)[:20]}"
    assert not set(dead) & table, f"deleted rows are back: {sorted(set(dead) & table)[:20]}"
    found = everything(connection, method, "items_v")
    assert len(found) == len(set(found)), "a scan of the index returned a row twice"
    missing = table - set(found)
    assert not missing, f"{len(missing)} of {len(table)} rows are not in the index: {sorted(missing)[:20]}"
    assert not set(found) - table, f"the index led to rows that are not there: {sorted(set(found) - table)[:20]}"
    assert not (wrong := complaints(connection, "items_v")), wrong
    cursor.execute(f"""CREATE TABLE fresh AS TABLE items;
                       CREATE INDEX fresh_v ON fresh USING {method} (v vector_l2_ops) {METHODS[method]['options']}""")
    try:
        exact = exactly(connection, "items", seed)
        mine, afresh = recall(connection, method, "items", seed, exact), recall(connection, method, "fresh", seed, exact)
        assert mine >= afresh - RECALL_SLACK, f"recall is {mine:.3f}; an index built afresh has {afresh:.3f}"
    finally:
        cursor.execute("DROP TABLE fresh")


class Work:
    """Threads that work on a cluster until stop() or until the server dies; live and dead are what the server acknowledged."""

    def __init__(self, cluster, live):
        self.cluster, self.live, self.dead = cluster, set(live), set()
        # Who works on the same table again hands it on: a row that died, or was committed without its acknowledgement, had an id too.
        self.next_id = max(self.live, default=0) + 1
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.done, self.errors, self.threads = 0, [], []

    def start(self, step, *arguments):
        """Runs step(connection, ...) again and again in a thread of its own."""

        def loop():
            connection = None
            try:
                connection = self.cluster.connect()
                while not self.stopping.is_set():
                    step(connection, *arguments)
                    self.done += 1
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                if error.pgcode is not None or not self.stopping.is_set():  # not the death of the server that a test wanted
                    self.errors.append(error)
            except Exception as error:
                self.errors.append(error)
            finally:
                if connection:
                    connection.close()  # an open transaction would hold up the others

        self.threads.append(threading.Thread(target=loop, daemon=True))
        self.threads[-1].start()

    def insert(self, connection, rng):
        with self.lock:
            row, self.next_id = self.next_id, self.next_id + 1
        connection.cursor().execute("INSERT INTO items VALUES (%s, %s)", (row, vector(rng)))
        with self.lock:
            self.live.add(row)

    def delete(self, connection, rng, count=5):
        """Deletes nothing while hardly more than that is left."""
        with self.lock:
            rows = rng.sample(sorted(self.live), count) if len(self.live) > 2 * count else []
            self.live.difference_update(rows)
        connection.cursor().execute("DELETE FROM items WHERE id = ANY(%s)", (rows,))
        with self.lock:
            self.dead.update(rows)

    def update(self, connection, rng):
        """A row whose vector moves keeps its id: the old version must leave the index's answers."""
        with self.lock:
            row = rng.choice(sorted(self.live))
        connection.cursor().execute("UPDATE items SET v = %s WHERE id = %s", (vector(rng), row))

    def join(self):
        for thread in self.threads:
            thread.join(120)
            assert not thread.is_alive(), "a statement hangs"

    def stop(self):
        """Ends the threads; every error of theirs is a failure."""
        self.stopping.set()
        self.join()
        assert not self.errors, self.errors

    def kill(self):
        """kill -9 of the server beneath them."""
        assert not self.errors, self.errors
        self.stopping.set()
        self.cluster.kill()
        self.join()
        assert not self.errors, self.errors
