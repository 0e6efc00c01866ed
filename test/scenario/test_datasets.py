"""Datasets as inputs of runs, and models as inputs and outputs."""
import json

import pytest

mlflow = pytest.importorskip("mlflow")
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, LoggedModelOutput  # noqa: E402


def dataset(name="iris", digest="abc", **fields):
    return Dataset(**{"name": name, "digest": digest, "source_type": "local", "source": '{"uri": "x"}', **fields})


def context(value):
    return [InputTag("mlflow.data.context", value)]


def inputs_of(client, run):
    return client.get_run(run).inputs.dataset_inputs


def test_log_input(fluent, client):
    import pandas

    frame = pandas.DataFrame({"a": [1, 2, 3], "label": [0, 1, 0]})
    data = fluent.data.from_pandas(frame, source="https://example.org/iris.csv", name="iris", targets="label")
    with fluent.start_run() as active:
        fluent.log_input(data, context="training", tags={"split": "all"})
    (found,) = inputs_of(client, active.info.run_id)
    assert (found.dataset.name, found.dataset.digest) == ("iris", data.digest)
    assert json.loads(found.dataset.profile)["num_rows"] == 3
    assert "label" in found.dataset.schema
    assert {t.key: t.value for t in found.tags} == {"mlflow.data.context": "training", "split": "all"}
    assert fluent.data.get_source(found).to_json() == data.source.to_json()


def test_same_dataset_twice_is_one_input(client, run):
    client.log_inputs(run, [DatasetInput(dataset(), context("train"))])
    client.log_inputs(run, [DatasetInput(dataset(source="other"), context("eval"))])
    (found,) = inputs_of(client, run)
    assert [(t.key, t.value) for t in found.tags] == [("mlflow.data.context", "train")]
    assert found.dataset.source == '{"uri": "x"}'


def test_name_and_digest_tell_datasets_apart(client, run):
    client.log_inputs(run, [DatasetInput(dataset(digest=d), []) for d in ("1", "2")] + [DatasetInput(dataset(name="wine"), context("eval"))])
    assert sorted((i.dataset.name, i.dataset.digest) for i in inputs_of(client, run)) == [("iris", "1"), ("iris", "2"), ("wine", "abc")]


def test_one_dataset_of_two_runs(client, experiment):
    runs = [client.create_run(experiment).info.run_id for _ in range(2)]
    for run, role in zip(runs, ("train", "eval")):
        client.log_inputs(run, [DatasetInput(dataset(), context(role))])
    assert [inputs_of(client, run)[0].tags[0].value for run in runs] == ["train", "eval"]


def test_schema_and_profile_may_be_absent(client, run):
    client.log_inputs(run, [DatasetInput(dataset(), [])])
    assert not inputs_of(client, run)[0].dataset.schema
    client.log_inputs(run, [DatasetInput(dataset("full", schema="{}", profile='{"n": 1}'), [])])
    full = next(i.dataset for i in inputs_of(client, run) if i.dataset.name == "full")
    assert (full.schema, full.profile) == ("{}", '{"n": 1}')


@pytest.mark.parametrize(
    "item",
    [DatasetInput(dataset("n" * 501), []), DatasetInput(dataset(digest="d" * 37), []), DatasetInput(dataset(), [InputTag("k" * 256, "v")]),
     DatasetInput(dataset(), [InputTag("k", "v" * 501)])],
    ids=["name", "digest", "tag key", "tag value"],
)
def test_over_long(client, run, error_of, item):
    assert error_of(client.log_inputs, run, [item]).error_code == "INVALID_PARAMETER_VALUE"
    assert inputs_of(client, run) == []


def test_deleted_and_unknown_run(client, run, error_of):
    item = [DatasetInput(dataset(), [])]
    assert error_of(client.log_inputs, "0" * 32, item).error_code == "RESOURCE_DOES_NOT_EXIST"
    client.delete_run(run)
    assert error_of(client.log_inputs, run, item).error_code == "INVALID_PARAMETER_VALUE"


def test_models_in_and_out(client, experiment, run):
    made = [client.create_logged_model(experiment, name=n, source_run_id=run).model_id for n in ("in", "out")]
    client.log_inputs(run, models=[LoggedModelInput(made[0])])
    client.log_outputs(run, [LoggedModelOutput(made[1], step=7)])
    found = client.get_run(run)
    assert [m.model_id for m in found.inputs.model_inputs] == [made[0]]
    assert [(m.model_id, m.step) for m in found.outputs.model_outputs] == [(made[1], 7)]
    assert client.search_runs([experiment])[0].outputs.model_outputs[0].model_id == made[1]
