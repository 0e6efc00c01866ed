#!/usr/bin/env python3
"""A registry's database as it comes, with primary keys alone, beside the same after `cairn tune`: latencies at the same rate of arrivals.

    ./dev bench tuner [--json] [--quick] [--scale 4] [--rate 2] [--statements 10000] [--sides untuned,indexes,all,autopilot,hand] [--writes]

Every side is a copy of one database, in a PostgreSQL that was started anew, with shared_buffers below a quarter of the data, the same
warm-up and the same arrivals (open loop: latency counts from the intended start). Sides:
  untuned   primary keys alone
  indexes   what `tune advise`, `prove` and `apply` make of what was counted in a short load, and nothing on request
  all       the same with everything that is on request, and the statements that were offered in the place of the program's
  autopilot the loop by itself: `tune autopilot`, allowed all that `all` has, on a clone that it makes; the load goes on while it verifies
  hand      the eighteen indexes that the tutorial of text 002 makes by hand (test/scenario/sql_of_the_texts)
Exits with 1 where `all` or `autopilot` misses a goal: less than GOALS leave of the untuned side's figures, the families' times, no statement over
a second, cache hits of 94 %, and with --writes an insert that takes less than 1.235 of its time (half of that text's +47 %).
"""
import argparse
import json
import pathlib
import re
import statistics
import sys

from tuner_cluster import say, throw_away

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIDES = ["untuned", "indexes", "all", "autopilot", "hand"]
GOALS_MS = {"dashboard": 30, "training-runs": 10, "model-stats": 50, "deployment-status": 15}
GOALS = {"mean ms": 0.08, "P99 ms": 0.04, "execution s": 0.08, "CPU s": 1 / 3, "an insert ms": 1.235}
WRITE_ROUNDS = 5
PROFILED = 120  # statements of the load that the tuner sees


class Bench:
    def __init__(self, args, cluster, cairn, folder):
        self.args, self.cluster, self.cairn, self.folder = args, cluster, cairn, folder
        self.call = cairn.call
        self.results = {}

    def arrivals(self, statements, seed):
        return ["workload", "run", "--rate", self.args.rate, "--duration", f"{statements / self.args.rate:.1f}", "--seed", seed]

    def load(self, database, statements, seed, *more):
        return self.call(*self.arrivals(statements, seed), *more, database=database)

    def seed(self):
        self.cluster.sql("postgres", "CREATE DATABASE seeded")
        self.call("workload", "seed", "--scale", self.args.scale, database="seeded")
        self.cluster.sql("seeded", "CREATE EXTENSION hypopg")
        ((size,),) = self.cluster.sql("seeded", "SELECT pg_database_size('seeded')")
        self.shared_buffers = max(8, int(size / 2**20 / 4.5))
        self.cluster.restart(self.shared_buffers)
        self.cluster.sql("seeded", "CREATE EXTENSION pg_stat_statements")
        say(f"the data is {size / 2**20:.0f} MB, shared_buffers {self.shared_buffers} MB")

    def copy(self, name):
        self.cluster.sql("postgres", f"CREATE DATABASE {name} TEMPLATE seeded")

    def tune(self, name, everything):
        """Returns what the workload is to send instead: [FAMILY=FILE, …]."""
        self.load(name, PROFILED, 7)
        advice = self.call("tune", "advise", "--seconds", 30, database=name)
        proof = self.call("tune", "prove", advice["id"], "--clone", "template", database=name, codes=(0, 1))
        chosen = [change["number"] for change in advice["changes"] if not change["on_request"] and change["kind"] == "index"]
        if everything:
            chosen = [change["number"] for change in advice["changes"]]
        kept = {verdict["number"] for verdict in proof["changes"] if verdict["verdict"] == "kept"}
        numbers = ",".join(str(number) for number in chosen if number in kept)
        if numbers:
            self.call("tune", "apply", advice["id"], "--only", numbers, database=name)
        (self.folder / f"{name}.json").write_text(json.dumps({"advice": advice, "proof": proof}, indent=1))
        return self.replacements(name, advice, proof) if everything else []

    def autopilot(self, name):
        """Returns what the workload is to send instead, as tune()."""
        self.load(name, PROFILED, 7)
        options = ["--clone", "template", "--allow", "index,statistics,setting,materialized_view", "--verify-seconds", PROFILED / self.args.rate]
        # Once its clone is made and gone again, others may be connected.
        said = self.cairn.autopilot(*options, database=name, once_applied=lambda: self.load(name, PROFILED, 7))
        for step in said:
            say(f"   {step['step']:8} {' '.join(step['what'].split())[:200]}")
        proofs = sorted((self.folder / f"state-{name}" / "proofs").glob("*.json"))
        if not proofs:
            return []
        advice = json.loads((self.folder / f"state-{name}" / "advice" / proofs[-1].name).read_text())
        return self.replacements(name, advice, json.loads(proofs[-1].read_text()))

    def replacements(self, name, advice, proof):
        options = []
        confirmed = [rewrite["number"] for rewrite in sorted(proof["rewrites"], key=lambda r: r.get("after_ms", 0)) if rewrite["confirmed"]]
        for rewrite in (advice["rewrites"][number - 1] for number in confirmed):
            text = advice["statements"][rewrite["serves"] - 1]["text"]
            family = next((family for family, word in (("model-stats", "best_accuracy"), ("training-runs", "experiment_name"))
                           if word in text), None)
            if family != "model-stats" or any(option.startswith(family) for option in options):
                continue
            path = self.folder / f"{name}-{family}.sql"
            path.write_text(re.sub(r"\$1\b", "true", rewrite["text"]))  # what the program says there
            options += ["--replace", f"{family}={path}"]
        return options

    def hand(self, name):
        script = (ROOT / "test/scenario/sql_of_the_texts/002_13_indexes.sql").read_text()
        for statement in re.findall(r"^CREATE INDEX[^;]+;", script, re.M):
            self.cluster.sql(name, statement)
        self.cluster.sql(name, "ANALYZE")

    def measure(self, side):
        say(f"-- {side}")
        database = f"side_{side}"
        self.copy(database)
        more = {"untuned": lambda: [], "indexes": lambda: self.tune(database, False), "all": lambda: self.tune(database, True),
                "autopilot": lambda: self.autopilot(database), "hand": lambda: self.hand(database)}[side]() or []
        ((index_bytes,),) = self.cluster.sql(database, """SELECT coalesce(sum(pg_relation_size(indexrelid)), 0)::bigint FROM pg_index i
            JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND NOT i.indisprimary""")
        self.cluster.restart(self.shared_buffers)
        self.load(database, self.args.statements / 10, 11, *more)
        self.cluster.sql(database, "SELECT pg_stat_statements_reset()")
        result = self.load(database, self.args.statements, 1, *more)
        ((result["execution_ms"],),) = self.cluster.sql(database, "SELECT sum(total_exec_time) FROM pg_stat_statements WHERE toplevel AND query ILIKE 'select%'")
        result["index_bytes"], result["replaced"] = index_bytes, more
        self.results[side] = result

    def measure_writes(self):
        """Rounds of inserts alone, in turn on each side; the first brings the pages of tables and indexes into memory, and is not counted."""
        rounds = {side: [] for side in self.results}
        for number in range(1 + WRITE_ROUNDS):
            say(f"-- writes, round {number} of {WRITE_ROUNDS}")
            for side, times in rounds.items():
                database = f"side_{side}"
                self.cluster.sql(database, "SELECT pg_stat_statements_reset()")
                self.call("workload", "run", "--rate", 50, "--duration", 20, "--seed", number, "--writes", 100, database=database)
                ((ms,),) = self.cluster.sql(database, "SELECT sum(total_exec_time) / sum(calls) FROM pg_stat_statements WHERE query ILIKE 'insert%'")
                times.append(ms)
        for side, times in rounds.items():
            self.results[side]["write_ms"], self.results[side]["write_rounds_ms"] = statistics.median(times[1:]), times

    def figures(self):
        figures = {"mean ms": lambda r: r["total"]["mean_ms"], "P50 ms": lambda r: r["total"]["p50_ms"], "P99 ms": lambda r: r["total"]["p99_ms"],
                   "execution s": lambda r: r["execution_ms"] / 1000, "CPU s": lambda r: r["database"]["cpu_seconds"],
                   "cache hits %": lambda r: 100 * r["database"]["cache_hit_ratio"], "over 1 s": lambda r: r["total"]["over_1s"],
                   "time-outs": lambda r: r["total"]["timeouts"], "indexes MB": lambda r: r["index_bytes"] / 2**20,
                   **({"an insert ms": lambda r: r["write_ms"]} if self.args.writes else {})}
        for goal_of in GOALS_MS:
            figures[f"{goal_of} ms (goal {GOALS_MS[goal_of]})"] = lambda r, name=goal_of: next(
                f["mean_ms"] for f in r["families"] if f["family"] == name)
        return figures

    def missed(self):
        """The goals that a side did not reach, in words."""
        figures, base = self.figures(), self.results.get("untuned")
        for side in ("all", "autopilot"):
            result = self.results.get(side)
            if not result:
                continue
            for name, figure in figures.items():
                value = figure(result)
                most = next((ms for family, ms in GOALS_MS.items() if name.startswith(f"{family} ")), 0 if name in ("over 1 s", "time-outs") else None)
                if name in GOALS and base:
                    most = GOALS[name] * figure(base)
                if (most is not None and value > most) or (name == "cache hits %" and value < 94):
                    yield f"{side}: {name}: {value:.4g}, {f'more than {most:.4g}' if most is not None else 'less than 94'}"

    def report(self):
        if self.args.json:
            print(json.dumps({"scale": self.args.scale, "rate": self.args.rate, "shared_buffers_mb": self.shared_buffers, "sides": self.results}))
            return
        figures = self.figures()
        base = self.results.get("untuned")
        print(f"scale {self.args.scale}, {self.args.rate} arrivals a second, {self.args.statements} statements, shared_buffers {self.shared_buffers} MB")
        print(f"{'':36}" + "".join(f"{side:>20}" for side in self.results))
        for name, figure in figures.items():
            line = f"{name:36}"
            for result in self.results.values():
                value = figure(result)
                ratio = f" ({100 * (value / figure(base) - 1):+.0f} %)" if base and result is not base and figure(base) else ""
                line += f"{f'{value:.4g}{ratio}':>20}"
            print(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="300 statements a side")
    parser.add_argument("--scale", type=float, default=4)
    parser.add_argument("--rate", type=float, default=2)
    parser.add_argument("--statements", type=int, default=10000)
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--writes", action="store_true", help="measure inserts too")
    args = parser.parse_args()
    if args.quick:
        args.statements = 300
    with throw_away() as (cluster, cairn, folder):
        bench = Bench(args, cluster, cairn, folder)
        bench.seed()
        for side in args.sides.split(","):
            bench.measure(side)
        if args.writes:
            bench.measure_writes()
        bench.report()
    missed = list(bench.missed())
    for goal in missed:
        say(f"NOT MET: {goal}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
