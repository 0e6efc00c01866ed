"""What the tuner's benches share: a PostgreSQL that is thrown away, and `cairn` beside it."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import psycopg2

CONF = """
listen_addresses = ''
port = 5432
unix_socket_directories = '{folder}'
max_connections = 50
shared_buffers = {shared_buffers}MB
work_mem = 4MB
fsync = {fsync}
synchronous_commit = {fsync}
autovacuum = off
max_wal_size = 4GB
checkpoint_timeout = 1h
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.max = 10000
track_io_timing = on
"""


def say(text):
    print(text, file=sys.stderr, flush=True)


def as_postgres(*command):
    return ["runuser", "-u", "postgres", "--", *map(str, command)] if os.geteuid() == 0 else list(map(str, command))


class Cluster:
    def __init__(self, folder, stack, fsync=True):
        self.folder, self.data, self.fsync = folder, folder / "data", "on" if fsync else "off"
        self.tools = pathlib.Path(subprocess.run(["pg_config", "--bindir"], check=True, capture_output=True, text=True).stdout.strip())
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums")
        self.configure(128)
        self.run("pg_ctl", "-D", self.data, "-w", "-l", folder / "log", "start")
        stack.callback(self.run, "pg_ctl", "-D", self.data, "-m", "immediate", "stop")

    def run(self, program, *arguments):
        subprocess.run(as_postgres(self.tools / program, *arguments), check=True, stdout=subprocess.DEVNULL, timeout=600, cwd="/")

    def configure(self, shared_buffers):
        text = CONF.format(folder=self.folder, shared_buffers=shared_buffers, fsync=self.fsync)
        (self.data / "postgresql.auto.conf").write_text(text)

    def restart(self, shared_buffers):
        self.configure(shared_buffers)
        self.run("pg_ctl", "-D", self.data, "-w", "-l", self.folder / "log", "-m", "fast", "restart")

    def url(self, database):
        return f"postgresql://postgres@/{database}?host={self.folder}&port=5432"

    @contextlib.contextmanager
    def cursor(self, database):
        with contextlib.closing(psycopg2.connect(self.url(database))) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            yield cursor

    def sql(self, database, *statements):
        with self.cursor(database) as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None


class Failed(Exception):
    """`cairn` ended as it should not have."""


class Cairn:
    """The release build's `cairn`, each database with a state directory of its own."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder = cluster, folder
        self.program = pathlib.Path(os.environ["CAIRN_BIN_DIR"]) / "cairn"

    def command(self, *arguments, database):
        command = [self.program, *arguments, "--database-url", self.cluster.url(database), "--json"]
        if arguments[0] == "tune" and arguments[1] not in ("undo", "refresh"):
            command += ["--state-dir", self.folder / f"state-{database}"]
        return [str(part) for part in command]

    def run(self, *arguments, database, codes=(0,), timeout=None):
        """What it printed."""
        done = subprocess.run(self.command(*arguments, database=database), check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
        if codes and done.returncode not in codes:
            raise Failed(f"cairn {' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stderr[-4000:]}")
        return done.stdout

    def call(self, *arguments, **options):
        """The object that it printed, or the text where it is none."""
        printed = self.run(*arguments, **options)
        return json.loads(printed) if printed[:1] in ("{", "[") else printed

    def autopilot(self, *options, database, once_applied, timeout=600):
        """What the loop says, step by step. `once_applied` is called when it has made its changes, and verifies them."""
        said = []
        with subprocess.Popen(self.command("tune", "autopilot", *options, database=database), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as loop:
            clock = threading.Timer(timeout, loop.kill)
            clock.start()
            for line in loop.stdout:
                said.append(json.loads(line))
                if said[-1]["what"].startswith("made: ") and once_applied:
                    once_applied()
                    once_applied = None
            complaint = loop.stderr.read()
        clock.cancel()
        if loop.returncode not in (0, 1) or not said:
            raise Failed(f"cairn tune autopilot: exit code {loop.returncode}\n{complaint[-4000:]}")
        return said


@contextlib.contextmanager
def throw_away(**options):
    """(a cluster, its `cairn`, a folder), gone at the end."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what the stack holds is then stopped too
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cairn-bench-")))
        folder.chmod(0o755)
        place = folder / "cluster"
        place.mkdir()
        cluster = Cluster(place, stack, **options)
        yield cluster, Cairn(cluster, folder), folder
