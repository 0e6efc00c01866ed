"""R12: an answer that takes several statements is of one REPEATABLE READ snapshot, whatever is written in between."""
import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import tempfile
import threading
import time

import pytest
from servers import Api, start_cairn

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="it looks into Cairn's database")
psycopg2 = pytest.importorskip("psycopg2")

PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def own_server():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-snapshot-"))
    folder.chmod(0o755)  # the embedded PostgreSQL runs as another user
    running = start_cairn(folder)
    running.folder = folder
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def sql(own_server):
    with contextlib.closing(psycopg2.connect(host=str(own_server.folder / "data" / "run"), user="postgres", dbname="cairn")) as connection:
        yield connection.cursor()


def new_run(server):
    api = Api(server.url)
    experiment = api.post("experiments/create", {"name": f"snapshot {time.monotonic_ns()}"})["experiment_id"]
    run = api.create_run(experiment, run_name="before")
    api.post("runs/log-batch", {"run_id": run, "metrics": [{"key": "m", "value": 1, "timestamp": 1, "step": 1}],
                                "params": [{"key": "p", "value": "before"}], "tags": [{"key": "t", "value": "before"}]})
    return experiment, run


def wait_for_a_waiter(server, table):
    """Until a connection of the server waits for the lock on the table."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with contextlib.closing(psycopg2.connect(host=str(server.folder / "data" / "run"), user="postgres", dbname="cairn")) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        while time.monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass", [table])
            if cursor.fetchone()[0] > 0:
                return
            time.sleep(0.01)
    raise AssertionError(f"nobody waits for {table}")


# Each change is what a later statement of the read would see, were it of a newer snapshot.
CHANGE = """
UPDATE tracking.training_runs SET run_name = 'after', status = 'succeeded' WHERE run_id = %(run)s;
UPDATE tracking.metric_series SET last_value = 2, last_step = 2
    WHERE run = (SELECT id FROM tracking.training_runs WHERE run_id = %(run)s);
UPDATE tracking.tags SET value = 'after' WHERE run = (SELECT id FROM tracking.training_runs WHERE run_id = %(run)s);
"""


@pytest.mark.parametrize("what, table", [("get", "tracking.metric_series"), ("get", "tracking.tags"), ("search", "tracking.metric_series"),
                                         ("search", "tracking.tags")])
def test_R12_a_run_is_read_from_one_snapshot(own_server, sql, what, table):
    experiment, run = new_run(own_server)
    sql.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        api = Api(own_server.url)
        if what == "get":
            asked = threads.submit(api.get, "runs/get", run_id=run)
        else:
            asked = threads.submit(api.post, "runs/search", {"experiment_ids": [experiment]})
        wait_for_a_waiter(own_server, table)
        sql.execute(CHANGE, {"run": run})
        sql.connection.commit()
        answer = asked.result()
    found = answer["run"] if what == "get" else answer["runs"][0]
    tags = {tag["key"]: tag["value"] for tag in found["data"]["tags"]}
    seen = found["info"]["run_name"], found["info"]["status"], found["data"]["metrics"][0]["value"], tags["t"]
    assert seen == ("before", "RUNNING", 1, "before")
    found = api.get("runs/get", run_id=run)["run"]
    assert (found["info"]["run_name"], found["data"]["metrics"][0]["value"]) == ("after", 2)


def test_R12_runs_are_compared_in_one_snapshot(own_server, sql):
    (_, one), (_, other) = new_run(own_server), new_run(own_server)
    sql.execute("LOCK TABLE tracking.metric_series IN ACCESS EXCLUSIVE MODE")
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        asked = threads.submit(Api(own_server.url).get, "/api/v1/runs/compare", run_id=[one, other])
        wait_for_a_waiter(own_server, "tracking.metric_series")
        for run in (one, other):
            sql.execute(CHANGE, {"run": run})
        sql.connection.commit()
        compared = asked.result()
    assert [run["run_name"] for run in compared["runs"]] == ["before", "before"]
    assert compared["metrics"] == [{"key": "m", "values": [1, 1], "differs": False}]


def test_R12_the_histories_of_several_runs_are_of_one_snapshot(own_server):
    """One run asked for a hundred times in a request must have one history, however many points arrive meanwhile."""
    _, run = new_run(own_server)
    stopping = threading.Event()

    def write():
        api, step = Api(own_server.url), 2
        while not stopping.is_set():
            api.post("runs/log-metric", {"run_id": run, "key": "m", "value": 1, "timestamp": 1, "step": step})
            step += 1
        return step

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        writer = threads.submit(write)
        try:
            api, lengths = Api(own_server.url), set()
            while len(lengths) < 10:
                answer = api.get("/ajax-api/2.0/mlflow/metrics/get-history-bulk", run_id=[run] * 100, metric_key="m")
                count, rest = divmod(len(answer["metrics"]), 100)
                assert rest == 0, "the history grew within an answer"
                lengths.add(count)
                if count > 240:  # the answer is cut at 25,000 points
                    break
        finally:
            stopping.set()
        assert writer.result() > 2
