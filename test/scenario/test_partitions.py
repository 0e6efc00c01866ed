"""`cairn partitions`: a table becomes partitioned under writers, with all that belongs to it, and is looked after from then on."""
import contextlib
import os
import pathlib
import sys

import pytest

psycopg2 = pytest.importorskip("psycopg2")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from partitioned import SCHEMA, Partitioned, Writer, catalog, contents  # noqa: E402

FULL = bool(os.environ.get("CAIRN_FULL"))
ROWS = 6000 if FULL else 1500


@pytest.fixture
def orders(new_database):
    with new_database() as dsn:
        database = Partitioned(dsn)
        database.sql(SCHEMA % {"rows": ROWS})
        yield database


def convert(orders, *options):
    """To the last step."""
    output = orders.run("convert", "public.orders", "--column", "created_at", *options)
    assert orders.json("finish", "public.orders")["state"] == "done"
    return output


def test_R29_conversion_under_writers_carries_everything(orders):
    before = contents(orders)
    with Writer(orders, rate=100) as writer, Writer(orders, rate=100) as other:
        while writer.count < 20 or other.count < 20:
            writer.done.wait(0.01)
        output = convert(orders)
        assert "compared" in output and "equal" in output
        reached = writer.count
        while writer.count < reached + 50:
            assert not writer.errors, writer.errors
            writer.done.wait(0.01)
    writer.check()
    other.check()
    assert contents(orders) == before
    # Row by row in their partitions, none in the default one.
    months = dict(orders.sql("SELECT tableoid::regclass::text, count(*) FROM orders GROUP BY 1"))
    assert len(months) >= 14 and "orders_default" not in months
    assert all(name == "orders_" + month for name, month in orders.sql(
        "SELECT DISTINCT tableoid::regclass::text, to_char(created_at AT TIME ZONE 'UTC', 'YYYY_MM') FROM orders"))
    assert orders.one("SELECT count(*) FROM pg_inherits WHERE inhparent = 'orders'::regclass") == len(orders.sql(
        "SELECT date_trunc('month', d) FROM generate_series(date_trunc('month', now() - interval '14 months'), now(), '1 month') d")) + 5
    # Ids go on, are unique, and so are codes; foreign keys hold.
    last = orders.one("SELECT max(id) FROM orders")
    assert orders.one("INSERT INTO orders (code, user_id, amount) VALUES ('wnew', 1, 1) RETURNING id") > last
    assert orders.one("SELECT text FROM items WHERE order_id > %s", (last,)) == "made by a trigger"
    for statement, error in [
            ("INSERT INTO orders (code, user_id, created_at) VALUES ('c7', 1, now())", psycopg2.errors.UniqueViolation),
            ("INSERT INTO orders (id, code, user_id) OVERRIDING SYSTEM VALUE VALUES (7, 'x7', 1)", psycopg2.errors.UniqueViolation),
            ("UPDATE orders SET code = 'c8' WHERE code = 'c9'", psycopg2.errors.UniqueViolation),
            ("INSERT INTO orders (code, user_id) VALUES ('x8', 99)", psycopg2.errors.ForeignKeyViolation),
            ("INSERT INTO orders (code, user_id, amount) VALUES ('x8', 1, -1)", psycopg2.errors.CheckViolation),
            ("INSERT INTO items VALUES (-5, 1, '')", psycopg2.errors.ForeignKeyViolation),
            ("DELETE FROM orders WHERE id = 1001", psycopg2.errors.ForeignKeyViolation),
            ("DELETE FROM users WHERE id = 1", psycopg2.errors.ForeignKeyViolation)]:
        with pytest.raises(error):
            orders.sql(statement)
    # Moved to another month: what refers to it stays. Deleted: what refers to it goes. A new code is handed on.
    orders.sql("UPDATE orders SET created_at = now() WHERE id = 6")
    assert orders.one("SELECT count(*) FROM parts p JOIN items i USING (order_id, line) WHERE order_id = 6") == 1
    orders.sql("DELETE FROM orders WHERE id = 6")
    assert orders.one("SELECT count(*) FROM items WHERE order_id = 6") + orders.one("SELECT count(*) FROM parts WHERE order_id = 6") == 0
    orders.sql("UPDATE orders SET code = 'renamed' WHERE id = 1")
    assert orders.one("SELECT code FROM letters WHERE id = 1") == "renamed"
    # Key tables hold just the rows that are there.
    for column in ("id", "code"):
        assert orders.one(f"""SELECT count(*) FROM (TABLE orders_{column}_keys EXCEPT SELECT {column}, created_at FROM orders) a
                              FULL JOIN (SELECT {column}, created_at FROM orders EXCEPT TABLE orders_{column}_keys) b ON true""") == 0


def test_R29_what_belongs_to_the_table_is_there_afterwards(orders):
    before = {tuple(row) for row in catalog(orders)}
    options = orders.sql("SELECT relname, reloptions FROM pg_class WHERE relname IN ('large_orders')")
    large = orders.sql("SELECT count(*), sum(amount) FROM large_orders")
    convert(orders)
    after = {tuple(row) for row in catalog(orders)}
    lost = {row[:3] for row in before} - {row[:3] for row in after}
    assert not {row for row in lost if row[2] != "items_order_id_fkey"}, lost
    assert orders.sql("SELECT relname, reloptions FROM pg_class WHERE relname IN ('large_orders')") == options
    assert orders.sql("SELECT count(*), sum(amount) FROM large_orders") == large
    assert orders.one("SELECT count(*) FROM large_names") > 0
    assert orders.one("SELECT obj_description('orders'::regclass)") == "what was ordered"
    assert orders.one("SELECT col_description('orders'::regclass, 4)") == "in euros; it's net"
    assert orders.one("SELECT obj_description('orders_large'::regclass)") == "the large ones"
    assert "=ar/" in orders.one("SELECT relacl::text FROM pg_class WHERE oid = 'orders'::regclass")
    assert orders.one("SELECT attacl::text FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'amount'").startswith("{=w/")
    assert orders.one("SELECT count(*) FROM pg_statistic_ext WHERE stxname = 'orders_stats' AND stxrelid = 'orders'::regclass") == 1
    assert orders.one("SELECT pg_get_serial_sequence('orders', 'ticket')") == "public.orders_ticket_seq"
    assert orders.one("SELECT pg_get_serial_sequence('orders', 'id')") == "public.orders_id_seq"
    assert orders.one("SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r' AND NOT 'fillfactor=80' = ANY(reloptions)") == 0
    assert orders.one("SELECT bool_and(convalidated) FROM pg_constraint WHERE contype = 'f'")
    assert orders.one("SELECT count(*) FROM pg_constraint WHERE conname = 'orders_user' AND conrelid = 'orders'::regclass") == 1
    orders.sql("UPDATE orders SET amount = 9 WHERE code = 'c5'")
    assert orders.one("SELECT touched FROM orders WHERE code = 'c5'") == 1
    assert orders.one("SELECT count(*) FROM pg_class WHERE relname LIKE 'cairn\\_%%' AND relkind = 'i'", ()) == 0


def test_R29_pruning_is_shown_from_the_plan(orders):
    convert(orders)
    status = orders.json("status", "public.orders")
    assert len(status["read"]) == 1 and status["of"] == len(status["tables"][0]["partitions"])
    read = orders.json("status", "public.orders", "--statement",
                       "SELECT * FROM orders WHERE created_at >= date_trunc('month', timestamptz '2026-10-05Z') AND created_at < '2026-11-01Z'")["read"]
    assert read == ["orders_2026_10"]
    assert len(orders.json("status", "orders", "--statement", "SELECT max(amount) FROM orders")["read"]) == status["of"]


def test_R29_undo_until_the_last_step(orders):
    before, rows = catalog(orders), contents(orders)
    with contextlib.closing(psycopg2.connect(orders.dsn)) as reader, reader.cursor() as cursor:
        cursor.execute("LOCK TABLE items IN ACCESS SHARE MODE")  # the exchange cannot be made
        output = orders.run("convert", "public.orders", "--column", "created_at", "--wait", "0", code=5)
        assert "a lock was not to be had" in output and "idle in transaction" in output
        assert orders.json("status")["conversions"][0]["state"] == "keyed"
        reader.rollback()
    with pytest.raises(psycopg2.errors.RaiseException):
        orders.sql("TRUNCATE orders CASCADE")
    assert orders.json("undo", "public.orders")["state"] == "undone"
    assert catalog(orders) == before and contents(orders) == rows
    assert orders.sql("SELECT relname FROM pg_class WHERE relname LIKE 'orders\\_2%%' OR relname LIKE 'log\\_%%'", ()) == []
    convert(orders)
    assert "no conversion" in orders.run("undo", "public.orders", code=3)
    assert contents(orders) == rows


# All that a conversion made, wherever it is.
LEFT = """SELECT relname::text FROM pg_class WHERE relname ~ '^(orders_2|orders_default|orders_.*_keys|log_)'
          UNION ALL SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^cairn_(kept|gone)_'
          UNION ALL SELECT proname::text FROM pg_proc WHERE proname ~ '^(capture|keep)_'
          UNION ALL SELECT table_name FROM cairn_partitions.managed"""


def test_R29_undone_after_the_exchange_with_all_that_was_written_since(orders):
    """Under writers all the time: before, between and after."""
    before, rows = catalog(orders), contents(orders)
    acl = "SELECT relname::text, relacl::text, reloptions, relowner, obj_description(oid) FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    statistics = "SELECT stxname::text, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext"
    properties = orders.sql(acl), orders.sql(statistics)
    with Writer(orders, rate=100) as writer, Writer(orders, rate=100) as other:
        assert orders.json("convert", "public.orders", "--column", "created_at")["state"] == "kept"
        status = orders.run("status")
        assert "its old table kept" in status and "cairn partitions finish public.orders" in status
        # Rows go to other months; a key and a code are handed on; a view and a partition are made since.
        orders.sql("UPDATE orders SET created_at = now() WHERE id = 6; DELETE FROM orders WHERE id = 7")
        orders.sql("INSERT INTO orders (id, code, user_id) OVERRIDING SYSTEM VALUE VALUES (7, 'again', 2)")
        orders.sql("CREATE VIEW later AS SELECT count(*) AS n FROM orders")
        orders.run("maintain")
        with pytest.raises(psycopg2.Error):
            orders.sql("TRUNCATE orders CASCADE")
        reached = writer.count, other.count
        while writer.count < reached[0] + 100 or other.count < reached[1] + 100:
            assert not writer.errors + other.errors, (writer.errors, other.errors)
            writer.done.wait(0.01)
        expected = orders.sql("SELECT * FROM orders WHERE code LIKE 'c%%' OR code = 'again' ORDER BY id", ())
        assert orders.json("undo", "public.orders")["state"] == "undone"
        reached = writer.count
        while writer.count < reached + 50 and not writer.errors:
            writer.done.wait(0.01)
    writer.check()
    other.check()
    assert orders.sql("SELECT * FROM orders WHERE code LIKE 'c%%' OR code = 'again' ORDER BY id", ()) == expected
    assert len(contents(orders)) == len(rows) - 1 and orders.one("SELECT code FROM orders WHERE id = 7") == "again"
    assert orders.one("SELECT n FROM later") == orders.one("SELECT count(*) FROM orders")
    orders.sql("DROP VIEW later")
    assert catalog(orders) == before
    assert (orders.sql(acl), orders.sql(statistics)) == properties
    assert orders.sql(LEFT) == []
    # Keys, foreign keys, sequences and triggers are at work.
    last = orders.one("SELECT max(id) FROM orders")
    assert orders.one("INSERT INTO orders (code, user_id) VALUES ('wlast', 1) RETURNING id") > last
    assert orders.one("SELECT count(*) FROM items WHERE order_id > %s", (last,)) == 1
    for statement, error in [
            ("INSERT INTO orders (code, user_id) VALUES ('c8', 1)", psycopg2.errors.UniqueViolation),
            ("INSERT INTO orders (code, user_id) VALUES ('x8', 99)", psycopg2.errors.ForeignKeyViolation),
            ("INSERT INTO items VALUES (-5, 1, '')", psycopg2.errors.ForeignKeyViolation),
            ("DELETE FROM users WHERE id = 1", psycopg2.errors.ForeignKeyViolation)]:
        with pytest.raises(error):
            orders.sql(statement)
    convert(orders)
    assert orders.sql("SELECT nspname FROM pg_namespace WHERE nspname ~ '^cairn_kept'") == []


def test_R29_maintain_brings_the_old_table_up_to_date_and_detaches_nothing(orders):
    orders.run("convert", "public.orders", "--column", "created_at")
    orders.sql("UPDATE orders SET amount = 77 WHERE id <= 100")
    log = orders.one("SELECT 'cairn_partitions.log_' || max(id) FROM cairn_partitions.conversions")
    kept = orders.one("SELECT nspname || '.orders' FROM pg_namespace WHERE nspname ~ '^cairn_kept_'")
    assert orders.one(f"SELECT count(DISTINCT id) FROM {log}") == 100
    orders.json("maintain", "--dry-run")
    assert orders.one(f"SELECT count(*) FROM {kept} WHERE amount = 77") < 100
    done = orders.json("maintain")["tables"][0]
    assert done["detached"] == [] and "cairn partitions finish public.orders" in done["problems"][0]
    assert orders.one(f"SELECT count(*) FROM {log}") == 0 and orders.one(f"SELECT count(*) FROM {kept} WHERE id <= 100 AND amount = 77") == 100
    orders.json("finish", "public.orders")
    assert len(orders.json("maintain")["tables"][0]["detached"]) in (2, 3)


@pytest.mark.parametrize("change, said", [
    ("ALTER TABLE orders ADD COLUMN late int", "has other columns"),
    ("CREATE INDEX late ON orders (touched)", "was altered since"),
    ("REVOKE INSERT ON orders FROM PUBLIC", "was altered since"),
    ("CREATE MATERIALIZED VIEW late AS SELECT count(*) FROM orders", "materialized view"),
    ("DO $$ BEGIN EXECUTE (SELECT 'DROP TABLE ' || min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'orders'::regclass); END $$",
     "partitions were detached, attached, dropped or truncated"),
])
def test_R29_what_would_be_lost_by_undo_is_refused_and_finish_goes_on(orders, change, said):
    orders.run("convert", "public.orders", "--column", "created_at")
    orders.sql(change)
    rows = orders.one("SELECT count(*) FROM orders")
    output = orders.run("undo", "public.orders", code=1 if "partitions were" in said else 4)
    assert said in output, output
    assert orders.one("SELECT count(*) FROM orders") == rows and orders.json("status")["conversions"][0]["state"] == "kept"
    assert orders.json("finish", "public.orders")["state"] == "done"
    assert orders.one("SELECT count(*) FROM orders") == rows


def test_R29_a_journal_of_the_version_before_is_gone_on_with(orders):
    """Its conversions have dropped the old table in the exchange."""
    orders.run("convert", "public.orders", "--column", "created_at")
    orders.sql("DROP TABLE cairn_partitions.kept; DROP SCHEMA cairn_kept_1 CASCADE; "
               "COMMENT ON TABLE cairn_partitions.conversions IS 'cairn partitions, format 1'")
    assert "its old table is gone" in orders.run("undo", "public.orders", code=4)
    assert orders.json("convert", "public.orders")["state"] == "done"
    orders.sql("CREATE TABLE t (id int PRIMARY KEY, at date NOT NULL)")
    assert orders.json("convert", "t", "--column", "at")["state"] == "kept"
    assert orders.json("undo", "t")["state"] == "undone"


def test_R29_altered_meanwhile_is_refused(orders):
    with contextlib.closing(psycopg2.connect(orders.dsn)) as reader, reader.cursor() as cursor:
        cursor.execute("LOCK TABLE items IN ACCESS SHARE MODE")
        orders.run("convert", "public.orders", "--column", "created_at", "--wait", "0", code=5)
        reader.rollback()
    orders.sql("ALTER TABLE orders ADD COLUMN late int")
    assert "was altered since" in orders.run("convert", "public.orders", code=4)
    orders.run("undo", "public.orders")
    convert(orders)
    assert orders.one("SELECT count(late) FROM orders") == 0


def test_R29_what_cannot_be_carried_over_is_refused(orders):
    orders.sql("CREATE TABLE orders_2026_11 ()")
    assert "there is public.orders_2026_11 already" in orders.run("convert", "public.orders", "--column", "created_at", code=4)
    said = {
        "CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM orders": "materialized view public.m",
        "CREATE FUNCTION f() RETURNS SETOF orders LANGUAGE sql AS 'SELECT * FROM orders'": "function public.f()",
        "CREATE UNIQUE INDEX u ON orders (lower(code))": "unique index u",
        "CREATE PUBLICATION p FOR TABLE orders": "publication",
        "CREATE POLICY mine ON orders": "row security",
        "CREATE TABLE child () INHERITS (orders)": "inheritance",
        "CREATE VIEW g AS SELECT id, code, count(*) FROM orders GROUP BY id": "rule _RETURN on view public.g",
        "ALTER TABLE orders ADD parent bigint REFERENCES orders": "refers to the table itself",
        "ALTER TABLE orders ADD CONSTRAINT x EXCLUDE (amount WITH =) WHERE (amount = -7)": "exclusion constraint x",
        "ALTER TABLE orders ALTER created_at DROP NOT NULL": "SET NOT NULL",
    }
    for statement in said:
        orders.sql(statement)
    before = catalog(orders)
    plan = orders.json("plan", "public.orders", "--column", "created_at", code=1)
    assert not plan["possible"]
    for text in said.values():
        assert any(text in refusal for refusal in plan["refusals"]), (text, plan["refusals"])
    assert "materialized view public.m" in orders.run("convert", "public.orders", "--column", "created_at", code=4)
    assert "is generated" in "".join(orders.json("plan", "public.orders", "--column", "doubled", "--by", "list", code=1)["refusals"])
    assert "created_at" in orders.run("plan", "public.orders", "--column", "nothing", code=2)
    assert "there is no table" in orders.run("plan", "public.nothing", "--column", "x", code=3)
    assert catalog(orders) == before
    assert not orders.one("SELECT to_regnamespace('cairn_partitions') IS NOT NULL")


def test_R29_partitions_ahead_gaps_and_the_default_partition(orders):
    convert(orders, "--keep", "0")
    assert orders.json("maintain")["tables"][0]["made"] == []
    months = [name for name, in orders.sql("SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month', 'YYYY_MM')"
                                           " FROM generate_series(-3, 4) n")]
    # Months are missing ahead and in between, and rows of them are in the default partition, with all that refers to them.
    for month in (months[-1], months[-2], months[1]):
        orders.sql(f"CREATE TABLE kept AS SELECT id, code, user_id, amount, touched, ticket, created_at FROM orders_{month}")
        orders.sql(f"ALTER TABLE orders DETACH PARTITION orders_{month}")
        orders.sql(f"DROP TABLE orders_{month}")
        orders.sql("ALTER TABLE orders_default DISABLE TRIGGER USER; INSERT INTO orders_default (id, code, user_id, amount, touched, ticket,"
                   " created_at) OVERRIDING SYSTEM VALUE TABLE kept; ALTER TABLE orders_default ENABLE TRIGGER USER; DROP TABLE kept")
    orders.sql("INSERT INTO orders (code, user_id, created_at) VALUES ('far', 1, '2999-01-01'), ('ahead', 1, now() + interval '4 months')")
    rows, items = contents(orders), orders.one("SELECT count(*) FROM items")
    waiting = orders.one("SELECT count(*) FROM orders_default")
    plan = orders.json("maintain", "orders", "--dry-run")["tables"][0]
    assert sorted(plan["made"]) == sorted("orders_" + month for month in (months[1], months[-2], months[-1]))
    assert plan["moved"] == waiting - 1 and orders.one("SELECT count(*) FROM orders_default") == waiting
    with Writer(orders, rate=100) as writer:
        done = orders.json("maintain", "public.orders")["tables"][0]
    writer.check()
    assert (done["made"], done["moved"], done["in_default"]) == (plan["made"], plan["moved"], 1)
    assert contents(orders) == rows and orders.one("SELECT count(*) FROM items WHERE line = 1") <= items
    assert orders.one("SELECT count(*) FROM items") >= items and orders.one("SELECT tableoid::regclass::text FROM orders WHERE code = 'ahead'") \
        == "orders_" + months[-1]
    assert orders.one("SELECT count(*) FROM orders") == orders.one("SELECT count(*) FROM orders_id_keys")
    assert orders.one(f"SELECT 'fillfactor=80' = ANY(reloptions) FROM pg_class WHERE relname = 'orders_{months[1]}'")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        orders.sql("INSERT INTO orders (code, user_id, created_at) VALUES ('ahead', 1, now())")


def test_R29_old_partitions_are_detached_archived_and_restored(orders, tmp_path):
    orders.sql("DELETE FROM letters")
    convert(orders)
    everything = "SELECT * FROM orders ORDER BY id", "SELECT * FROM items ORDER BY order_id, line", "SELECT * FROM parts ORDER BY order_id, line"
    before = [orders.sql(text) for text in everything]
    plan = orders.json("maintain", "--dry-run")["tables"][0]
    assert len(plan["detached"]) in (2, 3) and orders.sql(everything[0]) == before[0]
    assert orders.json("maintain")["tables"][0]["detached"] == plan["detached"]
    assert orders.one("SELECT min(created_at) >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '12 months' FROM orders")
    # Detached is not gone, and an archive that would break a reference is not made.
    oldest = plan["detached"][0]
    code = orders.one(f"SELECT min(code) FROM {oldest}")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        orders.sql("INSERT INTO orders (code, user_id) VALUES (%s, 1)", (code,))
    orders.sql("INSERT INTO letters VALUES (-1, %s)", (code,))
    assert "letters refer to it" in orders.run("archive", "orders", "--to", str(tmp_path), code=4)
    orders.sql("DELETE FROM letters")
    done = orders.json("archive", "orders", "--to", str(tmp_path))["archived"]
    assert [one["partition"] for one in done] == plan["detached"] and all(one["rows"] and one["rows_of_others"] for one in done)
    gone = sum(one["rows"] for one in done)
    assert orders.one("SELECT count(*) FROM orders") == orders.one("SELECT count(*) FROM orders_id_keys") == len(before[0]) - gone
    assert len(before[1]) + len(before[2]) - orders.one("SELECT (SELECT count(*) FROM items) + (SELECT count(*) FROM parts)") \
        == sum(one["rows_of_others"] for one in done)
    assert orders.one("SELECT to_regclass(%s) IS NULL", (oldest,))
    assert orders.json("archive", "orders", "--to", str(tmp_path))["archived"] == []
    # A file that was changed is not taken; nothing is left of the attempt.
    folder = tmp_path / f"public.{oldest}"
    data = folder / "rows.copy.gz"
    whole = data.read_bytes()
    data.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    orders.run("restore", str(folder), code=1)
    assert orders.one("SELECT to_regclass(%s) IS NULL", (oldest,))
    data.write_bytes(whole)
    for one in done:
        orders.run("restore", str(tmp_path / f"public.{one['partition']}"))
    assert [orders.sql(text) for text in everything] == before
    assert orders.json("maintain")["tables"][0]["detached"] == []
    with pytest.raises(psycopg2.errors.UniqueViolation):
        orders.sql("INSERT INTO orders (code, user_id) VALUES (%s, 1)", (code,))
    orders.sql("DELETE FROM orders WHERE code = %s", (code,))


WAYS = [
    ("day", "timestamp NOT NULL", "timestamp '2026-11-01' + n * interval '1 hour'", "t_2026_11_03"),
    ("number", "bigint NOT NULL", "n * 10 - 100", "t_m100"),
    ("list", "text NOT NULL", "(ARRAY['plain', 'It''s \"odd\"', 'ß'])[n % 3 + 1]", "t_it_s__odd_"),
    ("week", "date NOT NULL", "date '2026-11-01' + n", "t_2026_w45"),
    ("month", "date NOT NULL", "date '2026-11-01' + n", "t_2026_12"),
]


@pytest.mark.parametrize("by, type, values, named", WAYS if FULL else WAYS[:3])
def test_R29_by_day_week_month_number_and_list(new_database, by, type, values, named):
    with new_database() as dsn:
        database = Partitioned(dsn)
        database.sql(f"CREATE TABLE t (id int PRIMARY KEY, at {type}); INSERT INTO t SELECT n, {values} FROM generate_series(1, 99) n")
        before = database.sql("SELECT * FROM t ORDER BY id")
        step = ["--step", "100"] if by == "number" else []
        database.run("convert", "t", "--column", "at", "--by", by, *step, "--keep", "0")
        database.run("finish", "t")
        assert database.sql("SELECT * FROM t ORDER BY id") == before
        partitions = dict(database.sql("SELECT tableoid::regclass::text, count(*) FROM t GROUP BY 1"))
        assert named in partitions and "t_default" not in partitions, partitions
        assert database.json("maintain")["tables"][0]["made"] == []
        if by == "list":
            database.sql("INSERT INTO t SELECT n, 'new' FROM generate_series(1000, 1999) n; INSERT INTO t VALUES (0, 'rare')")
            assert database.json("maintain")["tables"][0]["made"] == ["t_new"]
            assert database.one("SELECT count(*) FROM t_new") == 1000 and database.one("SELECT count(*) FROM t_default") == 1
        if by == "number":
            database.sql("INSERT INTO t VALUES (1000, 3000)")
            assert "t_3000" in database.json("maintain")["tables"][0]["made"]
            assert database.one("SELECT count(*) FROM t_3000") == 1
