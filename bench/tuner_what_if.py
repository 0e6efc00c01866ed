"""What the peers of `./dev bench tuner_quality` share: candidates, the planner's answers (counted, none asked for twice), and
the judge of every side's final set."""
import itertools
import json
import math
import re
import time
from dataclasses import dataclass

MB = 1 << 20
META_PAGE = 8192  # of every B-tree; hypopg forgets it
KEPT_APART = {"numeric", "float4", "float8", "jsonb"}  # equal values may look different: PostgreSQL keeps each


@dataclass(frozen=True, order=True)
class Index:
    table: str
    columns: tuple
    include: tuple = ()
    predicate: str = ""
    text: str = ""  # the statement, where it is more than columns

    def statement(self, name=""):
        return self.text or f"CREATE INDEX {name} ON {self.table} ({', '.join(self.columns)})"

    def __str__(self):
        include = f" +{','.join(self.include)}" if self.include else ""
        return f"{','.join(self.columns)}{include}{' where ' + self.predicate if self.predicate else ''}"


class TimeUp(Exception):
    """An anytime algorithm's limit."""


class Database:
    """The tables, the statements, and a session with hypopg in it."""

    def __init__(self, connection, statements, tables, columns, sizes="deduplicated"):
        self.cursor, self.statements, self.sizes = connection.cursor(), statements, sizes
        self.cursor.execute("CREATE EXTENSION IF NOT EXISTS hypopg")
        words = [set(re.findall(r"\w+", statement)) for statement in statements]
        self.columns = [{table: [c for c in columns(table) if c in known] for table in tables if table in known} for known in words]
        self.cursor.execute("SELECT relname, reltuples FROM pg_class WHERE relname = ANY(%s)", (list(tables),))
        self.rows = dict(self.cursor.fetchall())
        self.cursor.execute("SELECT s.tablename, s.attname, s.n_distinct, s.avg_width, t.typname FROM pg_stats s JOIN pg_attribute a "
                            "ON a.attrelid = format('%%I.%%I', s.schemaname, s.tablename)::regclass AND a.attname = s.attname "
                            "JOIN pg_type t ON t.oid = a.atttypid WHERE s.tablename = ANY(%s)", (list(tables),))
        self.statistics = {(table, column): rest for table, column, *rest in self.cursor.fetchall()}

    def deduplicated_share(self, index):
        """What PostgreSQL's deduplication leaves of a B-tree, which hypopg does not know of: equal keys stand once, with the
        pointers of their rows."""
        if index.include:
            return 1
        rows, groups, width = self.rows[index.table], 1, 0
        for column in index.columns:
            if (index.table, column) not in self.statistics:
                return 1
            distinct, bytes_, kind = self.statistics[index.table, column]
            if kind in KEPT_APART:
                return 1
            groups *= max(1, distinct if distinct > 0 else -distinct * rows)
            width += bytes_
        key = 12 + math.ceil(width / 8) * 8
        return min(1, (max(min(groups, rows), rows / 220) * key + rows * 6) / (rows * key))

    def make(self, index):
        """oid, name and bytes of a hypothetical index."""
        self.cursor.execute("SELECT indexrelid, indexname, hypopg_relation_size(indexrelid) FROM hypopg_create_index(%s)",
                            (index.statement(),))
        oid, name, size = self.cursor.fetchone()
        return oid, name, size if self.sizes == "hypopg" else int(size * self.deduplicated_share(index)) + META_PAGE

    def explain(self, statement):
        self.cursor.execute("EXPLAIN (FORMAT JSON) " + statement)
        answer = self.cursor.fetchone()[0]
        return (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]

    def judge(self, indexes):
        """Cost and bytes of a whole set, in a plain way: every index there, every statement planned, nothing kept."""
        self.cursor.execute("SELECT hypopg_reset()")
        size = sum(self.make(index)[2] for index in indexes)
        cost = sum(self.explain(statement)["Total Cost"] for statement in self.statements)
        self.cursor.execute("SELECT hypopg_reset()")
        return cost, size


class WhatIf:
    """One run of an algorithm: what it asks the planner, and how often."""

    def __init__(self, database, seconds=None):
        self.database, self.count = database, len(database.statements)
        self.calls = self.requests = 0
        self.started = time.monotonic()
        self.deadline = self.started + seconds if seconds else None
        self.known, self.sizes, self.live = {}, {}, {}
        database.cursor.execute("SELECT hypopg_reset()")
        self.base = [self.cost(i, frozenset()) for i in range(self.count)]

    def seconds(self):
        return time.monotonic() - self.started

    def check_time(self):
        if self.deadline and time.monotonic() > self.deadline:
            raise TimeUp

    def attributes(self):
        """Every column that a statement mentions, as an index of one column."""
        return sorted({Index(table, (column,)) for tables in self.database.columns for table, names in tables.items()
                       for column in names})

    def candidates(self, statement, width):
        """Every order of up to `width` columns of one table that the statement mentions."""
        return [Index(table, order) for table, names in self.database.columns[statement].items()
                for length in range(1, width + 1) for order in itertools.permutations(names, length)]

    def helps(self, statement, index):
        return index.columns[0] in self.database.columns[statement].get(index.table, ())

    def size(self, index):
        if index not in self.sizes:
            oid, name, size = self.database.make(index)
            self.sizes[index], self.live[index] = size, (oid, name)
        return self.sizes[index]

    def total_size(self, indexes):
        return sum(self.size(index) for index in indexes)

    def plan(self, statement, indexes):
        """(cost, indexes that the plan uses); the planner is asked only once for a statement and the indexes that may help it."""
        self.requests += 1
        helping = frozenset(index for index in indexes if self.helps(statement, index))
        if (statement, helping) in self.known:
            return self.known[statement, helping]
        self.check_time()
        for index in [index for index in self.live if index not in helping]:
            self.database.cursor.execute("SELECT hypopg_drop_index(%s)", (self.live.pop(index)[0],))
        for index in helping:
            if index not in self.live:
                oid, name, self.sizes[index] = self.database.make(index)
                self.live[index] = oid, name
        self.calls += 1
        root = self.database.explain(self.database.statements[statement])
        names, nodes = set(), [root]
        for node in nodes:
            names.add(node.get("Index Name"))
            nodes.extend(node.get("Plans", ()))
        used = frozenset(index for index, (_, name) in self.live.items() if name in names)
        self.known[statement, helping] = root["Total Cost"], used
        return self.known[statement, helping]

    def cost(self, statement, indexes):
        return self.plan(statement, indexes)[0]

    def total(self, indexes):
        return sum(self.cost(i, indexes) for i in range(self.count))
