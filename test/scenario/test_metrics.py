"""Metrics: which value is the latest, the history with its order and pages, and values that are no ordinary numbers."""
import math
import random
import sys

import pytest

mlflow = pytest.importorskip("mlflow")
from mlflow.entities import Metric  # noqa: E402


def history(client, run, key):
    return [(m.value, m.timestamp, m.step) for m in client.get_metric_history(run, key)]


def latest(client, run, key):
    return client.get_run(run).data.metrics[key]


def test_history_is_by_time_then_step_then_value(client, run):
    points = [(5.0, 300, 1), (4.0, 200, 2), (9.0, 100, 3), (1.0, 100, 1), (2.0, 300, 1), (7.0, 100, 0)]
    for value, timestamp, step in points:
        client.log_metric(run, "m", value, timestamp=timestamp, step=step)
    assert history(client, run, "m") == sorted(points, key=lambda p: (p[1], p[2], p[0]))


def test_history_of_one_batch_and_of_single_writes_is_the_same(client, experiment):
    points = [(random.Random(7).random(), 1000 + i % 5, i % 3) for i in range(50)]
    single, batch = (client.create_run(experiment).info.run_id for _ in range(2))
    for value, timestamp, step in points:
        client.log_metric(single, "m", value, timestamp=timestamp, step=step)
    client.log_batch(batch, [Metric("m", *p) for p in points])
    assert history(client, single, "m") == history(client, batch, "m")


@pytest.mark.parametrize(
    "points, expected",
    [
        ([(1.0, 10, 0), (2.0, 20, 0)], 2.0),
        ([(1.0, 10, 1), (2.0, 20, 0)], 1.0),
        ([(2.0, 20, 0), (1.0, 10, 1)], 1.0),
        ([(1.0, 20, 1), (2.0, 10, 1)], 1.0),
        ([(1.0, 10, 1), (3.0, 10, 1), (2.0, 10, 1)], 3.0),
        ([(1.0, 10, 0), (2.0, 20, -1)], 1.0),
        ([(1.0, 10, -5), (2.0, 20, -3)], 2.0),
    ],
    ids=["time", "step first", "step first, later", "time of one step", "value", "negative step is older", "negative steps"],
)
@pytest.mark.parametrize("together", [False, True], ids=["single", "batch"])
def test_latest_is_the_greatest_step_time_value(client, run, points, expected, together):
    if together:
        client.log_batch(run, [Metric("m", *p) for p in points])
    else:
        for value, timestamp, step in points:
            client.log_metric(run, "m", value, timestamp=timestamp, step=step)
    assert latest(client, run, "m") == expected


def test_the_same_point_twice_counts_once(client, run):
    for _ in range(2):
        client.log_metric(run, "m", 1.5, timestamp=5, step=1)
        client.log_batch(run, [Metric("m", 1.5, 5, 1), Metric("m", 1.5, 5, 1)])
    assert history(client, run, "m") == [(1.5, 5, 1)]


def test_not_a_number(client, run):
    client.log_metric(run, "m", math.nan, timestamp=5, step=1)
    assert math.isnan(latest(client, run, "m"))
    assert [math.isnan(v) for v, _, _ in history(client, run, "m")] == [True]
    client.log_metric(run, "m", 2.0, timestamp=5, step=2)
    assert latest(client, run, "m") == 2.0
    client.log_batch(run, [Metric("m", math.nan, 6, 3)])
    assert math.isnan(latest(client, run, "m"))


@pytest.mark.parametrize("sign", [1, -1])
def test_infinity_is_stored_as_the_greatest_double(client, run, sign):
    client.log_metric(run, "m", sign * math.inf, timestamp=5, step=1)
    assert latest(client, run, "m") == sign * sys.float_info.max
    assert history(client, run, "m") == [(sign * sys.float_info.max, 5, 1)]


@pytest.mark.parametrize(
    "value", [0.1, 1e-7, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e22, 123456789012345680.0, 1 / 3, -0.1, 9007199254740993.0, 0.30000000000000004]
)
def test_doubles_come_back_exactly(client, run, value):
    client.log_metric(run, "m", value)
    client.log_batch(run, [Metric("batch", value, 1, 0)])
    assert latest(client, run, "m") == latest(client, run, "batch") == value
    assert history(client, run, "batch")[0][0] == value


@pytest.mark.parametrize("timestamp, step", [(0, 0), (2**62, 2**62), (1, -(2**62)), (2**63 - 1, 2**63 - 1)])
def test_wide_times_and_steps(client, run, timestamp, step):
    client.log_metric(run, "m", 1.0, timestamp=timestamp, step=step)
    assert history(client, run, "m") == [(1.0, timestamp, step)]


@pytest.mark.parametrize("key", ["val/loss", "a b", "a.b-c_d:e", "é日本", "k" * 250, "deep/er/path"])
def test_keys(client, run, key):
    client.log_metric(run, key, 1.0, timestamp=1, step=0)
    assert client.get_run(run).data.metrics == {key: 1.0}
    assert history(client, run, key) == [(1.0, 1, 0)]


@pytest.mark.parametrize("key", ["a!b", "/abs", "../up", "a/../b", "a//b", "./a", "a/", ".", "k" * 251])
def test_keys_that_are_refused(api, run, key):
    for path, body in (("log-metric", {"key": key, "value": 1, "timestamp": 1}), ("log-batch", {"metrics": [{"key": key, "value": 1, "timestamp": 1}]}),
                       ("log-parameter", {"key": key, "value": "1"}), ("set-tag", {"key": key, "value": "1"})):
        answer = api.call("POST", "runs/" + path, {"run_id": run, **body})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), path
    data = api.get("runs/get", run_id=run)["run"]["data"]
    assert "metrics" not in data and "params" not in data


@pytest.fixture(scope="module")
def long_run(server):
    client = mlflow.MlflowClient(tracking_uri=server.url)
    run = client.create_run("0", run_name="long").info.run_id
    for start in range(0, 3000, 1000):
        client.log_batch(run, [Metric("m", float(i), 1000 + i, i) for i in range(start, start + 1000)])
    return run


@pytest.mark.parametrize("page_size", [1000, 700, 3000, 2999])
def test_history_pages(api, long_run, page_size):
    points, token, pages = [], None, 0
    while True:
        query = {"run_id": long_run, "metric_key": "m", "max_results": page_size, **({"page_token": token} if token else {})}
        page = api.get("metrics/get-history", **query)
        assert len(page["metrics"]) <= page_size
        points += page["metrics"]
        pages += 1
        token = page.get("next_page_token")
        if not token:
            break
    assert [p["step"] for p in points] == list(range(3000))
    assert pages == -(-3000 // page_size)


def test_history_without_limit_is_whole(api, client, long_run):
    page = api.get("metrics/get-history", run_id=long_run, metric_key="m")
    assert len(page["metrics"]) == 3000 and "next_page_token" not in page
    assert [p[2] for p in history(client, long_run, "m")] == list(range(3000))


def test_history_pages_split_equal_times(api, client, run):
    """Points that share their time are neither lost nor doubled at a page's edge."""
    client.log_batch(run, [Metric("m", float(i % 7), 5, i // 7) for i in range(70)])
    found, token = [], None
    while True:
        page = api.get("metrics/get-history", run_id=run, metric_key="m", max_results=9, **({"page_token": token} if token else {}))
        found += [(p["timestamp"], p["step"], p["value"]) for p in page["metrics"]]
        token = page.get("next_page_token")
        if not token:
            break
    assert found == sorted({(5, i // 7, float(i % 7)) for i in range(70)})


def test_history_of_what_is_not_there(client, api, run):
    assert client.get_metric_history(run, "none") == []
    assert api.get("metrics/get-history", run_id=run, metric_key="none") == {}


def test_history_of_a_deleted_run(client, run):
    client.log_metric(run, "m", 1.0, timestamp=1)
    client.delete_run(run)
    assert history(client, run, "m") == [(1.0, 1, 0)]
