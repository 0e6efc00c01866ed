"""tracking.training_runs becomes partitioned while clients log to the server, and everything goes on."""
import contextlib
import pathlib
import shutil
import sys
import tempfile
import threading

import pytest
from servers import TARGET, Api, start_cairn

pytestmark = pytest.mark.skipif(TARGET == "mlflow", reason="it is Cairn's own table")
psycopg2 = pytest.importorskip("psycopg2")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from partitioned import Partitioned  # noqa: E402


@pytest.fixture
def served(new_database):
    """A server, and its database."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-partitions-"))
    with new_database() as dsn, contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = start_cairn(folder, "--database-url", dsn, "--migrate")
        stack.callback(server.stop)
        yield server, Partitioned(dsn)


class Client(threading.Thread):
    """Creates runs and logs to them; `runs`: what was acknowledged."""

    def __init__(self, url, experiment):
        super().__init__(daemon=True)
        self.api, self.experiment = Api(url), experiment
        self.runs, self.errors, self.done = {}, [], threading.Event()

    def run(self):
        try:
            while not self.done.is_set():
                n = len(self.runs)
                run = self.api.create_run(self.experiment, run_name=f"run {n}")
                self.api.post("runs/log-batch", {"run_id": run, "metrics": [{"key": "loss", "value": 1 / (n + 1), "timestamp": 1, "step": s}
                                                                            for s in range(3)],
                                                 "params": [{"key": "n", "value": str(n)}], "tags": [{"key": "t", "value": str(n)}]})
                self.api.post("runs/update", {"run_id": run, "status": "FINISHED"})
                self.runs[run] = n
        except Exception as error:
            self.errors.append(error)
            self.done.set()


def test_R29_training_runs_are_converted_beside_the_server(served):
    server, database = served
    api = Api(server.url)
    experiment = api.post("experiments/create", {"name": "partitioned"})["experiment_id"]
    # Runs of the last 20 months.
    database.sql("INSERT INTO tracking.training_runs (run_id, experiment_id, experiment_name, start_time, created_at)"
                 " SELECT 'old' || i, %s, '', extract(epoch FROM t) * 1000, t FROM (SELECT i, now() - interval '1 month' * (i %% 20) t"
                 " FROM generate_series(1, 2000) i) r", (experiment,))
    api.post("runs/log-batch", {"run_id": "old7", "params": [{"key": "p", "value": "v"}], "metrics": [{"key": "m", "value": 2, "timestamp": 1, "step": 1}]})
    clients = [Client(server.url, experiment) for _ in range(3)]
    for client in clients:
        client.start()
    while min(len(client.runs) for client in clients) < 3 and not clients[0].errors:
        clients[0].done.wait(0.01)
    database.run("convert", "tracking.training_runs", "--column", "created_at")
    reached = [len(client.runs) for client in clients]
    while any(len(client.runs) < n + 5 for client, n in zip(clients, reached)) and not any(client.errors for client in clients):
        clients[0].done.wait(0.01)
    for client in clients:
        client.done.set()
        client.join(60)
        assert not client.errors, client.errors
    acknowledged = {run: n for client in clients for run, n in client.runs.items()}
    for run, n in acknowledged.items():
        found = api.get("runs/get", run_id=run)["run"]
        assert found["info"]["status"] == "FINISHED" and found["data"]["params"] == [{"key": "n", "value": str(n)}]
        assert found["data"]["metrics"][0]["value"] == 1 / (n + 1)
    assert database.one("SELECT count(*) FROM tracking.check_consistency()") == 0
    assert database.one("SELECT relkind::text FROM pg_class WHERE oid = 'tracking.training_runs'::regclass") == "p"
    assert database.one("SELECT count(*) FROM tracking.training_runs_default") == 0
    ids = database.sql("SELECT count(*), count(DISTINCT id), count(DISTINCT run_id) FROM tracking.training_runs")
    assert len(set(ids[0])) == 1 and ids[0][0] == 2000 + database.one("SELECT count(*) FROM tracking.training_runs WHERE run_id !~ '^old'")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        database.sql("INSERT INTO tracking.training_runs (run_id, experiment_id, experiment_name) VALUES ('old7', 0, '')")
    # The routes go on: search, tags, deletion; the views too.
    assert len(api.post("runs/search", {"experiment_ids": [experiment], "filter": "params.n = '1'"})["runs"]) == 3
    assert api.post("runs/search", {"experiment_ids": [experiment], "filter": "metrics.m > 1"})["runs"][0]["info"]["run_id"] == "old7"
    api.post("runs/set-tag", {"run_id": "old7", "key": "k", "value": "v"})
    api.post("runs/delete", {"run_id": "old7"})
    api.post("runs/restore", {"run_id": "old7"})
    assert api.get("metrics/get-history", run_id="old7", metric_key="m")["metrics"][0]["value"] == 2
    assert database.one("SELECT count(*) FROM tracking.metrics WHERE run_id = 'old7'") == 1
    api.post("experiments/update", {"experiment_id": experiment, "new_name": "renamed"})
    assert database.one("SELECT count(*) FROM tracking.training_runs WHERE experiment_name <> 'renamed'") == 0


def test_R29_old_runs_go_to_an_archive_with_all_that_is_theirs(served, tmp_path):
    server, database = served
    api = Api(server.url)
    database.sql("INSERT INTO tracking.training_runs (run_id, experiment_id, experiment_name, created_at)"
                 " SELECT 'old' || i, 0, '', now() - interval '1 month' * i FROM generate_series(0, 15) i")
    for n in range(16):
        api.post("runs/log-batch", {"run_id": f"old{n}", "params": [{"key": "p", "value": "v"}], "tags": [{"key": "t", "value": "v"}],
                                    "metrics": [{"key": "m", "value": s, "timestamp": s, "step": s} for s in range(200)]})
    whole = [api.get("runs/get", run_id=f"old{n}") for n in range(16)]
    history = api.get("metrics/get-history", run_id="old15", metric_key="m")
    database.run("convert", "tracking.training_runs", "--column", "created_at", "--keep", "12")
    database.run("finish", "tracking.training_runs")
    detached = database.json("maintain")["tables"][0]["detached"]
    assert detached == sorted(detached) and len(detached) == 3
    archived = database.json("archive", "tracking.training_runs", "--to", str(tmp_path))["archived"]
    assert [one["rows"] for one in archived] == [1, 1, 1]
    assert api.call("GET", "runs/get", params={"run_id": "old15"}).status_code == 404
    assert database.one("SELECT count(*) FROM tracking.check_consistency()") == 0
    assert database.one("SELECT count(DISTINCT run) FROM tracking.metric_chunks") == 13
    for name in detached:
        database.run("restore", str(tmp_path / f"tracking.{name}"))
    assert [api.get("runs/get", run_id=f"old{n}") for n in range(16)] == whole
    assert api.get("metrics/get-history", run_id="old15", metric_key="m") == history
    assert database.one("SELECT count(*) FROM tracking.check_consistency()") == 0
