"""Searching registered models and versions: filters, orderings, pages."""
import uuid

import pytest

mlflow = pytest.importorskip("mlflow")


class Family:
    """Models stem-0..stem-3: tag g = i % 2, tag rare on 2. Versions: model i has i versions, v1 from a run, tag n = its number."""

    def __init__(self, client):
        self.client, self.stem = client, "Fam" + uuid.uuid4().hex[:8]
        self.run = client.create_run(client.create_experiment(self.stem)).info
        for i in range(4):
            name = f"{self.stem}-{i}"
            client.create_registered_model(name, tags={"g": str(i % 2), **({"rare": "yes"} if i == 2 else {})})
            for n in range(1, i + 1):
                source = f"{self.run.artifact_uri}/{n}" if n == 1 else f"s3://bucket/{i}/{n}"
                client.create_model_version(name, source, self.run.run_id if n == 1 else None, tags={"n": str(n)})

    def models(self, text="", **options):
        found = self.client.search_registered_models(f"name LIKE '{self.stem}-%' {text}", **options)
        return "".join(m.name[-1] for m in found)

    def versions(self, text="", **options):
        found = self.client.search_model_versions(f"name LIKE '{self.stem}-%' {text}", **options)
        return " ".join(f"{v.name[-1]}/{v.version}" for v in found)


@pytest.fixture(scope="module")
def family(server):
    return Family(mlflow.MlflowClient(tracking_uri=server.url, registry_uri=server.url))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", "0123"),
        ("AND name = '{stem}-1'", "1"),
        ("AND name != '{stem}-1'", "023"),
        ("AND name ILIKE '{lower}-2'", "2"),
        ("AND name LIKE '{lower}-2'", ""),
        ("AND attribute.name = '{stem}-3'", "3"),
        ("AND tags.g = '1'", "13"),
        ("AND tag.g = '1'", "13"),
        ("AND tags.g != '1'", "02"),
        ("AND tags.rare LIKE 'y%'", "2"),
        ("AND tags.rare ILIKE 'Y%'", "2"),
        ("AND tags.`g` = '0' AND tags.rare = 'yes'", "2"),
        ("AND tags.none = '1'", ""),
    ],
)
def test_model_filters(family, text, expected):
    assert family.models(text.format(stem=family.stem, lower=family.stem.lower())) == expected


@pytest.mark.parametrize(
    "order, expected",
    [([], "0123"), (["name DESC"], "3210"), (["name asc"], "0123"), (["last_updated_timestamp"], "0123"), (["last_updated_timestamp DESC"], "3210"), (["timestamp ASC", "name"], "0123")],
)
def test_model_order(family, order, expected):
    assert family.models(order_by=order) == expected


def pages(search, size):
    found, token = [], None
    while True:
        page = search(max_results=size, page_token=token)
        assert len(page) <= size
        found += page
        token = page.token
        if not token:
            return found


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_model_pages(family, size):
    found = pages(lambda **o: family.client.search_registered_models(f"name LIKE '{family.stem}%'", order_by=["name DESC"], **o), size)
    assert "".join(m.name[-1] for m in found) == "3210"


def test_found_models_hold_versions_tags_and_aliases(family):
    name = f"{family.stem}-2"
    family.client.set_registered_model_alias(name, "best", "1")
    (found,) = family.client.search_registered_models(f"name = '{name}'")
    assert (found.tags, found.aliases) == ({"g": "0", "rare": "yes"}, {"best": "1"})
    assert [v.version for v in found.latest_versions] == ["2"]
    family.client.delete_registered_model_alias(name, "best")


@pytest.mark.parametrize(
    "text",
    ["name", "name = x", "name > 'a'", "tags.g > '1'", "tags.g = 1", "bogus = 'x'", "attributes.name = 'x'", "run_id = 'x'", "name = 'a' OR name", "creation_timestamp > 0"],
)
def test_bad_model_filters(family, error_of, text):
    assert error_of(family.client.search_registered_models, text).error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("order", ["bogus", "name foo", "", "creation_timestamp", "name, timestamp"])
def test_bad_model_order(family, error_of, order):
    assert error_of(family.client.search_registered_models, order_by=[order]).error_code == "INVALID_PARAMETER_VALUE"


def test_max_results_above_the_cap(family, api, error_of):
    assert error_of(family.client.search_registered_models, max_results=1001).error_code == "INVALID_PARAMETER_VALUE"
    assert error_of(family.client.search_model_versions, max_results=200001).error_code == "INVALID_PARAMETER_VALUE"
    for path in ("registered-models/search", "model-versions/search"):
        answer = api.call("GET", path, params={"page_token": "junk"})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


ALL = "3/3 3/2 3/1 2/2 2/1 1/1"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", ALL),
        ("AND name = '{stem}-2'", "2/2 2/1"),
        ("AND name != '{stem}-3'", "2/2 2/1 1/1"),
        ("AND name IN ('{stem}-1', '{stem}-2')", "2/2 2/1 1/1"),
        ("AND name ILIKE '{lower}-1'", "1/1"),
        ("AND run_id = '{run}'", "3/1 2/1 1/1"),
        ("AND run_id IN ('{run}', 'other')", "3/1 2/1 1/1"),
        ("AND run_id = ''", "3/3 3/2 2/2"),
        ("AND source_path = 's3://bucket/3/2'", "3/2"),
        ("AND source_path LIKE 's3://bucket/3%'", "3/3 3/2"),
        ("AND version_number = 1", "3/1 2/1 1/1"),
        ("AND version_number > 1", "3/3 3/2 2/2"),
        ("AND version_number >= 2 AND version_number < 3", "3/2 2/2"),
        ("AND version_number != 1", "3/3 3/2 2/2"),
        ("AND tags.n = '2'", "3/2 2/2"),
        ("AND tag.n != '1'", "3/3 3/2 2/2"),
        ("AND tags.n LIKE '%'", ALL),
        ("AND tags.`n` = '1' AND name = '{stem}-2'", "2/1"),
        ("AND tags.none = 'x'", ""),
    ],
)
def test_version_filters(family, text, expected):
    text = text.format(stem=family.stem, lower=family.stem.lower(), run=family.run.run_id)
    assert family.versions(text) == expected


@pytest.mark.parametrize(
    "order, expected",
    [
        (["name"], "1/1 2/2 2/1 3/3 3/2 3/1"),
        (["name DESC", "version_number"], "3/1 3/2 3/3 2/1 2/2 1/1"),
        (["version_number DESC", "name"], "3/3 2/2 3/2 1/1 2/1 3/1"),
        (["creation_timestamp"], "1/1 2/1 2/2 3/1 3/2 3/3"),
        (["last_updated_timestamp DESC"], ALL),
    ],
)
def test_version_order(family, order, expected):
    assert family.versions(order_by=order) == expected


@pytest.mark.parametrize("size", [1, 2, 4, 6])
@pytest.mark.parametrize("order", [[], ["version_number"], ["name DESC"]])
def test_version_pages(family, size, order):
    text = f"name LIKE '{family.stem}%'"
    whole = [(v.name, v.version) for v in family.client.search_model_versions(text, order_by=order)]
    assert [(v.name, v.version) for v in pages(lambda **o: family.client.search_model_versions(text, order_by=order, **o), size)] == whole


@pytest.mark.parametrize(
    "text", ["name", "name = x", "run_id IN ()", "version_number IN (1)", "current_stage = 'None'", "status = 'READY'", "bogus = 1", "name = 'a' OR name", "tags.n > '1'"]
)
def test_bad_version_filters(family, error_of, text):
    assert error_of(family.client.search_model_versions, text).error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("order", ["bogus", "run_id", "version_number foo"])
def test_bad_version_order(family, error_of, order):
    assert error_of(family.client.search_model_versions, order_by=[order]).error_code == "INVALID_PARAMETER_VALUE"
