"""PostgreSQL clusters that a test makes, kills and starts again, each in a folder of its own, on a unix socket only.

Their programs are those of CAIRN_POSTGRES_BIN, a private tree that has the extension (tools/pgtree).
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import psycopg2

ROOT = pathlib.Path(__file__).resolve().parents[3]

PATIENCE_SECONDS = 90
KILLS = int(os.environ.get("CAIRN_KILLS", "5"))


def eventually(condition, what="it"):
    """Waits until the condition gives something true, and returns that."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come true within {PATIENCE_SECONDS} s")


def as_postgres(*command):
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *map(str, command)] if os.geteuid() == 0 else list(map(str, command))


def new_folder():
    """A folder that the user who runs PostgreSQL owns; its path is short, for the socket in it."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-pg-", dir="/tmp"))
    folder.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    return folder


class Cluster:
    """One server. Its data survives kill(), which ends every process of it as a power cut would, but for the disk's cache."""

    # fsync off: what a killed process wrote is in the kernel's cache. The rest makes recovery start at many places.
    SETTINGS = {"listen_addresses": "", "fsync": "off", "max_connections": 50, "shared_buffers": "64MB", "autovacuum": "off",
                "max_wal_size": "32MB", "min_wal_size": "32MB", "max_parallel_maintenance_workers": 2, "log_checkpoints": "off"}

    def __init__(self, binaries=None, copy_of=None, **settings):
        self.binaries = pathlib.Path(binaries or os.environ["CAIRN_POSTGRES_BIN"])
        self.folder = new_folder()
        if copy_of:
            self.run("pg_basebackup", "-D", self.data, "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", copy_of.dsn())
        else:
            self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        with open(self.data / "postgresql.conf", "a") as conf:
            for name, value in {**self.SETTINGS, "unix_socket_directories": self.folder, **settings}.items():
                conf.write(f"{name} = '{value}'\n")
        self.start()

    @property
    def data(self):
        return self.folder / "data"

    def run(self, program, *arguments):
        done = subprocess.run(as_postgres(self.binaries / program, *arguments), cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=PATIENCE_SECONDS)
        assert done.returncode == 0, f"{program} ended with {done.returncode}: {done.stderr}\n{self.log()[-3000:]}"
        return done.stdout

    def log(self):
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def start(self):
        self.run("pg_ctl", "-D", self.data, "-w", "-t", PATIENCE_SECONDS, "-l", self.folder / "log", "start")
        self.postmaster = int((self.data / "postmaster.pid").read_text().splitlines()[0])

    def processes(self):
        """The server and its children."""
        found = [self.postmaster]
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it ended meanwhile
            if parent == self.postmaster:
                found.append(int(stat.parent.name))
        return found

    def kill(self):
        """kill -9 of every process, the server first, so that it starts no other."""
        os.kill(self.postmaster, signal.SIGSTOP)
        for process in self.processes():
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        eventually(lambda: not alive(self.postmaster), "the end of a killed server")

    def promote(self):
        self.run("pg_ctl", "-D", self.data, "-w", "-t", PATIENCE_SECONDS, "promote")

    def close(self):
        if alive(self.postmaster):
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def dsn(self, database="postgres"):
        return f"host={self.folder} user=postgres dbname={database}"

    def connect(self, database="postgres"):
        """A connection that commits each statement by itself."""
        connection = psycopg2.connect(self.dsn(database))
        connection.autocommit = True
        return connection

    def sql(self, statement, *values):
        """Runs a statement on a connection of its own; the rows, if it has any."""
        connection = self.connect()
        try:
            cursor = connection.cursor()
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def no_crash(self):
        """Fails when a process of the server ended by a signal, except by kill()."""
        crash = re.search(r".*(was terminated by signal|PANIC|TRAP: ).*", self.log())
        assert not crash, crash[0]


def alive(process):
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
