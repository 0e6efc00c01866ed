#!/usr/bin/env python3
"""What a scrape of /metrics costs, in CPU of the server and of its PostgreSQL, at many tables and statements.

    bench/scrape.py [--tables 500] [--statements 5000] [--scrapes 40]

The first scrape is given apart, and the dearest of those a minute later: they ask for what the others keep. CPU is that of the server's process and of its
session in PostgreSQL, from /proc.
"""
import argparse
import json
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "test" / "scenario"))
import psycopg2  # noqa: E402
import requests  # noqa: E402
from servers import start_cairn  # noqa: E402


KEPT_SECONDS = 61
KEPT_KINDS = 4  # that are asked for once a minute, each in a scrape of its own


def schedule_ms(process):
    """CPU of all its threads, to the nanosecond."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{process}/task").iterdir()) / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=int, default=500)
    parser.add_argument("--statements", type=int, default=5000)
    parser.add_argument("--scrapes", type=int, default=40)
    wanted = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-scrape-"))
    folder.chmod(0o755)
    server = start_cairn(folder)
    try:
        connection = psycopg2.connect(host=str(folder / "data" / "run"), user="postgres", dbname="cairn")
        connection.autocommit = True
        sql = connection.cursor()
        sql.execute("CREATE SCHEMA many")
        for n in range(wanted.tables):
            sql.execute(f"CREATE TABLE many.t{n} (id int PRIMARY KEY, a int, b text, c timestamptz); CREATE INDEX ON many.t{n} (a);"
                        f" INSERT INTO many.t{n} SELECT g, g, 'x' || g, now() FROM generate_series(1, 100) g")
        sql.execute("ANALYZE")
        sql.execute("SELECT pg_stat_statements_reset()")  # making the tables were statements too
        for n in range(wanted.statements):
            columns = " OR ".join(f"a = {i}" for i in range(n // wanted.tables + 1))
            sql.execute(f"SELECT a, b FROM many.t{n % wanted.tables} WHERE {columns}")
        sql.execute("SELECT count(*) FROM pg_stat_statements")
        statements = sql.fetchone()[0]
        sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cairn monitor'")
        session = None

        def scrape():
            nonlocal session
            before = schedule_ms(server.process.pid), schedule_ms(session) if session else 0
            text = requests.get(server.url + "/metrics", timeout=60).text
            if session is None:
                sql.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'cairn monitor'")
                session = sql.fetchone()[0]
            return schedule_ms(server.process.pid) - before[0], schedule_ms(session) - before[1], text

        costs = [scrape() for _ in range(wanted.scrapes + 1)]
        time.sleep(KEPT_SECONDS)
        late, text = max((scrape()[:2] for _ in range(KEPT_KINDS + 1)), key=sum), costs[0][2]
        costs = [cost[:2] for cost in costs]
        first, rest = costs[0], sorted(costs[1:], key=sum)
        middle = rest[len(rest) // 2]
        print(json.dumps({"tables": wanted.tables, "statements": statements, "bytes": len(text), "series": sum(line[0] != "#" for line in text.splitlines()),
                          "first_ms": {"server": round(first[0], 1), "postgres": round(first[1], 1)},
                          "median_ms": {"server": round(middle[0], 1), "postgres": round(middle[1], 1), "both": round(sum(middle), 1)},
                          "worst_ms": round(sum(rest[-1]), 1), "after_a_minute_ms": round(sum(late), 1)}))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
