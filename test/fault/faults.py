"""A server that a test may kill, starve and start again, and a keep-alive client that tells an answer from a broken connection."""
import contextlib
import glob
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

KILLS = int(os.environ.get("CAIRN_KILLS", "5"))
PATIENCE_SECONDS = 90
API = "/api/2.0/mlflow/"


def eventually(condition, what="it"):
    """Waits until the condition gives something true, and returns that."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come true within {PATIENCE_SECONDS} s")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class Client:
    """One keep-alive connection, made anew after it broke. call() gives None where no answer came."""

    def __init__(self, port, timeout=60):
        self.port, self.timeout, self.connection = port, timeout, None

    def call(self, method, path, body=None, headers=None):
        if not path.startswith("/"):
            path = API + path
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
            self.connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            return Answer(self.connection.getresponse())
        except (OSError, http.client.HTTPException):
            self.close()
            return None

    def get(self, path):
        return self.call("GET", path)

    def post(self, path, body):
        return self.call("POST", path, body)

    def good(self, method, path, body=None):
        answer = self.call(method, path, body)
        assert answer is not None and answer.status == 200, f"{method} {path}: {answer}"
        return answer.json() if answer.body.startswith(b"{") else answer.body.decode()

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


def assert_try_again(answer, statuses=(503,)):
    """An error that tells a client to try again."""
    assert answer.status in statuses, answer
    if answer.status in (429, 503):
        assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["error_code"] and answer.json()["message"], answer


class Cairn:
    """`cairn serve` on a folder and a port that stay the same when it is started again."""

    def __init__(self, folder, *options):
        self.folder, self.options, self.port = pathlib.Path(folder), options, free_port()
        self.data = self.folder / "data"
        self.process = None

    def launch(self):
        environment = {k: v for k, v in os.environ.items() if k == "CAIRN_POSTGRES_BIN" or not k.startswith("CAIRN_") and k != "DATABASE_URL"}
        command = [os.environ["CAIRN_BIN"], "serve", "--port", str(self.port), "--data-dir", self.data, *self.options]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=log, env=environment)

    def start(self):
        self.launch()
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), f"the server did not start; its log:\n{self.log()[-3000:]}"
        return self

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def client(self, **options):
        return Client(self.port, **options)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def terminate(self):
        self.process.terminate()
        assert self.process.wait(PATIENCE_SECONDS) == 0

    def memory_kib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def postgres_pids(self):
        """The processes of the embedded PostgreSQL, whoever started them."""
        pids = []
        for link in glob.glob("/proc/[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if os.readlink(link).startswith(str(self.data) + "/"):
                    pids.append(int(link.split("/")[2]))
        return pids

    def postmaster(self):
        """None while there is none."""
        for file in (self.data / "postgres").glob("*/postmaster.pid"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid = int(file.read_text().split()[0])
                if pid in self.postgres_pids():
                    return pid
        return None

    def backends(self):
        """The processes that serve the server's connections."""
        found = []
        for pid in self.postgres_pids():
            with contextlib.suppress(OSError):
                if b"postgres: cairn cairn" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def connect(self):
        """A superuser's connection to the embedded database, around the server."""
        import psycopg2

        connection = psycopg2.connect(host=str(self.data / "run"), user="postgres", dbname="cairn")
        connection.autocommit = True
        return connection

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        if self.process is not None:
            self.process.stdout.close()
        eventually(lambda: not self.postgres_pids(), "the end of PostgreSQL")


def as_postgres(*command):
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *map(str, command)] if os.geteuid() == 0 else [*map(str, command)]


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
