"""`cairn import mlflow` and `cairn export mlflow`: what the stock client logged to the stock server is read back the same from
Cairn, and from another MLflow that Cairn's data was exported into."""
import contextlib
import enum
import json
import math
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

mlflow = pytest.importorskip("mlflow")
psycopg2 = pytest.importorskip("psycopg2")
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, LoggedModelOutput, LoggedModelParameter, Metric, ViewType  # noqa: E402

from servers import start_cairn, start_mlflow  # noqa: E402

pytestmark = [pytest.mark.full, pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")]


class Place:
    """A tracking server, its folder, and how to reach its database."""

    def __init__(self, folder, server, url):
        self.folder, self.url = folder, url
        self.client = mlflow.MlflowClient(tracking_uri=server.url, registry_uri=server.url)

    def sql(self, query):
        with contextlib.closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def place():
    """Starts servers, each in a folder of its own; none is left in the end."""
    with contextlib.ExitStack() as stack:
        def start(kind):
            folder = pathlib.Path(tempfile.mkdtemp(prefix="transfer-"))
            folder.chmod(0o755)  # PostgreSQL runs as another user
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            if kind == "mlflow":
                server, url = start_mlflow(folder, stack), f"postgresql://postgres@/postgres?host={folder}/pg"
            else:
                server = start_cairn(folder)
                (pid_file,) = folder.glob("data/postgres/*/postmaster.pid")
                _, _, _, port, host, *_ = pid_file.read_text().splitlines()
                url = f"host={host} port={port} user=cairn dbname=cairn"
            stack.callback(server.stop)
            return Place(folder, server, url)

        yield start


def cairn(folder, *arguments):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CAIRN_") and key != "DATABASE_URL"}
    return subprocess.run([os.environ["CAIRN_BIN"], *arguments, "--data-dir", folder / "data"], capture_output=True, text=True, timeout=120,
                          env=environment, cwd=folder)


def transfer(direction, mlflow_place, cairn_place, *options):
    done = cairn(cairn_place.folder, direction, "mlflow", mlflow_place.url, "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def written(summary):
    return {kind: counts["written"] for kind, counts in summary["copied"].items() if counts["written"]}


def fill_runs(client):
    first = client.create_experiment("first", artifact_location="s3://bucket/first", tags={"team": "a'b\\c\t\u00fc"})
    deleted = client.create_experiment("deleted")
    parent = client.create_run(first, run_name="parent", start_time=1000).info.run_id
    child = client.create_run(first, run_name="child", start_time=2000, tags={"mlflow.parentRunId": parent}).info.run_id
    odd = [0.1, math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308]
    client.log_batch(child, [Metric("odd", value, 10 + i, i) for i, value in enumerate(odd)])
    client.log_batch(child, [Metric("accuracy", 0.5, 7, 0), Metric("accuracy", 0.75, 7, 0), Metric("accuracy", math.nan, 7, -3)])
    for at in range(0, 2500, 1000):
        client.log_batch(child, [Metric("loss", 1 / (1 + i), 1000 + i, i) for i in range(at, min(at + 1000, 2500))])
    client.log_batch(parent, params=[mlflow.entities.Param("p" * 250, "v" * 6000), mlflow.entities.Param("empty", "")])
    client.set_tag(parent, "note", "line 1\nline 2\\N \u2603")
    client.set_terminated(child, "FAILED", end_time=3000)
    client.create_run("0", run_name="in Default")
    client.create_run(deleted, run_name="gone with its experiment")
    client.delete_run(client.create_run(first, run_name="gone").info.run_id)
    client.delete_experiment(deleted)
    data = Dataset(name="iris", digest="abc", source_type="local", source='{"uri": "x"}', schema="{}", profile='{"n": 1}')
    client.log_inputs(child, [DatasetInput(data, [InputTag("mlflow.data.context", "training"), InputTag("split", "all")])])
    client.log_inputs(parent, [DatasetInput(Dataset("bare", "1", "http", "u"), [])])
    return first, child


def fill_models(client, experiment, run):
    ready = client.create_logged_model(experiment, name="net", source_run_id=run, params={"depth": "3"}, tags={"t": "v"}, model_type="nn")
    client.log_model_params(ready.model_id, {"width": "8"})
    client.finalize_logged_model(ready.model_id, "READY")
    pending = client.create_logged_model(experiment, name="pending")
    client.log_metric(run, "model_loss", 0.25, timestamp=5, step=2, model_id=ready.model_id, dataset_name="iris", dataset_digest="abc")
    client.log_outputs(run, [LoggedModelOutput(ready.model_id, step=2)])
    client.log_inputs(run, models=[LoggedModelInput(pending.model_id)])
    client.create_registered_model("forest", tags={"owner": "x"}, description="trees")
    client.create_registered_model("empty")
    uri = client.get_run(run).info.artifact_uri
    for number in range(4):
        client.create_model_version("forest", f"{uri}/model", run_id=run, tags={"n": str(number)}, description=f"number {number}")
    client.create_model_version("forest", f"models:/{ready.model_id}", model_id=ready.model_id)
    client.delete_model_version("forest", "2")
    client.create_registered_model("spoilt")
    client.create_model_version("spoilt", f"{uri}/model", run_id=run)
    client.delete_model_version("spoilt", "1")
    client.set_registered_model_alias("forest", "champion", "3")
    client.transition_model_version_stage("forest", "1", "Production")


def fields(entity, *left_out):
    """A printable form of an entity of the client, without what two servers may differ in."""
    if isinstance(entity, (list, tuple)):
        return sorted((fields(one, *left_out) for one in entity), key=repr)
    if isinstance(entity, dict):
        return {key: fields(value, *left_out) for key, value in sorted(entity.items())}
    if isinstance(entity, enum.Enum):
        return entity.value
    if type(entity).__module__.startswith("mlflow.entities"):
        names = [name for name in dir(type(entity)) if isinstance(getattr(type(entity), name), property)]
        return {name: fields(getattr(entity, name), *left_out) for name in names if name not in left_out and not name.startswith("_")}
    if isinstance(entity, float):
        return repr(entity)
    return entity or ""  # absent and empty are the same


def flat(value, path=""):
    """Every leaf by its path: two such are compared leaf by leaf."""
    if not isinstance(value, (dict, list)):
        return {path: value}
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return {key: leaf for name, part in parts for key, leaf in flat(part, f"{path}/{name}").items()}


def everything(client):
    """All that the stock client can read, in an order that does not depend on the server."""
    experiments = client.search_experiments(ViewType.ALL)
    ids = [e.experiment_id for e in experiments]
    runs = client.search_runs(ids, run_view_type=ViewType.ALL)
    by_id = sorted((client.get_run(run.info.run_id) for run in runs), key=lambda run: run.info.run_id)
    models = client.search_registered_models()
    return {
        "experiments": {e.name: fields(e, "creation_time", "last_update_time") for e in experiments},
        "runs": {run.info.run_id: fields(run, "source_type", "user_id") for run in by_id},
        "history": {(run.info.run_id, key): sorted((m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(run.info.run_id, key))
                    for run in by_id for key in run.data.metrics},
        "logged models": sorted((fields(m, "last_updated_timestamp") for m in client.search_logged_models(ids)), key=lambda m: m["model_id"]),
        "models": {m.name: fields(m, "last_updated_timestamp", "latest_versions", "workspace") for m in models},
        "versions": sorted((fields(v, "last_updated_timestamp", "user_id", "model_id", "metrics", "params", "workspace", "aliases")
                            for v in client.search_model_versions()), key=lambda v: (v["name"], v["version"])),
        "champion": client.get_model_version_by_alias("forest", "champion").version,
    }


@pytest.fixture(scope="module")
def source(place):
    source = place("mlflow")
    fill_models(source.client, *fill_runs(source.client))
    source.sql("INSERT INTO webhooks (webhook_id, name, url, status) VALUES ('w', 'w', 'https://example.org', 'ACTIVE')")
    return source


@pytest.fixture(scope="module")
def imported(place, source):
    """Cairn after the import, and what the import said."""
    target = place("cairn")
    target.client.create_experiment("there before")  # takes the number 1, which is another experiment's in MLflow
    dry = transfer("import", source, target, "--dry-run")
    assert not written(dry) and len(target.client.search_experiments(ViewType.ALL)) == 2
    summary = transfer("import", source, target)
    assert dry["renumbered_experiments"] == [{"name": "first", "from": "1", "to": "new"}]
    assert {kind: c["read"] for kind, c in dry["copied"].items()} == {kind: c["read"] for kind, c in summary["copied"].items()}
    return target, summary


def test_the_stock_client_reads_the_same(source, imported):
    target, summary = imported
    number = {r["from"]: r["to"] for r in summary["renumbered_experiments"]}
    assert list(number) == ["1"]
    before, after = everything(source.client), everything(target.client)
    del after["experiments"]["there before"]
    as_text = json.dumps({key: value for key, value in before.items() if key != "history"})
    renumbered = json.loads(as_text.replace('"experiment_id": "1"', f'"experiment_id": "{number["1"]}"'))
    before["experiments"]["Default"] = after["experiments"]["Default"]  # its location is the server's own
    renumbered["experiments"]["Default"] = after["experiments"]["Default"]
    for part, value in renumbered.items():
        assert flat(after[part]) == flat(value), part
    assert after["history"] == before["history"]
    assert target.sql("SELECT * FROM tracking.check_consistency()") == []


def test_a_second_import_doubles_nothing(source, imported):
    target, _ = imported
    before = everything(target.client)
    assert written(transfer("import", source, target)) == {}
    assert everything(target.client) == before


def test_what_came_since_is_brought_over(source, imported):
    target, _ = imported
    run = next(r for r in source.client.search_runs(["1"]) if r.info.run_name == "parent").info.run_id
    source.client.log_batch(run, [Metric("late", i, i, i) for i in range(300)], tags=[mlflow.entities.RunTag("note", "new")])
    source.client.set_terminated(run, "FINISHED", end_time=9000)
    transfer("import", source, target)
    source.client.log_batch(run, [Metric("late", i, i, i) for i in range(290, 310)])
    assert written(transfer("import", source, target)) == {"metric_points": 10}
    found = target.client.get_run(run)
    assert (found.info.status, found.info.end_time, found.data.tags["note"], found.data.metrics["late"]) == ("FINISHED", 9000, "new", 309)
    assert [m.value for m in target.client.get_metric_history(run, "late")] == [float(i) for i in range(310)]


def test_it_says_what_it_left_behind(imported):
    _, summary = imported
    assert summary["left_behind"] == {"deleted model versions (their numbers are not given again)": 2, "webhooks": 1}
    assert summary["artifacts"]["s3:"] == 3


def test_numbers_of_deleted_versions_are_not_given_again(imported):
    target, _ = imported
    run = target.client.search_runs(["0"])[0]
    version = target.client.create_model_version("spoilt", f"{run.info.artifact_uri}/model", run_id=run.info.run_id)
    assert version.version in (2, "2")
    target.client.delete_model_version("spoilt", "2")


def test_export_into_a_fresh_mlflow(place, imported):
    cairn_place, _ = imported
    target = place("mlflow")
    transfer("export", target, cairn_place)
    before, after = everything(cairn_place.client), everything(target.client)
    before["experiments"]["Default"] = after["experiments"]["Default"]
    for part, value in before.items():
        assert flat(after[part]) == flat(value), part
    assert written(transfer("export", target, cairn_place)) == {}
    # MLflow goes on from there.
    number = target.client.create_experiment("afterwards")
    target.client.log_metric(target.client.create_run(number).info.run_id, "m", 1.0)
    assert target.client.create_model_version("spoilt", "s3://x/y").version in (3, "3")


def test_refused(imported):
    cairn_place, _ = imported

    def error(*arguments):
        done = cairn(cairn_place.folder, *arguments)
        return done.returncode, done.stderr

    code, text = error("import", "mlflow", "mysql://host/db")
    assert code == 2 and "PostgreSQL" in text
    code, text = error("export", "mlflow", cairn_place.url)
    assert code == 2 and "mlflow db upgrade" in text
    code, text = error("export", "mlflow", "postgresql://postgres:secret@127.0.0.1:1/none")
    assert code == 5 and "cannot connect" in text and "secret" not in text
