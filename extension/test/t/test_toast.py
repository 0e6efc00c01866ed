"""Vectors that PostgreSQL moved out of their rows are read whole, whatever was done to the table in between."""
import pytest

STEPS = 120
SETUP = """CREATE EXTENSION vector;
CREATE FUNCTION numbers(id int, version int, dims int) RETURNS real[] IMMUTABLE LANGUAGE sql AS
  'SELECT array_agg(((id * 31 + version * 17 + n * (id % 5 + 1)) % 1009) / 8.0 ORDER BY n)::real[] FROM generate_series(1, dims) n';
CREATE TABLE items (id int PRIMARY KEY, version int, v {type}({dims}), w {type}(1300));
ALTER TABLE items ALTER v SET STORAGE EXTERNAL, ALTER w SET STORAGE EXTERNAL;
"""
ROW = "{id}, {version}, numbers({id}, {version}, {dims})::{type}, CASE WHEN {id} % 3 = 0 THEN numbers({id}, {version} + 1, 1300)::{type} END"
ORDERS = ["ctid", "md5(id::text)", "id DESC"]


class Table:
    """The rows, by id their version, as they should be."""

    def __init__(self, connection, kind, dims):
        self.connection, self.kind, self.dims, self.rows = connection, kind, dims, {}
        connection.autocommit = True
        self.cursor = connection.cursor()
        self.cursor.execute(SETUP.format(type=kind, dims=dims))

    def row(self, identity, version):
        return ROW.format(id=identity, version=version, type=self.kind, dims=self.dims)

    def insert(self, rng):
        first = max(self.rows, default=0) + 1
        count = rng.choice([1, 5, 40])
        self.cursor.execute(f"INSERT INTO items SELECT {self.row('n', 0)} FROM generate_series({first}, {first + count - 1}) n")
        self.rows.update(dict.fromkeys(range(first, first + count), 0))

    def update(self, rng):
        chosen = rng.sample(sorted(self.rows), min(len(self.rows), rng.choice([1, 7])))
        for one in chosen:
            self.cursor.execute(f"UPDATE items SET (id, version, v, w) = (SELECT {self.row('id', 'version + 1')}) WHERE id = {one}")
            self.rows[one] += 1

    def delete(self, rng):
        chosen = rng.sample(sorted(self.rows), min(len(self.rows), rng.choice([1, 20])))
        self.cursor.execute("DELETE FROM items WHERE id = ANY (%s)", (chosen,))
        for one in chosen:
            del self.rows[one]

    def regret(self, rng):
        """What was written in between is read there, and gone again."""
        rows = dict(self.rows)
        self.cursor.execute("BEGIN")
        self.insert(rng)
        kept = dict(self.rows)
        self.cursor.execute("SAVEPOINT one")
        self.update(rng)
        self.check(rng)
        self.cursor.execute("ROLLBACK TO one")
        self.rows = kept
        self.check(rng)
        whole = rng.random() < 0.5
        self.cursor.execute("ROLLBACK" if whole else "COMMIT")
        self.rows = rows if whole else kept

    def maintain(self, rng):
        self.cursor.execute(rng.choice(["VACUUM items", "VACUUM FULL items", "CLUSTER items USING items_pkey", "VACUUM FREEZE items", "CHECKPOINT"]))

    def truncate(self, rng):
        if rng.random() < 0.2:
            self.cursor.execute("TRUNCATE items")
            self.rows = {}

    def check(self, rng, cursor=None, rows=None):
        cursor = cursor or self.cursor
        cursor.execute(f"""SELECT id, version FROM (SELECT * FROM items ORDER BY {rng.choice(ORDERS)} OFFSET 0) x
            WHERE v::real[] = numbers(id, version, {self.dims})
              AND w::real[] IS NOT DISTINCT FROM CASE WHEN id % 3 = 0 THEN numbers(id, version + 1, 1300) END""")
        assert dict(cursor.fetchall()) == (self.rows if rows is None else rows)


@pytest.mark.parametrize("kind, dims", [("vector", 500), ("vector", 768), ("halfvec", 3000)])
def test_whole_after_whatever_was_done(cluster, rng, kind, dims):
    server = cluster(shared_buffers=rng.choice(["1MB", "64MB"]))
    table = Table(server.connect(), kind, dims)
    steps = [table.insert, table.insert, table.update, table.update, table.delete, table.regret, table.maintain, table.truncate]
    for _ in range(STEPS):
        rng.choice(steps)(rng)
        table.check(rng)


def test_an_old_snapshot_reads_what_it_saw(cluster, rng):
    server = cluster()
    table = Table(server.connect(), "vector", 768)
    for _ in range(3):
        table.insert(rng)
    old = server.connect()
    old.autocommit = False
    old.set_session(isolation_level="REPEATABLE READ")
    cursor = old.cursor()
    seen = dict(table.rows)
    table.check(rng, cursor)
    for _ in range(20):
        rng.choice([table.insert, table.update, table.delete])(rng)
        table.cursor.execute("VACUUM items")
        table.check(rng, cursor, seen)
        table.check(rng)


def test_of_temporary_and_compressed_tables_too(cluster):
    cursor = cluster().connect().cursor()
    cursor.execute("""CREATE EXTENSION vector; CREATE TEMP TABLE items (id int, v vector(900));
        INSERT INTO items SELECT n, (SELECT array_agg(n + m) FROM generate_series(1, 900) m)::vector FROM generate_series(1, 50) n;
        SELECT count(*) FROM items WHERE v::real[] = (SELECT array_agg((id + m)::real) FROM generate_series(1, 900) m)""")
    assert cursor.fetchone() == (50,)
    # So regular that PostgreSQL compresses them, and moves them out nevertheless.
    cursor.execute("""CREATE TABLE regular (id int, v vector(16000)); ALTER TABLE regular ALTER v SET STORAGE EXTENDED;
        INSERT INTO regular SELECT n, (SELECT array_agg(m % 500 + n) FROM generate_series(1, 16000) m)::vector FROM generate_series(1, 20) n;
        SELECT count(*), bool_or(pg_column_compression(v) IS NOT NULL), bool_and(pg_column_size(v) > 2000) FROM regular
        WHERE v::real[] = (SELECT array_agg((m % 500 + id)::real) FROM generate_series(1, 16000) m)""")
    assert cursor.fetchone() == (20, True, True)
