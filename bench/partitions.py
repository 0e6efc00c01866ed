#!/usr/bin/env python3
"""How long a writer waits while `cairn partitions convert` divides a table of a million rows, and whether anything is lost.

    bench/partitions.py                     # a million rows, 200 writes a second; needs $CAIRN_BIN or build/release/bin/cairn
    bench/partitions.py --rows 20000        # a look

The table has two unique keys that do not hold the partition key, a foreign key out, one in with ON DELETE CASCADE, four indexes, a view and
a trigger (test/partitioned.py). Writes are inserts, updates, updates that move a row to another month, and deletes, each its own transaction,
from four connections; fsync is on. They are timed before, during and after the conversion, while the
old table is kept and follows, and while the conversion is taken back.
"""
import argparse
import contextlib
import os
import pathlib
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "test")]
from tuner_cluster import Cluster, say  # noqa: E402

os.environ.setdefault("CAIRN_BIN", str(ROOT / "build/release/bin/cairn"))
from partitioned import SCHEMA, Partitioned, Writer, contents  # noqa: E402

CONNECTIONS = 4


class TimedWriter(Writer):
    """Remembers when each write began and how long it took."""

    def __init__(self, database, rate):
        super().__init__(database, rate)
        self.times = []

    def step(self, cursor, dice):
        begun = time.monotonic()
        try:
            return super().step(cursor, dice)
        finally:
            self.times.append((begun, time.monotonic() - begun))


def figures(writers, begun, ended):
    times = sorted(seconds for writer in writers for at, seconds in list(writer.times) if begun <= at < ended)
    at = lambda share: 1000 * times[min(len(times) - 1, int(share * len(times)))]  # noqa: E731
    return f"{len(times):7} writes  {len(times) / (ended - begun):6.1f}/s  median {at(0.5):7.2f} ms  p99 {at(0.99):8.2f} ms  slowest {at(1):8.2f} ms"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--writes", type=int, default=200, help="a second")
    parser.add_argument("--before", type=float, default=20, help="seconds of writes without a conversion")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cairn-bench-")))
        folder.chmod(0o755)
        place = folder / "cluster"
        place.mkdir()
        Cluster(place, stack)
        database = Partitioned(f"host={place} port=5432 user=postgres dbname=postgres")
        database.patience = 7200
        say(f"making {options.rows} rows")
        database.sql(SCHEMA % {"rows": options.rows})
        database.sql("CHECKPOINT")
        before_rows = contents(database) if options.rows <= 100_000 else None
        sums = "SELECT count(*), bit_xor(hashtextextended(o::text, 0)) FROM (SELECT id, code, amount, created_at FROM orders WHERE code LIKE 'c%') o"
        before_sums = database.sql(sums)
        writers = [stack.enter_context(TimedWriter(database, options.writes / CONNECTIONS)) for _ in range(CONNECTIONS)]
        pause = threading.Event()
        begun = time.monotonic()
        pause.wait(options.before)

        def phase(name, *command):
            at = time.monotonic()
            say(database.run(*command))
            now = time.monotonic()
            print(f"{name:11}", figures(writers, at, now), f" in {now - at:.1f} s", flush=True)
            return now

        print("before     ", figures(writers, begun, time.monotonic()), flush=True)
        convert = "convert", "public.orders", "--column", "created_at", "--keep", "0"
        kept = phase("converting", *convert)
        pause.wait(options.before)
        print("kept       ", figures(writers, kept, time.monotonic()), flush=True)
        phase("undoing", "undo", "public.orders")
        phase("converting", *convert)
        converted = phase("finishing", "finish", "public.orders")
        pause.wait(options.before)
        print("after      ", figures(writers, converted, time.monotonic()), flush=True)
        for writer in writers:
            writer.done.set()
        for writer in writers:
            writer.join(30)
            writer.check()
        assert database.sql(sums) == before_sums and (before_rows is None or contents(database) == before_rows)
        written = sum(writer.count for writer in writers)
        print(f"lost: 0 of {written} acknowledged writes; {before_sums[0][0]} other rows are as they were; "
              f"{len(database.sql('SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::regclass', ('orders',)))} partitions")


if __name__ == "__main__":
    main()
