"""Errors over raw HTTP, as a table: request, status, code, and the part of the message that users and clients read.

The stock server answers the same for every row. Where it fails with a 500 or leaks SQL, Cairn is stricter: test_http_strict.py.
"""
import pytest

BAD, NONE, EXISTS = "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"
STATUS = {BAD: 400, EXISTS: 400, NONE: 404}
LONG = "k" * 251


@pytest.fixture(scope="module")
def there(api):
    """What the rows name in braces: an experiment, a deleted one, a run, a deleted one, a model with a version, a logged model."""
    import uuid

    stem = uuid.uuid4().hex
    made = {}
    for key in ("experiment", "gone_experiment"):
        made[key + "_name"] = f"{key}-{stem}"
        made[key] = api.post("experiments/create", {"name": made[key + "_name"]})["experiment_id"]
    for key in ("run", "gone_run"):
        made[key] = api.create_run(made["experiment"], run_name=key)
    api.post("experiments/delete", {"experiment_id": made["gone_experiment"]})
    api.post("runs/delete", {"run_id": made["gone_run"]})
    api.post("runs/log-parameter", {"run_id": made["run"], "key": "p", "value": "1"})
    api.post("runs/log-metric", {"run_id": made["run"], "key": "m", "value": 1, "timestamp": 1})
    made["model"] = f"model-{stem}"
    api.post("registered-models/create", {"name": made["model"]})
    api.post("model-versions/create", {"name": made["model"], "source": "s3://b/x"})
    made["logged"] = api.post("logged-models", {"experiment_id": made["experiment"], "name": "net"})["model"]["info"]["model_id"]
    return made


def fill(value, there):
    if isinstance(value, str):
        for key, text in there.items():
            value = value.replace("{" + key + "}", text)
        return value
    if isinstance(value, dict):
        return {k: fill(v, there) for k, v in value.items()}
    if isinstance(value, list):
        return [fill(v, there) for v in value]
    return value


def check(api, there, method, path, body, code, message):
    answer = api.call(method, fill(path, there), fill(body, there))
    assert answer.headers["Content-Type"].startswith("application/json"), answer.text[:300]
    error = answer.json()
    assert (answer.status_code, error["error_code"]) == (STATUS[code], code), error
    assert fill(message, there) in error["message"]


MISSING = [
    ("POST", "experiments/create", {}, "name"),
    ("POST", "experiments/create", {"name": ""}, "name"),
    ("POST", "experiments/create", {"name": None}, "name"),
    ("GET", "experiments/get", None, "experiment_id"),
    ("GET", "experiments/get?experiment_id=", None, "experiment_id"),
    ("GET", "experiments/get-by-name", None, "experiment_name"),
    ("POST", "experiments/delete", {}, "experiment_id"),
    ("POST", "experiments/restore", {}, "experiment_id"),
    ("POST", "experiments/update", {"new_name": "x"}, "experiment_id"),
    ("POST", "experiments/update", {"experiment_id": "{experiment}"}, "new_name"),
    ("POST", "experiments/set-experiment-tag", {"key": "k", "value": "v"}, "experiment_id"),
    ("POST", "experiments/set-experiment-tag", {"experiment_id": "{experiment}", "value": "v"}, "key"),
    ("POST", "experiments/delete-experiment-tag", {"experiment_id": "{experiment}"}, "key"),
    ("GET", "runs/get", None, "run_id"),
    ("POST", "runs/update", {"status": "FINISHED"}, "run_id"),
    ("POST", "runs/delete", {}, "run_id"),
    ("POST", "runs/restore", {}, "run_id"),
    ("POST", "runs/log-metric", {"key": "m", "value": 1, "timestamp": 1}, "run_id"),
    ("POST", "runs/log-metric", {"run_id": "{run}", "value": 1, "timestamp": 1}, "key"),
    ("POST", "runs/log-metric", {"run_id": "{run}", "key": "", "value": 1, "timestamp": 1}, "key"),
    ("POST", "runs/log-metric", {"run_id": "{run}", "key": "m", "timestamp": 1}, "value"),
    ("POST", "runs/log-metric", {"run_id": "{run}", "key": "m", "value": None, "timestamp": 1}, "value"),
    ("POST", "runs/log-metric", {"run_id": "{run}", "key": "m", "value": 1}, "timestamp"),
    ("POST", "runs/log-parameter", {"key": "p", "value": "v"}, "run_id"),
    ("POST", "runs/log-parameter", {"run_id": "{run}", "value": "v"}, "key"),
    ("POST", "runs/set-tag", {"key": "t", "value": "v"}, "run_id"),
    ("POST", "runs/set-tag", {"run_id": "{run}", "value": "v"}, "key"),
    ("POST", "runs/delete-tag", {"run_id": "{run}"}, "key"),
    ("POST", "runs/log-batch", {}, "run_id"),
    ("POST", "runs/log-batch", {"run_id": "{run}", "metrics": [{"key": "m", "timestamp": 1}]}, "metrics[0].value"),
    ("POST", "runs/log-batch", {"run_id": "{run}", "metrics": [{"key": "m", "value": 1}]}, "metrics[0].timestamp"),
    ("POST", "runs/log-batch", {"run_id": "{run}", "metrics": [{"key": "a", "value": 1, "timestamp": 1}, {"value": 1, "timestamp": 1}]}, "metrics[1].key"),
    ("POST", "runs/log-batch", {"run_id": "{run}", "params": [{"value": "a"}]}, "params[0].key"),
    ("POST", "runs/log-batch", {"run_id": "{run}", "tags": [{"value": "a"}]}, "tags[0].key"),
    ("POST", "runs/log-inputs", {"datasets": []}, "run_id"),
    ("POST", "runs/outputs", {"models": []}, "run_id"),
    ("POST", "runs/outputs", {"run_id": "{run}"}, "models"),
    ("POST", "runs/log-model", {"run_id": "{run}"}, "model_json"),
    ("GET", "metrics/get-history?metric_key=m", None, "run_id"),
    ("GET", "metrics/get-history?run_id={run}", None, "metric_key"),
    ("GET", "metrics/get-history-bulk-interval?metric_key=m", None, "run_ids"),
    ("GET", "metrics/get-history-bulk-interval?run_ids={run}", None, "metric_key"),
    ("GET", "artifacts/list", None, "run_id"),
    ("POST", "registered-models/create", {}, "name"),
    ("GET", "registered-models/get", None, "name"),
    ("PATCH", "registered-models/update", {"description": "d"}, "name"),
    ("POST", "registered-models/rename", {"name": "{model}"}, "new_name"),
    ("DELETE", "registered-models/delete", {}, "name"),
    ("POST", "registered-models/get-latest-versions", {}, "name"),
    ("POST", "registered-models/set-tag", {"name": "{model}", "value": "v"}, "key"),
    ("DELETE", "registered-models/delete-tag", {"name": "{model}"}, "key"),
    ("POST", "registered-models/alias", {"alias": "a", "version": "1"}, "name"),
    ("POST", "registered-models/alias", {"name": "{model}", "version": "1"}, "alias"),
    ("POST", "registered-models/alias", {"name": "{model}", "alias": "a"}, "version"),
    ("GET", "registered-models/alias?name={model}", None, "alias"),
    ("DELETE", "registered-models/alias", {"name": "{model}"}, "alias"),
    ("POST", "model-versions/create", {"source": "s3://b/x"}, "name"),
    ("POST", "model-versions/create", {"name": "{model}"}, "source"),
    ("GET", "model-versions/get?name={model}", None, "version"),
    ("POST", "model-versions/transition-stage", {"name": "{model}", "version": "1"}, "stage"),
    ("POST", "model-versions/set-tag", {"name": "{model}", "version": "1", "value": "v"}, "key"),
    ("DELETE", "model-versions/delete", {"name": "{model}"}, "version"),
    ("POST", "logged-models", {}, "experiment_id"),
    ("PATCH", "logged-models/{logged}", {"model_id": "{logged}"}, "status"),
]


@pytest.mark.parametrize("method, path, body, field", MISSING, ids=lambda v: v if isinstance(v, str) else "")
def test_missing_parameter(api, there, method, path, body, field):
    check(api, there, method, path, body, BAD, f"Missing value for required parameter '{field}'")


WRONG = [
    ("experiments/create", {"name": 5}, "Invalid value 5 for parameter 'name' supplied"),
    ("experiments/create", {"name": ["x"]}, "Invalid value [\"x\"] for parameter 'name' supplied"),
    ("experiments/create", {"name": "x", "tags": "y"}, "Invalid value \"y\" for parameter 'tags' supplied"),
    ("experiments/update", {"experiment_id": 1, "new_name": "x"}, "Invalid value 1 for parameter 'experiment_id' supplied"),
    ("experiments/set-experiment-tag", {"experiment_id": "{experiment}", "key": "k", "value": 5}, "Invalid value 5 for parameter 'value' supplied"),
    ("experiments/search", {"max_results": "x"}, "Invalid value \"x\" for parameter 'max_results' supplied"),
    ("experiments/search", {"max_results": 5, "filter": 5}, "Invalid value 5 for parameter 'filter' supplied"),
    ("experiments/search", {"max_results": 5, "order_by": "name"}, "Invalid value \"name\" for parameter 'order_by' supplied"),
    ("runs/create", {"experiment_id": 1}, "Invalid value 1 for parameter 'experiment_id' supplied"),
    ("runs/create", {"experiment_id": "{experiment}", "start_time": "x"}, "Invalid value \"x\" for parameter 'start_time' supplied"),
    ("runs/create", {"experiment_id": "{experiment}", "run_name": 5}, "Invalid value 5 for parameter 'run_name' supplied"),
    ("runs/update", {"run_id": "{run}", "end_time": "x"}, "Invalid value \"x\" for parameter 'end_time' supplied"),
    ("runs/log-metric", {"run_id": "{run}", "key": 5, "value": 1, "timestamp": 1}, "Invalid value 5 for parameter 'key' supplied"),
    ("runs/log-metric", {"run_id": "{run}", "key": "m", "value": "abc", "timestamp": 1}, "Invalid value \"abc\" for parameter 'value' supplied"),
    ("runs/log-metric", {"run_id": "{run}", "key": "m", "value": 1, "timestamp": "abc"}, "Invalid value \"abc\" for parameter 'timestamp' supplied"),
    ("runs/log-metric", {"run_id": "{run}", "key": "m", "value": 1, "timestamp": 1, "step": "x"}, "Invalid value \"x\" for parameter 'step' supplied"),
    ("runs/log-parameter", {"run_id": "{run}", "key": "x", "value": 5}, "Invalid value 5 for parameter 'value' supplied"),
    ("runs/set-tag", {"run_id": "{run}", "key": "x", "value": 5}, "Invalid value 5 for parameter 'value' supplied"),
    ("runs/log-batch", {"run_id": "{run}", "metrics": "x"}, "Invalid value \"x\" for parameter 'metrics' supplied"),
    ("runs/log-batch", {"run_id": "{run}", "metrics": {"key": "a"}}, "for parameter 'metrics' supplied"),
    ("runs/log-inputs", {"run_id": "{run}", "datasets": "x"}, "Invalid value \"x\" for parameter 'datasets' supplied"),
    ("runs/search", {"experiment_ids": "1"}, "Invalid value \"1\" for parameter 'experiment_ids' supplied"),
    ("runs/search", {"experiment_ids": ["1"], "filter": 5}, "Invalid value 5 for parameter 'filter' supplied"),
    ("runs/search", {"experiment_ids": ["1"], "order_by": "x"}, "Invalid value \"x\" for parameter 'order_by' supplied"),
    ("runs/search", {"experiment_ids": ["1"], "max_results": "x"}, "Invalid value \"x\" for parameter 'max_results' supplied"),
    ("runs/search", {"experiment_ids": ["1"], "max_results": 50001}, "Invalid value 50001 for parameter 'max_results' supplied"),
    ("registered-models/create", {"name": 5}, "Invalid value 5 for parameter 'name' supplied"),
    ("registered-models/alias", {"name": "{model}", "alias": "x", "version": 1}, "Invalid value 1 for parameter 'version' supplied"),
    ("logged-models", {"experiment_id": 5}, "Invalid value 5 for parameter 'experiment_id' supplied"),
]


@pytest.mark.parametrize("path, body, message", WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_wrong_type(api, there, path, body, message):
    check(api, there, "POST", path, body, BAD, message)


UNKNOWN_RUN = "Run with id=nobody not found"
RULES = [
    ("GET", "experiments/get?experiment_id=987654321", None, NONE, "No Experiment with id=987654321 exists"),
    ("GET", "experiments/get?experiment_id=99999999999999999999", None, NONE, "No Experiment with id=99999999999999999999 exists"),
    ("GET", "experiments/get?experiment_id=abc", None, BAD, "Invalid experiment ID 'abc'. Experiment ID must be a valid integer."),
    ("GET", "experiments/get-by-name?experiment_name=nobody", None, NONE, "Could not find experiment with name 'nobody'"),
    ("POST", "experiments/create", {"name": "{experiment_name}"}, EXISTS, "Experiment(name={experiment_name}) already exists."),
    ("POST", "experiments/create", {"name": "{gone_experiment_name}"}, EXISTS, "Experiment(name={gone_experiment_name}) already exists."),
    ("POST", "experiments/create", {"name": "n" * 501}, BAD, "'name' exceeds the maximum length of 500 characters"),
    ("POST", "experiments/create", {"name": "x", "artifact_location": "s3://b/x#f"}, BAD, "'artifact_location' URL can't include fragments or params."),
    ("POST", "experiments/create", {"name": "x", "tags": [{"key": LONG, "value": "v"}]}, BAD, "'key' exceeds the maximum length of 250 characters"),
    ("POST", "experiments/create", {"name": "x", "tags": [{"key": "k!", "value": "v"}]}, BAD, "Invalid value \"k!\" for parameter 'key' supplied: Names may only contain"),
    ("POST", "experiments/update", {"experiment_id": "987654321", "new_name": "x"}, NONE, "No Experiment with id=987654321 exists"),
    ("POST", "experiments/delete", {"experiment_id": "987654321"}, NONE, "No Experiment with id=987654321 exists"),
    ("POST", "experiments/delete", {"experiment_id": "{gone_experiment}"}, NONE, "No Experiment with id={gone_experiment} exists"),
    ("POST", "experiments/restore", {"experiment_id": "{experiment}"}, NONE, "No Experiment with id={experiment} exists"),
    ("POST", "experiments/set-experiment-tag", {"experiment_id": "987654321", "key": "k", "value": "v"}, NONE, "No Experiment with id=987654321 exists"),
    ("POST", "experiments/set-experiment-tag", {"experiment_id": "{gone_experiment}", "key": "k", "value": "v"}, BAD,
     "The experiment {gone_experiment} must be in the 'active' state. Current state is deleted."),
    ("POST", "experiments/set-experiment-tag", {"experiment_id": "{experiment}", "key": LONG, "value": "v"}, BAD, "'key' exceeds the maximum length of 250 characters"),
    ("POST", "experiments/delete-experiment-tag", {"experiment_id": "{experiment}", "key": "none"}, NONE, "No tag with name: none in experiment with id {experiment}"),
    ("POST", "experiments/search", {"max_results": 0}, BAD, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"),
    ("POST", "experiments/search", {"max_results": 50001}, BAD, "Invalid value 50001 for parameter 'max_results' supplied. It must be at most 50000"),
    ("POST", "experiments/search", {"max_results": 5, "page_token": "junk"}, BAD, "Invalid page token"),
    ("POST", "runs/create", {"experiment_id": "987654321"}, NONE, "No Experiment with id=987654321 exists"),
    ("POST", "runs/create", {"experiment_id": "abc"}, BAD, "Invalid experiment ID 'abc'"),
    ("POST", "runs/create", {"experiment_id": "{gone_experiment}"}, BAD, "The experiment {gone_experiment} must be in the 'active' state. Current state is deleted."),
    ("POST", "runs/create", {"experiment_id": "{experiment}", "run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]}, BAD,
     "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values"),
    ("GET", "runs/get?run_id=nobody", None, NONE, UNKNOWN_RUN),
    ("GET", "runs/get?run_id=" + "a" * 300, None, NONE, "not found"),
    ("POST", "runs/update", {"run_id": "nobody", "status": "FINISHED"}, NONE, UNKNOWN_RUN),
    ("POST", "runs/delete", {"run_id": "nobody"}, NONE, UNKNOWN_RUN),
    ("POST", "runs/restore", {"run_id": "nobody"}, NONE, UNKNOWN_RUN),
    ("POST", "runs/log-metric", {"run_id": "nobody", "key": "m", "value": 1, "timestamp": 1}, NONE, UNKNOWN_RUN),
    ("POST", "runs/log-metric", {"run_id": "{gone_run}", "key": "m", "value": 1, "timestamp": 1}, BAD, "The run {gone_run} must be in the 'active' state. Current state is deleted."),
    ("POST", "runs/log-metric", {"run_id": "{run}", "key": LONG, "value": 1, "timestamp": 1}, BAD, "'Metric name' exceeds the maximum length of 250 characters"),
    ("POST", "runs/log-metric", {"run_id": "{run}", "key": "a!b", "value": 1, "timestamp": 1}, BAD, "Invalid value \"a!b\" for parameter 'name' supplied: Names may only contain"),
    ("POST", "runs/log-metric", {"run_id": "{run}", "key": "a/../b", "value": 1, "timestamp": 1}, BAD, "This name would resolve to 'b'"),
    ("POST", "runs/log-metric", {"run_id": "{run}", "key": "m", "value": 1, "timestamp": -1}, BAD, "Timestamp must be a nonnegative long (64-bit integer)"),
    ("POST", "runs/log-parameter", {"run_id": "nobody", "key": "p", "value": "v"}, NONE, UNKNOWN_RUN),
    ("POST", "runs/log-parameter", {"run_id": "{run}", "key": LONG, "value": "v"}, BAD, "'Param key' exceeds the maximum length of 250 characters"),
    ("POST", "runs/log-parameter", {"run_id": "{run}", "key": "p", "value": "2"}, BAD,
     "Changing param values is not allowed. Param with key='p' was already logged with value='1' for run ID='{run}'. Attempted logging new value '2'."),
    ("POST", "runs/set-tag", {"run_id": "nobody", "key": "t", "value": "v"}, NONE, UNKNOWN_RUN),
    ("POST", "runs/set-tag", {"run_id": "{run}", "key": LONG, "value": "v"}, BAD, "'key' exceeds the maximum length of 250 characters"),
    ("POST", "runs/delete-tag", {"run_id": "{run}", "key": "none"}, NONE, "No tag with name: none in run with id {run}"),
    ("POST", "runs/delete-tag", {"run_id": "nobody", "key": "none"}, NONE, UNKNOWN_RUN),
    ("POST", "runs/log-batch", {"run_id": "nobody"}, NONE, UNKNOWN_RUN),
    ("POST", "runs/log-batch", {"run_id": "{gone_run}"}, BAD, "must be in the 'active' state"),
    ("POST", "runs/log-batch", {"run_id": "{run}", "metrics": [{"key": "a!", "value": 1, "timestamp": 1}]}, BAD, "Invalid value \"a!\" for parameter 'metrics[0].name' supplied"),
    ("POST", "runs/log-batch", {"run_id": "{run}", "metrics": [{"key": "a", "value": 1, "timestamp": -1}]}, BAD, "Invalid value -1 for parameter 'metrics[0].timestamp' supplied"),
    ("POST", "runs/log-batch", {"run_id": "{run}", "tags": [{"key": LONG, "value": "v"}]}, BAD, "'tags[0].key' exceeds the maximum length of 250 characters"),
    ("POST", "runs/log-batch", {"run_id": "{run}", "params": [{"key": "p", "value": "2"}]}, BAD,
     "Changing param values is not allowed. Params were already logged='[{'key': 'p', 'old_value': '1', 'new_value': '2'}]' for run ID='{run}'."),
    ("POST", "runs/log-inputs", {"run_id": "nobody", "datasets": []}, NONE, UNKNOWN_RUN),
    ("POST", "runs/outputs", {"run_id": "nobody", "models": [{"model_id": "m", "step": 0}]}, NONE, UNKNOWN_RUN),
    ("POST", "runs/log-model", {"run_id": "{run}", "model_json": "{bad"}, BAD, "is not a valid JSON"),
    ("POST", "runs/log-model", {"run_id": "{run}", "model_json": "{}"}, BAD, "Model json is missing mandatory fields"),
    ("POST", "runs/search", {"experiment_ids": ["abc"]}, BAD, "Invalid experiment ID 'abc'"),
    ("POST", "runs/search", {"experiment_ids": ["{experiment}"], "max_results": 0}, BAD, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"),
    ("POST", "runs/search", {"experiment_ids": ["{experiment}"], "page_token": "junk"}, BAD, "Invalid page token"),
    ("POST", "runs/search", {"experiment_ids": ["{experiment}"], "filter": "bogus.x = '1'"}, BAD, "Invalid entity type 'bogus'"),
    ("POST", "runs/search", {"experiment_ids": ["{experiment}"], "filter": "bogus = '1'"}, BAD, "Invalid attribute key 'bogus' specified"),
    ("POST", "runs/search", {"experiment_ids": ["{experiment}"], "filter": "metrics.a > 'x'"}, BAD, "Expected numeric value type for metric"),
    ("POST", "runs/search", {"experiment_ids": ["{experiment}"], "filter": "params.a = 1"}, BAD, "Expected a quoted string value for parameter"),
    ("POST", "runs/search", {"experiment_ids": ["{experiment}"], "filter": "params.a > 'x'"}, BAD, "Invalid comparator '>' not one of"),
    ("POST", "runs/search", {"experiment_ids": ["{experiment}"], "filter": "metrics.a"}, BAD, "Invalid clause(s) in filter string"),
    ("POST", "runs/search", {"experiment_ids": ["{experiment}"], "order_by": ["metrics.a foo"]}, BAD, "Invalid ordering key in order_by clause 'metrics.a foo'."),
    ("POST", "runs/search", {"experiment_ids": ["{experiment}"], "order_by": [""]}, BAD, "Invalid order_by clause ''"),
    ("GET", "metrics/get-history?run_id={run}&metric_key=m&max_results=0", None, BAD, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"),
    ("GET", "metrics/get-history?run_id={run}&metric_key=m&page_token=junk&max_results=1", None, BAD, "Invalid page token"),
    ("GET", "metrics/get-history-bulk-interval?run_ids={run}&metric_key=m&start_step=3", None, BAD, "both must be specified"),
    ("GET", "metrics/get-history-bulk-interval?run_ids={run}&metric_key=m&start_step=3&end_step=1", None, BAD, "end_step must be greater than start_step. Found start_step=3 and end_step=1."),
    ("GET", "metrics/get-history-bulk-interval?run_ids={run}&metric_key=m&max_results=2501", None, BAD, "max_results must be between 1 and 2500"),
    ("GET", "artifacts/list?run_id=nobody", None, NONE, UNKNOWN_RUN),
    ("GET", "artifacts/list?run_id={run}&path=..", None, BAD, "Invalid path"),
    ("POST", "registered-models/create", {"name": "{model}"}, EXISTS, "Registered Model (name={model}) already exists."),
    ("POST", "registered-models/create", {"name": "a/b"}, BAD, "Invalid model name 'a/b'. Names cannot contain '/' or ':'."),
    ("GET", "registered-models/get?name=nobody", None, NONE, "Registered Model with name=nobody not found"),
    ("PATCH", "registered-models/update", {"name": "nobody", "description": "d"}, NONE, "Registered Model with name=nobody not found"),
    ("POST", "registered-models/rename", {"name": "nobody", "new_name": "x"}, NONE, "Registered Model with name=nobody not found"),
    ("DELETE", "registered-models/delete", {"name": "nobody"}, NONE, "Registered Model with name=nobody not found"),
    ("POST", "registered-models/set-tag", {"name": "{model}", "key": LONG, "value": "v"}, BAD, "'key' exceeds the maximum length of 250 characters"),
    ("POST", "registered-models/set-tag", {"name": "nobody", "key": "k", "value": "v"}, NONE, "Registered Model with name=nobody not found"),
    ("POST", "registered-models/get-latest-versions", {"name": "{model}", "stages": ["bogus"]}, BAD, "Invalid Model Version stage: bogus. Value must be one of None, Staging, Production, Archived."),
    ("GET", "registered-models/search?max_results=1001", None, BAD, "for parameter 'max_results' supplied"),
    ("GET", "registered-models/search?page_token=junk", None, BAD, "Invalid page token"),
    ("GET", "registered-models/alias?name={model}&alias=none", None, BAD, "Registered model alias none not found."),
    ("GET", "registered-models/alias?name=nobody&alias=none", None, NONE, "Registered Model with name=nobody not found"),
    ("POST", "registered-models/alias", {"name": "{model}", "alias": "v1", "version": "1"}, BAD, "Version alias name 'v1' is reserved."),
    ("POST", "registered-models/alias", {"name": "{model}", "alias": "Latest", "version": "1"}, BAD, "'latest' alias name (case insensitive) is reserved."),
    ("POST", "registered-models/alias", {"name": "{model}", "alias": "a b", "version": "1"}, BAD, "Invalid alias name: 'a b'."),
    ("POST", "registered-models/alias", {"name": "{model}", "alias": "a", "version": "99"}, NONE, "Model Version (name={model}, version=99) not found"),
    ("POST", "model-versions/create", {"name": "nobody", "source": "s3://b/x"}, NONE, "Registered Model with name=nobody not found"),
    ("POST", "model-versions/create", {"name": "{model}", "source": "/etc/passwd"}, BAD, "Invalid model version source: '/etc/passwd'."),
    ("GET", "model-versions/get?name={model}&version=99", None, NONE, "Model Version (name={model}, version=99) not found"),
    ("GET", "model-versions/get?name=nobody&version=1", None, NONE, "Model Version (name=nobody, version=1) not found"),
    ("GET", "model-versions/get?name={model}&version=abc", None, BAD, "Parameter 'version' must be an integer, got 'abc'."),
    ("PATCH", "model-versions/update", {"name": "{model}", "version": "99", "description": "d"}, NONE, "Model Version (name={model}, version=99) not found"),
    ("POST", "model-versions/transition-stage", {"name": "{model}", "version": "1", "stage": "bogus"}, BAD, "Invalid Model Version stage: bogus."),
    ("POST", "model-versions/transition-stage", {"name": "{model}", "version": "99", "stage": "Staging"}, NONE, "Model Version (name={model}, version=99) not found"),
    ("DELETE", "model-versions/delete", {"name": "{model}", "version": "99"}, NONE, "Model Version (name={model}, version=99) not found"),
    ("POST", "model-versions/set-tag", {"name": "{model}", "version": "x", "key": "k", "value": "v"}, BAD, "Parameter 'version' must be an integer, got 'x'."),
    ("GET", "model-versions/get-download-uri?name={model}&version=99", None, NONE, "Model Version (name={model}, version=99) not found"),
    ("GET", "model-versions/search?max_results=0", None, BAD, "max_results"),
    ("GET", "logged-models/m-nobody", None, NONE, "Logged model with ID 'm-nobody' not found."),
    ("DELETE", "logged-models/m-nobody", None, NONE, "Logged model with ID 'm-nobody' not found."),
    ("POST", "logged-models", {"experiment_id": "987654321"}, NONE, "No Experiment with id=987654321 exists"),
    ("POST", "logged-models", {"experiment_id": "{experiment}", "name": "a/b"}, BAD, "Invalid model name ('a/b') provided."),
    ("DELETE", "logged-models/{logged}/tags/none", None, NONE, "No tag with key 'none' found for model with ID '{logged}'."),
    ("POST", "logged-models/search", {"experiment_ids": ["{experiment}"], "order_by": [{"field_name": "bogus"}]}, BAD, "Invalid order by field name: bogus"),
]


@pytest.mark.parametrize("method, path, body, code, message", RULES, ids=lambda v: v[:60] if isinstance(v, str) else "")
def test_rule(api, there, method, path, body, code, message):
    check(api, there, method, path, body, code, message)
