#!/usr/bin/env python3
"""How good the sets of `cairn tune advise` are, beside Extend, DB2Advis and DTA: TPC-H's schema and 19 of its queries.

    ./dev bench tuner_quality [--json] [--quick] [--scale 1] [--budgets 100,250,500,750,1000] [--sides cairn,extend,db2advis,dta]
                              [--measured-mb 500[,…]] [--rounds 3] [--no-measured] [--width 3] [--keys primary|none] [--sizes real|hypopg]

First the planner's cost of the workload, relative to that without indexes, of each side's set for each budget, with planner calls
and seconds; then the time that the queries really take with the sets of some budgets built;
*proved*: those of Cairn's indexes that `tune prove` keeps. --quick: scale 0.1, a tenth of each budget.
Exits with 1 where Cairn's set is worse than Extend's, or takes more than a tenth of its calls and half of its time, and where the queries take
more than 1.05 of the time that they take with Extend's (medians of two rounds and more).
    ./dev bench tuner_quality --sides cairn,extend --budgets 250,500 --measured-mb 250,500    # some twelve minutes
"""
import argparse
import contextlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg2

import tuner_tpch
from tuner_db2advis import db2advis
from tuner_dta import dta
from tuner_extend import extend
from tuner_what_if import MB, Database, Index, WhatIf

ROOT = pathlib.Path(__file__).resolve().parent.parent
DTA_SECONDS = 60
TIE = 1.0005  # costs closer than this are the same
MEASURED_TIE = 1.05
WARMED_S = 2  # a run that takes longer is not repeated: what it reads is of no account beside what it does


def say(text):
    print(text, file=sys.stderr, flush=True)


def tune(url, folder, *arguments, check=True):
    command = [os.environ["CAIRN_BIN"], "tune", *arguments, "--database-url", url, "--state-dir", folder, "--json"]
    return json.loads(subprocess.run(command, check=check, stdout=subprocess.PIPE).stdout)


def cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cairn(url, folder, budget_mb, proved=False):
    """(indexes, planner calls, seconds of the search); `proved`: only those that `cairn tune prove` keeps, on a clone of its own

    The search takes no longer than this: the waiting for the planner's answers, with all that the process computes, which also reads the
    statistics and looks at settings.
    """
    computed = cpu_of_children()
    # The peers plan as fast as they can, too.
    advice = tune(url, folder, "advise", "--files", tuner_tpch.QUERIES, "--budget-mb", f"{budget_mb:g}", "--max-db-cpu", "100")
    search_s = advice["planner_ms"] / 1000 + cpu_of_children() - computed
    chosen = {change["number"] for change in advice["changes"]}
    if proved:
        proof = tune(url, folder, "prove", "last", "--clone", "basebackup", "--postgres-bin", os.environ["CAIRN_POSTGRES_BIN"], "--seconds", "120",
                     check=False)  # 1: nothing was kept
        chosen = {change["number"] for change in proof["changes"] if change["verdict"] == "kept"}
        for change in proof["changes"]:
            say(f"  {change['verdict']} {change['name']}: {change['reason']}")
    indexes = []
    for change in advice["changes"]:
        if change["kind"] != "index" or change["number"] not in chosen:
            continue
        d = change["definition"]
        text = change["statements"][0].replace(" CONCURRENTLY", "")
        indexes.append(Index(d["table"], tuple(key.get("column") or key["expression"] for key in d["keys"]), tuple(d["include"]),
                             d["predicate"], text))
    return indexes, advice["planner_calls"], search_s


class Bench:
    def __init__(self, args, connection, url, folder):
        self.args, self.connection, self.url, self.folder = args, connection, url, folder
        statements = tuner_tpch.queries()
        self.database = Database(connection, statements, tuner_tpch.TABLES, tuner_tpch.columns,
                                 "hypopg" if args.sizes == "hypopg" else "deduplicated")
        self.base = self.database.judge([])[0]
        self.sets, self.failures = {}, []

    def advise(self, side, budget_mb):
        """(indexes, planner calls, seconds of the search, seconds of the whole process)"""
        if side == "cairn":
            return self.advise_cairn(budget_mb)
        what_if = WhatIf(self.database, DTA_SECONDS if side == "dta" else None)
        indexes = {"extend": extend, "db2advis": db2advis, "dta": dta}[side](what_if, budget_mb * MB, self.args.width)
        return sorted(indexes), what_if.calls, what_if.seconds(), None

    def advise_cairn(self, budget_mb):
        """Cairn counts sizes with deduplication; where all are judged by hypopg's, it is told a smaller budget until it fits."""
        told, calls, search_s, started = budget_mb, 0, 0, time.monotonic()
        while True:
            indexes, asked, seconds = cairn(self.url, self.folder, told)
            calls, search_s = calls + asked, search_s + seconds
            size = self.database.judge(indexes)[1]
            if size <= budget_mb * MB * 1.001 or told < 1:
                return indexes, calls, search_s, time.monotonic() - started
            told *= min(0.95, budget_mb * MB / size)

    def estimated(self):
        rows = []
        for budget in self.args.budgets:
            row = {"budget_mb": budget}
            for side in self.args.sides:
                say(f"{side}, {budget:g} MB")
                indexes, calls, seconds, process_s = self.advise(side, budget)
                cost, size = self.database.judge(indexes)
                self.sets[side, budget] = indexes
                row[side] = {"relative_cost": cost / self.base, "planner_calls": calls, "seconds": seconds, "process_seconds": process_s, "bytes": size,
                             "indexes": [str(index) for index in indexes]}
                if self.args.verbose:
                    say(f"  {100 * cost / self.base:.1f} % {calls} calls {seconds:.1f} s {size / MB:.0f} MB: "
                        + "; ".join(map(str, indexes)))
            self.check(row)
            rows.append(row)
        self.print_estimated(rows)

    def check(self, row):
        if "cairn" not in row or "extend" not in row:
            return
        ours, theirs = row["cairn"], row["extend"]
        if ours["relative_cost"] > theirs["relative_cost"] * TIE:
            self.failures.append(f"{row['budget_mb']:g} MB: Cairn's set is worse than Extend's")
        if ours["planner_calls"] > theirs["planner_calls"] / 10 and ours["seconds"] > theirs["seconds"] / 2:
            self.failures.append(f"{row['budget_mb']:g} MB: Cairn took over a tenth of Extend's calls and half of its time")

    def print_estimated(self, rows):
        if self.args.json:
            for row in rows:
                print(json.dumps({"case": "estimated", **row}))
            return
        print("relative workload cost (planner calls, seconds, MB)")
        print(f"{'budget':>8} " + "".join(f"{side:>32}" for side in self.args.sides))
        for row in rows:
            cells = (f"{100 * row[s]['relative_cost']:.1f} % ({row[s]['planner_calls']}, {row[s]['seconds']:.2f} s, "
                     f"{row[s]['bytes'] / MB:.0f})" for s in self.args.sides)
            print(f"{row['budget_mb']:>5g} MB " + "".join(f"{cell:>32}" for cell in cells), flush=True)

    # -- really run ------------------------------------------------------------------------------------------------------------
    def time_workload(self):
        """Milliseconds of each statement, the second of two runs, or the first where it is long."""
        times = []
        with self.connection.cursor() as cursor:
            for statement in self.database.statements:
                for _ in range(2):
                    started = time.monotonic()
                    cursor.execute(statement)
                    cursor.fetchall()
                    if time.monotonic() - started > WARMED_S:
                        break
                times.append((time.monotonic() - started) * 1000)
        return times

    def build(self, indexes):
        """Bytes that they really take, and seconds."""
        names, started = [], time.monotonic()
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(array_agg(indexrelid::regclass::text), '{}') FROM pg_index")
            before = set(cursor.fetchone()[0])
            for number, index in enumerate(indexes):
                cursor.execute(index.statement(f"bench_{number}"))
            seconds = time.monotonic() - started
            cursor.execute("SELECT i.indexrelid::regclass::text, pg_relation_size(i.indexrelid) FROM pg_index i")
            made = [(name, size) for name, size in cursor.fetchall() if name not in before]
            names = [name for name, _ in made]
        return names, sum(size for _, size in made), seconds

    def measured(self, budget):
        sets = {"none": []}
        for side in self.args.sides:
            sets[side] = self.sets.get((side, budget)) or self.advise(side, budget)[0]
        if "cairn" in self.args.sides:
            say("cairn, proved")
            sets["proved"] = cairn(self.url, self.folder, budget, proved=True)[0]
        times, built = {side: [] for side in sets}, {}
        for number in range(self.args.rounds):
            for side, indexes in sets.items():
                say(f"measured, round {number + 1}, {side}")
                names, size, seconds = self.build(indexes)
                built[side] = size, seconds
                times[side].append(self.time_workload())
                with self.connection.cursor() as cursor:
                    for name in names:
                        cursor.execute(f"DROP INDEX {name}")
        self.print_measured(budget, times, built)

    def print_measured(self, budget, times, built):
        medians = {side: [statistics.median(round_[i] for round_ in rounds) for i in range(len(self.database.statements))]
                   for side, rounds in times.items()}
        none = sum(medians["none"])
        if not self.args.json:
            print(f"time of the queries with the sets for {budget:g} MB built (medians of {self.args.rounds} rounds)")
        for side, ms in medians.items():
            slower = sum(1 for with_set, without in zip(ms, medians["none"]) if with_set > 1.1 * without)
            row = {"case": "measured", "side": side, "budget_mb": budget, "ms": sum(ms), "relative_time": sum(ms) / none,
                   "bytes": built[side][0], "build_seconds": built[side][1], "slower_statements": slower, "statements_ms": ms}
            if self.args.json:
                print(json.dumps(row))
            else:
                print(f"{side:>10} {sum(ms):10.0f} ms {100 * row['relative_time']:6.1f} %  {row['bytes'] / MB:6.0f} MB built in "
                      f"{row['build_seconds']:.0f} s, {slower} statements over 10 % slower", flush=True)

        if self.args.rounds > 1 and {"cairn", "extend"} <= medians.keys() and sum(medians["cairn"]) > MEASURED_TIE * sum(medians["extend"]):
            self.failures.append(f"{budget:g} MB: the queries take {sum(medians['cairn']) / sum(medians['extend']):.2f} of the time with Extend's set")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="the sets, as they are found, on standard error")
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--budgets", default="100,250,500,750,1000")
    parser.add_argument("--sides", default="cairn,extend,db2advis,dta")
    parser.add_argument("--measured-mb", default="500", help="budgets whose sets are built")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-measured", action="store_true")
    parser.add_argument("--width", type=int, default=3, help="columns of an index of the peers, at most")
    parser.add_argument("--keys", choices=["primary", "none"], default="primary")
    parser.add_argument("--sizes", choices=["real", "hypopg"], default="real")
    args = parser.parse_args()
    args.budgets = [float(budget) for budget in args.budgets.split(",")]
    args.measured_mb = [float(budget) for budget in args.measured_mb.split(",")]
    args.sides = args.sides.split(",")
    if args.quick:
        args.scale, args.rounds, args.measured_mb = 0.1, 1, [budget / 10 for budget in args.measured_mb]
        args.budgets = [budget / 10 for budget in args.budgets]
    return args


def main():
    args = arguments()
    if "CAIRN_TEST_DATABASE_URL" not in os.environ:
        os.environ.setdefault("CAIRN_PRESET", "release")
        os.execv(ROOT / "tools/with_cluster", [str(ROOT / "tools/with_cluster"), sys.executable, *sys.argv])
    server = os.environ["CAIRN_TEST_DATABASE_URL"]
    database = f"tpch_{args.scale:g}_{args.keys}".replace(".", "_")
    url = server.replace("/postgres?", f"/{database}?")
    with tempfile.TemporaryDirectory(prefix="cairn-bench-") as folder:
        with contextlib.closing(psycopg2.connect(server)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", (database,))
                there = cursor.rowcount
                if not there:
                    cursor.execute(f"CREATE DATABASE {database}")
        with contextlib.closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            if not there:
                say(f"loading TPC-H at scale {args.scale:g}")
                tuner_tpch.fill(connection, ROOT / "build/tpch", args.scale, args.keys == "primary")
            bench = Bench(args, connection, url, folder)
            bench.estimated()
            if not args.no_measured:
                for budget in args.measured_mb:
                    bench.measured(budget)
    for failure in bench.failures:
        say(f"NOT MET: {failure}")
    sys.exit(1 if bench.failures else 0)


if __name__ == "__main__":
    main()
