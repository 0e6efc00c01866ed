"""R10: the server's own pool of connections: pool_size, max_overflow and pool_timeout take effect and can be watched."""
import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import tempfile
import time

import pytest
import requests
from servers import Api, start_cairn

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="the pool is Cairn's own")
psycopg2 = pytest.importorskip("psycopg2")

SIZE, OVERFLOW, TIMEOUT_SECONDS = 2, 1, 5
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def pooled():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-pool-"))
    folder.chmod(0o755)  # the embedded PostgreSQL runs as another user
    running = start_cairn(folder, "--pool-size", str(SIZE), "--max-overflow", str(OVERFLOW), "--pool-timeout-s", str(TIMEOUT_SECONDS))
    running.folder = folder
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def pool(server):
    """What /metrics says of it."""
    lines = requests.get(server.url + "/metrics", timeout=30).text.splitlines()
    return {name[len("cairn_pool_"):]: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line.startswith("cairn_pool_"))}


def eventually(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("it did not come true in time")


@contextlib.contextmanager
def held_runs(server):
    """While it lasts, every read of a run holds its connection and waits."""
    connection = psycopg2.connect(host=str(server.folder / "data" / "run"), user="postgres", dbname="cairn")
    connection.cursor().execute("LOCK TABLE tracking.training_runs IN ACCESS EXCLUSIVE MODE")
    try:
        yield
    finally:
        connection.close()


def test_R10_the_settings_are_shown(pooled):
    shown = pool(pooled)
    assert (shown["size"], shown["max_overflow"]) == (SIZE, OVERFLOW)


def test_R10_never_more_connections_than_size_and_overflow_and_then_size_are_kept(pooled):
    api = Api(pooled.url)
    run = api.create_run(api.post("experiments/create", {"name": "pool"})["experiment_id"])
    before = pool(pooled)
    with concurrent.futures.ThreadPoolExecutor(12) as threads, held_runs(pooled):
        asked = [threads.submit(Api(pooled.url).call, "GET", "runs/get", params={"run_id": run}) for _ in range(12)]
        eventually(lambda: pool(pooled)["waiting"] >= 12 - SIZE - OVERFLOW)  # the server's own tasks may wait, too
        busy = pool(pooled)
        assert busy["open"] == busy["in_use"] == SIZE + OVERFLOW
        # Those who wait give up after the time-out, and not before; those who have a connection do not.
        eventually(lambda: sum(future.done() for future in asked) == 12 - SIZE - OVERFLOW)
        late = [future.result() for future in asked if future.done()]
        for answer in late:
            assert answer.status_code == 503 and answer.headers["Retry-After"], answer.text
            assert answer.json()["error_code"] == "TEMPORARILY_UNAVAILABLE" and "pool_size" in answer.json()["message"]
            assert answer.elapsed.total_seconds() >= TIMEOUT_SECONDS * 0.9
    assert sum(future.result().status_code == 200 for future in asked) == SIZE + OVERFLOW
    eventually(lambda: pool(pooled)["in_use"] == 0)
    # What is beyond the size goes when nobody has needed it for a while, and a connection comes back.
    after = eventually(lambda: api.call("GET", "runs/get", params={"run_id": run}).ok and (now := pool(pooled))["open"] <= SIZE and now)
    assert after["timeouts_total"] - before["timeouts_total"] >= 12 - SIZE - OVERFLOW


def test_R10_who_waits_gets_the_connection_that_comes_back(pooled):
    api = Api(pooled.url)
    run = api.create_run("0")
    opened = pool(pooled)["opened_total"]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        with held_runs(pooled):
            asked = [threads.submit(Api(pooled.url).call, "GET", "runs/get", params={"run_id": run}) for _ in range(8)]
            eventually(lambda: pool(pooled)["waiting"] >= 8 - SIZE - OVERFLOW)
        assert [future.result().status_code for future in asked] == [200] * 8
    assert pool(pooled)["opened_total"] <= opened + SIZE + OVERFLOW
