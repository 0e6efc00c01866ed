#!/usr/bin/env python3
"""Cairn's feature store beside Feast's Python server and beside its own SQL under pgbench: the same load, in turn; medians.

    ./dev bench features [--json] [--rounds 3] [--seconds 5] [--entities 2000] [--workers 2] [--no-feast]

Five feature views of fifty doubles over one entity. Both servers are given the same rows by the same requests to /write-to-online-store,
and asked the same by wrk at /get-online-features. Feast's online store is PostgreSQL, with the settings that Cairn gives its own cluster.
pgbench runs the statement of the reads on Cairn's database, prepared, the keys written into it. CPU is that of the server, PostgreSQL and, on
pgbench's side, pgbench: wrk is left out. Exits with 1 where a goal is missed.
"""
import argparse
import contextlib
import importlib.metadata
import json
import os
import pathlib
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg2
import requests
from servers import Report, Side, free_port, say, settings_of, start, start_cairn, start_postgres

Side.prefix, Side.script = "/", pathlib.Path(__file__).with_suffix(".lua")
VIEWS, FEATURES = 5, 50
WRITTEN = 500  # rows of a request that writes
SHAPES = [(entities, views) for views in (1, VIEWS) for entities in (1, 10, 100)]
GOAL_RATE, GOAL_WRITES, GOAL_P99, GOAL_HOT = 30, 30, 3, 95
ROOT = pathlib.Path(__file__).resolve().parent.parent

REPOSITORY = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource
from feast.types import Float64
from feast.value_type import ValueType

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
source = FileSource(name="nothing", path="nothing.parquet", timestamp_field="event_timestamp")
for number in range({views}):
    globals()[f"view_{{number}}"] = FeatureView(
        name=f"view_{{number}}", entities=[driver], ttl=timedelta(0), online=True, source=source,
        schema=[Field(name=f"f{{number}}_{{i}}", dtype=Float64) for i in range({features})])
"""
STORE = """
project: bench
provider: local
registry: {folder}/registry.db
online_store: {{type: postgres, host: {data}, port: 5432, database: postgres, db_schema: public, user: postgres, password: ""}}
offline_store: {{type: file}}
entity_key_serialization_version: 3
"""


def start_feast(stack, folder, settings, workers):
    data = start_postgres(stack, folder, settings)
    repository = folder / "repository"
    repository.mkdir()
    (repository / "feature_store.yaml").write_text(STORE.format(folder=folder, data=data))
    (repository / "features.py").write_text(REPOSITORY.format(views=VIEWS, features=FEATURES))
    # A file source is looked at when it is declared.
    subprocess.run([sys.executable, "-c", "import pandas as pd; pd.DataFrame({'driver_id': [1], 'event_timestamp': [pd.Timestamp.now('UTC')], "
                    "**{f'f{v}_{i}': [0.0] for v in range(%d) for i in range(%d)}}).to_parquet('nothing.parquet')" % (VIEWS, FEATURES)],
                   cwd=repository, check=True)
    feast = [sys.executable, "-m", "feast.cli.cli", "--chdir", str(repository)]
    subprocess.run([*feast, "apply"], check=True, stdout=subprocess.DEVNULL, stderr=(folder / "apply.log").open("w"))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = start(stack, [*feast, "serve", "-h", "127.0.0.1", "-p", str(port), "-w", str(workers), "--no-access-log"], url, folder / "log")
    return Side("feast", "feast " + importlib.metadata.version("feast"), url, process, f"host={data} port=5432 user=postgres dbname=postgres", folder)


def declare(side):
    """As Feast's repository does."""
    views = [{"name": f"view_{v}", "entities": ["driver"], "features": [{"name": f"f{v}_{i}", "value_type": "double"} for i in range(FEATURES)]}
             for v in range(VIEWS)]
    requests.post(side.url + "/api/v1/features/apply", json={"entities": [{"name": "driver", "join_key": "driver_id", "value_type": "int64"}],
                                                             "feature_views": views}, timeout=60).raise_for_status()


# -- requests --------------------------------------------------------------------------------------------------------------
def frame(view, keys, minute, dice):
    stamp = f"2026-01-01T{minute // 60:02}:{minute % 60:02}:00"
    return {"feature_view_name": f"view_{view}", "allow_registry_cache": True, "df": {
        "driver_id": list(keys), "event_timestamp": [stamp] * len(keys), "created": [stamp] * len(keys),
        **{f"f{view}_{i}": [dice.random() for _ in keys] for i in range(FEATURES)}}}


def write_all(side, entities, minute):
    """Every entity's rows of every view, 500 a request; rows/s."""
    dice = random.Random(minute)
    bodies = [json.dumps(frame(view, range(first, min(first + WRITTEN, entities + 1)), minute, dice)) for view in range(VIEWS)
              for first in range(1, entities + 1, WRITTEN)]
    started = time.monotonic()
    for body in bodies:
        answer = side.session.post(side.url + "/write-to-online-store", data=body, headers={"Content-Type": "application/json"}, timeout=600)
        assert answer.ok, answer.text
    return entities * VIEWS / (time.monotonic() - started)


def names_of(views):
    return [f"view_{v}:f{v}_{i}" for v in range(views) for i in range(FEATURES)]


def prepare_reads(side, entities):
    for count, views in SHAPES:
        dice = random.Random(count)
        side.arguments(f"get-online-features:{count}x{views * FEATURES}", [
            json.dumps({"features": names_of(views), "entities": {"driver_id": dice.sample(range(1, entities + 1), count)}}) for _ in range(100)])


def values_of(side, count, views):
    body = {"features": names_of(views), "entities": {"driver_id": list(range(1, count + 1))}}
    answer = requests.post(side.url + "/get-online-features", json=body, timeout=60).json()
    return {name: column["values"] for name, column in zip(answer["metadata"]["feature_names"], answer["results"])}


# -- load ------------------------------------------------------------------------------------------------------------------
def children():
    by_parent = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            by_parent.setdefault(int(stat.read_text().rsplit(")", 1)[1].split()[1]), []).append(int(stat.parent.name))
    return by_parent


def cpu_seconds(roots):
    """Of these processes and all below them, with what children that have ended have used."""
    by_parent, todo, ticks = children(), list(roots), 0
    while todo:
        pid = todo.pop()
        todo += by_parent.get(pid, [])
        with contextlib.suppress(OSError):
            ticks += sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def postmaster(side):
    return int((pathlib.Path(side.sql("SHOW data_directory")[0][0]) / "postmaster.pid").read_text().splitlines()[0])


class Wrk:
    def __init__(self, side):
        self.side, self.name, self.roots = side, side.name, {side.process.pid, postmaster(side)}

    def run(self, count, views, connections, seconds):
        side, kind = self.side, f"get-online-features:{count}x{views * FEATURES}"
        side.files["get-online-features"] = side.files[kind]
        before = cpu_seconds(self.roots)
        figures = side.load("get-online-features", connections, seconds)
        answered = max(1, figures["requests"])  # where none was in the time given, this says too much of the side
        return {"rate": answered / figures["seconds"], "p99_ms": figures["p99_ms"], "p50_ms": figures["p50_ms"],
                "cpu_ms": (cpu_seconds(self.roots) - before) * 1000 / answered}


class Pgbench:
    """The statement that a read is, on Cairn's own database. Keys stand in it as constants: sixteen texts of it in turn."""

    def __init__(self, cairn, folder, entities):
        self.cairn, self.folder, self.name = cairn, folder, "pgbench"
        self.roots = {postmaster(cairn)}
        source = (ROOT / "server/features/read.cpp").read_text()
        pieces = re.search(r'kLatest\{\s*"read_latest_features",((?:\s*"[^"]*")+)\}', source)[1]
        statement = "".join(re.findall(r'"([^"]*)"', pieces))
        ids = [row[0] for row in cairn.sql("SELECT view_id FROM features.feature_views ORDER BY name")]
        dice = random.Random(3)
        for count, views in SHAPES:
            for number in range(16):
                keys = dice.sample(range(1, entities + 1), count)
                given = [(view, key) for view in ids[:views] for key in keys]
                text = statement.replace("$1", "'{" + ",".join(str(view) for view, _ in given) + "}'")
                text = text.replace("$2", "'{" + ",".join(str(key) for _, key in given) + "}'")
                (folder / f"{count}x{views}-{number}.sql").write_text(text + ";\n")

    def run(self, count, views, connections, seconds):
        for old in self.folder.glob("log.*"):
            old.unlink()
        texts = [option for number in range(16) for option in ("-f", self.folder / f"{count}x{views}-{number}.sql")]
        before, own = cpu_seconds(self.roots), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(["pgbench", "-n", "-M", "prepared", "-c", str(connections), "-j", "1", "-T", str(seconds), "-l", f"--log-prefix={self.folder}/log",
                               *map(str, texts), self.cairn.database], check=True, capture_output=True, text=True)
        spent = cpu_seconds(self.roots) - before
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime
        times = sorted(int(line.split()[2]) for log in self.folder.glob("log.*") for line in log.open())
        return {"rate": float(re.search(r"tps = ([\d.]+)", done.stdout)[1]), "p50_ms": times[len(times) // 2] / 1000,
                "p99_ms": times[int(len(times) * 0.99)] / 1000, "cpu_ms": (spent + own) * 1000 / len(times), "postgres_cpu_ms": spent * 1000 / len(times)}


# -- cases -----------------------------------------------------------------------------------------------------------------
def medians(figures):
    return {name: statistics.median(one[name] for one in figures) for name in figures[0]}


def measure_reads(loads, rounds, seconds, report, missed):
    for count, views in SHAPES:
        for connections in (1, 16):
            figures = {load.name: [] for load in loads}
            for _ in range(rounds):
                for load in loads:
                    figures[load.name].append(load.run(count, views, connections, seconds))
            found = {name: medians(all_of) for name, all_of in figures.items()}
            cairn, pgbench, feast = found["cairn"], found["pgbench"], found.get("feast")
            shape = f"{count}x{views * FEATURES} c={connections}"
            if feast:
                report.add(f"{shape} rate", cairn["rate"], feast["rate"], "requests/s")
                report.add(f"{shape} P99", cairn["p99_ms"], feast["p99_ms"], "ms", larger_is_better=False)
                if cairn["rate"] < GOAL_RATE * feast["rate"]:
                    missed.append(f"{shape}: {cairn['rate'] / feast['rate']:.1f} times Feast's rate, not {GOAL_RATE}")
            for name, figure, unit in (("rate", "rate", "requests/s"), ("P50", "p50_ms", "ms"), ("P99", "p99_ms", "ms"), ("CPU", "cpu_ms", "ms")):
                report.add(f"{shape} {name} : pgbench", cairn[figure], pgbench[figure], unit, larger_is_better=name == "rate")
            report.add(f"{shape} CPU : its PostgreSQL", cairn["cpu_ms"], pgbench["postgres_cpu_ms"], "ms", larger_is_better=False)
            if cairn["p99_ms"] > GOAL_P99 * pgbench["p99_ms"]:
                missed.append(f"{shape}: P99 is {cairn['p99_ms'] / pgbench['p99_ms']:.1f} times pgbench's, not {GOAL_P99}")
            if cairn["cpu_ms"] > pgbench["cpu_ms"]:
                missed.append(f"{shape}: CPU is {cairn['cpu_ms'] / pgbench['cpu_ms']:.2f} times pgbench's")


def measure_writes(sides, entities, rounds, report, missed):
    rates = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides:
            rates[side.name].append(write_all(side, entities, 10 + number))
    rates = {name: statistics.median(all_of) for name, all_of in rates.items()}
    report.add("writes", rates["cairn"], rates.get("feast"), "rows/s")
    if "feast" in rates and rates["cairn"] < GOAL_WRITES * rates["feast"]:
        missed.append(f"writes: {rates['cairn'] / rates['feast']:.1f} times Feast's, not {GOAL_WRITES}")
    updated, deadline = 0, time.monotonic() + 30
    while not updated and time.monotonic() < deadline:  # a session at rest hands in its counts after ten seconds
        time.sleep(0.5)
        ((updated, hot),) = sides[0].sql("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE schemaname = 'features' AND relname = 'latest'")
    report.add("HOT updates", 100 * hot / updated, None, "%")
    if 100 * hot / updated < GOAL_HOT:
        missed.append(f"HOT updates: {100 * hot / updated:.1f} %, not {GOAL_HOT} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each side in each round")
    parser.add_argument("--entities", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2, help="of Feast's server")
    parser.add_argument("--no-feast", action="store_true", help="pgbench alone")
    args = parser.parse_args()
    os.environ.update(FEAST_USAGE="False", PYTHONWARNINGS="ignore")
    missed = []
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cairn-bench-")))
        folder.chmod(0o755)
        for name in ("cairn", "feast", "pgbench"):
            (folder / name).mkdir()
        sides = [start_cairn(stack, folder / "cairn")]
        declare(sides[0])
        if not args.no_feast:
            sides.append(start_feast(stack, folder / "feast", settings_of(sides[0]), args.workers))
        say(f"{', '.join(side.version for side in sides)}, PostgreSQL {sides[0].sql('SHOW server_version')[0][0]}, {os.cpu_count()} cores, "
            f"{args.rounds} rounds of {args.seconds} s, {args.entities} entities")
        report = Report("features", args.json, sides[-1].version)
        for side in sides:
            say(f"  {side.name}: {write_all(side, args.entities, 0):.0f} rows/s written at first")
            side.sql("VACUUM ANALYZE")
            prepare_reads(side, args.entities)
        answers = [values_of(side, 7, VIEWS) for side in sides]
        assert all(answer == answers[0] for answer in answers), "the two sides gave different values"
        measure_reads([*map(Wrk, sides), Pgbench(sides[0], folder / "pgbench", args.entities)], args.rounds, args.seconds, report, missed)
        measure_writes(sides, args.entities, args.rounds, report, missed)
    for goal in missed:
        say(f"NOT MET: {goal}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
