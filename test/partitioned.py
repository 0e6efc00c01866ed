"""A table with everything that a conversion has to carry over, a writer beside it, and the commands."""
import contextlib
import json
import os
import random
import subprocess
import threading
import time

import psycopg2
import psycopg2.errors

# Rows of 14 months up to now.
SCHEMA = """
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 50) i;
CREATE TABLE orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  code text COLLATE "C" NOT NULL UNIQUE,
  user_id int NOT NULL CONSTRAINT orders_user REFERENCES users,
  amount numeric(10, 2) NOT NULL DEFAULT 1 CHECK (amount >= 0),
  doubled numeric GENERATED ALWAYS AS (amount * 2) STORED,
  touched int NOT NULL DEFAULT 0,
  ticket bigserial,
  created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80, autovacuum_vacuum_threshold = 77);
CREATE INDEX orders_by_user ON orders (user_id, created_at DESC) INCLUDE (amount);
CREATE INDEX orders_large ON orders (amount) WHERE amount > 100;
CREATE INDEX "Orders lower" ON orders (lower(code));
CREATE STATISTICS orders_stats (dependencies) ON user_id, amount FROM orders;
COMMENT ON TABLE orders IS 'what was ordered';
COMMENT ON COLUMN orders.amount IS 'in euros; it''s net';
COMMENT ON INDEX orders_large IS 'the large ones';
CREATE TABLE items (order_id bigint NOT NULL REFERENCES orders ON DELETE CASCADE, line int, text text, PRIMARY KEY (order_id, line));
CREATE TABLE parts (order_id bigint, line int, n int, FOREIGN KEY (order_id, line) REFERENCES items ON DELETE CASCADE);
CREATE TABLE letters (id int PRIMARY KEY, code text COLLATE "C" REFERENCES orders (code) ON UPDATE CASCADE);
CREATE VIEW large_orders WITH (security_barrier) AS SELECT o.*, u.name FROM orders o JOIN users u ON u.id = o.user_id WHERE amount > 100;
CREATE VIEW large_names AS SELECT DISTINCT name FROM large_orders;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := OLD.touched + 1; RETURN NEW; END $$;
CREATE TRIGGER orders_touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION first_item() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO items VALUES (NEW.id, 0, 'made by a trigger') ON CONFLICT DO NOTHING; RETURN NULL; END $$;
CREATE TRIGGER orders_first_item AFTER INSERT ON orders FOR EACH ROW WHEN (NEW.code LIKE 'w%%') EXECUTE FUNCTION first_item();
GRANT SELECT, INSERT ON orders TO PUBLIC;
GRANT UPDATE (amount) ON orders TO PUBLIC;
INSERT INTO orders (code, user_id, amount, created_at)
  SELECT 'c' || i, 1 + i %% 50, i %% 200, now() - interval '14 months' * (1 - i / %(rows)s.0) FROM generate_series(1, %(rows)s) i;
INSERT INTO items SELECT id, 1, 'item' FROM orders WHERE id %% 3 = 0;
INSERT INTO parts SELECT order_id, line, 7 FROM items WHERE order_id %% 2 = 0;
INSERT INTO letters SELECT id, code FROM orders WHERE id %% 1000 = 1;
ANALYZE;
"""


class Partitioned:
    patience = 170  # seconds

    def __init__(self, dsn):
        self.dsn = dsn

    def connect(self):
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        return connection

    def sql(self, text, values=None):
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def one(self, text, values=None):
        return self.sql(text, values)[0][0]

    def command(self, *arguments):
        return [os.environ["CAIRN_BIN"], "partitions", *arguments, "--database-url", self.dsn]

    def start(self, *arguments):
        return subprocess.Popen(self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())

    def run(self, *arguments, code=0):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=self.patience, env=environment())
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def json(self, *arguments, code=0):
        done = subprocess.run(self.command(*arguments, "--json"), capture_output=True, text=True, timeout=self.patience, env=environment())
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)


def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("CAIRN_") or name == "CAIRN_BIN"}


class Writer(threading.Thread):
    """Inserts, changes and deletes orders; knows what was acknowledged. `rate`: writes a second, 0: as many as go."""

    def __init__(self, database, rate=0, keys=()):
        super().__init__(daemon=True)
        self.database, self.rate = database, rate
        self.keys = list(keys)  # codes of rows that are this writer's own
        self.rows = {}          # code: amount, None when deleted
        self.slowest, self.count, self.errors = 0.0, 0, []
        self.done = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join(30)
        assert not self.is_alive()

    def step(self, cursor, dice):
        kind = dice.random()
        code = dice.choice(self.keys) if self.keys and kind > 0.4 else None
        if code is None:
            code = f"w{id(self)}-{self.count}"
            cursor.execute("INSERT INTO orders (code, user_id, amount) VALUES (%s, 1, 3)", (code,))
            self.keys.append(code)
            return code, 3
        if kind < 0.8:
            amount = dice.randrange(1, 500)
            cursor.execute("UPDATE orders SET amount = %s WHERE code = %s", (amount, code))
            assert cursor.rowcount == 1
            return code, amount
        if kind < 0.9:  # to another month
            amount = dice.randrange(1, 500)
            cursor.execute("UPDATE orders SET created_at = now() - interval '1 month' * %s, amount = %s WHERE code = %s",
                           (dice.randrange(12), amount, code))
            assert cursor.rowcount == 1
            return code, amount
        cursor.execute("DELETE FROM letters WHERE code = %s", (code,))
        cursor.execute("DELETE FROM orders WHERE code = %s", (code,))
        assert cursor.rowcount == 1
        self.keys.remove(code)
        return code, None

    def run(self):
        dice = random.Random(4)
        try:
            with contextlib.closing(self.database.connect()) as connection, connection.cursor() as cursor:
                begun = time.monotonic()
                while not self.done.is_set():
                    if self.rate:
                        self.done.wait(max(0.0, begun + self.count / self.rate - time.monotonic()))
                    at = time.monotonic()
                    code, amount = self.step(cursor, dice)
                    self.slowest = max(self.slowest, time.monotonic() - at)
                    self.rows[code] = amount
                    self.count += 1
        except Exception as error:  # told by check()
            self.errors.append(error)

    def check(self):
        """Every acknowledged write is there, and nothing else of this writer's."""
        assert not self.errors, self.errors
        found = {code: float(amount) for code, amount in self.database.sql("SELECT code, amount FROM orders")}
        assert {code: found.get(code) for code in self.rows} == self.rows
        assert self.count > 0


def contents(database):
    """All rows, without what a writer beside may change."""
    return database.sql("SELECT id, code, user_id, amount, doubled, ticket, created_at FROM orders WHERE code LIKE 'c%' ORDER BY id")


def catalog(database):
    """What a user sees of the tables, for `undo` to bring back."""
    return database.sql("""
        SELECT 'column', table_name, column_name, data_type, is_nullable, column_default, is_identity FROM information_schema.columns
          WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'cairn_partitions')
        UNION ALL SELECT 'index', tablename, indexname, indexdef, NULL, NULL, NULL FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated::text, NULL, NULL
          FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), tgenabled::text, NULL, NULL
          FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT 'function', proname, '', '', NULL, NULL, NULL FROM pg_proc
          WHERE pronamespace IN ('public'::regnamespace, to_regnamespace('cairn_partitions'))
        ORDER BY 1, 2, 3""")
