"""search_runs: every kind of filter, ordering, pages and views, over five runs whose answers are known."""
import math

import pytest

mlflow = pytest.importorskip("mlflow")
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType  # noqa: E402


class Five:
    """run0..run4, started at 1000+i. acc: 0.0 0.1 0.2 NaN inf. only1: on run1. lr: i. opt: adam/SGD by turns. odd: i%2."""

    def __init__(self, client):
        import uuid

        self.client = client
        self.experiment = client.create_experiment("five-" + uuid.uuid4().hex)
        self.ids = []
        for i in range(5):
            run = client.create_run(self.experiment, start_time=1000 + i, run_name=f"run{i}", tags={"odd": str(i % 2)}).info.run_id
            self.ids.append(run)
            acc = [0.0, 0.1, 0.2, math.nan, math.inf][i]
            client.log_batch(run, [Metric("acc", acc, 1, 0), Metric("val/acc 1", i * 10.0, 1, 0)],
                             [Param("lr", str(i)), Param("opt", ["adam", "SGD"][i % 2])], [RunTag("has space", "x")] if i == 2 else [])
        client.log_metric(self.ids[1], "only1", -5.0)
        client.set_terminated(self.ids[0], end_time=2000)
        client.set_terminated(self.ids[1], end_time=2001)
        dataset = Dataset(name="iris", digest="abc", source_type="local", source="{}")
        client.log_inputs(self.ids[0], [DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])])
        client.log_inputs(self.ids[2], [DatasetInput(dataset, [InputTag("mlflow.data.context", "eval")])])

    def search(self, text="", **options):
        return "".join(r.info.run_name[-1] for r in self.client.search_runs([self.experiment], text, **options))


@pytest.fixture(scope="module")
def five(server):
    return Five(mlflow.MlflowClient(tracking_uri=server.url))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", "43210"),
        ("metrics.acc > 0.05", "421"),
        ("metric.acc >= 0.1", "421"),
        ("metrics.acc = 0.1", "1"),
        ("metrics.acc != 0.1", "4320"),
        ("metrics.acc < 1e0", "210"),
        ("metrics.acc <= 0", "0"),
        ("metrics.acc <= -1", ""),
        ("metrics.acc > 1000000", "4"),
        ("metrics.acc>.05", "421"),
        ("metrics.only1 < 0", "1"),
        ("metrics.only1 = -5", "1"),
        ("metrics.only1 != 0", "1"),
        ("metrics.none > 0", ""),
        ("metrics.none != 0", ""),
        ("metrics.`val/acc 1` >= 30", "43"),
        ('metrics."val/acc 1" < 10', "0"),
        ("metrics.acc > 0.1 AND metrics.acc < 1", "2"),
        ("metrics.acc >= 0.1 AND metrics.`val/acc 1` <= 20", "21"),
    ],
)
def test_metrics(five, text, expected):
    assert five.search(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("params.lr = '1'", "1"),
        ("param.lr = '1'", "1"),
        ("parameter.lr='1'", "1"),
        ('parameters.lr = "1"', "1"),
        ("params.`lr` = '1'", "1"),
        ("params.lr != '1'", "4320"),
        ("params.opt LIKE 'a%'", "420"),
        ("params.opt like 'A%'", ""),
        ("params.opt ILIKE 'A%'", "420"),
        ("params.opt ilike 's_d'", "31"),
        ("params.opt LIKE '%d%'", "420"),
        ("params.none = '1'", ""),
        ("params.none != '1'", ""),
        ("params.none IS NULL", "43210"),
        ("params.lr IS NULL", ""),
        ("params.lr IS NOT NULL", "43210"),
        ("params.lr = 'it\"s'", ""),
        ('params.lr = "it\'s"', ""),
        ("tags.odd = '1'", "31"),
        ("tag.odd != '1'", "420"),
        ("tags.odd LIKE '%'", "43210"),
        ("tags.`has space` = 'x'", "2"),
        ("tags.\"has space\" = 'x'", "2"),
        ("tags.`has space` IS NULL", "4310"),
        ("tags.`has space` is not null", "2"),
        ("tags.mlflow.runName = 'run1'", "1"),
        ("tags.`mlflow.runName` ILIKE 'RUN_'", "43210"),
        ("params.opt = 'SGD' AND tags.odd = '1' and metrics.acc > 0", "1"),
    ],
)
def test_params_and_tags(five, text, expected):
    assert five.search(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("attributes.status = 'FINISHED'", "10"),
        ("attribute.status = 'RUNNING'", "432"),
        ("attr.status='RUNNING'", "432"),
        ("run.status != 'RUNNING'", "10"),
        ("status = 'finished'", ""),
        ("status LIKE 'FIN%'", "10"),
        ("run_name = 'run2'", "2"),
        ("attributes.`run name` = 'run2'", "2"),
        ("`Run name` = 'run2'", "2"),
        ("attributes.run_name ILIKE 'RUN%'", "43210"),
        ("run_name != 'run2'", "4310"),
        ("run_id = '{1}'", "1"),
        ("run_id != '{1}'", "4320"),
        ("run_id IN ('{1}','{2}')", "21"),
        ("run_id in ('{1}')", "1"),
        ("attributes.run_id NOT IN ('{1}', '{2}')", "430"),
        ("run_id LIKE '{1}%'", "1"),
        ("artifact_uri LIKE '%{3}/artifacts'", "3"),
        ("start_time > 1001", "432"),
        ("created > 1001", "432"),
        ("attributes.Created >= 1003", "43"),
        ("start_time = 1001", "1"),
        ("start_time != 1001", "4320"),
        ("start_time >= 1001 AND start_time <= 1003", "321"),
        ("end_time > 0", "10"),
        ("end_time != 2000", "1"),
        ("status = 'FINISHED' AND params.opt = 'adam' AND start_time < 2000", "0"),
    ],
)
def test_attributes(five, text, expected):
    assert five.search(text.format(*five.ids)) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("dataset.name = 'iris'", "20"),
        ("datasets.digest = 'abc'", "20"),
        ("dataset.context = 'train'", "0"),
        ("dataset.context LIKE 'ev%'", "2"),
        ("dataset.name ILIKE 'IR%'", "20"),
        ("dataset.name IN ('iris', 'other')", "20"),
        ("dataset.context IN ('eval')", "2"),
        ("dataset.name = 'iris' AND params.lr = '2'", "2"),
        ("dataset.name = 'none'", ""),
        ("dataset.name != 'iris'", ""),
    ],
)
def test_datasets(five, text, expected):
    assert five.search(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "metrics.acc > '0'", "metrics.acc LIKE '1'", "metrics.acc > abc", "metrics.acc", "metrics.acc/top > 1", "metrics.acc IS NULL", "metrics.acc > NaN",
        "metrics.acc == 0.1", "metrics.acc >", "> 5", "5 > metrics.acc", "metrics.acc BETWEEN 0 AND 1", "metrics.acc > 'x", "metrics.acc > 0; DROP TABLE x",
        "params.lr > '1'", "params.lr = 1", "params.lr = abc", "params.lr IN ('1')", "params.opt NOT LIKE 'a%'", "tags.has space = 'x'", "tags.odd = 1", "tags.odd >= '1'",
        "status > 'A'", "run_name IN ('run1')", "run_name IS NULL", "run_id IN ()", "run_id IN (1)", "run_id IN 'a'", "start_time > '1001'", "start_time LIKE '1'",
        "end_time IS NULL", "duration > 1", "lifecycle_stage = 'active'", "bogus = '1'", "bogus.x = '1'", "dataset.bogus = 'x'", "dataset.name > 'a'", "dataset.name = 1",
        "   ", "'", "NOT metrics.acc > 0", "metrics.acc > 0, metrics.acc < 5", "metrics.acc > 0 -- comment", "😀 = '1'", "x" * 3000,
    ],
)
def test_bad_filters(five, error_of, text):
    error = error_of(five.search, text)
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    assert error.message


@pytest.mark.parametrize(
    "order, expected",
    [
        ([], "43210"),
        (["metrics.acc"], "01243"),
        (["metrics.acc ASC"], "01243"),
        (["metric.acc desc"], "42103"),
        (["metrics.only1"], "14320"),
        (["metrics.only1 DESC"], "14320"),
        (["metrics.`val/acc 1`"], "01234"),
        (['metrics."acc" ASC'], "01243"),
        (["params.lr"], "01234"),
        (["params.lr DESC"], "43210"),
        (["params.opt DESC", "params.lr"], "02413"),
        (["tags.odd DESC", "metrics.acc DESC"], "13420"),
        (["tags.none"], "43210"),
        (["tags.`has space`"], "24310"),
        (["start_time ASC"], "01234"),
        (["attributes.start_time"], "01234"),
        (["Created DESC"], "43210"),
        (["attribute.end_time"], "01432"),
        (["end_time DESC"], "10432"),
        (["status"], "10432"),
        (["status DESC", "start_time"], "23401"),
        (["run_name DESC"], "43210"),
        (["params.none", "metrics.acc DESC"], "42103"),
    ],
)
def test_order(five, order, expected):
    assert five.search(order_by=order) == expected


def test_order_by_run_id(five):
    assert five.search(order_by=["run_id"]) == "".join(str(five.ids.index(i)) for i in sorted(five.ids))


@pytest.mark.parametrize(
    "order", ["bogus", "bogus.x", "metrics.acc foo", "metrics.acc ASC DESC", "", "metrics.acc, params.lr", "duration", "experiment_id", "metrics.acc/top 1 DESC", "dataset.name"]
)
def test_bad_order(five, error_of, order):
    assert error_of(five.search, order_by=[order]).error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("order", [[], ["metrics.acc DESC"], ["metrics.only1"], ["params.opt"], ["tags.`has space`", "start_time"], ["end_time"], ["run_id DESC"]])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages(five, order, size):
    whole = five.client.search_runs([five.experiment], order_by=order)
    found, token = [], None
    while True:
        page = five.client.search_runs([five.experiment], order_by=order, max_results=size, page_token=token)
        assert len(page) <= size
        found += page
        token = page.token
        if not token:
            break
    assert [r.info.run_id for r in found] == [r.info.run_id for r in whole]


def test_no_token_after_the_last_page(five):
    assert not five.client.search_runs([five.experiment], max_results=5).token


@pytest.mark.parametrize("size", [0, -1, 50001])
def test_max_results_out_of_range(five, api, size):
    answer = api.call("POST", "runs/search", {"experiment_ids": [five.experiment], "max_results": size})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_bad_token(five, error_of):
    error = error_of(five.client.search_runs, [five.experiment], page_token="junk")
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    assert error.message.startswith("INVALID_PARAMETER_VALUE: Invalid page token")


def test_what_a_found_run_holds(five):
    run = five.client.search_runs([five.experiment], f"run_id = '{five.ids[0]}'")[0]
    assert run.info == five.client.get_run(five.ids[0]).info
    assert run.data.metrics == {"acc": 0.0, "val/acc 1": 0.0}
    assert run.data.params == {"lr": "0", "opt": "adam"}
    assert run.data.tags == {"odd": "0", "mlflow.runName": "run0"}
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.tags[0].value) == ("iris", "train")


def test_equal_start_times_are_ordered_by_run_id(client, experiment):
    ids = [client.create_run(experiment, start_time=5).info.run_id for _ in range(6)]
    assert [r.info.run_id for r in client.search_runs([experiment])] == sorted(ids)


def test_several_experiments(client, unique):
    experiments = [client.create_experiment(unique()) for _ in range(3)]
    runs = [client.create_run(e, start_time=1 + i).info.run_id for i, e in enumerate(experiments)]
    assert [r.info.run_id for r in client.search_runs(experiments[:2])] == [runs[1], runs[0]]
    assert client.search_runs([]) == []
    assert client.search_runs(["987654321"]) == []


def test_views(client, experiment):
    kept, gone = (client.create_run(experiment, start_time=i).info.run_id for i in (1, 2))
    client.delete_run(gone)
    for view, expected in ((ViewType.ACTIVE_ONLY, [kept]), (ViewType.DELETED_ONLY, [gone]), (ViewType.ALL, [gone, kept])):
        assert [r.info.run_id for r in client.search_runs([experiment], run_view_type=view)] == expected


def test_fluent_search_as_a_table(fluent):
    for i in range(3):
        with fluent.start_run(run_name=f"r{i}"):
            fluent.log_metric("m", i)
            fluent.log_param("p", i)
    table = fluent.search_runs(filter_string="metrics.m >= 1", order_by=["metrics.m DESC"])
    assert list(table["metrics.m"]) == [2.0, 1.0]
    assert list(table["params.p"]) == ["2", "1"]
    assert list(table["tags.mlflow.runName"]) == ["r2", "r1"]
    assert [r.info.run_name for r in fluent.search_runs(output_format="list", max_results=1)] == ["r2"]
