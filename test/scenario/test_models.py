"""A scikit-learn model's whole life: logged, registered, aliased, staged, loaded back by every name, predicting the same."""
import numpy
import pytest

mlflow = pytest.importorskip("mlflow")
sklearn = pytest.importorskip("sklearn")
from sklearn.datasets import load_iris  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402


@pytest.fixture(scope="module")
def trained():
    features, labels = load_iris(return_X_y=True)
    return LogisticRegression(max_iter=500).fit(features, labels), features


def log(fluent, model, features, **options):
    return fluent.sklearn.log_model(model, name="model", input_example=features[:2], serialization_format="cloudpickle", pip_requirements=["scikit-learn"], **options)


def test_logged_registered_aliased_and_loaded_back(fluent, client, unique, trained):
    model, features = trained
    expected = model.predict(features)
    name = unique("iris")
    with fluent.start_run() as active:
        fluent.log_metric("accuracy", 0.97)
        fluent.log_param("max_iter", 500)
        info = log(fluent, model, features, registered_model_name=name)
    version = client.get_model_version(name, "1")
    assert (version.status, version.run_id, version.current_stage) == ("READY", active.info.run_id, "None")
    assert version.source == f"models:/{info.model_id}"
    client.set_registered_model_alias(name, "champion", "1")
    client.transition_model_version_stage(name, "1", "Production")
    for uri in (f"models:/{name}@champion", f"models:/{name}/1", f"models:/{name}/latest", f"models:/{name}/Production",
                f"runs:/{active.info.run_id}/model", f"models:/{info.model_id}", info.model_uri):
        assert (fluent.sklearn.load_model(uri).predict(features) == expected).all(), uri
    loaded = fluent.pyfunc.load_model(f"models:/{name}@champion")
    assert (loaded.predict(features) == expected).all()
    assert loaded.metadata.run_id == active.info.run_id

    logged = client.get_logged_model(info.model_id)
    assert (logged.status, logged.source_run_id, logged.params) == ("READY", active.info.run_id, {"max_iter": "500"})
    assert {m.key: m.value for m in logged.metrics} == {"accuracy": 0.97}
    assert [m.model_id for m in client.get_run(active.info.run_id).outputs.model_outputs] == [info.model_id]


def test_second_version_and_alias_moved(fluent, client, unique, trained):
    model, features = trained
    flipped = LogisticRegression(max_iter=500).fit(features, (model.predict(features) + 1) % 3)
    name = unique("iris")
    with fluent.start_run():
        for candidate in (model, flipped):
            log(fluent, candidate, features, registered_model_name=name)
    assert [v.version for v in client.search_model_versions(f"name = '{name}'", order_by=["version_number"])] == ["1", "2"]
    client.set_registered_model_alias(name, "champion", "1")
    first = fluent.sklearn.load_model(f"models:/{name}@champion").predict(features)
    client.set_registered_model_alias(name, "champion", "2")
    second = fluent.sklearn.load_model(f"models:/{name}@champion").predict(features)
    assert numpy.array_equal(second, (first + 1) % 3)


def test_register_from_a_run(fluent, unique, trained):
    model, features = trained
    name = unique("iris")
    with fluent.start_run() as active:
        log(fluent, model, features)
    made = fluent.register_model(f"runs:/{active.info.run_id}/model", name, tags={"by": "hand"})
    assert (made.version, made.tags) == ("1", {"by": "hand"})
    assert (fluent.pyfunc.load_model(f"models:/{name}/1").predict(features) == model.predict(features)).all()


def test_model_as_plain_run_artifacts(fluent, client, unique, trained, tmp_path):
    """As MLflow 2 logs models: below the run's own artifacts."""
    model, features = trained
    fluent.sklearn.save_model(model, str(tmp_path / "saved"), serialization_format="cloudpickle", pip_requirements=["scikit-learn"])
    name = unique("old")
    with fluent.start_run() as active:
        fluent.log_artifacts(str(tmp_path / "saved"), "model")
    client.create_registered_model(name)
    made = client.create_model_version(name, f"{active.info.artifact_uri}/model", active.info.run_id)
    assert client.get_model_version_download_uri(name, made.version) == f"{active.info.artifact_uri}/model"
    assert (fluent.sklearn.load_model(f"models:/{name}/{made.version}").predict(features) == model.predict(features)).all()
    assert (fluent.sklearn.load_model(f"runs:/{active.info.run_id}/model").predict(features) == model.predict(features)).all()


def test_autolog(fluent, client, trained):
    _, features = trained
    labels = load_iris(return_X_y=True)[1]
    fluent.sklearn.autolog(log_models=False, log_datasets=True, silent=True)
    try:
        with fluent.start_run() as active:
            LogisticRegression(max_iter=300).fit(features, labels)
    finally:
        fluent.sklearn.autolog(disable=True)
    run = client.get_run(active.info.run_id)
    assert run.data.params["max_iter"] == "300"
    assert run.data.metrics["training_accuracy_score"] > 0.9
    assert len(run.inputs.dataset_inputs) == 1
    assert "training_confusion_matrix.png" in [f.path for f in client.list_artifacts(active.info.run_id)]


def test_model_of_an_unknown_alias(fluent, client, unique):
    name = unique()
    client.create_registered_model(name)
    with pytest.raises(mlflow.MlflowException):
        fluent.pyfunc.load_model(f"models:/{name}@none")
    with pytest.raises(mlflow.MlflowException):
        fluent.pyfunc.load_model(f"models:/{name}/7")
