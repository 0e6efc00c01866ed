"""Experiments through the stock client: life cycle, tags, search with filters, ordering and paging."""
import pytest

mlflow = pytest.importorskip("mlflow")
from mlflow.entities import ViewType  # noqa: E402


def test_create_and_get(client, unique):
    name = unique("made")
    made = client.create_experiment(name, tags={"team": "vision", "mlflow.note.content": "first"})
    found = client.get_experiment(made)
    assert (found.experiment_id, found.name, found.lifecycle_stage) == (made, name, "active")
    assert found.tags == {"team": "vision", "mlflow.note.content": "first"}
    assert found.creation_time == found.last_update_time > 1_600_000_000_000
    assert found.artifact_location == f"mlflow-artifacts:/{made}"
    assert client.get_experiment_by_name(name).experiment_id == made


def test_default_experiment_is_there(client):
    default = client.get_experiment("0")
    assert (default.name, default.lifecycle_stage) == ("Default", "active")


def test_own_artifact_location_is_kept(client, unique):
    made = client.create_experiment(unique(), artifact_location="mlflow-artifacts:/elsewhere/deep")
    assert client.get_experiment(made).artifact_location == "mlflow-artifacts:/elsewhere/deep"
    run = client.create_run(made)
    assert run.info.artifact_uri == f"mlflow-artifacts:/elsewhere/deep/{run.info.run_id}/artifacts"


def test_unknown_experiment(client, error_of):
    assert error_of(client.get_experiment, "987654321").error_code == "RESOURCE_DOES_NOT_EXIST"
    assert client.get_experiment_by_name("no such experiment") is None


@pytest.mark.parametrize("name", ["with space/slash", "Größe ü 日本", "quote'\"`", "%_\\", " lead"])
def test_odd_names(client, unique, name):
    name = unique(name)
    made = client.create_experiment(name)
    assert client.get_experiment(made).name == name
    assert client.get_experiment_by_name(name).experiment_id == made


def test_names_are_unique_even_when_deleted(client, unique, error_of):
    name = unique()
    made = client.create_experiment(name)
    assert error_of(client.create_experiment, name).error_code == "RESOURCE_ALREADY_EXISTS"
    client.delete_experiment(made)
    assert error_of(client.create_experiment, name).error_code == "RESOURCE_ALREADY_EXISTS"


def test_rename(client, unique, error_of):
    old, new, other = unique("old"), unique("new"), unique("other")
    made = client.create_experiment(old)
    client.create_experiment(other)
    client.rename_experiment(made, new)
    assert client.get_experiment(made).name == new
    assert client.get_experiment_by_name(old) is None
    error_of(client.rename_experiment, made, other)
    assert client.get_experiment(made).name == new
    assert client.get_experiment(made).last_update_time >= client.get_experiment(made).creation_time


def test_tags_leave_the_time_as_it_is(client, unique):
    made = client.create_experiment(unique())
    before = client.get_experiment(made).last_update_time
    client.set_experiment_tag(made, "a", "1")
    assert client.get_experiment(made).tags["a"] == "1"
    client.delete_experiment_tag(made, "a")
    assert client.get_experiment(made).last_update_time == before  # which searches may order by


def test_delete_and_restore_take_the_runs_along(client, unique):
    made = client.create_experiment(unique())
    run = client.create_run(made).info.run_id
    client.delete_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "deleted"
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    assert client.search_runs([made]) == []
    assert [r.info.run_id for r in client.search_runs([made], run_view_type=ViewType.ALL)] == [run]
    client.restore_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "active"
    assert client.get_run(run).info.lifecycle_stage == "active"


def test_deleted_experiment_refuses_writes(client, unique, error_of):
    made = client.create_experiment(unique())
    client.delete_experiment(made)
    for call in (lambda: client.create_run(made), lambda: client.set_experiment_tag(made, "k", "v")):
        error = error_of(call)
        assert error.error_code == "INVALID_PARAMETER_VALUE"
        assert "must be in the 'active' state" in error.message
    assert error_of(client.delete_experiment, made).error_code == "RESOURCE_DOES_NOT_EXIST"
    client.restore_experiment(made)
    assert error_of(client.restore_experiment, made).error_code == "RESOURCE_DOES_NOT_EXIST"


def test_tags(client, unique, error_of):
    made = client.create_experiment(unique())
    client.set_experiment_tag(made, "a", "1")
    client.set_experiment_tag(made, "a", "2")
    client.set_experiment_tag(made, "empty", "")
    client.set_experiment_tag(made, "long", "v" * 20000)
    assert error_of(client.set_experiment_tag, made, "longer", "v" * 20001).error_code == "INVALID_PARAMETER_VALUE"
    assert client.get_experiment(made).tags == {"a": "2", "empty": "", "long": "v" * 20000}
    client.delete_experiment_tag(made, "a")
    assert "a" not in client.get_experiment(made).tags
    assert error_of(client.delete_experiment_tag, made, "a").error_code == "RESOURCE_DOES_NOT_EXIST"


def test_set_experiment_creates_once_and_refuses_a_deleted_one(fluent, client, unique, error_of):
    name = unique()
    first = fluent.set_experiment(name)
    assert fluent.set_experiment(name).experiment_id == first.experiment_id
    assert fluent.set_experiment(experiment_id=first.experiment_id).name == name
    client.delete_experiment(first.experiment_id)
    error_of(fluent.set_experiment, name)
    client.restore_experiment(first.experiment_id)


@pytest.fixture(scope="module")
def family(server):
    """Five experiments of one stem, in order of creation; tag `even` on all, `third` on one; the last is deleted."""
    import uuid

    client = mlflow.MlflowClient(tracking_uri=server.url)
    stem = "Family" + uuid.uuid4().hex[:8]
    ids = {}
    for i in range(5):
        name = f"{stem}-{i}"
        ids[client.create_experiment(name, tags={"even": str(i % 2 == 0), **({"third": "yes"} if i == 2 else {})})] = name
    client.delete_experiment(list(ids)[4])
    return stem, list(ids)


@pytest.mark.parametrize(
    "condition, expected",
    [
        ("", "3210"),
        ("AND name LIKE '%-1'", "1"),
        ("AND name != '{stem}-1'", "320"),
        ("AND name ILIKE '{lower}-2'", "2"),
        ("AND name LIKE '{lower}-%'", ""),
        ("AND attribute.name = '{stem}-3'", "3"),
        ("AND tags.even = 'True'", "20"),
        ("AND tag.even != 'True'", "31"),
        ("AND tags.third LIKE 'y%'", "2"),
        ("AND tags.third ILIKE 'Y%'", "2"),
        ("AND tags.third != 'no'", "2"),
        ("AND tags.third IS NULL", "310"),
        ("AND tags.third IS NOT NULL", "2"),
        ("AND tags.`even` = 'False' AND name != '{stem}-1'", "3"),
        ("AND tags.\"even\" = \"False\"", "31"),
        ("AND creation_time > 0 and last_update_time >= 1000", "3210"),
        ("AND creation_time < 1000", ""),
        ("AND experiment_id IN ('{id0}', '{id3}')", "30"),
        ("AND experiment_id = '{id1}'", "1"),
    ],
)
def test_search_filters(client, family, condition, expected):
    stem, ids = family
    condition = condition.format(stem=stem, lower=stem.lower(), id0=ids[0], id1=ids[1], id3=ids[3])
    found = client.search_experiments(filter_string=f"name ILIKE '{stem}%' {condition}")
    assert "".join(e.name[-1] for e in found) == expected


@pytest.mark.parametrize(
    "order, expected",
    [
        (["name"], "0123"),
        (["name DESC"], "3210"),
        (["attribute.name asc"], "0123"),
        (["creation_time ASC"], "0123"),
        (["creation_time DESC"], "3210"),
        (["experiment_id"], "0123"),
        (["last_update_time DESC", "name"], "3210"),
    ],
)
def test_search_order(client, family, order, expected):
    found = client.search_experiments(filter_string=f"name LIKE '{family[0]}%'", order_by=order)
    assert "".join(e.name[-1] for e in found) == expected


@pytest.mark.parametrize("view, expected", [(ViewType.ACTIVE_ONLY, "3210"), (ViewType.DELETED_ONLY, "4"), (ViewType.ALL, "43210")])
def test_search_views(client, family, view, expected):
    found = client.search_experiments(view_type=view, filter_string=f"name LIKE '{family[0]}%'")
    assert "".join(e.name[-1] for e in found) == expected


def test_search_pages(client, family):
    found, token, pages = [], None, 0
    while True:
        page = client.search_experiments(filter_string=f"name LIKE '{family[0]}%'", max_results=3, page_token=token)
        found += page
        pages += 1
        token = page.token
        if not token:
            break
    assert ["".join(e.name[-1] for e in found), pages] == ["3210", 2]
    exact = client.search_experiments(filter_string=f"name LIKE '{family[0]}%'", max_results=4)
    assert not exact.token


def test_search_pages_are_stable_while_others_write(client, family, unique):
    first = client.search_experiments(filter_string=f"name LIKE '{family[0]}%'", max_results=2, order_by=["name"])
    client.create_experiment(unique("zzz"))
    second = client.search_experiments(filter_string=f"name LIKE '{family[0]}%'", max_results=2, order_by=["name"], page_token=first.token)
    assert "".join(e.name[-1] for e in [*first, *second]) == "0123"


@pytest.mark.parametrize(
    "text", ["name", "name = ", "name = 'a' OR", "name = unquoted", "name > 'a'", "bogus = 'x'", "metrics.a > 1", "tags.a > '1'", "creation_time > 'x'", "name == 'x'"]
)
def test_bad_filters(client, error_of, text):
    assert error_of(client.search_experiments, filter_string=text).error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("order", ["bogus", "name foo", "tags.a", "", "name asc desc"])
def test_bad_order(client, error_of, order):
    assert error_of(client.search_experiments, order_by=[order]).error_code == "INVALID_PARAMETER_VALUE"
