"""What goes over the wire: names and types of fields, what is left out when empty, lenient and strict reading, routes."""
import json

import pytest


def test_experiment(api, experiment):
    found = api.get("experiments/get", experiment_id=experiment)["experiment"]
    assert found["experiment_id"] == experiment and isinstance(experiment, str)
    assert isinstance(found["creation_time"], int) and isinstance(found["last_update_time"], int)
    assert found["artifact_location"] == f"mlflow-artifacts:/{experiment}"
    assert "tags" not in found


def test_run(api, experiment):
    made = api.post("runs/create", {"experiment_id": experiment, "user_id": "bob", "run_name": "one", "start_time": 1700000000000, "tags": [{"key": "t", "value": "v"}]})["run"]
    run = made["info"]["run_id"]
    assert made["info"] == {
        "run_uuid": run, "run_id": run, "experiment_id": experiment, "run_name": "one", "user_id": "bob", "status": "RUNNING", "start_time": 1700000000000,
        "artifact_uri": f"mlflow-artifacts:/{experiment}/{run}/artifacts", "lifecycle_stage": "active",
    }
    assert len(run) == 32 and int(run, 16) >= 0
    assert made["data"] == {"tags": [{"key": "t", "value": "v"}, {"key": "mlflow.runName", "value": "one"}]}
    found = api.get("runs/get", run_id=run)["run"]
    assert found["info"] == made["info"]
    assert (found["inputs"], found["outputs"]) == ({}, {})
    updated = api.post("runs/update", {"run_id": run, "status": "FINISHED", "end_time": 1700000000001})
    assert updated == {"run_info": {**made["info"], "status": "FINISHED", "end_time": 1700000000001}}


def test_run_uuid_stands_for_run_id(api, run):
    api.post("runs/log-metric", {"run_uuid": run, "key": "m", "value": 1, "timestamp": 1})
    api.post("runs/log-parameter", {"run_uuid": run, "key": "p", "value": "1"})
    api.post("runs/set-tag", {"run_uuid": run, "key": "t", "value": "1"})
    api.post("runs/update", {"run_uuid": run, "status": "KILLED"})
    found = api.get("runs/get", run_uuid=run)["run"]
    assert found["info"]["status"] == "KILLED"
    assert found["data"]["metrics"] == [{"key": "m", "value": 1.0, "timestamp": 1, "step": 0}]
    assert api.get("metrics/get-history", run_uuid=run, metric_key="m")["metrics"][0]["value"] == 1.0


@pytest.mark.parametrize(
    "value, shown",
    [("NaN", "NaN"), ("Infinity", 1.7976931348623157e308), ("-Infinity", -1.7976931348623157e308), ("2.5", 2.5), (1, 1.0), (1e-7, 1e-7), (5e-324, 5e-324), (12345678901234567890, 1.2345678901234567e19)],
)
def test_metric_values(api, run, value, shown):
    for path, body in (("log-metric", {"key": "m", "value": value, "timestamp": 1}), ("log-batch", {"metrics": [{"key": "b", "value": value, "timestamp": 1}]})):
        api.post("runs/" + path, {"run_id": run, **body})
    found = api.get("runs/get", run_id=run)["run"]["data"]["metrics"]
    assert sorted((m["key"], m["value"]) for m in found) == [("b", shown), ("m", shown)]
    assert api.get("metrics/get-history", run_id=run, metric_key="m")["metrics"] == [{"key": "m", "value": shown, "timestamp": 1, "step": 0}]


def test_numbers_may_be_strings(api, run):
    api.post("runs/log-metric", {"run_id": run, "key": "m", "value": 1, "timestamp": "123", "step": "7"})
    assert api.get("metrics/get-history", run_id=run, metric_key="m")["metrics"] == [{"key": "m", "value": 1.0, "timestamp": 123, "step": 7}]


def test_unknown_fields_are_ignored(api, run):
    api.post("runs/set-tag", {"run_id": run, "key": "t", "value": "1", "extra": {"deep": [1]}})
    assert api.get("runs/get", run_id=run, extra="1")["run"]["info"]["run_id"] == run


def test_an_absent_value_is_empty(api, run):
    api.post("runs/log-parameter", {"run_id": run, "key": "p"})
    api.post("runs/set-tag", {"run_id": run, "key": "t"})
    data = api.get("runs/get", run_id=run)["run"]["data"]
    assert data["params"] == [{"key": "p", "value": ""}]
    assert {"key": "t", "value": ""} in data["tags"]


def test_long_values_are_cut(api, run):
    """Params to 6,000 characters and run tags to 8,000, not bytes."""
    api.post("runs/log-parameter", {"run_id": run, "key": "p", "value": "é" * 6001})
    api.post("runs/set-tag", {"run_id": run, "key": "t", "value": "v" * 8001})
    api.post("runs/log-batch", {"run_id": run, "params": [{"key": "q", "value": "v" * 7000}], "tags": [{"key": "u", "value": "v" * 9000}]})
    data = api.get("runs/get", run_id=run)["run"]["data"]
    assert {p["key"]: len(p["value"]) for p in data["params"]} == {"p": 6000, "q": 6000}
    assert {t["key"]: len(t["value"]) for t in data["tags"] if t["key"] in "tu"} == {"t": 8000, "u": 8000}


def test_nothing_found_is_an_empty_object(api, experiment, run):
    assert api.post("runs/search", {"experiment_ids": [experiment], "filter": "metrics.none > 0"}) == {}
    assert api.post("runs/search", {"experiment_ids": []}) == {}
    assert api.post("experiments/search", {"max_results": 1, "filter": "name = 'no such name'"}) == {}
    assert api.get("metrics/get-history", run_id=run, metric_key="none") == {}
    assert api.get("registered-models/search", filter="name = 'no such name'") == {}
    assert api.get("model-versions/search", filter="name = 'no such name'") == {}
    assert api.post("logged-models/search", {"experiment_ids": [experiment]}) == {}


def test_registered_model_and_version(api, unique):
    name = unique()
    model = api.post("registered-models/create", {"name": name})["registered_model"]
    assert set(model) == {"name", "creation_timestamp", "last_updated_timestamp"}
    version = api.post("model-versions/create", {"name": name, "source": "s3://b/x"})["model_version"]
    times = {k: version.pop(k) for k in ("creation_timestamp", "last_updated_timestamp")}
    assert all(isinstance(t, int) for t in times.values())
    assert version == {"name": name, "version": "1", "current_stage": "None", "description": "", "source": "s3://b/x", "run_id": "", "status": "READY", "run_link": ""}
    api.post("registered-models/alias", {"name": name, "alias": "b", "version": "1"})
    api.post("registered-models/alias", {"name": name, "alias": "a", "version": "1"})
    found = api.get("registered-models/get", name=name)["registered_model"]
    assert found["aliases"] == [{"alias": "a", "version": "1"}, {"alias": "b", "version": "1"}]
    assert [v["version"] for v in found["latest_versions"]] == ["1"]
    assert sorted(api.get("model-versions/get", name=name, version="1")["model_version"]["aliases"]) == ["a", "b"]


def test_logged_model(api, experiment):
    made = api.post("logged-models", {"experiment_id": experiment, "name": "net"})["model"]
    info = made["info"]
    assert isinstance(info["creation_timestamp_ms"], int) and isinstance(info["last_updated_timestamp_ms"], int)
    assert (info["status"], info["model_type"], info["source_run_id"]) == ("LOGGED_MODEL_PENDING", "", "")
    assert made["data"] == {}


def test_writes_answer_an_empty_object(api, experiment, run):
    assert api.post("runs/log-metric", {"run_id": run, "key": "m", "value": 1, "timestamp": 1}) == {}
    assert api.post("runs/log-batch", {"run_id": run}) == {}
    assert api.post("experiments/set-experiment-tag", {"experiment_id": experiment, "key": "k", "value": "v"}) == {}


@pytest.mark.parametrize("prefix", ["/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/"])
def test_both_prefixes(api, experiment, prefix):
    assert api.get(prefix + "experiments/get", experiment_id=experiment)["experiment"]["experiment_id"] == experiment
    assert api.post(prefix + "runs/search", {"experiment_ids": [experiment]}) == {}


def test_latest_versions_by_get_and_post(api, unique):
    name = unique()
    api.post("registered-models/create", {"name": name})
    api.post("model-versions/create", {"name": name, "source": "s3://b/x"})
    posted = api.post("registered-models/get-latest-versions", {"name": name, "stages": ["None", "Production"]})
    assert api.call("GET", f"registered-models/get-latest-versions?name={name}&stages=None&stages=Production").json() == posted
    assert [v["version"] for v in posted["model_versions"]] == ["1"]


def test_experiments_search_by_get(api, experiment):
    found = api.call("GET", "experiments/search", params={"max_results": 5, "filter": f"experiment_id = '{experiment}'", "order_by": ["name DESC"], "view_type": "ALL"})
    assert [e["experiment_id"] for e in found.json()["experiments"]] == [experiment]


@pytest.mark.parametrize("method, path", [("GET", "nothing"), ("POST", "nothing"), ("GET", "/api/2.0/nothing"), ("GET", "/api/2.1/mlflow/experiments/get?experiment_id=0"), ("GET", "Experiments/get")])
def test_unknown_routes(api, method, path):
    assert api.call(method, path, {} if method == "POST" else None).status_code == 404


@pytest.mark.parametrize("method, path", [("GET", "experiments/create"), ("PUT", "experiments/create"), ("DELETE", "experiments/get"), ("POST", "registered-models/update"), ("GET", "runs/search")])
def test_wrong_methods(api, method, path):
    assert api.call(method, path, {} if method != "GET" else None).status_code == 405


@pytest.mark.parametrize("body", [b"{bad", b"", b'{"name": "x"} trailing', b'{"name": "inv\xff"}', b"null", b'{"name": '], ids=repr)
def test_malformed_body(api, body):
    answer = api.call("POST", "experiments/create", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_content_type_must_be_json(api, unique, kind):
    name = unique()
    headers = {"Content-Type": kind} if kind else {}
    answer = api.call("POST", "experiments/create", data=json.dumps({"name": name}).encode(), headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert api.call("GET", "experiments/get-by-name", params={"experiment_name": name}).status_code == 404


def test_content_type_may_have_parameters(api, unique):
    body = json.dumps({"name": unique()}).encode()
    assert api.call("POST", "experiments/create", data=body, headers={"Content-Type": "application/json; charset=utf-8"}).status_code == 200


def test_health_version_and_server_info(api):
    health, version = api.call("GET", "/health"), api.call("GET", "/version")
    assert (health.status_code, health.text) == (200, "OK")
    assert version.status_code == 200 and version.text[0].isdigit()
    info = api.get("/api/3.0/mlflow/server-info")
    assert (info["store_type"], info["workspaces_enabled"], info["trace_archival_enabled"]) == ("SqlStore", False, False)


def test_foreign_hosts_and_origins_are_refused(api):
    assert api.call("GET", "experiments/get?experiment_id=0", headers={"Host": "evil.example"}).status_code == 403
    assert api.call("POST", "experiments/search", {"max_results": 1}, headers={"Origin": "http://evil.example"}).status_code == 403
    assert api.call("POST", "experiments/search", {"max_results": 1}, headers={"Origin": api.url}).status_code == 200
