"""Servers that the scenario tests start, Cairn or the stock one, and raw calls to them."""
import contextlib
import glob
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import requests

os.environ.update(
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",  # an error is seen at once, not after minutes of retries
    MLFLOW_HTTP_REQUEST_TIMEOUT="60",
    GIT_PYTHON_REFRESH="quiet",
)
for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
    os.environ.pop(name, None)

TARGET = os.environ.get("CAIRN_TEST_TARGET", "cairn")
START_SECONDS = 90


class Server:
    """A process that answers /health at url; its output is in log."""

    def __init__(self, command, port, log, environment=None):
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        # Of CAIRN_*, a server gets only what is meant for it: it refuses names that it does not know.
        inherited = {name: value for name, value in os.environ.items() if name == "CAIRN_POSTGRES_BIN" or not name.startswith("CAIRN_")}
        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env={**inherited, **(environment or {})}, start_new_session=True
            )

    def wait(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if requests.get(self.url + "/health", timeout=5).ok:
                    return self
            except requests.RequestException:
                time.sleep(0.1)
        tail = pathlib.Path(self.log).read_text(errors="replace")[-3000:]
        self.stop()
        raise RuntimeError(f"{self.process.args[0]} did not come up at {self.url}; the end of its output:\n{tail}")

    def stop(self):
        """Ends the server and all that it started."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_cairn(folder, *options, environment=None):
    binary = os.environ.get("CAIRN_BIN")
    assert binary, "set CAIRN_BIN to the binary to test"
    port = free_port()
    running = Server([binary, "serve", "--data-dir", str(folder / "data"), "--port", str(port), *options], port, folder / "server.log",
                     environment)
    running.data_dir = str(folder / "data")
    running.wait()
    if os.environ.get("CAIRN_TEST_PARTITIONED"):  # the routes must not know the difference
        for command in (["convert", "tracking.training_runs", "--column", "created_at"], ["finish", "tracking.training_runs"]):
            subprocess.run([binary, "partitions", *command, "--data-dir", running.data_dir], check=True, capture_output=True, timeout=60)
    return running


def as_postgres(*command):
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


def start_mlflow(folder, stack):
    """The stock server over a cluster in folder, which ends with the stack."""
    tools = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
    cluster, artifacts = folder / "pg", folder / "artifacts"
    cluster.mkdir()
    artifacts.mkdir()
    if os.geteuid() == 0:
        shutil.chown(cluster, "postgres")

    def run(*command):
        subprocess.run(as_postgres(*command), check=True, stdout=subprocess.DEVNULL, timeout=60)

    run(f"{tools}/initdb", "-D", f"{cluster}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
    run(f"{tools}/pg_ctl", "-D", f"{cluster}/data", "-w", "-l", f"{cluster}/log", "-o", f"-c listen_addresses='' -k {cluster}", "start")
    stack.callback(run, f"{tools}/pg_ctl", "-D", f"{cluster}/data", "-m", "immediate", "stop")
    port = free_port()
    return Server(
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"postgresql+psycopg2://postgres@/postgres?host={cluster}",
         "--artifacts-destination", str(artifacts), "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        port, folder / "server.log").wait()


class Api:
    """Raw HTTP: short paths are below /api/2.0/mlflow/."""

    def __init__(self, url):
        self.url = url
        self.session = requests.Session()

    def call(self, method, path, body=None, **options):
        url = self.url + (path if path.startswith("/") else "/api/2.0/mlflow/" + path)
        if body is not None:
            options["json"] = body
        return self.session.request(method, url, timeout=60, allow_redirects=False, **options)

    def get(self, path, /, **query):
        return self.good(self.call("GET", path, params=query))

    def post(self, path, body):
        return self.good(self.call("POST", path, body))

    def patch(self, path, body):
        return self.good(self.call("PATCH", path, body))

    def delete(self, path, body=None):
        return self.good(self.call("DELETE", path, body))

    @staticmethod
    def good(response):
        assert response.status_code == 200, f"{response.request.method} {response.url}: {response.status_code} {response.text[:500]}"
        return response.json()

    def create_run(self, experiment_id, **fields):
        return self.post("runs/create", {"experiment_id": experiment_id, **fields})["run"]["info"]["run_id"]
