"""R20: users of the database by MLflow's own client, and what each may do with single objects."""
import contextlib
import hashlib
import importlib
import io
import os
import pathlib
import shutil
import sys
import tempfile
import time
import types
import uuid

import pytest
import requests
from servers import start_cairn

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="access is Cairn's own")
mlflow = pytest.importorskip("mlflow")

PATIENCE_SECONDS = 60
API = "/api/2.0/mlflow/"


def auth_client(url):
    """MLflow's, without the server that is in the same package and wants packages of its own."""
    if "mlflow.server.auth" not in sys.modules:
        package = types.ModuleType("mlflow.server.auth")
        package.__path__ = [str(pathlib.Path(mlflow.__file__).parent / "server" / "auth")]
        sys.modules["mlflow.server.auth"] = package
    return importlib.import_module("mlflow.server.auth.client").AuthServiceClient(url)


@contextlib.contextmanager
def acting_as(who):
    """For the stock clients: a user and password, or a token."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
            patch.delenv(name, raising=False)
        if isinstance(who, str):
            patch.setenv("MLFLOW_TRACKING_TOKEN", who)
        else:
            patch.setenv("MLFLOW_TRACKING_USERNAME", who[0])
            patch.setenv("MLFLOW_TRACKING_PASSWORD", who[1])
        yield


ROOT, WILL, RITA = "of root", "of will", "of rita"


@pytest.fixture(scope="module")
def guarded():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-users-"))
    folder.chmod(0o755)  # the embedded PostgreSQL runs as another user
    (folder / "credentials.toml").write_text("".join(
        f'[[tokens]]\nname = "{name}"\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\nrole = "{role}"\n'
        for name, token, role in (("root", ROOT, "admin"), ("will", WILL, "writer"), ("rita", RITA, "reader"))))
    running = start_cairn(folder, "--credentials", str(folder / "credentials.toml"))
    running.folder = folder
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def call(server, who, method, path, body=None, **arguments):
    headers, auth = ({"Authorization": f"Bearer {who}"}, None) if isinstance(who, str) else ({}, who)
    if body is not None:
        arguments["json"] = body
    return requests.request(method, server.url + (path if path.startswith("/") else API + path), headers=headers, auth=auth, timeout=60, **arguments)


def good(response):
    assert response.ok, f"{response.request.method} {response.url}: {response.status_code} {response.text[:500]}"
    return response.json() if response.content else {}


def refused(response):
    assert response.status_code == 403 and response.json()["error_code"] == "PERMISSION_DENIED", (response.url, response.status_code, response.text[:500])
    return True


@pytest.fixture
def user(guarded):
    """Makes users of the database; the name and password of each is its credentials."""
    def make(role="writer"):
        name = f"user-{uuid.uuid4().hex[:8]}"
        good(call(guarded, ROOT, "POST", "users/create", {"username": name, "password": f"of {name}", "role": role}))
        return name, f"of {name}"
    return make


def new_experiment(server, who=WILL):
    return good(call(server, who, "POST", "experiments/create", {"name": f"e-{uuid.uuid4().hex}"}))["experiment_id"]


def new_run(server, experiment, who=WILL):
    return good(call(server, who, "POST", "runs/create", {"experiment_id": experiment}))["run"]["info"]["run_id"]


def test_R20_mlflows_client_cares_for_users(guarded):
    client = auth_client(guarded.url)
    with acting_as(ROOT):
        made = client.create_user("nora", "first of nora")
        assert (made.username, made.is_admin) == ("nora", False)
        assert client.get_user("nora").id == made.id
        with pytest.raises(mlflow.exceptions.MlflowException, match="already exists"):
            client.create_user("nora", "other")
        with pytest.raises(mlflow.exceptions.MlflowException, match="credentials file"):
            client.create_user("will", "other")  # would never be asked
        for name, password in (("", "x"), ("a:b", "x"), ("short", "")):
            with pytest.raises(mlflow.exceptions.MlflowException):
                client.create_user(name, password)
    nora = ("nora", "first of nora")
    with acting_as(nora):  # at once, without a look at the clock
        assert mlflow.MlflowClient(guarded.url).create_experiment("of nora")
        client.update_user_password("nora", "second of nora")
    assert call(guarded, nora, "GET", "experiments/search", params={"max_results": 1}).status_code == 401  # though it was remembered
    nora = ("nora", "second of nora")
    with acting_as(nora):
        assert client.get_user("nora").username == "nora"
        for forbidden in (lambda: client.create_user("mallory", "x"), lambda: client.update_user_admin("nora", True), lambda: client.delete_user("nora"),
                          lambda: client.update_user_password("someone", "x"), lambda: client.get_user("someone")):
            with pytest.raises(mlflow.exceptions.MlflowException) as error:
                forbidden()
            assert error.value.error_code == "PERMISSION_DENIED"
    with acting_as(ROOT):
        client.update_user_admin("nora", True)
        assert client.get_user("nora").is_admin
    with acting_as(nora):
        assert client.create_user("made-by-nora", "x").username == "made-by-nora"
    with acting_as(ROOT):
        client.update_user_admin("nora", False)
        assert not client.get_user("nora").is_admin
        client.delete_user("made-by-nora")
        client.delete_user("nora")
        with pytest.raises(mlflow.exceptions.MlflowException) as error:
            client.get_user("nora")
        assert error.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert call(guarded, nora, "GET", "experiments/search", params={"max_results": 1}).status_code == 401


def test_R20_only_admins_change_roles_and_see_all_users(guarded, user):
    name, password = user("reader")
    refused(call(guarded, (name, password), "POST", "experiments/create", {"name": "x"}))
    good(call(guarded, ROOT, "PATCH", f"/api/v1/access/users/{name}", {"role": "writer"}))
    new_experiment(guarded, (name, password))
    listed = {one["username"]: one["role"] for one in good(call(guarded, ROOT, "GET", "/api/v1/access/users"))["users"]}
    assert listed[name] == "writer"
    assert call(guarded, ROOT, "PATCH", f"/api/v1/access/users/{name}", {"role": "king"}).status_code == 400
    assert call(guarded, ROOT, "PATCH", "/api/v1/access/users/nobody", {"role": "reader"}).status_code == 404
    for who in (WILL, RITA, (name, password)):
        refused(call(guarded, who, "GET", "/api/v1/access/users"))
        refused(call(guarded, who, "PATCH", f"/api/v1/access/users/{name}", {"role": "admin"}))
        refused(call(guarded, who, "POST", "/api/v1/database/explain", {"statement": "SELECT 1"}))
    good(call(guarded, ROOT, "POST", "/api/v1/database/explain", {"statement": "SELECT 1"}))
    text = (pathlib.Path(guarded.log)).read_text()
    assert password not in text and "$argon2id$" not in text


def test_R20_mlflows_client_cares_for_permissions(guarded, user):
    client, experiment = auth_client(guarded.url), new_experiment(guarded)
    reader = user("reader")
    with acting_as(ROOT):
        assert client.get_user_permission(reader[0], "experiment", experiment).permission == "READ"  # their role's
        client.grant_user_permission(reader[0], "experiment", experiment, "EDIT")
        client.grant_user_permission(reader[0], "experiment", experiment, "MANAGE")  # in its place
        assert client.get_user_permission(reader[0], "experiment", experiment).permission == "MANAGE"
        client.grant_user_permission(reader[0], "experiment", experiment, "DENY")
        assert not client.get_user_permission(reader[0], "experiment", experiment).allowed
        client.revoke_user_permission(reader[0], "experiment", experiment)
        assert client.get_user_permission(reader[0], "experiment", experiment).allowed
        for kind, name in (("experiment", "123456789"), ("registered_model", "no such model"), ("planet", "earth")):
            with pytest.raises(mlflow.exceptions.MlflowException):
                client.grant_user_permission(reader[0], kind, name, "READ")
        with pytest.raises(mlflow.exceptions.MlflowException):
            client.grant_user_permission("nobody", "experiment", experiment, "READ")
        with pytest.raises(mlflow.exceptions.MlflowException):
            client.grant_user_permission(reader[0], "experiment", experiment, "OWN")
    with acting_as(reader), pytest.raises(mlflow.exceptions.MlflowException):
        client.grant_user_permission(reader[0], "experiment", experiment, "MANAGE")


@pytest.mark.parametrize("kind", ["experiment", "registered_model"])
def test_R20_the_routes_of_mlflows_earlier_clients(guarded, user, kind):
    name, _ = user()
    if kind == "experiment":
        path, key = "experiments/permissions/", {"experiment_id": new_experiment(guarded)}
    else:
        path, key = "registered-models/permissions/", {"name": f"m-{uuid.uuid4().hex}"}
        good(call(guarded, WILL, "POST", "registered-models/create", key))
    who = {**key, "username": name}
    made = good(call(guarded, ROOT, "POST", path + "create", {**who, "permission": "READ"}))[f"{kind}_permission"]
    assert made["permission"] == "READ" and key.items() <= made.items()
    assert call(guarded, ROOT, "POST", path + "create", {**who, "permission": "EDIT"}).json()["error_code"] == "RESOURCE_ALREADY_EXISTS"
    good(call(guarded, ROOT, "PATCH", path + "update", {**who, "permission": "NO_PERMISSIONS"}))
    assert good(call(guarded, ROOT, "GET", path + "get", params=who))[f"{kind}_permission"]["permission"] == "NO_PERMISSIONS"
    user_of = good(call(guarded, ROOT, "GET", "users/get", params={"username": name}))["user"]
    assert [p["permission"] for p in user_of[f"{kind}_permissions"]] == ["NO_PERMISSIONS"]
    good(call(guarded, ROOT, "DELETE", path + "delete", who))
    assert call(guarded, ROOT, "GET", path + "get", params=who).status_code == 404
    assert call(guarded, ROOT, "PATCH", path + "update", {**who, "permission": "OWN"}).status_code == 400
    for verb, route in (("POST", "create"), ("PATCH", "update"), ("DELETE", "delete")):
        refused(call(guarded, WILL, verb, path + route, {**who, "permission": "READ"}))


def test_R20_what_is_changed_in_the_database_is_known_within_seconds(guarded, user):
    psycopg2 = pytest.importorskip("psycopg2")
    name, password = user()
    new_experiment(guarded, (name, password))
    with contextlib.closing(psycopg2.connect(host=str(guarded.folder / "data" / "run"), user="postgres", dbname="cairn")) as connection:
        with connection, connection.cursor() as cursor:  # as another server would
            cursor.execute("UPDATE access.users SET role = 'reader' WHERE username = %s", (name,))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while call(guarded, (name, password), "POST", "experiments/create", {"name": uuid.uuid4().hex}).ok:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def grant(server, who, kind, name, permission, by=ROOT):
    """`who` is a user's name and password."""
    body = {"username": who[0], "resource_type": kind, "resource_id": name, "permission": permission}
    return call(server, by, "POST", "/api/3.0/mlflow/users/permissions/grant", body)


def log_metric(server, who, run):
    return call(server, who, "POST", "runs/log-metric", {"run_id": run, "key": "m", "value": 1, "timestamp": 1, "step": 1})


def names(items, *path):
    for part in path:
        items = [item[part] for item in items]
    return set(items)


def test_R20_a_reader_with_edit_logs_to_one_experiment(guarded, user):
    mine, other = new_experiment(guarded), new_experiment(guarded)
    reader = user("reader")
    good(grant(guarded, reader, "experiment", mine, "EDIT"))
    run = new_run(guarded, mine, reader)
    good(log_metric(guarded, reader, run))
    good(call(guarded, reader, "POST", "runs/log-batch", {"run_id": run, "metrics": [], "params": [{"key": "p", "value": "1"}], "tags": []}))
    good(call(guarded, reader, "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{mine}/{run}/artifacts/x.txt", data=b"x"))
    refused(call(guarded, reader, "POST", "runs/create", {"experiment_id": other}))
    refused(log_metric(guarded, reader, new_run(guarded, other)))
    refused(call(guarded, reader, "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{other}/r/artifacts/x.txt", data=b"x"))
    refused(call(guarded, reader, "POST", "runs/delete", {"run_id": run}))  # takes MANAGE
    refused(call(guarded, reader, "POST", "experiments/create", {"name": "x"}))
    refused(call(guarded, reader, "POST", "/api/v1/jobs", {"kind": "x"}))
    good(grant(guarded, reader, "experiment", mine, "MANAGE"))
    good(call(guarded, reader, "POST", "runs/delete", {"run_id": run}))
    friend = user("reader")  # who manages may let others in
    good(grant(guarded, friend, "experiment", mine, "EDIT", by=reader))
    new_run(guarded, mine, friend)
    refused(grant(guarded, friend, "experiment", other, "EDIT", by=reader))


def test_R20_an_experiment_that_is_hidden(guarded, user):
    hidden, seen = new_experiment(guarded), new_experiment(guarded)
    run, other = new_run(guarded, hidden), new_run(guarded, seen)
    good(call(guarded, WILL, "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{hidden}/{run}/artifacts/x.txt", data=b"secret"))
    model = good(call(guarded, WILL, "POST", "logged-models", {"experiment_id": hidden, "name": "m"}))["model"]["info"]["model_id"]
    writer = user("writer")
    good(grant(guarded, writer, "experiment", hidden, "NO_PERMISSIONS"))
    name = good(call(guarded, WILL, "GET", "experiments/get", params={"experiment_id": hidden}))["experiment"]["name"]
    metric = {"metric_key": "m"}
    for method, path, arguments in (
            ("GET", "experiments/get", {"params": {"experiment_id": hidden}}), ("GET", "experiments/get", {"params": {"experiment_id": f"0{hidden}"}}),
            ("GET", "experiments/get-by-name", {"params": {"experiment_name": name}}),
            ("POST", "experiments/update", {"json": {"experiment_id": hidden, "new_name": "x"}}),
            ("POST", "experiments/delete", {"json": {"experiment_id": hidden}}), ("POST", "runs/create", {"json": {"experiment_id": hidden}}),
            ("GET", "runs/get", {"params": {"run_id": run}}), ("GET", "runs/get", {"params": {"run_uuid": run}}),
            ("POST", "runs/set-tag", {"json": {"run_id": run, "key": "k", "value": "v"}}), ("POST", "runs/delete", {"json": {"run_id": run}}),
            ("GET", "metrics/get-history", {"params": {"run_id": run, **metric}}),
            ("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk", {"params": {"run_id": [other, run], **metric}}),
            ("GET", "metrics/get-history-bulk-interval", {"params": {"run_ids": [other, run], **metric}}),
            ("GET", "/api/v1/runs/compare", {"params": {"run_id": [other, run]}}),
            ("POST", "/ajax-api/2.0/mlflow/experiments/search-datasets", {"json": {"experiment_ids": [seen, hidden]}}),
            ("GET", f"logged-models/{model}", {}), ("DELETE", f"logged-models/{model}", {}),
            ("GET", f"logged-models/{model}/artifacts/directories", {}),
            ("GET", "artifacts/list", {"params": {"run_id": run}}), ("GET", "/get-artifact", {"params": {"run_id": run, "path": "x.txt"}}),
            ("GET", f"/api/2.0/mlflow-artifacts/artifacts/{hidden}/{run}/artifacts/x.txt", {}),
            ("GET", "/api/2.0/mlflow-artifacts/artifacts", {"params": {"path": f"{hidden}/{run}"}}),
            ("GET", "/api/2.0/mlflow-artifacts/artifacts", {}), ("GET", "/api/v1/audit", {}),
            ("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{hidden}", {}),
            ("POST", "/api/v1/features/training-sets", {"json": {"query": "SELECT 1", "features": []}}),
            ("POST", "experiments/create", {"json": {"name": uuid.uuid4().hex, "artifact_location": f"mlflow-artifacts:/{hidden}"}}),
    ):
        refused(call(guarded, writer, method, path, **arguments))
    search = {"experiment_ids": [hidden, seen]}
    assert names(good(call(guarded, writer, "POST", "runs/search", search))["runs"], "info", "run_id") == {other}
    assert names(good(call(guarded, WILL, "POST", "runs/search", search))["runs"], "info", "run_id") == {run, other}
    assert good(call(guarded, writer, "POST", "logged-models/search", search)).get("models", []) == []
    listed = names(good(call(guarded, writer, "POST", "experiments/search", {"max_results": 5000}))["experiments"], "experiment_id")
    assert seen in listed and hidden not in listed
    query = {"query": "query($i: MlflowGetRunInput!, $s: MlflowSearchRunsInput!) { mlflowGetRun(input: $i) { run { info { runId } } }"
                      " mlflowSearchRuns(input: $s) { runs { info { runId } experiment { name } } } }",
             "variables": {"i": {"runId": run}, "s": {"experimentIds": [hidden, seen]}}}
    answer = good(call(guarded, writer, "POST", "/graphql", query))
    assert answer["data"]["mlflowGetRun"] is None and [one["info"]["runId"] for one in answer["data"]["mlflowSearchRuns"]["runs"]] == [other]
    good(log_metric(guarded, writer, other))
    refused(log_metric(guarded, writer, run))
    good(grant(guarded, writer, "experiment", hidden, "READ"))  # which a writer would not need
    good(call(guarded, writer, "GET", "runs/get", params={"run_id": run}))
    refused(log_metric(guarded, writer, run))


def test_R20_a_registered_model_that_is_hidden(guarded, user):
    hidden, seen, private = (f"m-{uuid.uuid4().hex}" for _ in range(3))
    for name in (hidden, seen):
        good(call(guarded, WILL, "POST", "registered-models/create", {"name": name}))
    experiment = new_experiment(guarded)
    run = new_run(guarded, experiment)
    good(call(guarded, WILL, "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/m/x.txt", data=b"secret"))
    source = {"source": f"mlflow-artifacts:/{experiment}/{run}/artifacts/m", "run_id": run}
    good(call(guarded, WILL, "POST", "model-versions/create", {"name": hidden, **source}))
    writer = user("writer")
    good(grant(guarded, writer, "registered_model", hidden, "NO_PERMISSIONS"))
    one = {"name": hidden, "version": "1"}
    for method, path, arguments in (
            ("GET", "registered-models/get", {"params": {"name": hidden}}), ("PATCH", "registered-models/update", {"json": {"name": hidden}}),
            ("POST", "registered-models/rename", {"json": {"name": hidden, "new_name": "x"}}), ("DELETE", "registered-models/delete", {"json": {"name": hidden}}),
            ("GET", "model-versions/get", {"params": one}), ("GET", "model-versions/get-download-uri", {"params": one}),
            ("POST", "model-versions/transition-stage", {"json": {**one, "stage": "Production"}}),
            ("POST", "registered-models/alias", {"json": {**one, "alias": "a"}}), ("POST", "registered-models/get-latest-versions", {"json": {"name": hidden}}),
            ("GET", "/model-versions/get-artifact", {"params": {**one, "path": "x.txt"}}),
            ("POST", "/api/v1/deployments", {"json": {"model": hidden, "version": "1", "environment": "production"}}),
            ("POST", "model-versions/create", {"json": {"name": seen, "source": f"models:/{hidden}/1"}}),
    ):
        refused(call(guarded, writer, method, path, **arguments))
    listed = names(good(call(guarded, writer, "GET", "registered-models/search", params={"max_results": 1000}))["registered_models"], "name")
    assert seen in listed and hidden not in listed
    assert good(call(guarded, writer, "GET", "model-versions/search", params={"filter": f"name = '{hidden}'"})).get("model_versions", []) == []
    # Nor are files of an experiment that is hidden to be had by way of a model.
    good(grant(guarded, writer, "experiment", experiment, "NO_PERMISSIONS"))
    good(call(guarded, writer, "POST", "registered-models/create", {"name": private}))
    refused(call(guarded, writer, "POST", "model-versions/create", {"name": private, **source}))
    refused(call(guarded, writer, "POST", "model-versions/create", {"name": private, "source": source["source"]}))
    # A permission goes with its object, and is not inherited by the next one of its name.
    good(call(guarded, WILL, "POST", "registered-models/rename", {"name": hidden, "new_name": hidden + "2"}))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while call(guarded, writer, "GET", "registered-models/get", params={"name": hidden + "2"}).ok:
        assert time.monotonic() < deadline
    good(call(guarded, WILL, "DELETE", "registered-models/delete", {"name": hidden + "2"}))
    kinds = names(good(call(guarded, ROOT, "GET", "/api/v1/access/permissions", params={"username": writer[0]}))["permissions"], "object_id")
    assert kinds == {experiment, private}


def test_R20_pages_are_full_though_much_is_hidden(guarded, user):
    """Three of each that may be read among the hidden, two a page: the hidden ones come first, between and last."""
    tag, writer = uuid.uuid4().hex, user("writer")
    may_read = [False, False, False, True, False, True, True, False, False]
    experiments, models, logged = {}, {}, {}
    for n, seen in enumerate(may_read):
        experiment = good(call(guarded, WILL, "POST", "experiments/create", {"name": f"{tag}-{n}"}))["experiment_id"]
        new_run(guarded, experiment)
        logged[good(call(guarded, WILL, "POST", "logged-models", {"experiment_id": experiment, "name": "m"}))["model"]["info"]["model_id"]] = seen
        good(call(guarded, WILL, "POST", "registered-models/create", {"name": f"{tag}-{n}"}))
        version = {"model": f"{tag}-{n}", "version": good(call(guarded, WILL, "POST", "model-versions/create", {"name": f"{tag}-{n}", "source": "s3://b/x"}))["model_version"]["version"]}
        good(call(guarded, WILL, "POST", "/api/v1/approvals", version))
        good(call(guarded, WILL, "POST", "/api/v1/deployments", {**version, "environment": "staging"}))
        experiments[experiment], models[f"{tag}-{n}"] = seen, seen
        if not seen:
            good(grant(guarded, writer, "experiment", experiment, "NO_PERMISSIONS"))
            good(grant(guarded, writer, "registered_model", f"{tag}-{n}", "NO_PERMISSIONS"))
    by_name, ids = {"filter": f"name LIKE '{tag}%'"}, {"experiment_ids": list(experiments)}
    for method, path, ask, found in (
            ("POST", "experiments/search", by_name, lambda page: [one["experiment_id"] for one in page["experiments"]]),
            ("GET", "experiments/search", by_name, lambda page: [one["experiment_id"] for one in page["experiments"]]),
            ("POST", "runs/search", ids, lambda page: [one["info"]["experiment_id"] for one in page["runs"]]),
            ("POST", "logged-models/search", ids, lambda page: [one["info"]["model_id"] for one in page["models"]]),
            ("GET", "registered-models/search", by_name, lambda page: [one["name"] for one in page["registered_models"]]),
            ("GET", "model-versions/search", by_name, lambda page: [one["name"] for one in page["model_versions"]])):
        sizes, all_found, token = [], [], {}
        while token is not None:
            ask_now = {**ask, "max_results": 2, **token}
            page = good(call(guarded, writer, method, path, **({"json": ask_now} if method == "POST" else {"params": ask_now})))
            sizes.append(len(found(page)))
            all_found += found(page)
            token = {"page_token": page["next_page_token"]} if "next_page_token" in page else None
        assert sizes == [2, 1], path
        readable = {one for known in (experiments, models, logged) for one, seen in known.items() if seen}
        assert len(set(all_found)) == 3 and set(all_found) <= readable, path
    newest = [name for name, seen in reversed(models.items()) if seen]
    for listed in ("approvals", "deployments"):
        assert [one["model"] for one in good(call(guarded, writer, "GET", f"/api/v1/{listed}", params={"limit": 3}))[listed]] == newest
    everything = good(call(guarded, WILL, "POST", "runs/search", ids))["runs"]
    assert len(everything) == len(may_read)
    only_hidden = [one for one, seen in experiments.items() if not seen]
    assert good(call(guarded, writer, "POST", "runs/search", {"experiment_ids": only_hidden})) == {}


def test_R20_collections_and_feature_views(guarded, user):
    tag = uuid.uuid4().hex[:8]
    for name in (f"hidden-{tag}", f"seen-{tag}"):
        good(call(guarded, WILL, "POST", "/api/v1/collections", {"name": name}))
    views = [{"name": f"{name}_{tag}", "entities": [f"e_{tag}"], "features": [{"name": "x", "value_type": "double"}], "push_source": f"p_{name}_{tag}"}
             for name in ("hidden", "seen")]
    declared = {"entities": [{"name": f"e_{tag}", "join_key": f"id_{tag}", "value_type": "int64"}], "feature_views": views,
                "feature_services": [{"name": f"s_{tag}", "features": [f"hidden_{tag}:x"]}]}
    good(call(guarded, WILL, "POST", "/api/v1/features/apply", declared))
    writer, reader = user("writer"), user("reader")
    good(grant(guarded, writer, "collection", f"hidden-{tag}", "NO_PERMISSIONS"))
    good(grant(guarded, writer, "feature_view", f"hidden_{tag}", "NO_PERMISSIONS"))
    good(grant(guarded, reader, "collection", f"seen-{tag}", "EDIT"))
    good(grant(guarded, reader, "feature_view", f"seen_{tag}", "EDIT"))
    rows = {f"id_{tag}": [1], "event_timestamp": ["2026-01-01T00:00:00Z"], "x": [1.5]}
    ask = {"entities": {f"id_{tag}": [1]}}
    for who, method, path, body in (
            (writer, "GET", f"/api/v1/collections/hidden-{tag}", None), (writer, "DELETE", f"/api/v1/collections/hidden-{tag}", None),
            (writer, "POST", f"/api/v1/collections/hidden-{tag}/search", {"query": "x"}), (writer, "POST", f"/v1/vector_stores/hidden-{tag}/search", {"query": "x"}),
            (writer, "POST", f"/api/v1/collections/hidden-{tag}/documents", {"source": "a", "content": "b"}),
            (reader, "POST", f"/api/v1/collections/hidden-{tag}/documents", {"source": "a", "content": "b"}),
            (reader, "POST", "/api/v1/collections", {"name": "x"}),
            (writer, "POST", "/get-online-features", {"features": [f"seen_{tag}:x", f"hidden_{tag}:x"], **ask}),
            (writer, "POST", "/get-online-features", {"features": [f"hidden_{tag}@latest:x"], **ask}),
            (writer, "POST", "/get-online-features", {"feature_service": f"s_{tag}", **ask}),
            (writer, "POST", "/api/v1/features/historical", {"features": [f"hidden_{tag}:x"], **ask}),
            (writer, "POST", "/push", {"push_source_name": f"p_hidden_{tag}", "df": rows}),
            (writer, "POST", "/write-to-online-store", {"feature_view_name": f"hidden_{tag}", "df": rows}),
            (writer, "POST", "/materialize", {"end_ts": "2026-01-01T00:00:00Z"}), (writer, "POST", "/api/v1/features/apply", {"feature_views": views[:1]}),
            (writer, "DELETE", f"/api/v1/features/views/hidden_{tag}", None), (writer, "GET", "/api/v1/features/training-sets", None),
            (reader, "POST", "/push", {"push_source_name": f"p_hidden_{tag}", "df": rows}),
            (reader, "DELETE", f"/api/v1/features/views/seen_{tag}", None), (reader, "POST", "/api/v1/features/apply", {"feature_views": views}),
    ):
        refused(call(guarded, who, method, path, body))
    good(call(guarded, reader, "POST", f"/api/v1/collections/seen-{tag}/documents", {"source": "a", "content": "a cat"}))
    good(call(guarded, writer, "POST", f"/api/v1/collections/seen-{tag}/search", {"query": "cat"}))
    assert call(guarded, reader, "POST", "/push", {"push_source_name": f"p_seen_{tag}", "df": rows}).ok
    good(call(guarded, writer, "POST", "/get-online-features", {"features": [f"seen_{tag}:x"], **ask}))
    for path, key, hidden, seen in (("/api/v1/collections", "collections", f"hidden-{tag}", f"seen-{tag}"),
                                    ("/api/v1/features", "feature_views", f"hidden_{tag}", f"seen_{tag}"),
                                    ("/api/v1/features/health", "feature_views", f"hidden_{tag}", f"seen_{tag}")):
        listed = names(good(call(guarded, writer, "GET", path))[key], "name")
        assert seen in listed and hidden not in listed, path


def test_R20_who_makes_an_object_manages_it(guarded, user):
    tag, maker, friend = uuid.uuid4().hex[:8], user("writer"), user("reader")
    experiment = new_experiment(guarded, maker)
    good(call(guarded, maker, "POST", "registered-models/create", {"name": f"m-{tag}"}))
    good(call(guarded, maker, "POST", "/api/v1/collections", {"name": f"c-{tag}"}))
    good(call(guarded, maker, "POST", "/api/v1/features/apply", {
        "entities": [{"name": f"e_{tag}", "join_key": f"id_{tag}", "value_type": "int64"}],
        "feature_views": [{"name": f"v_{tag}", "entities": [f"e_{tag}"], "features": [{"name": "x", "value_type": "double"}]}]}))
    objects = (("experiment", experiment), ("registered_model", f"m-{tag}"), ("collection", f"c-{tag}"), ("feature_view", f"v_{tag}"))
    for kind, name in objects:
        good(grant(guarded, friend, kind, name, "EDIT", by=maker))
    good(call(guarded, ROOT, "PATCH", f"/api/v1/access/users/{maker[0]}", {"role": "reader"}))
    new_run(guarded, experiment, maker)  # still theirs
    good(call(guarded, maker, "DELETE", "registered-models/delete", {"name": f"m-{tag}"}))
    own = good(call(guarded, maker, "GET", "/api/v1/access/permissions", params={"username": maker[0]}))["permissions"]
    assert {(p["object_type"], p["object_id"], p["permission"]) for p in own} == {(kind, name, "MANAGE") for kind, name in objects if kind != "registered_model"}
    refused(call(guarded, maker, "GET", "/api/v1/access/permissions", params={"username": friend[0]}))
