#!/usr/bin/env python3
"""Cairn's `vector` beside stock pgvector: the same sets, queries and PostgreSQL settings, in turn, several rounds; medians.

    ./dev bench vectors [--json] [--quick] [--rounds 3] [--sets a128,b768] [--only CASE,...] [--cache DIR] [--sides stock,cairn]

Each side is at the best of m 16, 32 x ef_construction 64, 200, each swept over ef_search; --quick measures (16, 64) only, in one
round. Every query goes through a prepared statement with a binary vector, from one client, on a warm cache.
"""
import argparse
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from vector_sets import SETS, Set
from vector_sides import ROOT, Queries, Report, Side, at, cairn_tools, median, say, stock_tools

CASES = ["fixed", "exact", "hnsw", "filter", "compact", "insert", "ivfflat", "limits"]  # in an order that builds few indexes
EF_SEARCH = [10, 20, 40, 80, 120, 160, 240, 320, 480, 800]
PROBES = [1, 2, 4, 8, 16, 32, 64, 128]
SETTINGS = [(16, 64), (32, 64), (16, 200), (32, 200)]
TARGETS = [0.95, 0.99]
INDEX_ONLY = "enable_sort = off"  # leaves the planner the index that orders
HALF_ABOVE = 1000  # dimensions from which the peer's index is one over halfvec (its own limit is 2,000 on vector)


class Bench:
    def __init__(self, args, report, folder, sides):
        self.args, self.report, self.folder = args, report, folder
        self.stock, self.cairn = sides.get("stock"), sides.get("cairn")
        self.sides = [side for side in (self.cairn, self.stock) if side]
        self.settings = SETTINGS[:1] if args.quick else SETTINGS
        self.rounds = 1 if args.quick else args.rounds
        self.best = {}  # set -> target -> queries/s of Cairn, for the limits

    def queries(self, data, count=None, allowed=None):
        # Fewer than 1,000 would leave what they touch in the processor's cache.
        return Queries(data, count or 1000, self.folder, allowed)

    def add(self, case, figures, unit, larger_is_better=True, peer_name=None):
        """figures: side -> list of what was measured."""
        cairn, peer = (median(figures[side]) if side in figures else None for side in (self.cairn, self.stock))
        self.report.add(case, cairn, peer, unit, peer_name or (self.stock.version if self.stock else ""), larger_is_better)

    def statement(self, data, kind="vector", where=""):
        v, q = ("v", "$1") if kind == "vector" else (f"v::{kind}({data.spec.dims})", f"$1::{kind}({data.spec.dims})")
        return f"SELECT id FROM {data.name} {where} ORDER BY {v} {data.operator} {q} LIMIT 10"

    def hnsw(self, data, kind, options):
        v = "v" if kind == "vector" else f"(v::{kind}({data.spec.dims}))"
        return f"CREATE INDEX {data.name}_ann ON {data.name} USING hnsw ({v} {data.opclass(kind)}) WITH ({options})"

    def build(self, side, data, kind, options):
        return side.build(f"{data.name}_ann", self.hnsw(data, kind, options))

    # -- cases ---------------------------------------------------------------------------------------------------------------
    def measure_exact(self, data):
        queries = self.queries(data, 30 if self.args.quick else 100)
        figures = {side: [] for side in self.sides}
        for _ in range(self.rounds):
            for side in self.sides:
                figures[side].append(queries.run(side, self.statement(data), ["enable_indexscan = off"], "exact"))
        self.add(f"exact {data.name}", {s: [p.qps for p in f] for s, f in figures.items()}, "queries/s")
        self.add(f"exact {data.name} CPU", {s: [p.cpu for p in f] for s, f in figures.items()}, "us", False)

    def measure_hnsw(self, data):
        """Each side at its best setting, target by target."""
        kinds = {self.cairn: "vector", self.stock: "halfvec" if data.spec.dims > HALF_ABOVE else "vector"}
        queries, sweeps, built = self.queries(data), {}, {}  # both by (side, setting)
        for setting in self.settings:
            for side in self.sides:
                built[side, setting] = self.build(side, data, kinds[side], f"m = {setting[0]}, ef_construction = {setting[1]}")
            for _ in range(self.rounds):
                for side in self.sides:
                    points = queries.sweep(side, self.statement(data, kinds[side]), "hnsw.ef_search", EF_SEARCH)
                    sweeps.setdefault((side, setting), []).append(points)
        for target in TARGETS:
            of = {side: {setting: [at(points, target, "qps") for points in sweeps[side, setting]] for setting in self.settings} for side in self.sides}
            best = {side: max(self.settings, key=lambda setting: median(of[side][setting]) or 0) for side in self.sides}
            for figure, unit in (("qps", "queries/s"), ("cpu", "us"), ("p50", "us"), ("p99", "us")):
                figures = {side: [at(points, target, figure) for points in sweeps[side, best[side]]] for side in self.sides}
                label = f"hnsw {data.name} recall {target}" + {"qps": "", "cpu": " CPU"}.get(figure, " " + figure.upper())
                self.add(self.with_setting(label, best), figures, unit, figure == "qps", self.peer_with(kinds, best))
            self.best.setdefault(data.name, {})[target] = median(of[self.cairn][best[self.cairn]]) if self.cairn else None
        # Of the settings that reach the higher recall, the one that is built fastest.
        fastest = {}
        for side in self.sides:
            reached = [setting for setting in self.settings if any(at(points, TARGETS[-1], "qps") for points in sweeps[side, setting])]
            fastest[side] = min(reached or self.settings, key=lambda setting: built[side, setting][0])
        for compared in [fastest] + [dict.fromkeys(self.sides, setting) for setting in self.settings]:
            for i, (what, unit) in enumerate((("build", "s"), ("size", "bytes"))):
                figures = {side: [built[side, compared[side]][i]] for side in self.sides}
                label = f"hnsw {data.name} {what}" + (" (of those that reach 0.99, the fastest)" if compared is fastest else "")
                self.add(self.with_setting(label, compared), figures, unit, False, self.peer_with(kinds, compared))

    def with_setting(self, label, settings):
        return f"{label} {settings[self.cairn]}" if self.cairn else label

    def peer_with(self, kinds, settings):
        return f"{self.stock.version} {kinds[self.stock]} {settings[self.stock]}" if self.stock else ""

    def measure_filter(self, data):
        """Both as they come, the plan that each planner did not choose, and the peer's iterative scans, swept."""
        for side in self.sides:
            self.build(side, data, "vector", self.args.cairn_with if side == self.cairn else "m = 16, ef_construction = 64")
            side.sql(f"CREATE INDEX IF NOT EXISTS {data.name}_f ON {data.name} (f)")
            side.sql(f"ANALYZE {data.name}")
        for percent in (1, 10):
            self.measure_filter_of(data, percent)
        for side in self.sides:
            side.sql(f"DROP INDEX {data.name}_f")

    def measure_filter_of(self, data, percent):
        name, statement = f"filter {percent} % {data.name}", self.statement(data, where=f"WHERE f < {percent}")
        queries = self.queries(data, 50 if self.args.quick else 200, allowed=[row % 100 < percent for row in range(len(data.base))])
        plans = {side: side.plan(statement, queries.literal) for side in self.sides}
        others = {side: ["enable_indexscan = off" if plan == "index" else INDEX_ONLY] for side, plan in plans.items()}
        default, forced = ({side: [] for side in self.sides} for _ in range(2))
        orders = {"relaxed_order": [], "strict_order": []}
        for _ in range(self.rounds):
            for side in self.sides:
                default[side].append(queries.run(side, statement, value=f"default ({plans[side]})"))
                forced[side].append(queries.run(side, statement, others[side], "the other plan"))
            for order, sweeps in orders.items() if self.stock else ():
                sweeps.append(queries.sweep(self.stock, statement, "hnsw.ef_search", [40, 100, 200, 400, 800],
                                            [f"hnsw.iterative_scan = {order}", INDEX_ONLY], enough=0.95))
        for figure, unit in (("qps", "queries/s"), ("recall", ""), ("rows", "rows")):
            what = ", ".join(f"{side.name} {plan}" for side, plan in plans.items())
            self.add(f"{name} defaults ({what}){'' if figure == 'qps' else ' ' + figure}", {s: [getattr(p, figure) for p in f] for s, f in default.items()}, unit)
            self.add(f"{name} the other plan{'' if figure == 'qps' else ' ' + figure}", {s: [getattr(p, figure) for p in f] for s, f in forced.items()}, unit)
        # The peer's best order; where no ef_search reaches the recall, the point that comes nearest.
        reached = {order: median([at(sweep, 0.95, "qps") for sweep in sweeps]) for order, sweeps in orders.items()}
        order = max(reached, key=lambda order: reached[order] or 0)
        nearest = max((point for sweeps in orders.values() for sweep in sweeps for point in sweep), key=lambda point: point.recall, default=None)
        note = "" if reached[order] else f", recall {nearest.recall:.2f} only" if nearest else ""
        self.report.add(f"{name} defaults beside iterative scans at recall 0.95", median([p.qps for p in default.get(self.cairn, [])]),
                        reached[order] or (nearest and nearest.qps), "queries/s", f"{self.stock.version} {order}{note}" if self.stock else "")

    def measure_insert(self, data):
        """Single rows, each in its own transaction, into a table with and without the index: the index's share is the difference."""
        counts, rows = {"off": 150, "on": 80} if self.args.quick else {"off": 500, "on": 200}, len(data.base)
        statement = f"INSERT INTO {data.name} (id, v, f) VALUES ($1, $2, 0)"
        cpu, rate, wal = ({side: {} for side in self.sides} for _ in range(3))
        for side in self.sides:
            for index in (True, False):
                if index:
                    self.build(side, data, "vector", self.args.cairn_with if side == self.cairn else "m = 16, ef_construction = 64")
                else:
                    side.drop(f"{data.name}_ann")
                # With full-page images off, a row's WAL does not depend on when the last checkpoint was.
                side.sql("ALTER SYSTEM SET full_page_writes = off")
                side.sql("SELECT pg_reload_conf()")
                side.sql("CHECKPOINT")
                first = 0
                for commit, count in counts.items():
                    before = side.sql("SELECT pg_current_wal_insert_lsn()")[0][0]
                    answer = side.load("insert", statement, data.folder / "queries.f32", first, rows + first, count, settings=[f"synchronous_commit = {commit}"])
                    written = side.sql(f"SELECT pg_current_wal_insert_lsn() - '{before}'")[0][0]
                    rate[side][index, commit] = 1e6 * count / sum(answer["us"])
                    cpu[side][index, commit] = answer["cpu_us"] / count / 1000
                    wal[side][index, commit] = float(written) / count
                    first += count
                    say(f"  {side.name:5} insert, index {index}, synchronous_commit {commit}: {rate[side][index, commit]:,.0f} rows/s, "
                        f"CPU {cpu[side][index, commit]:.2f} ms, WAL {wal[side][index, commit]:,.0f} bytes a row")
                side.sql("ALTER SYSTEM RESET full_page_writes")
                side.sql("SELECT pg_reload_conf()")
                side.sql(f"DELETE FROM {data.name} WHERE id >= {rows}")
                side.sql(f"VACUUM {data.name}")
        for commit in counts:
            self.add(f"insert {data.name}, synchronous_commit {commit}", {s: [rate[s][True, commit]] for s in self.sides}, "rows/s")
        self.add(f"insert {data.name}, CPU of the index", {s: [cpu[s][True, "off"] - cpu[s][False, "off"]] for s in self.sides}, "ms", False)
        self.add(f"insert {data.name}, WAL of the index", {s: [wal[s][True, "off"] - wal[s][False, "off"]] for s in self.sides}, "bytes/row", False)
        self.add(f"insert {data.name}, WAL in all", {s: [wal[s][True, "off"]] for s in self.sides}, "bytes/row", False)

    def measure_compact(self, data):
        """Cairn's small index beside the peer's on vector, which hnsw measured, and on halfvec."""
        queries = self.queries(data)
        for peer_kind in ("vector", "halfvec"):
            built, points = {}, {}
            for side in self.sides:
                kind, options = (self.args.compact_kind, self.args.compact_with) if side == self.cairn else (peer_kind, "m = 16, ef_construction = 64")
                built[side] = self.build(side, data, kind, options)
                points[side] = [queries.sweep(side, self.statement(data, kind), "hnsw.ef_search", EF_SEARCH) for _ in range(self.rounds)]
            peer_name = f"{self.stock.version} {peer_kind}" if self.stock else ""
            label = f"compact ({self.args.compact_kind}, {self.args.compact_with}) {data.name}"
            self.add(f"{label} size", {s: [b[1]] for s, b in built.items()}, "bytes", False, peer_name)
            for target in TARGETS:
                self.add(f"{label} recall {target}", {s: [at(sweep, target, "qps") for sweep in p] for s, p in points.items()}, "queries/s", True, peer_name)

    def measure_ivfflat(self, data):
        kind = "halfvec" if data.spec.dims > 2000 else "vector"
        queries, lists = self.queries(data), round(len(data.base) ** 0.5)
        v = "v" if kind == "vector" else f"(v::{kind}({data.spec.dims}))"
        built, points = {}, {side: [] for side in self.sides}
        for side in self.sides:
            built[side] = side.build(f"{data.name}_ann", f"CREATE INDEX {data.name}_ann ON {data.name} USING ivfflat ({v} {data.opclass(kind)}) WITH (lists = {lists})")
        for _ in range(self.rounds):
            for side in self.sides:
                points[side].append(queries.sweep(side, self.statement(data, kind), "ivfflat.probes", PROBES, [INDEX_ONLY]))
        for target in TARGETS:
            for figure, unit in (("qps", "queries/s"), ("cpu", "us")):
                label = f"ivfflat {data.name} recall {target}" + (" CPU" if figure == "cpu" else "")
                self.add(label, {s: [at(sweep, target, figure) for sweep in p] for s, p in points.items()}, unit, figure == "qps")
        self.add(f"ivfflat {data.name} build", {s: [b[0]] for s, b in built.items()}, "s", False)
        self.add(f"ivfflat {data.name} size", {s: [b[1]] for s, b in built.items()}, "bytes", False)

    def measure_fixed(self, data):
        count = 2000 if self.args.quick else 10000
        queries = self.queries(data)
        for side in self.sides:
            side.sql("CREATE TABLE fixed (id bigint PRIMARY KEY)")
            side.sql("INSERT INTO fixed SELECT generate_series(0, 99999)")
            side.sql("VACUUM (FREEZE, ANALYZE) fixed")
            for rows in (1, 10):
                side.sql(f"CREATE TABLE fixed{rows} AS SELECT id, v FROM {data.name} WHERE id < {rows}")
                side.sql(f"CREATE INDEX ON fixed{rows} USING hnsw (v {data.opclass()})")
                side.sql(f"VACUUM (FREEZE, ANALYZE) fixed{rows}")
        calls = {"SELECT 1": lambda side: side.load("fixed", "SELECT 1", count),
                 "a primary key": lambda side: side.load("fixed", "SELECT id FROM fixed WHERE id = $1", count)}
        for rows in (1, 10):
            nearest = f"SELECT id FROM fixed{rows} ORDER BY v {data.operator} $1 LIMIT 10"
            calls[f"hnsw of {rows} rows, {data.name}"] = lambda side, s=nearest: side.load("search", s, queries.path, 5, settings=["enable_seqscan = off"])
        for name, call in calls.items():
            wall, cpu = {side: [] for side in self.sides}, {side: [] for side in self.sides}
            for _ in range(self.rounds):
                for side in self.sides:
                    answer = call(side)
                    wall[side].append(median(answer["us"]))
                    cpu[side].append(answer["cpu_us"] / len(answer["us"]))
            self.add(f"fixed: {name}", wall, "us", False)
            self.add(f"fixed: {name}, CPU", cpu, "us", False)

    def measure_limits(self, data):
        """hnswlib and faiss in memory, by Debian's Python: no side of ours, but what the hardware gives."""
        command = ["/usr/bin/python3", ROOT / "bench/vector_limits.py", data.folder, data.spec.metric, "300" if self.args.quick else "1000"]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if answer.returncode:
            say("  hnswlib and faiss are not installed (python3-hnswlib, python3-faiss): no limits")
        for line in answer.stdout.splitlines():
            limit = json.loads(line)
            points = [type("Point", (), point)() for point in limit["points"]]
            for target in TARGETS:
                self.report.add(f"limit {data.name} recall {target}", self.best.get(data.name, {}).get(target), at(points, target, "qps"), "queries/s", limit["name"])


def sets_of(case, chosen):
    """Which sets a case is measured on: the large ones only where the bars ask for it."""
    wanted = {"hnsw": list(SETS), "fixed": ["b768"], "exact": ["a128", "b768"], "filter": ["b768", "fm784"], "insert": ["a128", "b768"],
              "compact": ["b768"], "ivfflat": ["a128", "b768", "fm784"], "limits": ["a128", "b768", "fm784"]}[case]
    return [name for name in chosen if name in wanted]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--quick", action="store_true", help="one setting, one round: under ten minutes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sets", default=",".join(SETS), help="sets, separated by commas: " + ", ".join(SETS))
    parser.add_argument("--only", default=",".join(CASES), help="cases, separated by commas: " + ", ".join(CASES))
    parser.add_argument("--sides", default="stock,cairn")
    parser.add_argument("--cache", type=pathlib.Path, default=ROOT / "build/vectors", help="where the sets are kept (1.1 GB)")
    parser.add_argument("--cairn-with", default="m = 16, ef_construction = 64", help="storage parameters of Cairn's HNSW where it is not swept")
    parser.add_argument("--storage", choices=("plain", "external"), help="of the column, on both sides (default: the type's own, external)")
    parser.add_argument("--compact-with", default="m = 10, ef_construction = 64", help="those of its compact form")
    parser.add_argument("--compact-kind", default="halfvec", help="the type that its compact form indexes")
    args = parser.parse_args()
    for given, known in ((args.sets, SETS), (args.only, CASES), (args.sides, ("stock", "cairn"))):
        if unknown := set(given.split(",")) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return args


def main():
    args = arguments()
    with contextlib.ExitStack() as stack:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cairn-bench-")))
        folder.chmod(0o755)
        sides, loader = {}, pathlib.Path(os.environ["CAIRN_BIN_DIR"]) / "bench_vectors_load"
        for name, tools in (("stock", stock_tools), ("cairn", cairn_tools)):
            if name in args.sides.split(","):
                (folder / name).mkdir()
                sides[name] = Side(name, tools(folder), folder / name, loader, stack)
        say(f"{' and '.join(side.version for side in sides.values())}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
            f"{1 if args.quick else args.rounds} rounds")
        report = Report(args.json)
        bench = Bench(args, report, folder, sides)
        if not args.json:
            print(f"{'case':52} {'cairn':>14} {'peer':>14}")
        chosen, cases = args.sets.split(","), args.only.split(",")
        for name in chosen:
            wanted = [case for case in CASES if case in cases and name in sets_of(case, chosen)]
            if not wanted:
                continue
            data = Set(name, args.cache)
            for side in sides.values():
                side.fill(data, args.storage)
            for case in wanted:
                say(f"{case} {name}")
                getattr(bench, f"measure_{case}")(data)
            for side in sides.values():
                side.drop(f"{name}_ann")
                side.sql(f"DROP TABLE {name}")


main()
