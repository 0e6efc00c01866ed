#!/usr/bin/env python3
"""Cairn beside the stock MLflow server: the same load, the same PostgreSQL settings, in turn, several rounds; medians.

    ./dev bench tracking [--json] [--rounds 3] [--seconds 5] [--only CASE,...] [--points 10000000]

wrk is the load generator on both sides, with 64 keep-alive connections. Each side has a PostgreSQL cluster of its own with fsync
and synchronous_commit on; MLflow's has the settings that Cairn gives its own. MLflow's 30,000 runs and its points on disk
are loaded by COPY, into the tables that it made itself: through its API they would take hours.
"""
import argparse
import concurrent.futures
import contextlib
import io
import json
import math
import os
import pathlib
import statistics
import sys
import tempfile

import psycopg2
import requests
from servers import Report, Side, free_port, say, settings_of, start, start_cairn, start_postgres

Side.prefix, Side.script = "/api/2.0/mlflow/", pathlib.Path(__file__).with_suffix(".lua")
RUNS, METRICS, PARAMS, TAGS = 30000, 100, 30, 10
CONNECTIONS = 64
HISTORY_POINTS = 100000


def start_mlflow(stack, folder, settings, workers):
    data = start_postgres(stack, folder, settings)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"postgresql+psycopg2://postgres@/postgres?host={data}",
               "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    process = start(stack, command, url, folder / "log")
    version = "mlflow " + requests.get(url + "/version", timeout=5).text
    return Side("mlflow", version, url, process, f"host={data} port=5432 user=postgres dbname=postgres", folder)


# -- data ------------------------------------------------------------------------------------------------------------------
def copy(side, table, columns, rows):
    """COPY in pieces, so that neither side of it holds all rows."""
    with contextlib.closing(psycopg2.connect(side.database)) as connection, connection.cursor() as cursor:
        text = io.StringIO()

        def flush():
            text.seek(0)
            cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", text)
            text.seek(0)
            text.truncate()

        for row in rows:
            text.write("\t".join(map(str, row)) + "\n")
            if text.tell() > 8 << 20:
                flush()
        flush()
        connection.commit()


def hashed(number):
    """A double in [0, 1) with all its digits, the same for the same number (splitmix64, Steele et al. 2014)."""
    mask = (1 << 64) - 1
    z = (number + 1) * 0x9E3779B97F4A7C15 & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return ((z ^ z >> 31) >> 11) / (1 << 53)


def value(run, key):
    return hashed(run * 1000003 + key)


def params_of(run):
    return [("lr", f"0.{run % 10}"), ("depth", str(run % 20))] + [(f"param_{i}", f"value-{(run * 31 + i) % 997}") for i in range(PARAMS - 2)]


def tags_of(run):
    return [(f"tag_{i}", f"{(run + i) % 100}") for i in range(TAGS)]


def metrics_of(run):
    return [(f"metric_{i}", value(run, i)) for i in range(METRICS)]


def fill_cairn(side):
    """Through the API, as a user would: one create-run and one log-batch for each run."""
    experiment = side.call("POST", "experiments/create", {"name": "search"})["experiment_id"]

    def fill(run):
        run_id = side.call("POST", "runs/create", {"experiment_id": experiment, "run_name": f"r{run}", "start_time": 1700000000000 + run,
                                                   "tags": [{"key": k, "value": v} for k, v in tags_of(run)]})["run"]["info"]["run_id"]
        side.call("POST", "runs/log-batch", {
            "run_id": run_id, "params": [{"key": k, "value": v} for k, v in params_of(run)],
            "metrics": [{"key": k, "value": v, "timestamp": 1700000000000, "step": 1} for k, v in metrics_of(run)]})

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in pool.map(fill, range(RUNS)):
            pass
    return experiment


def fill_mlflow(side):
    experiment = side.call("POST", "experiments/create", {"name": "search"})["experiment_id"]
    ids = [f"{run:032x}" for run in range(RUNS)]
    copy(side, "runs", "run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, source_version, lifecycle_stage, artifact_uri, experiment_id",
         ((ids[run], f"r{run}", "UNKNOWN", "", "", "", "RUNNING", 1700000000000 + run, "", "active", f"mlflow-artifacts:/{experiment}/{ids[run]}/artifacts", experiment)
          for run in range(RUNS)))
    for table in ("metrics", "latest_metrics"):
        copy(side, table, "key, value, timestamp, step, is_nan, run_uuid",
             ((k, repr(v), 1700000000000, 1, "f", ids[run]) for run in range(RUNS) for k, v in metrics_of(run)))
    copy(side, "params", "key, value, run_uuid", ((k, v, ids[run]) for run in range(RUNS) for k, v in params_of(run)))
    copy(side, "tags", "key, value, run_uuid", ((k, v, ids[run]) for run in range(RUNS) for k, v in tags_of(run)))
    return experiment


def prepare_writes(side):
    experiment = side.call("POST", "experiments/create", {"name": "writes"})["experiment_id"]
    runs = [side.call("POST", "runs/create", {"experiment_id": experiment, "start_time": 1})["run"]["info"]["run_id"] for _ in range(CONNECTIONS)]
    side.arguments("log-metric", runs)
    side.arguments("log-batch", runs)
    side.arguments("create-run", [experiment])


def prepare_history(side):
    experiment = side.call("POST", "experiments/create", {"name": "history"})["experiment_id"]
    run = side.call("POST", "runs/create", {"experiment_id": experiment, "start_time": 1})["run"]["info"]["run_id"]
    for first in range(0, HISTORY_POINTS, 1000):
        side.call("POST", "runs/log-batch", {"run_id": run, "metrics": [
            {"key": "loss", "value": value(1, step), "timestamp": 1700000000000 + step, "step": step} for step in range(first, first + 1000)]})
    path = f"metrics/get-history?run_id={run}&metric_key=loss"
    points = len(side.call("GET", path)["metrics"])
    assert points == HISTORY_POINTS, f"{side.name}: {points} points"
    side.arguments("get-history", [path])


def prepare_search(side):
    experiment = fill_cairn(side) if side.name == "cairn" else fill_mlflow(side)
    side.sql("VACUUM ANALYZE")
    lines = [json.dumps({"experiment_ids": [experiment], "max_results": 100, "order_by": ["metrics.metric_7 DESC"],
                         "filter": f"params.lr = '0.{lr}' AND params.depth = '{depth}' AND metrics.metric_3 > 0.2"})
             for lr in range(10) for depth in (lr, lr + 10)]
    side.arguments("search-runs", lines)
    body = json.loads(lines[0])
    runs = side.call("POST", "runs/search", body)["runs"]
    assert len(runs) == 100 and len(runs[0]["data"]["metrics"]) == METRICS, f"{side.name}: {len(runs)} runs"
    # Both sides hold the same data, so they must find the same runs, in the same order.
    return [run["info"]["run_name"] for run in runs]


# -- cases -----------------------------------------------------------------------------------------------------------------
# name: what a request is worth, unit, how many times longer a round lasts (the stock server answers no search of 64 at once
# in less than half a minute). Reads first: the writes leave tables behind that autovacuum works on.
RATES = {"search-runs": (1, "requests/s", 4), "get-history": (HISTORY_POINTS, "points/s", 3), "log-metric": (1, "requests/s", 1),
         "log-batch": (1000, "points/s", 1), "create-run": (1, "requests/s", 1)}


def measure_rates(sides, names, rounds, seconds, report):
    for name in names:
        worth, unit, longer = RATES[name]
        # 64 histories of 100,000 points at once take the stock server minutes, in which nothing is counted.
        connection_counts = {"get-history": [4], "create-run": [CONNECTIONS, 4], "search-runs": [CONNECTIONS, 4]}.get(name, [CONNECTIONS])
        for connections in connection_counts:
            rates, p99 = {s.name: [] for s in sides}, {s.name: [] for s in sides}
            for _ in range(rounds):
                for side in sides:
                    figures = side.load(name, connections, seconds * longer)
                    rates[side.name].append(figures["requests"] * worth / figures["seconds"])
                    p99[side.name].append(figures["p99_ms"])
            label = f"{name} c={connections}"
            report.add(label, *(statistics.median(rates[s.name]) for s in sides), unit)
            report.add(label + " P99", *(statistics.median(p99[s.name]) for s in sides), "ms", larger_is_better=False)


def measure_bytes(cairn, mlflow, points, report):
    """The same points on both sides: runs of 10 keys, 1,000 points each, in batches of 1,000."""
    before = cairn.sql("SELECT pg_total_relation_size('tracking.metric_series') + pg_total_relation_size('tracking.metric_chunks')")[0][0]
    before_peer = mlflow.sql("SELECT pg_total_relation_size('metrics') + pg_total_relation_size('latest_metrics')")[0][0]
    experiment = cairn.call("POST", "experiments/create", {"name": "bytes"})["experiment_id"]
    peer_experiment = mlflow.call("POST", "experiments/create", {"name": "bytes"})["experiment_id"]
    keys, per_key = 10, 1000
    runs = math.ceil(points / (keys * per_key))

    def loss(run, key, step):
        return hashed((run * keys + key) * per_key + step) / (1 + step)

    for run in range(runs):
        run_id = cairn.call("POST", "runs/create", {"experiment_id": experiment, "start_time": 1})["run"]["info"]["run_id"]
        for first in range(0, per_key, 1000 // keys):
            cairn.call("POST", "runs/log-batch", {"run_id": run_id, "metrics": [
                {"key": f"loss_{key}", "value": loss(run, key, step), "timestamp": 1700000000000 + step * 997, "step": step}
                for step in range(first, first + 1000 // keys) for key in range(keys)]})
        if run % 100 == 0:
            say(f"  cairn: {run * keys * per_key:,} points")
    ids = [f"b{run:031x}" for run in range(runs)]
    copy(mlflow, "runs", "run_uuid, name, source_type, status, start_time, lifecycle_stage, artifact_uri, experiment_id",
         ((ids[run], f"b{run}", "UNKNOWN", "RUNNING", 1, "active", "x", peer_experiment) for run in range(runs)))
    copy(mlflow, "metrics", "key, value, timestamp, step, is_nan, run_uuid",
         ((f"loss_{key}", repr(loss(run, key, step)), 1700000000000 + step * 997, step, "f", ids[run])
          for run in range(runs) for step in range(per_key) for key in range(keys)))
    copy(mlflow, "latest_metrics", "key, value, timestamp, step, is_nan, run_uuid",
         ((f"loss_{key}", repr(loss(run, key, per_key - 1)), 1700000000000 + (per_key - 1) * 997, per_key - 1, "f", ids[run])
          for run in range(runs) for key in range(keys)))
    size = cairn.sql("SELECT pg_total_relation_size('tracking.metric_series') + pg_total_relation_size('tracking.metric_chunks')")[0][0] - before
    peer = mlflow.sql("SELECT pg_total_relation_size('metrics') + pg_total_relation_size('latest_metrics')")[0][0] - before_peer
    total = runs * keys * per_key
    report.add(f"disk, {total:,} points", size / total, peer / total, "bytes/point", larger_is_better=False)


def measure_memory(cairn, requests_wanted, report):
    figures, done = [cairn.resident_mib()], 0
    while done < requests_wanted:
        done += cairn.load("log-metric", CONNECTIONS, 5)["requests"]
        figures.append(cairn.resident_mib())
        say(f"  cairn: {done:,} requests, {figures[-1]:.1f} MiB")
    half = figures[len(figures) // 2]
    report.add(f"memory after {done:,} requests", figures[-1], None, "MiB", larger_is_better=False)
    report.add("memory gained in 2nd half", figures[-1] - half, None, "MiB", larger_is_better=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of each side in each round")
    parser.add_argument("--workers", type=int, default=4, help="of the stock server")
    parser.add_argument("--points", type=int, default=10_000_000, help="on disk")
    parser.add_argument("--requests", type=int, default=1_000_000, help="before memory is read")
    parser.add_argument("--only", default="", help="cases, separated by commas: " + ", ".join([*RATES, "disk", "memory"]))
    args = parser.parse_args()
    cases = args.only.split(",") if args.only else [*RATES, "disk", "memory"]
    if unknown := set(cases) - {*RATES, "disk", "memory"}:
        parser.error(f"unknown cases: {', '.join(sorted(unknown))}")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cairn-bench-")))
        folder.chmod(0o755)
        for name in ("cairn", "mlflow"):
            (folder / name).mkdir()
        cairn = start_cairn(stack, folder / "cairn")
        mlflow = start_mlflow(stack, folder / "mlflow", settings_of(cairn), args.workers)
        sides = [cairn, mlflow]
        say(f"{cairn.version} and {mlflow.version} ({args.workers} workers), PostgreSQL {cairn.sql('SHOW server_version')[0][0]}, "
            f"{os.cpu_count()} cores, {args.rounds} rounds of {args.seconds} s")
        report = Report("tracking", args.json, mlflow.version)
        for side in sides:
            prepare_writes(side)
        rates = [case for case in RATES if case in cases]
        if "search-runs" in rates:
            say("filling both with 30,000 runs")
            found = [prepare_search(side) for side in sides]
            assert found[0] == found[1], "the two sides found different runs"
        if "get-history" in rates:
            for side in sides:
                prepare_history(side)
        if not args.json:
            print(f"{'case':32} {'cairn':>14} {'mlflow':>14}")
        measure_rates(sides, rates, args.rounds, args.seconds, report)
        if "disk" in cases:
            say(f"writing {args.points:,} points to both")
            measure_bytes(cairn, mlflow, args.points, report)
        if "memory" in cases:
            measure_memory(cairn, args.requests, report)


main()
