#!/usr/bin/env python3
"""Training sets and bulk writes: Cairn beside Feast's point-in-time SQL, in the same PostgreSQL, in turn, several rounds; medians.

    ./dev bench features_training [--json] [--rows 100000] [--history 10000000] [--features 50] [--rounds 3]

Feast's side is its point-in-time join, written out as its documentation describes it, over a table with a column a feature, as its users have
it, with an index over (driver_id, event_timestamp); COPY sends its rows. Cairn's is `cairn features training-set create`, the whole
command. Both write CSV to a file. The history is of a year, in Cairn's monthly partitions; half of its rows came to be known late, and both sides let
those count, as Feast knows no other way (what Cairn's own rule takes is shown too). Results are compared row by row, and a sample with
an oracle in Python.
"""
import argparse
import bisect
import contextlib
import csv
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg2
from tuner_cluster import Cluster, say

DATABASE = "bench"
SPINE_SEED = 104729
BEGIN = "timestamptz '2025-01-01 00:00:00+00'"
YEAR_S = 365 * 86400
TTL_DAYS = 30


def definition(features):
    return {"entities": [{"name": "driver", "join_key": "driver_id", "value_type": "int64"}],
            "feature_views": [{"name": "stats", "entities": ["driver"], "ttl_s": TTL_DAYS * 86400,
                               "features": [{"name": f"f{n}", "value_type": "double"} for n in range(1, features + 1)]}],
            "feature_services": [{"name": "all", "features": ["stats"]}]}


def feast_sql(features):
    """The steps of Feast's template: each pair of key and time once, all events before it within the ttl, of each event the last version, the
    latest event of each pair, and the pairs joined back to the rows."""
    names = [f"f{n}" for n in range(1, features + 1)]
    values = ", ".join(names)
    return f"""
WITH entity_dataframe AS (
  SELECT driver_id, event_timestamp AS entity_timestamp, label, driver_id::text || '_' || event_timestamp::text AS row_id FROM spine),
pairs AS (
  SELECT driver_id, entity_timestamp, row_id FROM entity_dataframe GROUP BY driver_id, entity_timestamp, row_id),
events AS (
  SELECT event_timestamp, created AS created_timestamp, driver_id, {values} FROM feast_stats
  WHERE event_timestamp <= (SELECT max(entity_timestamp) FROM entity_dataframe)
    AND event_timestamp >= (SELECT min(entity_timestamp) FROM entity_dataframe) - {TTL_DAYS} * interval '1 day'),
base AS (
  SELECT e.*, p.entity_timestamp, p.row_id FROM events e JOIN pairs p ON e.event_timestamp <= p.entity_timestamp
    AND e.event_timestamp >= p.entity_timestamp - {TTL_DAYS} * interval '1 day' AND e.driver_id = p.driver_id),
dedup AS (
  SELECT row_id, event_timestamp, max(created_timestamp) AS created_timestamp FROM base GROUP BY row_id, event_timestamp),
latest AS (
  SELECT row_id, event_timestamp, created_timestamp FROM (
    SELECT row_id, event_timestamp, created_timestamp,
           row_number() OVER (PARTITION BY row_id ORDER BY event_timestamp DESC, created_timestamp DESC) AS place
    FROM base JOIN dedup USING (row_id, event_timestamp, created_timestamp)) ranked WHERE place = 1),
cleaned AS (
  SELECT base.* FROM base JOIN latest USING (row_id, event_timestamp, created_timestamp))
SELECT d.driver_id, d.entity_timestamp AS event_timestamp, d.label, {values}
FROM entity_dataframe d LEFT JOIN (SELECT row_id, {values} FROM cleaned) c USING (row_id)"""


class Bench:
    def __init__(self, args, cluster, folder):
        self.args, self.cluster, self.folder = args, cluster, folder
        self.url = cluster.url(DATABASE)
        self.entities = max(1, args.history // 100)
        self.figures = {}

    def cairn(self, *arguments):
        """Seconds of the command and its peak memory in MB (what wait() says of it counts the memory of this program, too)."""
        command = [os.environ["CAIRN_BIN"], *arguments, "--database-url", self.url]
        start, peak = time.monotonic(), 0
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
            while child.poll() is None:
                with contextlib.suppress(OSError, StopIteration):
                    lines = pathlib.Path(f"/proc/{child.pid}/status").read_text(encoding="ascii").splitlines()
                    peak = max(peak, int(next(line for line in lines if line.startswith("VmHWM")).split()[1]))
                time.sleep(0.01)
        if child.returncode:
            sys.exit(f"{' '.join(command)} ended with {child.returncode}")
        return time.monotonic() - start, peak / 1024

    def sql(self, *statements):
        return self.cluster.sql(DATABASE, *statements)

    # -- data ----------------------------------------------------------------------------------------------------------------
    def prepare(self):
        self.cluster.sql("postgres", f"CREATE DATABASE {DATABASE}")
        subprocess.run([os.environ["CAIRN_BIN"], "migrate", "upgrade", "--database-url", self.url], check=True, stdout=subprocess.DEVNULL)
        self.cluster.sql("postgres", f"ALTER DATABASE {DATABASE} SET work_mem = '64MB'")
        declared = self.folder / "features.json"
        declared.write_text(json.dumps(definition(self.args.features)))
        self.cairn("features", "apply", str(declared))
        count, n = self.args.features, self.args.history
        say(f"{n:,} rows of history of {self.entities:,} drivers, {count} features, in both layouts")
        columns = ", ".join(f"f{i} float8" for i in range(1, count + 1))
        # Cheap to compute, and no two alike.
        values = ", ".join(f"((n * {2 * i + 1}) % 1000003) / 1000.0::float8" for i in range(1, count + 1))
        months = [f"CREATE TABLE features.history_2025_{m:02} PARTITION OF features.history FOR VALUES FROM ('2025-{m:02}-01 00:00:00+00')"
                  f" TO ('{2025 + m // 12}-{m % 12 + 1:02}-01 00:00:00+00')" for m in range(1, 13)]
        self.sql(
            *months, f"CREATE TABLE feast_stats (driver_id bigint, event_timestamp timestamptz, created timestamptz, {columns})",
            # As it would arrive: in the order of time.
            f"INSERT INTO feast_stats SELECT (n * 7919) % {self.entities}, at, at + CASE WHEN n % 2 = 0 THEN interval '1 second' ELSE"
            f" (n % 5000) * interval '1 minute' END, {values} FROM (SELECT n, {BEGIN} + n * ({YEAR_S}::float8 / {n}) * interval '1 second' AS at"
            f" FROM generate_series(0::bigint, {n - 1}) n) g",
            "CREATE INDEX ON feast_stats (driver_id, event_timestamp)",
            "INSERT INTO features.history (view_id, entity_key, event_time, created, doubles, integers, texts) SELECT 1, driver_id::text,"
            f" event_timestamp, created, ARRAY[{', '.join(f'f{i}' for i in range(1, count + 1))}], '{{}}', '{{}}' FROM feast_stats",
            "CREATE TABLE spine AS SELECT * FROM (SELECT DISTINCT ON (driver_id, event_timestamp) * FROM ("
            f"SELECT (n * {SPINE_SEED}) % {self.entities + self.entities // 20} AS driver_id, {BEGIN} + ((n * 6151) % {YEAR_S}) * interval '1 second'"
            f" AS event_timestamp, n % 2 AS label FROM generate_series(1::bigint, {self.args.rows}) n) r"
            " ORDER BY driver_id, event_timestamp) d ORDER BY label, event_timestamp",
            "VACUUM ANALYZE feast_stats", "VACUUM ANALYZE spine", "VACUUM ANALYZE features.history", "CHECKPOINT")

    # -- training sets -------------------------------------------------------------------------------------------------------
    def feast(self):
        with contextlib.closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute("SET TimeZone = 'UTC'")
            with open(self.folder / "feast.csv", "w", encoding="utf-8") as file:
                start = time.monotonic()
                cursor.copy_expert(f"COPY ({feast_sql(self.args.features)}) TO STDOUT (FORMAT csv, HEADER)", file)
                return time.monotonic() - start

    def training_set(self, *options, spine="public.spine", out="cairn.csv"):
        seconds, memory = self.cairn("features", "training-set", "create", "--spine-table", spine, "--feature-service", "all", "-o",
                                        str(self.folder / out), *options)
        return seconds, memory

    def rows(self, name):
        with open(self.folder / name, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            return next(reader), sorted(reader)

    def check(self):
        head, peer = self.rows("feast.csv")
        own_head, own = self.rows("cairn.csv")
        if head != own_head or peer != own:
            different = sum(a != b for a, b in zip(peer, own))
            sys.exit(f"the two sides differ: {len(peer)} and {len(own)} rows, {different} of them")
        found = sum(row[3] != "" for row in own)
        say(f"both sides gave the same {len(own):,} rows, {found:,} with values")

    def check_sample(self, sample=500):
        """Cairn's own rule, what was known at the time, beside the events themselves."""
        head, own = self.rows("strict.csv")
        step = max(1, len(own) // sample)
        with self.cluster.cursor(DATABASE) as cursor:
            cursor.execute("SET TimeZone = 'UTC'")
            for row in own[::step]:
                cursor.execute("SELECT event_timestamp, created, f1, f2 FROM feast_stats WHERE driver_id = %s ORDER BY 1, 2", (row[0],))
                events = cursor.fetchall()
                cursor.execute("SELECT %s::timestamptz", (row[1],))
                (at,) = cursor.fetchone()
                end = bisect.bisect_right([event[0] for event in events], at)
                known = [e for e in events[:end] if e[1] <= at and (at - e[0]).total_seconds() <= TTL_DAYS * 86400]
                expected = [repr(v) for v in known[-1][2:]] if known else ["", ""]
                if [float(v) if v else None for v in row[3:5]] != [float(v) if v else None for v in expected]:
                    sys.exit(f"row {row[:5]} is not what the events say: {expected}")

    def measure_sets(self):
        peer, own, strict, memory = [], [], [], []
        for _ in range(self.args.rounds):
            own_seconds, own_memory = self.training_set("--late-too")
            own.append(own_seconds)
            memory.append(own_memory)
            strict.append(self.training_set(out="strict.csv")[0])
            peer.append(self.feast())
        self.check()
        self.check_sample()
        self.sql(f"CREATE TABLE small AS SELECT * FROM spine LIMIT {max(1, self.args.rows // 10)}")
        small = self.training_set("--late-too", spine="public.small", out="small.csv")[1]
        kept, _ = self.cairn("features", "training-set", "create", "kept", "--spine-table", "public.spine", "--feature-service", "all", "-o",
                                 str(self.folder / "first.csv"))
        remade, _ = self.cairn("features", "training-set", "again", "kept", "-o", str(self.folder / "again.csv"))
        if (self.folder / "first.csv").read_bytes() != (self.folder / "again.csv").read_bytes():
            sys.exit("the set that was made again is another")
        self.figures["training_set"] = {
            "rows": self.args.rows, "history": self.args.history, "features": self.args.features,
            "feast_s": statistics.median(peer), "cairn_s": statistics.median(own), "cairn_strict_s": statistics.median(strict),
            "kept_s": kept, "again_s": remade, "times_as_fast": statistics.median(peer) / statistics.median(own),
            "memory_mb": statistics.median(memory), "memory_mb_tenth": small}

    # -- writes --------------------------------------------------------------------------------------------------------------
    def measure_writes(self):
        rows = self.args.rows
        path = self.folder / "rows.csv"
        names = ", ".join(f"f{i}" for i in range(1, self.args.features + 1))
        with self.cluster.cursor(DATABASE) as cursor, open(path, "w", encoding="utf-8") as file:
            cursor.execute("SET TimeZone = 'UTC'")
            cursor.copy_expert(f"COPY (SELECT driver_id, event_timestamp + interval '1 year' AS event_timestamp, created + interval '1 year' AS"
                               f" created, {names} FROM feast_stats ORDER BY event_timestamp DESC LIMIT {rows}) TO STDOUT (FORMAT csv, HEADER)",
                               file)
        first, memory = self.cairn("features", "write", "stats", str(path))
        # Each driver has a latest row now: newer events take their places.
        self.sql("VACUUM features.latest", "SELECT pg_stat_reset_single_table_counters('features.latest'::regclass)")
        text = path.read_text(encoding="utf-8").replace(",2026-", ",2027-")
        path.write_text(text, encoding="utf-8")
        second, _ = self.cairn("features", "write", "stats", str(path))
        self.sql("SELECT pg_stat_force_next_flush()")
        ((updated, hot),) = self.sql("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'features.latest'::regclass")
        self.figures["write"] = {"rows": rows, "new_rows_per_s": rows / first, "rows_per_s": rows / second, "memory_mb": memory,
                                 "updates": updated, "hot_percent": 100 * hot / updated if updated else None}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--history", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shared-buffers", type=int, default=2048, help="MB")
    parser.add_argument("--explain", action="store_true", help="print Feast's plan")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cairn-bench-")))
        folder.chmod(0o755)
        cluster_folder = folder / "cluster"
        cluster_folder.mkdir()
        cluster = Cluster(cluster_folder, stack, fsync=False)
        cluster.restart(args.shared_buffers)
        bench = Bench(args, cluster, folder)
        bench.prepare()
        if args.explain:
            for (line,) in bench.sql("EXPLAIN " + feast_sql(args.features)):
                say(line)
        bench.measure_sets()
        bench.measure_writes()
        ((version,),) = bench.sql("SHOW server_version")
    figures = {"postgresql": version, "cairn": subprocess.run([os.environ["CAIRN_BIN"], "version"], capture_output=True, text=True,
                                                              check=True).stdout.strip(), **bench.figures}
    if args.json:
        print(json.dumps(figures))
        return
    sets, writes = figures["training_set"], figures["write"]
    print(f"PostgreSQL {version}, {figures['cairn']}")
    print(f"training set of {sets['rows']:,} x {sets['features']} over {sets['history']:,} rows: Feast's SQL {sets['feast_s']:.2f} s, Cairn"
          f" {sets['cairn_s']:.2f} s: {sets['times_as_fast']:.1f} times as fast (known at the time only: {sets['cairn_strict_s']:.2f} s; kept"
          f" {sets['kept_s']:.2f} s, again {sets['again_s']:.2f} s)")
    print(f"memory of the command: {sets['memory_mb']:.0f} MB, for a tenth of the rows {sets['memory_mb_tenth']:.0f} MB")
    print(f"write: {writes['rows']:,} rows, {writes['new_rows_per_s']:,.0f} rows/s new, {writes['rows_per_s']:,.0f} rows/s over latest values,"
          f" {writes['hot_percent']:.1f} % HOT; memory {writes['memory_mb']:.0f} MB")


if __name__ == "__main__":
    main()
