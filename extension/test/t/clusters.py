"""PostgreSQL clusters that a test makes, kills and starts again, each in a folder of its own, on a unix socket only.

Their programs are those of CAIRN_POSTGRES_BIN, a private tree that has the extension (tools/pgtree).
"""
import ctypes
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


LIBC = ctypes.CDLL(None)
# PostgreSQL refuses to run as root.
AS_POSTGRES = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def new_folder():
    """A folder that the user who runs PostgreSQL owns; its path is short, for the socket in it."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-pg-", dir="/tmp"))
    folder.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    return folder


def die_with_parent():
    """In a new process: an immediate shutdown when the test's process is gone (PR_SET_PDEATHSIG)."""
    LIBC.prctl(1, signal.SIGQUIT)


def state_and_parent(pid):
    """A process's state letter and its parent; None when it is gone."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1])


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
        done = subprocess.run([self.binaries / program, *map(str, arguments)], cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=PATIENCE_SECONDS, **AS_POSTGRES)
        assert done.returncode == 0, f"{program} ended with {done.returncode}: {done.stderr}\n{self.log()[-3000:]}"
        return done.stdout

    def log(self):
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def start(self):
        """Returns when it answers. Not by pg_ctl: a server that is our own child is gone for good once it was killed, and ends
        with the test that is killed itself."""
        with open(self.folder / "log", "ab") as log:
            self.server = subprocess.Popen([self.binaries / "postgres", "-D", self.data], cwd="/", stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=log, start_new_session=True, preexec_fn=die_with_parent, **AS_POSTGRES)

        def answers():
            assert self.server.poll() is None, f"the server did not start:\n{self.log()[-3000:]}"
            return subprocess.run([self.binaries / "pg_isready", "-q", "-h", self.folder, "-U", "postgres"], timeout=PATIENCE_SECONDS).returncode == 0

        eventually(answers, "the start of the server")

    def kill(self):
        """kill -9 of every process. The server is held first, so that it starts no other."""
        os.kill(self.server.pid, signal.SIGSTOP)
        eventually(lambda: (state_and_parent(self.server.pid) or "T")[0] == "T", "the halt of the server")
        processes = [int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*")]
        children = [pid for pid in processes if (state_and_parent(pid) or (None, 0))[1] == self.server.pid]
        for pid in [*children, self.server.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.server.wait(PATIENCE_SECONDS)
        # Until then they hold its shared memory, and a new server would not start.
        eventually(lambda: all((state_and_parent(pid) or "Z")[0] == "Z" for pid in children), "the end of the server's processes")

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-w", "-t", PATIENCE_SECONDS, "-m", "fast", "stop")
        self.server.wait(PATIENCE_SECONDS)

    def promote(self):
        self.run("pg_ctl", "-D", self.data, "-w", "-t", PATIENCE_SECONDS, "promote")

    def close(self):
        if self.server.poll() is None:
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
        crash = re.search(r"[^\n]{,200}(?:was terminated by signal|PANIC|TRAP: ).*", self.log())
        assert not crash, crash[0]

