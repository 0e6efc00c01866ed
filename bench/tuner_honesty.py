#!/usr/bin/env python3
"""Does what `cairn tune autopilot` keeps make a workload slower? Generated schemas and workloads, measured before and after.

    ./dev bench tuner_honesty [--json] [--schemas 200] [--seed 1] [--only NUMBER] [--verbose]

Each schema (1 to 5 tables of 1,000 to 200,000 rows; skewed, correlated and mostly null columns; foreign keys; one in eight with hostile names) gets 3 to
8 statements, reads and writes, that run 20 to 45 times each on a copy of it. Autopilot then does its loop on that copy, with a clone of its
own; while it verifies they run again. Then each statement runs, with three sets of constants, in turn on the database as it was and on the copy.

Slower, of a statement: time on the copy / time on the other (of the sums of medians) is above 1.1, its 95 % interval (bootstrap) is
above 1, and it is about more than 0.1 ms. Of a workload (all calls): above 1.05, the interval above 1; both measured a second time, with
twice the rounds, and slower again. "The estimate said faster": the planner's cost with all changes is less than 0.95 of that before;
what the clone then measured is the proof's own outcome. Afterwards `tune undo --all` must leave the indexes that there were.

Exits with 1 where a workload got slower, and where something crashed, failed or was left behind.
"""
import argparse
import collections
import contextlib
import json
import random
import statistics
import sys
import time
import traceback

import psycopg2

import tuner_random
from tuner_cluster import say, throw_away

ROUNDS = 7
ROUNDS_LEAST = 3
SECONDS = 4  # of measuring, about, once every set of constants ran the least number of times
BOOTSTRAPS = 300
INDEXES = "SELECT schemaname, tablename, indexname, indexdef FROM pg_indexes WHERE schemaname NOT IN ('pg_catalog', 'cairn_tune') ORDER BY 1, 2, 3"


def is_write(text):
    return not text.startswith(("SELECT", "WITH"))


def timed(cursor, text):
    """Milliseconds; what it wrote is rolled back."""
    cursor.execute("BEGIN")
    started = time.monotonic()
    cursor.execute(text)
    if cursor.description:
        cursor.fetchall()
    took = time.monotonic() - started
    cursor.execute("ROLLBACK")
    return 1000 * took


class Times:
    """Of one statement: for each set of constants, times on the one database and on the other."""

    def __init__(self, calls, texts):
        self.calls, self.sets = calls, [(text, [], []) for text in texts]

    def total(self, side, pick=lambda times: times):
        return self.calls * sum(statistics.median(pick(times[1 + side])) for times in self.sets) / len(self.sets)


def resampled(times):
    return random.choices(times, k=len(times))


def ratio(all_times):
    """(ratio of the totals, the lower bound of its interval, milliseconds of a call before, after)"""
    def once(pick=lambda times: times):
        return sum(t.total(1, pick) for t in all_times) / max(1e-9, sum(t.total(0, pick) for t in all_times))
    spread = sorted(once(resampled) for _ in range(BOOTSTRAPS))
    calls = sum(t.calls for t in all_times)
    before, after = (sum(t.total(side) for t in all_times) / calls for side in (0, 1))
    return once(), spread[int(0.025 * BOOTSTRAPS)], before, after


def is_slower(all_times, over, least_ms):
    value, low, before, after = ratio(all_times)
    return value > over and low > 1 and after - before > least_ms


class Case:
    """One schema."""

    def __init__(self, args, cluster, cairn, number):
        self.args, self.cluster, self.cairn = args, cluster, cairn
        self.before, self.after = f"before_{number}", f"after_{number}"
        self.schema = tuner_random.Schema(f"{args.seed}-{number}")
        self.more = ["--allow", "index,statistics,drop_index"] if number % 3 == 0 else []
        self.result = {"number": number, "problems": []}

    def run(self):
        try:
            self.load()
            self.workload()
            said = self.autopilot()
            self.compare_estimates()
            if self.result["made"]:
                self.measure()
                self.undo()
            if self.args.verbose:
                say("\n".join(f"    {step['step']:8} {step['what'][:300]}" for step in said))
        except Exception:  # pylint: disable=broad-except  # the other schemas are looked at all the same
            self.result["problems"].append(traceback.format_exc(limit=-3))
        finally:
            for name in (self.before, self.after):
                self.cluster.sql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        return self.result

    def load(self):
        self.cluster.sql("postgres", f"CREATE DATABASE {self.before}")
        self.cluster.sql(self.before, "CREATE EXTENSION hypopg", "CREATE EXTENSION pg_stat_statements", *self.schema.statements())
        self.cluster.sql("postgres", f"CREATE DATABASE {self.after} TEMPLATE {self.before}")

    def workload(self):
        """Statements that run, each within 300 ms; run on both databases, so that both have seen the same."""
        self.statements = []
        with self.cluster.cursor(self.before) as before:
            self.schema.read_sample(before)
            before.execute("SET statement_timeout = '300ms'")
            for calls, texts in self.schema.workload():
                try:
                    for text in texts:
                        timed(before, text)
                    self.statements.append((calls, texts))
                except psycopg2.Error as error:
                    before.execute("ROLLBACK")
                    if self.args.verbose:
                        say(f"    left out: {texts[0]}: {error}")
        self.cluster.sql(self.after, "SELECT pg_stat_statements_reset()")
        for name in (self.before, self.after):
            self.run_all(name)
        self.result["statements"] = len(self.statements)

    def run_all(self, name):
        with self.cluster.cursor(name) as cursor:
            for calls, texts in self.statements:
                for call in range(calls):
                    timed(cursor, texts[call % len(texts)])

    def autopilot(self):
        started = time.monotonic()
        options = ["--clone", "template", "--verify-seconds", 20, "--max-write-cost", 1000, *self.more]
        said = self.cairn.autopilot(*options, database=self.after, once_applied=lambda: self.run_all(self.after))
        self.result["autopilot_seconds"] = time.monotonic() - started
        steps = [(step["step"], step["what"]) for step in said]
        self.result["made"] = sum(step == "apply" and what.startswith("made: ") for step, what in steps)
        self.result["taken_back"] = sum(step == "verify" and what.startswith("taken back: ") for step, what in steps)
        self.result["problems"] += [f"{step}: {what}" for step, what in steps
                                    if (step == "apply" and what.startswith("failed: ")) or (step == "prove" and what.startswith("no proof"))]
        return said

    def compare_estimates(self):
        """Counts (what the estimate said, what the clone measured)."""
        folder = self.cairn.folder / f"state-{self.after}"
        counted = collections.Counter()
        verdicts = collections.Counter()
        for path in folder.glob("proofs/*.json"):
            proof = json.loads(path.read_text())
            advice = json.loads((folder / "advice" / path.name).read_text())
            for statement in proof["statements"]:
                if "not_run" in statement:
                    continue
                guess = advice["statements"][statement["number"] - 1]
                said = "faster" if guess["cost_after"] < 0.95 * guess["cost_before"] else "same"
                counted[f"{said}, {statement['outcome']}"] += 1
            verdicts.update(change["verdict"] for change in proof["changes"])
        self.result["estimated, measured"], self.result["verdicts"] = counted, verdicts

    def take_times(self, rounds):
        all_times = [Times(calls, texts) for calls, texts in self.statements]
        started = time.monotonic()
        with contextlib.ExitStack() as stack:
            cursors = [stack.enter_context(self.cluster.cursor(name)) for name in (self.before, self.after)]
            for number in range(rounds + 1):
                if number > ROUNDS_LEAST and time.monotonic() - started > SECONDS * rounds / ROUNDS:
                    break
                for times in all_times:
                    for text, *both in times.sets:
                        for side in (0, 1) if number % 2 else (1, 0):
                            took = timed(cursors[side], text)
                            if number:  # the first one warms up
                                both[side].append(took)
        return all_times

    def measure(self):
        for name in (self.before, self.after):
            self.cluster.sql(name, "VACUUM")
        all_times = self.take_times(ROUNDS)
        slower = [is_slower([times], 1.1, 0.1) for times in all_times]
        whole = is_slower(all_times, 1.05, 0)
        if whole or any(slower):
            again = self.take_times(2 * ROUNDS)
            slower = [one and is_slower([times], 1.1, 0.1) for one, times in zip(slower, again)]
            whole = whole and is_slower(again, 1.05, 0)
        value, _, before, after = ratio(all_times)
        self.result.update({"ratio": value, "before_ms": before, "after_ms": after, "slower": whole, "slower_statements": [
            {"text": times.sets[0][0], "calls": times.calls, "ratio": ratio([times])[0], "before_ms": ratio([times])[2]}
            for times, one in zip(all_times, slower) if one]})

    def undo(self):
        self.cairn.run("tune", "undo", "--all", database=self.after, timeout=60)
        was, there = (self.cluster.sql(name, INDEXES) for name in (self.before, self.after))
        if was != there:
            self.result["problems"].append(f"undo left other indexes: {sorted(set(was) ^ set(there))}")


def line(result):
    text = f"{result['number']:>4}: {result.get('statements', 0)} statements, {result.get('made', 0)} changes made, {result.get('taken_back', 0)} taken back"
    if "ratio" in result:
        text += f" by {result['autopilot_seconds']:.0f} s of autopilot, a call {result['before_ms']:.2f} -> {result['after_ms']:.2f} ms ({result['ratio']:.2f})"
        text += f", {len(result['slower_statements'])} statements slower" if result["slower_statements"] else ""
        text += ", THE WORKLOAD IS SLOWER" if result["slower"] else ""
    return text + "".join(f"\n      PROBLEM {problem}" for problem in result["problems"])


def summary(results):
    counted = sum((result.get("estimated, measured", collections.Counter()) for result in results), collections.Counter())
    verdicts = sum((result.get("verdicts", collections.Counter()) for result in results), collections.Counter())
    measured = [result for result in results if "ratio" in result]
    faster = {outcome: counted[f"faster, {outcome}"] for outcome in ("faster", "same", "slower")}
    return {
        "schemas": len(results), "statements": sum(result.get("statements", 0) for result in results),
        "estimate said faster": sum(faster.values()), "measured faster": faster["faster"], "measured the same": faster["same"],
        "measured slower": faster["slower"], "estimate said the same, measured slower": counted["same, slower"],
        "changes kept by the proof": verdicts["kept"], "changes rejected by the proof": verdicts["rejected"],
        "changes taken back by verify": sum(result.get("taken_back", 0) for result in results), "schemas with a change made": len(measured), "statements slower by what was kept": sum(len(r["slower_statements"]) for r in measured),
        "workloads faster (under 0.95)": sum(r["ratio"] < 0.95 for r in measured), "workloads slower": sum(r["slower"] for r in measured),
        "median of time after / before": statistics.median(r["ratio"] for r in measured) if measured else None,
        "crashes and failures": sum(len(result["problems"]) for result in results),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--schemas", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="only the schema of this number")
    parser.add_argument("--verbose", action="store_true", help="what autopilot said, on standard error")
    args = parser.parse_args()
    random.seed(args.seed)
    results = []
    with throw_away(fsync=False) as (cluster, cairn, _):
        for number in [args.only] if args.only else range(1, args.schemas + 1):
            results.append(Case(args, cluster, cairn, number).run())
            say(line(results[-1]))
    figures = summary(results)
    if args.json:
        print(json.dumps({"seed": args.seed, "summary": figures, "schemas": results}))
    else:
        for name, value in figures.items():
            print(f"{name:42} {f'{value:.3g}' if isinstance(value, float) else value}")
    sys.exit(1 if figures["workloads slower"] or figures["crashes and failures"] else 0)


if __name__ == "__main__":
    main()
