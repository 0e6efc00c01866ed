"""MLflow 3's logged models: life cycle, params, tags, metrics, artifacts, search."""
import uuid

import pytest

mlflow = pytest.importorskip("mlflow")
from mlflow.entities import LoggedModelStatus, Metric  # noqa: E402


def test_create_and_get(client, experiment, run):
    made = client.create_logged_model(experiment, name="net", source_run_id=run, params={"p": "1"}, tags={"t": "v"}, model_type="classifier")
    found = client.get_logged_model(made.model_id)
    for one in (made, found):
        assert one.model_id.startswith("m-")
        assert (one.name, one.experiment_id, one.source_run_id, one.model_type) == ("net", experiment, run, "classifier")
        assert (one.params, one.tags, one.metrics or [], one.status) == ({"p": "1"}, {"t": "v"}, [], LoggedModelStatus.PENDING)
        assert one.artifact_location == f"mlflow-artifacts:/{experiment}/models/{made.model_id}/artifacts"
        assert one.creation_timestamp == one.last_updated_timestamp > 1_600_000_000_000


def test_names(client, experiment, error_of):
    assert client.create_logged_model(experiment).name
    twins = [client.create_logged_model(experiment, name="same").model_id for _ in range(2)]
    assert twins[0] != twins[1]
    for bad in ("a/b", "a:b", "a.b", "a%b", "a'b", 'a"b'):
        assert error_of(client.create_logged_model, experiment, name=bad).error_code == "INVALID_PARAMETER_VALUE", bad
    assert error_of(client.create_logged_model, "987654321").error_code == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize("status", ["READY", "FAILED"])
def test_finalize(client, experiment, status):
    made = client.create_logged_model(experiment)
    assert client.finalize_logged_model(made.model_id, status).status == status
    found = client.get_logged_model(made.model_id)
    assert found.status == status and found.last_updated_timestamp >= made.last_updated_timestamp


def test_params_and_tags(client, experiment, error_of):
    model = client.create_logged_model(experiment, params={"a": "1"}).model_id
    client.log_model_params(model, {"b": "2", "c": "é"})
    client.set_logged_model_tags(model, {"t": "1", "u": "2"})
    client.set_logged_model_tags(model, {"t": "3"})
    client.delete_logged_model_tag(model, "u")
    found = client.get_logged_model(model)
    assert (found.params, found.tags) == ({"a": "1", "b": "2", "c": "é"}, {"t": "3"})
    assert error_of(client.delete_logged_model_tag, model, "u").error_code == "RESOURCE_DOES_NOT_EXIST"


def test_delete(client, experiment, error_of):
    model = client.create_logged_model(experiment).model_id
    client.delete_logged_model(model)
    assert error_of(client.get_logged_model, model).error_code == "RESOURCE_DOES_NOT_EXIST"
    assert client.search_logged_models([experiment]) == []


def test_unknown(client, error_of):
    nobody = "m-" + "0" * 32
    for call in (client.get_logged_model, client.delete_logged_model, lambda m: client.finalize_logged_model(m, "READY"), lambda m: client.delete_logged_model_tag(m, "a")):
        assert error_of(call, nobody).error_code == "RESOURCE_DOES_NOT_EXIST"


def test_metrics_are_of_the_run_and_of_the_model(client, experiment, run):
    model = client.create_logged_model(experiment, source_run_id=run).model_id
    client.log_metric(run, "acc", 0.9, timestamp=7, step=2, model_id=model, dataset_name="iris", dataset_digest="d1")
    client.log_batch(run, [Metric("acc", 0.95, 8, 3, model_id=model), Metric("loss", 0.1, 8, 0, model_id=model), Metric("other", 1.0, 8, 0)])
    found = {(m.key, m.value, m.step, m.dataset_name, m.run_id) for m in client.get_logged_model(model).metrics}
    assert found == {("acc", 0.9, 2, "iris", run), ("acc", 0.95, 3, None, run), ("loss", 0.1, 0, None, run)}
    assert client.get_run(run).data.metrics == {"acc": 0.95, "loss": 0.1, "other": 1.0}


def test_artifacts(client, api, experiment, tmp_path):
    model = client.create_logged_model(experiment).model_id
    (tmp_path / "d").mkdir()
    (tmp_path / "MLmodel").write_text("flavors: {}")
    (tmp_path / "d" / "x.txt").write_text("x")
    client.log_model_artifacts(model, str(tmp_path))
    assert [(f.path, f.is_dir) for f in client.list_logged_model_artifacts(model)] == [("MLmodel", False), ("d", True)]
    assert [f.path for f in client.list_logged_model_artifacts(model, "d")] == ["d/x.txt"]
    assert api.get(f"logged-models/{model}/artifacts/directories", artifact_directory_path="d")["files"] == [{"path": "d/x.txt", "is_dir": False, "file_size": 1}]
    page = f"/ajax-api/2.0/mlflow/logged-models/{model}/artifacts/files"
    assert api.call("GET", page, params={"artifact_file_path": "d/x.txt"}).text == "x"
    assert api.call("GET", page, params={"artifact_file_path": "none"}).status_code == 404
    assert api.call("GET", page, params={"artifact_file_path": "../../x"}).status_code == 400


def test_registered_version_of_a_logged_model(client, experiment, run, unique):
    model = client.create_logged_model(experiment, source_run_id=run)
    name = client.create_registered_model(unique()).name
    made = client.create_model_version(name, f"models:/{model.model_id}", model_id=model.model_id)
    assert (made.source, made.run_id) == (f"models:/{model.model_id}", run)
    assert client.get_model_version_download_uri(name, "1") == model.artifact_location
    assert name in client.get_logged_model(model.model_id).tags["mlflow.modelVersions"]


@pytest.fixture(scope="module")
def four(server):
    """Models s0..s3: param lr = i, tag g = i % 2, metric m = i on s0..s2 (that of s1 on dataset d1), s3 READY."""
    client = mlflow.MlflowClient(tracking_uri=server.url)
    experiment = client.create_experiment("four-" + uuid.uuid4().hex)
    run = client.create_run(experiment).info.run_id
    for i in range(4):
        model = client.create_logged_model(experiment, name=f"s{i}", params={"lr": str(i)}, tags={"g": str(i % 2)}, model_type=f"t{i % 2}", source_run_id=run).model_id
        if i < 3:
            client.log_metric(run, "m", float(i), model_id=model, **({"dataset_name": "d1", "dataset_digest": "x1"} if i == 1 else {}))
    client.finalize_logged_model(model, "READY")
    return client, experiment, run


def names(found):
    return "".join(m.name[-1] for m in found)


@pytest.mark.parametrize(
    "text, expected",
    [
        (None, "3210"),
        ("name = 's1'", "1"),
        ("attributes.name = 's1'", "1"),
        ("name LIKE 's%'", "3210"),
        ("name ILIKE 'S2'", "2"),
        ("name != 's1'", "320"),
        ("name IN ('s1', 's2')", "21"),
        ("params.lr = '1'", "1"),
        ("params.lr LIKE '%'", "3210"),
        ("tags.g = '1'", "31"),
        ("tags.g != '1'", "20"),
        ("metrics.m > 0", "21"),
        ("metrics.m >= 1 AND params.lr = '1'", "1"),
        ("model_type = 't1'", "31"),
        ("source_run_id = '{run}'", "3210"),
        ("creation_time > 0", "3210"),
        ("creation_timestamp < 1000", ""),
        ("name = 'none'", ""),
    ],
)
def test_search_filters(four, text, expected):
    client, experiment, run = four
    assert names(client.search_logged_models([experiment], filter_string=text and text.format(run=run))) == expected


@pytest.mark.parametrize(
    "order, expected",
    [
        ({"field_name": "name"}, "0123"),
        ({"field_name": "name", "ascending": False}, "3210"),
        ({"field_name": "creation_time", "ascending": True}, "0123"),
        ({"field_name": "creation_timestamp", "ascending": False}, "3210"),
        ({"field_name": "metrics.m", "ascending": True}, "0123"),
        ({"field_name": "metrics.m", "ascending": False}, "2103"),
        ({"field_name": "metrics.m", "dataset_name": "d1", "dataset_digest": "x1"}, "1320"),
    ],
)
def test_search_order(four, order, expected):
    client, experiment, _ = four
    assert names(client.search_logged_models([experiment], order_by=[order])) == expected


def test_search_by_dataset(four):
    client, experiment, _ = four
    found = client.search_logged_models([experiment], "metrics.m >= 0", datasets=[{"dataset_name": "d1", "dataset_digest": "x1"}])
    assert names(found) == "1"


@pytest.mark.parametrize("size", [1, 2, 3])
def test_search_pages(four, size):
    client, experiment, _ = four
    found, token = [], None
    while True:
        page = client.search_logged_models([experiment], max_results=size, page_token=token)
        found += page
        token = page.token
        if not token:
            break
    assert names(found) == "3210"


@pytest.mark.parametrize("text", ["name", "name = 'a' OR name = 'b'", "params.lr > '1'", "tags.g IS NULL"])
def test_bad_filters(four, error_of, text):
    assert error_of(four[0].search_logged_models, [four[1]], text).error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("field", ["bogus", "params.lr", "tags.g", ""])
def test_bad_order(four, error_of, field):
    assert error_of(four[0].search_logged_models, [four[1]], order_by=[{"field_name": field}]).error_code == "INVALID_PARAMETER_VALUE"


def test_search_as_a_table(fluent):
    fluent.create_external_model(name="outside", params={"a": "b"})
    table = fluent.search_logged_models()
    assert list(table["name"]) == ["outside"]


def test_fluent_active_model(fluent, client):
    model = fluent.set_active_model(name="live")
    try:
        fluent.log_model_params({"k": "v"}, model_id=model.model_id)
        assert client.get_logged_model(model.model_id).params == {"k": "v"}
    finally:
        fluent.clear_active_model()
