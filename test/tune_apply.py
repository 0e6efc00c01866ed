"""A database whose advice is applied: shared by the tests of `cairn tune apply`, `status`, `undo` and `verify`."""
import contextlib
import json
import os
import subprocess
import threading

import psycopg2

SCHEMA = """
CREATE TABLE runs (id serial PRIMARY KEY, experiment text NOT NULL, accuracy float8, created timestamptz NOT NULL DEFAULT now());
INSERT INTO runs (experiment, accuracy) SELECT 'exp-' || i % 300, (i * 7919 % 10000) / 10000.0 FROM generate_series(1, 20000) i;
ANALYZE runs;
"""


def column(name):
    return {"column": name, "operator_class": "", "descending": False, "nulls_first": False}


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def index(table, *columns, schema="public", name=None, keys=None):
    """A change as `cairn tune advise` writes it."""
    name = name or "idx_" + "_".join([table, *columns])
    target = f"{quoted(schema)}.{quoted(table)}"
    return {"kind": "index", "schema": schema, "table": table, "name": name, "reason": "for the test",
            "statements": [f"CREATE INDEX CONCURRENTLY {quoted(name)} ON {target} USING \"btree\" ({', '.join(map(quoted, columns))})"],
            "inverse": [f"DROP INDEX CONCURRENTLY {quoted(schema)}.{quoted(name)}"],
            "gain_ms": 1.0, "write_ms": 0.0, "bytes": 1000000, "on_request": False,
            "definition": {"schema": schema, "table": table, "method": "btree", "keys": keys or [column(c) for c in columns],
                           "include": [], "predicate": "", "options": "", "unique": False}}


def change(kind, name, statements, inverse, table="", schema="", **others):
    return {"kind": kind, "schema": schema, "table": table, "name": name, "reason": "for the test", "statements": statements,
            "inverse": inverse, "gain_ms": 0.0, "write_ms": 0.0, "bytes": 0, "on_request": False, **others}


def write_advice(folder, name, database, changes, statements=()):
    """As `cairn tune advise` writes it into the state directory. `statements`: (text, [numbers of changes])."""
    body = {"format": 2, "id": name, "database": database, "made_at": 0, "ms_before": 1.0,
            "ms_after": 0.5, "write_ms": 0.0, "written_ms": 0.0, "bytes": 0, "planner_calls": 0, "complete": True,
            "changes": [dict(c, number=i + 1) for i, c in enumerate(changes)],
            "statements": [{"number": i + 1, "text": text, "calls": 1.0, "rows": 1.0, "measured": False, "ms_before": 1.0, "ms_after": 0.5,
                            "cost_before": 1.0, "cost_after": 0.5, "uses": uses} for i, (text, uses) in enumerate(statements)],
            "rejected": [], "rewrites": [], "notes": []}
    path = folder / "advice" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body))


class Tuned:
    """A database, advice for it, and the commands."""

    def __init__(self, dsn, folder):
        self.dsn, self.folder = dsn, folder
        self.count = 0

    def connect(self, **options):
        connection = psycopg2.connect(self.dsn, **options)
        connection.autocommit = True
        return connection

    def sql(self, text, values=None):
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def one(self, text, values=None):
        return self.sql(text, values)[0][0]

    def advice(self, *changes, statements=(), database=None):
        """Written as the advice's file; gives its id. `statements`: (text, [numbers of changes])."""
        self.count += 1
        name = f"20261122T0000{self.count:02}.000Z"
        write_advice(self.folder / "state", name, database or self.one("SELECT current_database()"), changes, statements)
        return name

    def proof(self, name, verdicts):
        """As `cairn tune prove` writes it: for each number of a change its verdict and the reason."""
        body = {"format": 1, "advice": name, "made_at": 0, "clone": "", "seed": 1, "before_ms": 1.0, "after_ms": 1.0, "statements": [],
                "rewrites": [], "notes": [],
                "changes": [{"number": number, "name": "", "verdict": verdict, "reason": reason, "bytes": 0, "build_ms": 0.0, "saved_ms": 0.0,
                             "faster": [], "slower": []} for number, (verdict, reason) in verdicts.items()]}
        path = self.folder / "state" / "proofs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(body))

    def command(self, sub, *arguments, dsn=None):
        state = ["--state-dir", str(self.folder / "state")] if sub in ("advise", "apply") else []
        return [os.environ["CAIRN_BIN"], "tune", sub, "--database-url", dsn or self.dsn, *state, *map(str, arguments)]

    def run(self, sub, *arguments, dsn=None):
        return subprocess.run(self.command(sub, *arguments, dsn=dsn), capture_output=True, text=True, timeout=120, check=False)

    def start(self, sub, *arguments):
        return subprocess.Popen(self.command(sub, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def json(self, sub, *arguments, code=0, dsn=None):
        done = self.run(sub, "--json", *arguments, dsn=dsn)
        assert done.returncode == code, done.stderr + done.stdout
        return json.loads(done.stdout)

    def apply(self, *arguments, code=0):
        return self.json("apply", "last", "--unproven", *arguments, code=code)

    def states(self):
        return [row["state"] for row in self.status()["changes"]]

    def status(self, *arguments):
        done = self.run("status", "--json", *arguments)
        assert done.returncode in (0, 1), done.stderr
        status = json.loads(done.stdout)
        assert done.returncode == int(status["left"])
        return status

    def catalog(self):
        """Every index, as PostgreSQL describes it."""
        return self.sql("""SELECT n.nspname, c.relname, pg_get_indexdef(c.oid), i.indisvalid, i.indisready,
                                  (SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = c.oid)
                           FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                           WHERE n.nspname !~ '^pg_|^cairn_tune$' ORDER BY 1, 2""")


class Writer(threading.Thread):
    """Inserts again and again, and gives up when it is ever blocked for longer than a second."""

    def __init__(self, tuned, statement):
        super().__init__()
        self.tuned, self.statement = tuned, statement
        self.done, self.error, self.enough = 0, None, threading.Event()

    def run(self):
        try:
            with contextlib.closing(self.tuned.connect()) as connection, connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '1s'")
                while not self.enough.is_set():
                    cursor.execute(self.statement)
                    self.done += 1
        except psycopg2.Error as error:
            self.error = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.enough.set()
        self.join()
        assert self.error is None, self.error
