"""Runs through the stock client: life cycle, names, params, tags, batches and their limits, nesting."""
import pytest

mlflow = pytest.importorskip("mlflow")
from mlflow.entities import Metric, Param, RunTag, ViewType  # noqa: E402


def metrics_of(count, prefix="m"):
    return [Metric(f"{prefix}{i}", float(i), 1, 0) for i in range(count)]


def params_of(count, prefix="p"):
    return [Param(f"{prefix}{i}", str(i)) for i in range(count)]


def tags_of(count, prefix="t"):
    return [RunTag(f"{prefix}{i}", str(i)) for i in range(count)]


def test_fluent_run(fluent, client):
    with fluent.start_run(run_name="first", tags={"stage": "dev"}, description="what it is") as active:
        fluent.log_param("rate", 0.1)
        fluent.log_params({"depth": 3, "kind": "tree"})
        fluent.log_metric("loss", 0.5, step=1)
        fluent.log_metric("loss", 0.25, step=2)
        fluent.log_metrics({"accuracy": 0.75, "recall": 0.5}, step=2)
        fluent.set_tag("note", "ok")
        fluent.set_tags({"a": 1, "b": 2})
    run = client.get_run(active.info.run_id)
    assert (run.info.status, run.info.run_name, run.info.lifecycle_stage) == ("FINISHED", "first", "active")
    assert run.info.end_time >= run.info.start_time > 1_600_000_000_000
    assert run.info.artifact_uri.endswith(f"/{run.info.run_id}/artifacts")
    assert run.data.params == {"rate": "0.1", "depth": "3", "kind": "tree"}
    assert run.data.metrics == {"loss": 0.25, "accuracy": 0.75, "recall": 0.5}
    own = {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")}
    assert own == {"stage": "dev", "note": "ok", "a": "1", "b": "2"}
    assert run.data.tags["mlflow.runName"] == "first"
    assert run.data.tags["mlflow.note.content"] == "what it is"


def test_failed_run(fluent, client):
    with pytest.raises(ZeroDivisionError):
        with fluent.start_run() as active:
            1 / 0
    assert client.get_run(active.info.run_id).info.status == "FAILED"


def test_run_is_resumed(fluent, client):
    with fluent.start_run() as first:
        fluent.log_metric("m", 1)
    with fluent.start_run(run_id=first.info.run_id) as again:
        assert client.get_run(again.info.run_id).info.status == "RUNNING"
        fluent.log_metric("m", 2, step=1)
    run = client.get_run(first.info.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"m": 2.0})


def test_nested_runs(fluent, client):
    with fluent.start_run(run_name="parent") as parent:
        for i in range(3):
            with fluent.start_run(run_name=f"child{i}", nested=True) as child:
                fluent.log_metric("m", i)
                with fluent.start_run(nested=True) as grandchild:
                    pass
    experiment = [parent.info.experiment_id]
    children = client.search_runs(experiment, f"tags.mlflow.parentRunId = '{parent.info.run_id}'", order_by=["metrics.m"])
    assert [c.info.run_name for c in children] == ["child0", "child1", "child2"]
    assert client.get_parent_run(grandchild.info.run_id).info.run_id == child.info.run_id
    assert client.get_parent_run(parent.info.run_id) is None


def test_names(client, experiment, error_of):
    named = client.create_run(experiment, run_name="given")
    assert named.info.run_name == named.data.tags["mlflow.runName"] == "given"
    made_up = client.create_run(experiment)
    assert made_up.info.run_name and made_up.info.run_name == made_up.data.tags["mlflow.runName"]
    tagged = client.create_run(experiment, tags={"mlflow.runName": "by tag"})
    assert tagged.info.run_name == "by tag"
    assert error_of(client.create_run, experiment, run_name="a", tags={"mlflow.runName": "b"}).error_code == "INVALID_PARAMETER_VALUE"


def test_renaming_keeps_name_and_tag_equal(client, experiment):
    run = client.create_run(experiment, run_name="one").info.run_id
    client.update_run(run, name="two")
    assert client.get_run(run).info.run_name == client.get_run(run).data.tags["mlflow.runName"] == "two"
    client.set_tag(run, "mlflow.runName", "three")
    assert client.get_run(run).info.run_name == client.get_run(run).data.tags["mlflow.runName"] == "three"


@pytest.mark.parametrize("status", ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"])
def test_status(client, run, status):
    client.update_run(run, status=status)
    assert client.get_run(run).info.status == status


def test_set_terminated(client, run):
    client.set_terminated(run, "KILLED", end_time=12345)
    assert (client.get_run(run).info.status, client.get_run(run).info.end_time) == ("KILLED", 12345)


def test_start_time_is_kept(client, experiment):
    assert client.create_run(experiment, start_time=1234567).info.start_time == 1234567


def test_params_do_not_change(client, run, error_of):
    client.log_param(run, "rate", "0.1")
    client.log_param(run, "rate", "0.1")
    error = error_of(client.log_param, run, "rate", "0.2")
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    assert "rate" in error.message
    assert client.get_run(run).data.params == {"rate": "0.1"}


def test_params_of_every_kind(client, run):
    values = {"empty": "", "unicode é/日本": "größe", "long": "v" * 6000, "spaces and.dots-dash:colon": " x ", "number": "1e-7"}
    for key, value in values.items():
        client.log_param(run, key, value)
    assert client.get_run(run).data.params == values


def test_tags(client, run, error_of):
    client.set_tag(run, "a", "1")
    client.set_tag(run, "a", "2")
    client.set_tag(run, "long", "v" * 8000)
    client.set_tag(run, "empty", "")
    client.delete_tag(run, "empty")
    tags = {k: v for k, v in client.get_run(run).data.tags.items() if not k.startswith("mlflow.")}
    assert tags == {"a": "2", "long": "v" * 8000}
    assert error_of(client.delete_tag, run, "empty").error_code == "RESOURCE_DOES_NOT_EXIST"


def test_delete_and_restore(client, experiment, run):
    client.log_metric(run, "m", 1)
    client.delete_run(run)
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    assert client.search_runs([experiment]) == []
    assert [r.info.run_id for r in client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)] == [run]
    client.restore_run(run)
    assert [r.info.run_id for r in client.search_runs([experiment])] == [run]
    assert client.get_run(run).data.metrics == {"m": 1.0}


@pytest.mark.parametrize(
    "write",
    [
        lambda c, r: c.log_metric(r, "m", 1),
        lambda c, r: c.log_param(r, "p", 1),
        lambda c, r: c.set_tag(r, "t", "v"),
        lambda c, r: c.log_batch(r, metrics=[Metric("m", 1.0, 1, 1)]),
        lambda c, r: c.update_run(r, status="FINISHED"),
        lambda c, r: c.update_run(r, name="x"),
    ],
    ids=["log_metric", "log_param", "set_tag", "log_batch", "status", "name"],
)
def test_deleted_run_refuses_writes(client, run, error_of, write):
    client.delete_run(run)
    error = error_of(write, client, run)
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    assert "must be in the 'active' state" in error.message


def test_unknown_run(client, error_of):
    for call in (client.get_run, client.delete_run, client.restore_run, client.set_terminated):
        assert error_of(call, "0" * 32).error_code == "RESOURCE_DOES_NOT_EXIST"
    assert error_of(client.log_metric, "0" * 32, "m", 1).error_code == "RESOURCE_DOES_NOT_EXIST"


def test_batch(client, run):
    client.log_batch(run, metrics_of(1000), params_of(0), [])
    client.log_batch(run, metrics_of(800, "n"), params_of(100), tags_of(100))
    data = client.get_run(run).data
    assert len(data.metrics) == 1800
    assert data.params == {f"p{i}": str(i) for i in range(100)}
    assert {k: v for k, v in data.tags.items() if not k.startswith("mlflow.")} == {f"t{i}": str(i) for i in range(100)}
    assert data.metrics["m999"] == 999.0


def raw_batch(api, run, metrics=0, params=0, tags=0):
    return api.call("POST", "runs/log-batch", {
        "run_id": run,
        "metrics": [{"key": f"m{i}", "value": i, "timestamp": 1, "step": 0} for i in range(metrics)],
        "params": [{"key": f"p{i}", "value": str(i)} for i in range(params)],
        "tags": [{"key": f"t{i}", "value": str(i)} for i in range(tags)],
    })


@pytest.mark.parametrize(
    "sizes, message",
    [
        ({"metrics": 1001}, "A batch logging request can contain at most 1000 metrics. Got 1001 metrics."),
        ({"params": 101}, "A batch logging request can contain at most 100 params. Got 101 params."),
        ({"tags": 101}, "A batch logging request can contain at most 100 tags. Got 101 tags."),
        ({"metrics": 801, "params": 100, "tags": 100},
         "A batch logging request can contain at most 1000 metrics, params, and tags. Got 1001 metrics, params, and tags."),
    ],
)
def test_batch_limits(api, run, sizes, message):
    answer = raw_batch(api, run, **sizes)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert message in answer.json()["message"]
    assert "metrics" not in api.get("runs/get", run_id=run)["run"]["data"]


def test_batch_is_all_or_nothing(client, run, error_of):
    client.log_param(run, "p", "1")
    error = error_of(client.log_batch, run, params=[Param("new", "1"), Param("p", "2")], tags=[RunTag("t", "v")])
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    data = client.get_run(run).data
    assert data.params == {"p": "1"}
    assert "t" not in data.tags


def test_batch_with_a_param_twice(client, run, error_of):
    error = error_of(client.log_batch, run, params=[Param("p", "1"), Param("p", "2")])
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    assert "Duplicate parameter keys have been submitted: ['p']" in error.message
    assert client.get_run(run).data.params == {}


def test_batch_with_a_tag_twice_keeps_the_last(client, run):
    client.log_batch(run, tags=[RunTag("t", "1"), RunTag("t", "2")])
    assert client.get_run(run).data.tags["t"] == "2"


def test_empty_batch(client, run):
    client.log_batch(run)


def test_client_splits_big_batches(fluent, client):
    with fluent.start_run() as active:
        fluent.log_metrics({f"m{i}": i for i in range(2500)})
        fluent.log_params({f"p{i}": i for i in range(250)})
        fluent.set_tags({f"t{i}": i for i in range(250)})
    data = client.get_run(active.info.run_id).data
    assert (len(data.metrics), len(data.params)) == (2500, 250)


def test_runs_of_many_writers(client, experiment):
    """Every write of eight threads is there afterwards."""
    from concurrent.futures import ThreadPoolExecutor

    run = client.create_run(experiment).info.run_id

    def write(i):
        client.log_metric(run, "shared", float(i), timestamp=1000 + i, step=i)
        client.log_param(run, f"p{i}", i)
        client.set_tag(run, f"t{i}", i)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(64)))
    data = client.get_run(run).data
    assert data.metrics["shared"] == 63.0
    assert len(data.params) == 64
    assert sum(k.startswith("t") for k in data.tags) == 64
    assert [m.step for m in client.get_metric_history(run, "shared")] == list(range(64))
