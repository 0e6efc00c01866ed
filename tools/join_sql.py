#!/usr/bin/env python3
"""Makes the extension's SQL: join_sql.py extension OUT joins extension/sql/*.sql, in the order of extension/sql/order.txt, to
OUT/vector--VERSION.sql (VERSION is the control file's default_version) and copies the upgrade scripts and the control file.
The scripts that order.txt calls `added` are the upgrade from each version of pgvector whose SQL is the same as ours (PGVECTOR).

A script that order.txt does not name, or that it names and is not there, is an error: nothing is left out silently.
"""
import pathlib
import re
import shutil
import sys


PGVECTOR = [f"0.8.{patch}" for patch in range(7)]


def main(source, out):
    control = source / "vector.control"
    version = re.search(r"^default_version = '(.+)'$", control.read_text(), re.M)[1]
    lines = [line.split() for line in (source / "sql" / "order.txt").read_text().splitlines() if line.strip() and line[0] != "#"]
    order, added = [line[0] for line in lines], [line[0] for line in lines if line[1:] == ["added"]]
    present = {file.name for file in (source / "sql").glob("*.sql")}
    if set(order) != present or len(order) != len(set(order)):
        sys.exit(f"{source}/sql/order.txt: named but not there: {sorted(set(order) - present)}; "
                 f"there but not named: {sorted(present - set(order))}; named twice: {sorted({n for n in order if order.count(n) > 1})}")
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("vector--*.sql"):
        stale.unlink()

    def join(names, use):
        return f'\\echo Use "{use}" to load this file. \\quit\n' + "".join(f"\n{(source / 'sql' / name).read_text()}" for name in names)

    (out / f"vector--{version}.sql").write_text(join(order, "CREATE EXTENSION vector"))
    for old in PGVECTOR:
        (out / f"vector--{old}--{version}.sql").write_text(join(added, "ALTER EXTENSION vector UPDATE"))
    for file in sorted((source / "sql" / "upgrade").glob("vector--*.sql")):
        shutil.copyfile(file, out / file.name)
    shutil.copyfile(control, out / control.name)


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
