"""`cairn gc`: what was deleted is gone for good after its time, artifacts first, and nothing else is."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

mlflow = pytest.importorskip("mlflow")
from mlflow.entities import Metric, ViewType  # noqa: E402

from servers import start_cairn  # noqa: E402

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="this is Cairn's own command")


class Place:
    """A server of the test's own, for garbage is collected everywhere."""

    def __init__(self, folder):
        self.folder = folder
        self.server = start_cairn(folder)
        self.artifacts = folder / "data" / "artifacts"
        self.client = mlflow.MlflowClient(tracking_uri=self.server.url, registry_uri=self.server.url)

    def command(self, *options):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CAIRN_") and key != "DATABASE_URL"}
        return subprocess.run([os.environ["CAIRN_BIN"], "gc", "--data-dir", self.folder / "data", *options], cwd=self.folder,
                              capture_output=True, text=True, timeout=120, env=environment)

    def gc(self, *options, code=0):
        done = self.command("--json", *options)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def run_with_artifact(self, experiment):
        run = self.client.create_run(experiment).info.run_id
        self.client.log_text(run, "text", "a/b.txt")
        assert self.files(run)
        return run

    def files(self, part):
        """Artifact files with this part in their path."""
        return [path for path in self.artifacts.rglob("*") if path.is_file() and part in path.parts]

    def runs(self, *experiments):
        return {run.info.run_id for run in self.client.search_runs(list(experiments), run_view_type=ViewType.ALL)}


@pytest.fixture(scope="module")
def place():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gc-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    place = Place(folder)
    yield place
    place.server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def experiment(place, unique):
    return place.client.create_experiment(unique("gc"))


def test_a_deleted_run_goes_with_its_artifacts_and_no_other(place, experiment):
    live, deleted = place.run_with_artifact(experiment), place.run_with_artifact(experiment)
    place.client.log_batch(deleted, [Metric("m", i, i, i) for i in range(500)])
    place.client.delete_run(deleted)
    assert place.gc()["removed"]["runs"] == 0  # the default is 30 days
    assert place.runs(experiment) == {live, deleted}
    dry = place.gc("--older-than", "0s", "--dry-run")
    assert (dry["removed"]["runs"], dry["removed"]["artifact_directories"]) == (1, 1) and place.files(deleted)
    place.gc("--older-than", "0s")
    assert place.runs(experiment) == {live}
    assert place.files(live) and not place.files(deleted)
    assert not (place.artifacts / experiment / deleted).exists()
    assert place.gc("--older-than", "0s")["removed"] == {"runs": 0, "logged_models": 0, "experiments": 0, "artifact_directories": 0}


def test_an_experiment_takes_all_along(place, unique):
    name = unique("gone")
    experiment = place.client.create_experiment(name)
    place.run_with_artifact(experiment)
    model = place.client.create_logged_model(experiment, name="net")
    place.client.delete_experiment(experiment)
    removed = place.gc("--older-than", "0s")["removed"]
    assert (removed["experiments"], removed["runs"], removed["logged_models"]) == (1, 1, 1)
    assert not (place.artifacts / experiment).exists()
    assert place.client.get_experiment_by_name(name) is None
    assert place.client.create_experiment(name) != experiment  # the name is free again, the number is not
    with pytest.raises(mlflow.exceptions.MlflowException):
        place.client.get_logged_model(model.model_id)


def test_what_a_version_was_made_from_is_kept(place, unique):
    experiment, name = place.client.create_experiment(unique("kept")), unique("forest")
    run = place.run_with_artifact(experiment)
    other = place.run_with_artifact(experiment)
    model = place.client.create_logged_model(experiment, name="net")
    place.client.finalize_logged_model(model.model_id, "READY")
    place.client.create_registered_model(name)
    place.client.create_model_version(name, place.client.get_run(run).info.artifact_uri + "/a", run_id=run)
    place.client.create_model_version(name, f"models:/{model.model_id}", model_id=model.model_id)
    place.client.delete_logged_model(model.model_id)
    place.client.delete_experiment(experiment)
    done = place.gc("--older-than", "0s")
    kept = {entry["id"]: entry["why"] for entry in done["kept"]["first"]}
    assert set(kept) == {run, model.model_id, experiment} and f"{name}/1" in kept[run]
    assert place.runs(experiment) == {run} and place.files(run) and not place.files(other)
    place.client.delete_registered_model(name)
    assert place.gc("--older-than", "0s")["removed"]["experiments"] == 1
    assert not place.files(run)


def test_many_at_once(place, experiment):
    runs = [place.client.create_run(experiment).info.run_id for _ in range(230)]
    for run in runs[:-1]:
        place.client.delete_run(run)
    assert place.gc("--older-than", "0s")["removed"]["runs"] == 229
    assert place.runs(experiment) == {runs[-1]}


def test_artifacts_elsewhere_are_left_and_named(place, unique):
    experiment = place.client.create_experiment(unique("s3"), artifact_location="s3://bucket/place")
    run = place.client.create_run(experiment).info.run_id
    place.client.delete_run(run)
    left = place.gc("--older-than", "0s")["artifacts_left"]
    assert left == {"count": 1, "first": [{"kind": "run", "id": run, "why": f"s3://bucket/place/{run}/artifacts"}]}
    assert place.runs(experiment) == set()


def test_a_shared_location_keeps_what_others_have_in_it(place, unique):
    """Two experiments in one directory: the one that goes takes only its own runs along."""
    shared = f"mlflow-artifacts:/{unique('shared')}"
    gone, stays = (place.client.create_experiment(unique("x"), artifact_location=shared) for _ in range(2))
    run, other = place.run_with_artifact(gone), place.run_with_artifact(stays)
    place.client.delete_experiment(gone)
    done = place.gc("--older-than", "0s")
    assert done["removed"]["experiments"] == 1 and [entry["id"] for entry in done["artifacts_left"]["first"]] == [gone]
    assert not place.files(run) and place.files(other)


def test_what_is_no_age_is_refused(place):
    done = place.command("--older-than", "soon")
    assert done.returncode == 2 and "30d" in done.stderr
