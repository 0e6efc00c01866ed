"""A PostgreSQL of someone else's (--database-url) that goes away and comes back, and more load than the server takes."""
import collections
import contextlib
import glob
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import shutil

import pytest
from faults import API, PATIENCE_SECONDS, as_postgres, assert_try_again, eventually

pytestmark = pytest.mark.timeout(240)

IN_FLIGHT = 1024  # requests that the server works on at once
CLIENTS = IN_FLIGHT + 200


class Postgres:
    """A cluster that is started and stopped at will."""

    def __init__(self, folder):
        self.folder = folder
        self.tools = os.environ.get("CAIRN_POSTGRES_BIN") or sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        self.run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self.start()

    def run(self, tool, *arguments):
        subprocess.run(as_postgres(f"{self.tools}/{tool}", "-D", self.folder / "data", *arguments), cwd="/", check=True,
                       stdout=subprocess.DEVNULL, timeout=PATIENCE_SECONDS)

    def start(self):
        self.run("pg_ctl", "-w", "-l", self.folder / "log", "-o", f"-c listen_addresses='' -k {self.folder}", "start")

    def stop(self, mode="fast"):
        self.run("pg_ctl", "-w", "-m", mode, "stop")

    def url(self):
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def connect(self):
        import psycopg2

        return psycopg2.connect(self.url())

    def postmaster(self):
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])


@pytest.fixture
def postgres(folder):
    cluster = Postgres(folder / "pg")
    yield cluster
    with contextlib.suppress(subprocess.SubprocessError):
        cluster.stop("immediate")


def make_run(client):
    experiment = client.good("POST", "experiments/create", {"name": f"away {os.urandom(4).hex()}"})["experiment_id"]
    return experiment, client.good("POST", "runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]


def point(run, step):
    return {"run_id": run, "key": "loss", "value": 1, "timestamp": 1, "step": step}


def steps(client, run):
    return [metric["step"] for metric in client.good("GET", f"metrics/get-history?run_id={run}&metric_key=loss").get("metrics", [])]


def test_postgres_is_stopped_and_started_again(cairn, postgres):
    server = cairn("--database-url", postgres.url(), "--migrate").start()
    client = server.client()
    experiment, run = make_run(client)
    kept = 0
    for mode in ("fast", "immediate", "fast"):
        client.good("POST", "runs/log-metric", point(run, kept))
        kept += 1
        postgres.stop(mode)
        requests = [("GET", f"runs/get?run_id={run}", None), ("POST", "runs/search", {"experiment_ids": [experiment]}),
                    ("POST", "runs/log-metric", point(run, 1000)), ("POST", "runs/create", {"experiment_id": experiment}),
                    ("POST", "experiments/create", {"name": "x"}), ("GET", "registered-models/search", None), ("GET", "/health", None)]
        for method, path, body in requests * 3:
            answer = client.call(method, path, body)
            assert_try_again(answer)
            assert answer.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
        assert client.good("GET", "/version") and "cairn_pool_connect_errors_total" in client.good("GET", "/metrics")
        postgres.start()
        assert client.good("GET", "/health") == "OK"
        client.good("POST", "runs/log-metric", point(run, kept))
        kept += 1
        assert steps(client, run) == list(range(kept))
    assert server.process.poll() is None


def test_a_postgres_that_does_not_answer_holds_no_request_for_ever(cairn, postgres):
    server = cairn("--database-url", postgres.url() + "&connect_timeout=2", "--migrate", "--pool-size", "1", "--max-overflow", "0",
                   "--pool-timeout-s", "1").start()
    client, second = server.client(), server.client()
    _, run = make_run(client)
    postmaster = postgres.postmaster()
    with contextlib.closing(postgres.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
    os.kill(postmaster, signal.SIGSTOP)  # connections are accepted by the kernel, but nobody answers
    try:
        for path in (f"runs/get?run_id={run}", "/health"):
            assert_try_again(client.get(path))
            assert_try_again(second.get(path))
    finally:
        os.kill(postmaster, signal.SIGCONT)
    eventually(lambda: client.get("/health").status == 200, "health")
    client.good("POST", "runs/log-metric", point(run, 0))


class Crowd:
    """Many connections that have each sent one request."""

    def __init__(self, port, count):
        self.sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        self.answers = {}
        self.selector = selectors.DefaultSelector()
        for place, connection in enumerate(self.sockets):
            self.selector.register(connection, selectors.EVENT_READ, place)

    def send(self, body_of):
        self.answers = {}
        for place, connection in enumerate(self.sockets):
            body = json.dumps(body_of(place)).encode()
            connection.sendall(b"POST %slog-metric HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (API.encode() + b"runs/", len(body), body))

    def answered(self):
        for key, _ in self.selector.select(0):
            data = key.fileobj.recv(65536)
            assert data, "the server closed the connection"
            assert key.data not in self.answers
            self.answers[key.data] = int(data.split(b" ", 2)[1])
            if self.answers[key.data] == 429:
                assert b"\r\nRetry-After: 1\r\n" in data and b"REQUEST_LIMIT_EXCEEDED" in data
        return len(self.answers)

    def close(self):
        for connection in self.sockets:
            connection.close()


def test_too_much_load_is_refused_and_leaves_no_trace_in_memory(cairn):
    # More files than the usual soft limit, for this process and (by its own doing) for the server.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        server = cairn().start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * CLIENTS)), hard))
    client = server.client()
    _, run = make_run(client)
    crowd = Crowd(server.port, CLIENTS)
    memory, kept = [], set()
    with contextlib.closing(crowd), contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        for round_number in range(6):
            cursor.execute("BEGIN; LOCK TABLE tracking.metric_series IN ACCESS EXCLUSIVE MODE")
            crowd.send(lambda place: point(run, round_number * CLIENTS + place))
            eventually(lambda: crowd.answered() >= CLIENTS - IN_FLIGHT, "the refusal of what is too much")
            assert collections.Counter(crowd.answers.values()) == {429: CLIENTS - IN_FLIGHT}
            assert client.good("GET", "/health") == "OK"
            assert "cairn_http_requests_in_flight 1025" in client.good("GET", "/metrics")  # and this one
            cursor.execute("COMMIT")
            eventually(lambda: crowd.answered() == CLIENTS, "an answer to everyone")
            assert collections.Counter(crowd.answers.values()) == {429: CLIENTS - IN_FLIGHT, 200: IN_FLIGHT}
            kept |= {round_number * CLIENTS + place for place, status in crowd.answers.items() if status == 200}
            memory.append(server.memory_kib())
    assert set(steps(client, run)) == kept
    assert memory[-1] <= memory[1] + 4096, f"the server grows: {memory} KiB"
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
