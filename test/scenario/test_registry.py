"""Registered models, versions, stages, aliases and their tags through the stock client."""
import pytest

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # stages are deprecated, and work


@pytest.fixture
def model(client, unique):
    """The name of a new registered model."""
    return client.create_registered_model(unique("model")).name


def version(client, model, source="s3://bucket/model", **options):
    return client.create_model_version(model, source, **options).version


def test_create_and_get(client, unique):
    name = unique("model")
    made = client.create_registered_model(name, tags={"team": "a"}, description="what it is")
    found = client.get_registered_model(name)
    for one in (made, found):
        assert (one.name, one.description, one.tags, one.aliases, list(one.latest_versions)) == (name, "what it is", {"team": "a"}, {}, [])
        assert one.creation_timestamp == one.last_updated_timestamp > 1_600_000_000_000


def test_names(client, model, unique, error_of):
    assert error_of(client.create_registered_model, model).error_code == "RESOURCE_ALREADY_EXISTS"
    odd = unique("a b.c-d_é%'\"")
    assert client.create_registered_model(odd).name == client.get_registered_model(odd).name == odd
    for bad in ("a/b", "a:b", "", " ", "."):
        assert error_of(client.create_registered_model, bad).error_code == "INVALID_PARAMETER_VALUE", bad
    assert error_of(client.get_registered_model, "no such model").error_code == "RESOURCE_DOES_NOT_EXIST"


def test_update_and_rename(client, model, unique, error_of):
    client.update_registered_model(model, "new words")
    assert client.get_registered_model(model).description == "new words"
    v = version(client, model)
    client.set_registered_model_alias(model, "champion", v)
    client.set_registered_model_tag(model, "k", "v")
    new, taken = unique("renamed"), client.create_registered_model(unique("taken")).name
    client.rename_registered_model(model, new)
    found = client.get_registered_model(new)
    assert (found.description, found.tags, found.aliases, [x.name for x in found.latest_versions]) == ("new words", {"k": "v"}, {"champion": v}, [new])
    assert client.get_model_version(new, v).version == v
    assert error_of(client.get_registered_model, model).error_code == "RESOURCE_DOES_NOT_EXIST"
    assert error_of(client.rename_registered_model, new, taken).error_code == "RESOURCE_ALREADY_EXISTS"
    assert error_of(client.rename_registered_model, new, "a/b").error_code == "INVALID_PARAMETER_VALUE"


def test_delete(client, model, error_of):
    v = version(client, model)
    client.delete_registered_model(model)
    assert error_of(client.get_registered_model, model).error_code == "RESOURCE_DOES_NOT_EXIST"
    assert error_of(client.get_model_version, model, v).error_code == "RESOURCE_DOES_NOT_EXIST"
    assert error_of(client.delete_registered_model, model).error_code == "RESOURCE_DOES_NOT_EXIST"
    client.create_registered_model(model)
    assert version(client, model) == "1"


def test_model_tags(client, model, error_of):
    client.set_registered_model_tag(model, "a", "1")
    client.set_registered_model_tag(model, "a", "2")
    client.set_registered_model_tag(model, "b", "x" * 5000)
    assert client.get_registered_model(model).tags == {"a": "2", "b": "x" * 5000}
    client.delete_registered_model_tag(model, "a")
    client.delete_registered_model_tag(model, "a")
    assert set(client.get_registered_model(model).tags) == {"b"}
    assert error_of(client.set_registered_model_tag, "no such model", "a", "1").error_code == "RESOURCE_DOES_NOT_EXIST"


def test_version(client, model, run):
    root = client.get_run(run).info.artifact_uri
    made = client.create_model_version(model, f"{root}/model", run, tags={"t": "1"}, run_link="https://example.org/run", description="first")
    found = client.get_model_version(model, made.version)
    for one in (made, found):
        assert (one.name, one.version, one.status, one.current_stage) == (model, "1", "READY", "None")
        assert (one.source, one.run_id, one.run_link, one.description, one.tags) == (f"{root}/model", run, "https://example.org/run", "first", {"t": "1"})
    assert client.get_model_version_download_uri(model, "1") == f"{root}/model"


def test_version_numbers_are_never_used_again(client, model, error_of):
    assert [version(client, model) for _ in range(3)] == ["1", "2", "3"]
    client.delete_model_version(model, "3")
    client.delete_model_version(model, "1")
    assert version(client, model) == "4"
    assert error_of(client.get_model_version, model, "3").error_code == "RESOURCE_DOES_NOT_EXIST"
    assert error_of(client.delete_model_version, model, "3").error_code == "RESOURCE_DOES_NOT_EXIST"
    assert sorted(v.version for v in client.search_model_versions(f"name='{model}'")) == ["2", "4"]


def test_versions_made_at_once_have_their_own_numbers(client, model):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: _try(lambda: version(client, model)), range(16)))
    numbers = [m for m in made if m]
    assert len(set(numbers)) == len(numbers) >= 1


def _try(call):
    try:
        return call()
    except mlflow.MlflowException:
        return None  # the stock server gives up when others were faster too often


def test_what_moves_the_time_of_a_model(client, model, unique):
    """As in MLflow: its description, name, versions and their stages; not tags, aliases and words about a version."""
    v = version(client, model)

    def time():
        return client.get_registered_model(model).last_updated_timestamp

    def updated_of_version():
        return client.get_model_version(model, v).last_updated_timestamp

    made = time()
    client.set_registered_model_tag(model, "a", "1")
    client.delete_registered_model_tag(model, "a")
    client.set_registered_model_alias(model, "champion", v)
    client.delete_registered_model_alias(model, "champion")
    client.set_model_version_tag(model, v, "a", "1")
    client.update_model_version(model, v, "words")
    assert time() == made
    client.update_registered_model(model, "words")
    described = time()
    assert described > made
    client.transition_model_version_stage(model, v, "Staging")
    staged = time()
    assert staged > described
    client.rename_registered_model(model, model := unique("renamed"))
    assert time() == updated_of_version() > staged


def test_version_description_and_tags(client, model, error_of):
    v = version(client, model)
    client.update_model_version(model, v, "words")
    updated = client.get_model_version(model, v).last_updated_timestamp
    client.set_model_version_tag(model, v, "a", "1")
    client.set_model_version_tag(model, v, "a", "2")
    found = client.get_model_version(model, v)
    assert (found.description, found.tags) == ("words", {"a": "2"})
    assert found.last_updated_timestamp == updated  # which searches order by
    client.delete_model_version_tag(model, v, "a")
    assert client.get_model_version(model, v).tags == {}
    for call in (client.update_model_version, client.set_model_version_tag):
        arguments = (model, "77", "words") if call == client.update_model_version else (model, "77", "a", "1")
        assert error_of(call, *arguments).error_code == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize(
    "source", ["/etc/passwd", "file:///etc", "mlflow-artifacts:/../../x", "s3://bucket/../x", "relative/path", ""]
)
def test_sources_that_are_refused(client, model, error_of, source):
    assert error_of(client.create_model_version, model, source).error_code == "INVALID_PARAMETER_VALUE"
    assert client.search_model_versions(f"name='{model}'") == []


def test_version_of_an_unknown_model(client, error_of):
    assert error_of(client.create_model_version, "no such model", "s3://b/x").error_code == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize("given, stage", [("Staging", "Staging"), ("production", "Production"), ("ARCHIVED", "Archived"), ("None", "None")])
def test_stages(client, model, given, stage):
    v = version(client, model)
    assert client.transition_model_version_stage(model, v, given).current_stage == stage
    assert client.get_model_version(model, v).current_stage == stage


def test_stage_archives_the_others_when_asked(client, model):
    versions = [version(client, model) for _ in range(3)]
    client.transition_model_version_stage(model, versions[0], "Production")
    client.transition_model_version_stage(model, versions[1], "Production")
    client.transition_model_version_stage(model, versions[2], "Production", archive_existing_versions=True)
    assert [client.get_model_version(model, v).current_stage for v in versions] == ["Archived", "Archived", "Production"]


def test_invalid_stage(client, model, error_of):
    error = error_of(client.transition_model_version_stage, model, version(client, model), "Nowhere")
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    assert "Invalid Model Version stage: Nowhere. Value must be one of None, Staging, Production, Archived." in error.message
    assert error_of(client.transition_model_version_stage, model, "9", "Staging").error_code == "RESOURCE_DOES_NOT_EXIST"


def test_latest_versions(client, model, error_of):
    for _ in range(4):
        version(client, model)
    client.transition_model_version_stage(model, "1", "Production")
    client.transition_model_version_stage(model, "2", "Staging")
    client.transition_model_version_stage(model, "3", "Staging")

    def latest(**options):
        return {v.current_stage: v.version for v in client.get_latest_versions(model, **options)}

    assert latest() == {"Production": "1", "Staging": "3", "None": "4"}
    assert latest(stages=["Staging", "production"]) == {"Production": "1", "Staging": "3"}
    assert latest(stages=["Archived"]) == {}
    assert {v.current_stage: v.version for v in client.get_registered_model(model).latest_versions} == latest()
    assert error_of(client.get_latest_versions, model, ["Nowhere"]).error_code == "INVALID_PARAMETER_VALUE"
    assert error_of(client.get_latest_versions, "no such model").error_code == "RESOURCE_DOES_NOT_EXIST"


def test_aliases(client, model, error_of):
    first, second = version(client, model), version(client, model)
    client.set_registered_model_alias(model, "champion", first)
    client.set_registered_model_alias(model, "Champion", second)
    client.set_registered_model_alias(model, "blue-green_2", first)
    assert client.get_model_version_by_alias(model, "champion").version == first
    assert client.get_model_version_by_alias(model, "Champion").version == second
    assert client.get_registered_model(model).aliases == {"champion": first, "Champion": second, "blue-green_2": first}
    assert sorted(client.get_model_version(model, first).aliases) == ["blue-green_2", "champion"]
    client.set_registered_model_alias(model, "champion", second)
    assert client.get_model_version_by_alias(model, "champion").version == second
    client.delete_registered_model_alias(model, "champion")
    client.delete_registered_model_alias(model, "champion")
    error = error_of(client.get_model_version_by_alias, model, "champion")
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    assert "Registered model alias champion not found." in error.message


def test_aliases_go_with_their_version(client, model, error_of):
    v = version(client, model)
    client.set_registered_model_alias(model, "a", v)
    client.delete_model_version(model, v)
    assert client.get_registered_model(model).aliases == {}
    error_of(client.get_model_version_by_alias, model, "a")


@pytest.mark.parametrize("alias", ["v1", "V12", "latest", "Latest", "a b", "a.b", "a" * 256, ""])
def test_aliases_that_are_refused(api, client, model, alias):
    v = version(client, model)
    answer = api.call("POST", "registered-models/alias", {"name": model, "alias": alias, "version": v})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_alias_of_what_is_not_there(client, model, error_of):
    assert error_of(client.set_registered_model_alias, model, "a", "9").error_code == "RESOURCE_DOES_NOT_EXIST"
    assert error_of(client.set_registered_model_alias, "no such model", "a", "1").error_code == "RESOURCE_DOES_NOT_EXIST"
    assert error_of(client.get_model_version_by_alias, "no such model", "a").error_code == "RESOURCE_DOES_NOT_EXIST"


def test_latest_by_alias_route(api, client, model):
    for _ in range(2):
        version(client, model)
    assert api.get("registered-models/alias", name=model, alias="latest")["model_version"]["version"] == "2"


def test_copy(client, model, run, unique):
    root = client.get_run(run).info.artifact_uri
    client.create_model_version(model, f"{root}/m", run)
    copied = client.copy_model_version(f"models:/{model}/1", unique("copy"))
    assert (copied.version, copied.source, copied.run_id) == ("1", f"models:/{model}/1", run)
    assert client.get_model_version_download_uri(copied.name, "1") == f"{root}/m"
