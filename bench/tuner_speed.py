#!/usr/bin/env python3
"""How long `cairn tune profile` and `cairn tune advise` take for many statements on a schema of many tables.

    ./dev bench tuner_speed [--json] [--statements 500] [--tables 60] [--scale 1] [--seed 1]

Tables with foreign keys and primary keys alone, and statements that differ by libpg_query's fingerprint (joins, filters, ranges, ORDER BY
LIMIT, aggregates, one in ten a write), each run three times, so that pg_stat_statements holds them with placeholders. The search has no limit of
time or calls, so that no work is left undone. Exits with 1 where both commands together take 30 s or more.
"""
import argparse
import json
import random
import sys
import time

from tuner_cluster import say, throw_away

BAR_S = 30
RUNS = 3
ROWS = [200, 1000, 3000, 8000, 20000, 40000, 80000]
# name: type, value of row i, and how a constant of it is written
COLUMNS = {
    "status": ("text", "(ARRAY['open','done','done','done','done','failed'])[(1 + i % 6)::int]", lambda r, n: r.choice(["'open'", "'done'", "'failed'"])),
    "owner": ("text", "'owner-' || (i * 7919 % 500)", lambda r, n: f"'owner-{r.randrange(500)}'"),
    "name": ("text", "'name-' || i", lambda r, n: f"'name-{r.randrange(n)}'"),
    "amount": ("numeric", "(i * 7907 % 100000) / 100.0", lambda r, n: f"{r.randrange(100000) / 100}"),
    "score": ("float8", "(i * 104729 % 9973) / 9973.0", lambda r, n: f"{r.random():.4f}"),
    "level": ("int", "i * 31 % 40", lambda r, n: str(r.randrange(40))),
    "created_at": ("timestamptz", "timestamptz '2026-01-01' + i * interval '5 minutes'",
                   lambda r, n: f"'2026-01-01'::timestamptz + {r.randrange(n)} * interval '5 minutes'"),
    "is_active": ("boolean", "i % 20 > 0", lambda r, n: r.choice(["true", "false"])),
}
RANGED = ["amount", "score", "level", "created_at"]


class Schema:
    def __init__(self, tables, scale, rng):
        self.rng, self.tables = rng, {}
        for number in range(tables):
            rows = max(50, int(scale * ROWS[number % len(ROWS)]))
            parents = rng.sample(list(self.tables), min(len(self.tables), rng.randrange(1, 4)))
            columns = rng.sample(list(COLUMNS), rng.randrange(5, len(COLUMNS) + 1))
            self.tables[f"t{number:02}"] = {"rows": rows, "parents": parents, "columns": columns}

    def statements(self):
        yield "SET session_replication_role = replica"  # the keys' rows are there: need not be looked up
        for name, table in self.tables.items():
            columns = "".join(f", {c} {COLUMNS[c][0]}" for c in table["columns"])
            keys = "".join(f", {p}_id int NOT NULL REFERENCES {p}" for p in table["parents"])
            yield f"CREATE TABLE {name} (id int PRIMARY KEY{keys}{columns})"
            values = "".join(f", 1 + (i * {7919 + 2 * k}) % {self.tables[p]['rows']}" for k, p in enumerate(table["parents"]))
            values += "".join(f", {COLUMNS[c][1]}" for c in table["columns"])
            yield f"INSERT INTO {name} SELECT i{values} FROM generate_series(1::bigint, {table['rows']}) i"
        yield "VACUUM (ANALYZE)"

    # -- statements --------------------------------------------------------------------------------------------------------------
    def condition(self, alias, name):
        """(the condition's shape, the condition)"""
        table, rng = self.tables[name], self.rng
        column = rng.choice(table["columns"])
        constant = lambda: COLUMNS[column][2](rng, table["rows"])
        operator = rng.choice([">", "<", "between"]) if column in RANGED and rng.random() < 0.7 else rng.choice(["=", "=", "in"])
        if column == "is_active":
            operator = "="
        text = {"between": lambda: f"BETWEEN {constant()} AND {constant()}", "in": lambda: f"IN ({constant()}, {constant()})"}.get(
            operator, lambda: f"{operator} {constant()}")()
        return f"{alias}.{column} {operator}", f"{alias}.{column} {text}"

    def joined(self):
        """A walk up the foreign keys: [(alias, table)], joins."""
        name = self.rng.choice(list(self.tables))
        used, joins = [("a", name)], ""
        for alias in "bcd"[:self.rng.choice([0, 0, 1, 1, 2, 3])]:
            below, child = self.rng.choice(used)
            if not self.tables[child]["parents"]:
                break
            parent = self.rng.choice(self.tables[child]["parents"])
            joins += f" JOIN {parent} {alias} ON {alias}.id = {below}.{parent}_id"
            used.append((alias, parent))
        return used, joins

    def write(self):
        name = self.rng.choice(list(self.tables))
        table = self.tables[name]
        column = self.rng.choice(table["columns"])
        value = COLUMNS[column][2](self.rng, table["rows"])
        return f"update {name} {column}", f"UPDATE {name} SET {column} = {value} WHERE id = {self.rng.randrange(table['rows'])}"

    def select(self):
        rng = self.rng
        used, joins = self.joined()
        conditions = [self.condition(*rng.choice(used)) for _ in range(rng.randrange(1, 4))]
        where = " AND ".join(text for _, text in conditions)
        alias, name = used[0]
        column = rng.choice(self.tables[name]["columns"])
        kind = rng.choice(["rows", "top", "top", "groups", "count"])
        head, tail = {
            "rows": (f"SELECT {alias}.id, {alias}.{column}", " LIMIT 500"),
            "top": (f"SELECT {alias}.*", f" ORDER BY {alias}.{column} {rng.choice(['', 'DESC'])} LIMIT 20"),
            "groups": (f"SELECT {alias}.{column}, count(*), max({used[-1][0]}.id)", f" GROUP BY {alias}.{column} ORDER BY 2 DESC LIMIT 50"),
            "count": ("SELECT count(*)", ""),
        }[kind]
        shape = " ".join([head, joins, *sorted({shape for shape, _ in conditions}), tail])
        return shape, f"{head} FROM {name} {alias}{joins} WHERE {where}{tail}"

    def workload(self, count):
        """Some few of them may differ in an order that a fingerprint does not see."""
        known = {}
        while len(known) < count:
            shape, statement = self.write() if self.rng.random() < 0.1 else self.select()
            known.setdefault(shape, statement)
        return list(known.values())


def run_workload(cluster, statements):
    with cluster.cursor("speed") as cursor:
        cursor.execute("SET statement_timeout = '5s'; SET jit = off")
        cursor.execute("SELECT pg_stat_statements_reset()")
        for statement in statements * RUNS:
            cursor.execute(statement)
            if cursor.description:
                cursor.fetchall()


def measure(args):
    rng = random.Random(args.seed)
    schema = Schema(args.tables, args.scale, rng)
    with throw_away(fsync=False) as (cluster, cairn, _):
        say(f"loading {args.tables} tables of {sum(table['rows'] for table in schema.tables.values())} rows")
        cluster.sql("postgres", "CREATE DATABASE speed")
        cluster.sql("speed", "CREATE EXTENSION hypopg", "CREATE EXTENSION pg_stat_statements", *schema.statements())
        say(f"running {args.statements} statements {RUNS} times")
        run_workload(cluster, schema.workload(int(1.05 * args.statements)))
        say("cairn tune profile, cairn tune advise")
        started = time.monotonic()
        profile = cairn.call("tune", "profile", "--top", 2 * args.statements, database="speed")
        profiled = time.monotonic()
        advice = cairn.call("tune", "advise", "--top", args.statements, "--seconds", 3600, "--planner-calls", 10000000, database="speed")
        done = time.monotonic()
    return {"statements": args.statements, "profiled": len(profile["statements"]), "planned": len(advice["statements"]),
            "profile_seconds": profiled - started, "advise_seconds": done - profiled, "seconds": done - started,
            "planner_calls": advice["planner_calls"], "complete": advice["complete"], "indexes": len(advice["changes"]),
            "estimated_share": advice["ms_after"] / advice["ms_before"], "notes": advice["notes"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--statements", type=int, default=500)
    parser.add_argument("--tables", type=int, default=60)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    result = measure(args)
    if args.json:
        print(json.dumps(result))
    else:
        for note in result.pop("notes"):
            print(f"note: {note}")
        for name, value in result.items():
            print(f"{name:20} {f'{value:.3g}' if isinstance(value, float) else value}")
    failures = []
    if result["seconds"] >= BAR_S:
        failures.append(f"profile and advise took {result['seconds']:.1f} s, not under {BAR_S}")
    if not result["complete"]:
        failures.append("the search was not finished")
    if result["planned"] < args.statements:
        failures.append(f"only {result['planned']} of {args.statements} statements were advised")
    for failure in failures:
        say(f"NOT MET: {failure}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
