"""What MLflow's web page calls: bulk histories, dataset search, GraphQL."""
import pytest

AJAX = "/ajax-api/2.0/mlflow/"


@pytest.fixture
def pair(api, experiment):
    """Two runs with metric m: values 0..4 at steps 0..4, and 0..40 at steps 0..8."""
    runs = [api.create_run(experiment, run_name=f"r{i}", start_time=i + 1) for i in range(2)]
    for scale, run in zip((1, 2), runs):
        api.post("runs/log-batch", {"run_id": run, "metrics": [{"key": "m", "value": i * scale * scale * 2.5, "timestamp": 100 + i, "step": i * scale} for i in range(5)],
                                    "params": [{"key": "p", "value": "1"}]})
    return runs


def steps(answer):
    return [(m["run_id"], m["step"]) for m in answer.get("metrics", [])]


def test_history_bulk(api, pair):
    a, b = pair
    answer = api.get(AJAX + "metrics/get-history-bulk", run_id=[a, b], metric_key="m")
    assert [p for p in steps(answer) if p[0] == a] == [(a, i) for i in range(5)]
    assert [p for p in steps(answer) if p[0] == b] == [(b, 2 * i) for i in range(5)]
    assert next(m for m in answer["metrics"] if m["run_id"] == a and m["step"] == 1) == {"key": "m", "run_id": a, "step": 1, "timestamp": 101, "value": 2.5}
    assert steps(api.get(AJAX + "metrics/get-history-bulk", run_id=[a], metric_key="m", max_results=2)) == [(a, 0), (a, 1)]
    assert api.get(AJAX + "metrics/get-history-bulk", run_id=["nobody"], metric_key="m") == {"metrics": []}
    for query in ({"metric_key": "m"}, {"run_id": a}, {"metric_key": "m", "run_id": [f"r{i}" for i in range(101)]}):
        assert api.call("GET", AJAX + "metrics/get-history-bulk", params=query).status_code == 400


def test_history_bulk_interval(api, pair):
    a, b = pair

    def ask(**query):
        return steps(api.get("metrics/get-history-bulk-interval", metric_key="m", **query))

    assert ask(run_ids=[a, b]) == [(a, i) for i in range(5)] + [(b, 2 * i) for i in range(5)]
    assert ask(run_ids=a, start_step=1, end_step=3) == [(a, 1), (a, 2), (a, 3)]
    assert ask(run_ids=a, max_results=2) == [(a, 0), (a, 4)]
    sampled = ask(run_ids=[b], max_results=3)
    assert sampled[0] == (b, 0) and sampled[-1] == (b, 8) and len(sampled) == 3
    assert ask(run_ids=["nobody"]) == []
    point = api.get(AJAX + "metrics/get-history-bulk-interval", metric_key="m", run_ids=[a])["metrics"][0]
    assert point == {"key": "m", "value": 0.0, "timestamp": 100, "step": 0, "run_id": a}


def test_search_datasets(api, experiment):
    for role in ("train", "eval"):
        other = api.create_run(experiment)
        api.post("runs/log-inputs", {"run_id": other, "datasets": [{"tags": [{"key": "mlflow.data.context", "value": role}],
                                                                    "dataset": {"name": "iris", "digest": "d", "source_type": "local", "source": "s"}}]})
    found = api.post(AJAX + "experiments/search-datasets", {"experiment_ids": [experiment]})["dataset_summaries"]
    assert sorted((d["experiment_id"], d["name"], d["digest"], d["context"]) for d in found) == [(experiment, "iris", "d", "eval"), (experiment, "iris", "d", "train")]
    assert api.post(AJAX + "experiments/search-datasets", {"experiment_ids": ["987654321"]}) == {}
    for ids in ([], [str(i) for i in range(21)]):
        assert api.call("POST", AJAX + "experiments/search-datasets", {"experiment_ids": ids}).status_code == 400


def ask(api, query, **variables):
    return api.post("/graphql", {"query": query, "variables": variables})


EXPERIMENT = """query MlflowGetExperimentQuery($input: MlflowGetExperimentInput!) @component(name: "X") {
  mlflowGetExperiment(input: $input) {
    apiError { code message }
    experiment { artifactLocation creationTime experimentId lastUpdateTime lifecycleStage name tags { key value } }
  } }"""
RUN = """query GetRun($data: MlflowGetRunInput!) @component(name: "X") {
  mlflowGetRun(input: $data) {
    apiError { helpUrl code message }
    run {
      info { runName status runUuid experimentId artifactUri endTime lifecycleStage startTime userId }
      experiment { experimentId name tags { key value } artifactLocation lifecycleStage lastUpdateTime }
      modelVersions { status version name source }
      data { metrics { key value step timestamp } params { key value } tags { key value } }
      inputs { datasetInputs { dataset { digest name profile schema source sourceType } tags { key value } } modelInputs { modelId } }
      outputs { modelOutputs { modelId step } }
    } } }"""


def test_graphql_experiment(api, experiment):
    answer = ask(api, EXPERIMENT, input={"experimentId": experiment})
    assert not answer["errors"]
    found = answer["data"]["mlflowGetExperiment"]
    plain = api.get("experiments/get", experiment_id=experiment)["experiment"]
    assert found == {"apiError": None, "experiment": {
        "artifactLocation": plain["artifact_location"], "creationTime": str(plain["creation_time"]), "experimentId": experiment,
        "lastUpdateTime": str(plain["last_update_time"]), "lifecycleStage": "active", "name": plain["name"], "tags": []}}


def test_graphql_run(api, pair, experiment, unique):
    run, name = pair[0], unique()
    api.post("registered-models/create", {"name": name})
    api.post("model-versions/create", {"name": name, "source": f"mlflow-artifacts:/{experiment}/{run}/artifacts/m", "run_id": run})
    answer = ask(api, RUN, data={"runId": run})
    assert not answer["errors"]
    found = answer["data"]["mlflowGetRun"]["run"]
    assert found["info"] == {"runName": "r0", "status": "RUNNING", "runUuid": run, "experimentId": experiment, "endTime": "0", "startTime": "1", "userId": "",
                             "artifactUri": f"mlflow-artifacts:/{experiment}/{run}/artifacts", "lifecycleStage": "active"}
    assert found["experiment"]["experimentId"] == experiment
    assert [(v["name"], v["version"], v["status"]) for v in found["modelVersions"]] == [(name, "1", "READY")]
    assert found["data"]["metrics"] == [{"key": "m", "value": 10.0, "step": "4", "timestamp": "104"}]
    assert found["data"]["params"] == [{"key": "p", "value": "1"}]
    assert (found["inputs"], found["outputs"]) == ({"datasetInputs": [], "modelInputs": []}, {"modelOutputs": []})


def test_graphql_history(api, pair):
    query = """query GetMetricHistoryBulkInterval($data: MlflowGetMetricHistoryBulkIntervalInput!) @component(name: "X") {
      mlflowGetMetricHistoryBulkInterval(input: $data) { __typename metrics { timestamp step runId key value } apiError { code message } } }"""
    answer = ask(api, query, data={"runIds": [pair[0]], "metricKey": "m", "maxResults": 10})
    found = answer["data"]["mlflowGetMetricHistoryBulkInterval"]
    assert found["metrics"] == [{"timestamp": str(100 + i), "step": str(i), "runId": pair[0], "key": "m", "value": i * 2.5} for i in range(5)]
    assert found["__typename"] == "MlflowGetMetricHistoryBulkIntervalResponse"


def test_graphql_search_runs(api, pair, experiment):
    query = """mutation SearchRuns($data: MlflowSearchRunsInput!) {
      mlflowSearchRuns(input: $data) { apiError { code message } nextPageToken runs { info { runName } data { metrics { key value } } experiment { experimentId } } } }"""
    found = ask(api, query, data={"experimentIds": [experiment], "filter": "metrics.m > 0", "maxResults": 1, "orderBy": ["metrics.m ASC"]})["data"]["mlflowSearchRuns"]
    assert [(r["info"]["runName"], r["experiment"]["experimentId"]) for r in found["runs"]] == [("r0", experiment)]
    rest = ask(api, query, data={"experimentIds": [experiment], "filter": "metrics.m > 0", "maxResults": 1, "orderBy": ["metrics.m ASC"], "pageToken": found["nextPageToken"]})
    assert [r["info"]["runName"] for r in rest["data"]["mlflowSearchRuns"]["runs"]] == ["r1"]
    assert not rest["data"]["mlflowSearchRuns"]["nextPageToken"]


def test_graphql_artifacts_datasets_and_versions(api, run, experiment, unique):
    api.session.put(f"{api.url}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/d/x", data=b"12")
    files = ask(api, "query L($data: MlflowListArtifactsInput!) { mlflowListArtifacts(input: $data) { rootUri files { path isDir fileSize } apiError { code } } }", data={"runId": run, "path": "d"})
    assert files["data"]["mlflowListArtifacts"]["files"] == [{"path": "d/x", "isDir": False, "fileSize": "2"}]
    name = unique()
    api.post("registered-models/create", {"name": name})
    api.post("model-versions/create", {"name": name, "source": "s3://b/x"})
    query = "query V($data: MlflowSearchModelVersionsInput!) { mlflowSearchModelVersions(input: $data) { modelVersions { name version status runId tags { key value } aliases } apiError { code } } }"
    versions = ask(api, query, data={"filter": f"name = '{name}'"})["data"]["mlflowSearchModelVersions"]["modelVersions"]
    assert versions == [{"name": name, "version": "1", "status": "READY", "runId": "", "tags": [], "aliases": []}]
    api.post("runs/log-inputs", {"run_id": run, "datasets": [{"dataset": {"name": "iris", "digest": "d", "source_type": "local", "source": "s"}}]})
    query = "mutation D($data: MlflowSearchDatasetsInput!) { mlflowSearchDatasets(input: $data) { apiError { code } datasetSummaries { experimentId name digest context } } }"
    found = ask(api, query, data={"experimentIds": [experiment]})["data"]["mlflowSearchDatasets"]["datasetSummaries"]
    assert [(d["name"], d["digest"]) for d in found] == [("iris", "d")]


def test_graphql_aliases_fragments_and_literals(api):
    query = 'query { a: mlflowGetExperiment(input: {experimentId: "0"}) { ...F } } fragment F on MlflowGetExperimentResponse { experiment { n: name } }'
    assert ask(api, query)["data"] == {"a": {"experiment": {"n": "Default"}}}


@pytest.mark.parametrize("query, variables, field", [(RUN, {"data": {"runId": "nobody"}}, "mlflowGetRun"), (EXPERIMENT, {"input": {"experimentId": "987654321"}}, "mlflowGetExperiment")])
def test_graphql_errors(api, query, variables, field):
    answer = ask(api, query, **variables)
    assert answer["data"] == {field: None}
    assert answer["errors"]


def test_graphql_unknown_field(api):
    answer = ask(api, "query { bogus }")
    assert answer["data"] is None and answer["errors"]
