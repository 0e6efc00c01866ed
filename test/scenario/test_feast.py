"""Feast's own SDK writes to the server and reads from it: online_store of type remote, with a registry file of its own."""
import datetime
import os
import subprocess

import pytest
import requests

pytestmark = [pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own routes"),
              pytest.mark.filterwarnings("ignore")]

feast = pytest.importorskip("feast")
pandas = pytest.importorskip("pandas")

NEW_YEAR = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def day(n):
    return NEW_YEAR + datetime.timedelta(days=n)


@pytest.fixture
def names(unique):
    return {what: unique(what).replace("-", "_") for what in ("driver", "stats", "trips", "ranking")}


@pytest.fixture
def declared(server, names):
    """The view on the server: what `feast apply` does to a registry."""
    answer = requests.post(f"{server.url}/api/v1/features/apply", json={
        "entities": [{"name": names["driver"], "join_key": names["driver"], "value_type": "int64"}],
        "feature_views": [{"name": names["stats"], "entities": [names["driver"]], "push_source": names["trips"], "features": [
            {"name": "conv_rate", "value_type": "float"}, {"name": "trips", "value_type": "int64"},
            {"name": "note", "value_type": "string"}, {"name": "route", "value_type": "double_list"}]}],
        "feature_services": [{"name": names["ranking"], "features": [names["stats"]]}]})
    assert answer.status_code == 200, answer.text


@pytest.fixture
def store(server, names, declared, tmp_path):
    from feast.types import Array, Float32, Float64, Int64, String

    feature_store = feast.FeatureStore(config=feast.RepoConfig(
        project="test", provider="local", registry=str(tmp_path / "registry.db"), entity_key_serialization_version=3,
        online_store={"type": "remote", "path": server.url}, offline_store={"type": "file"}))
    driver = feast.Entity(name=names["driver"], join_keys=[names["driver"]], value_type=feast.ValueType.INT64)
    source = feast.FileSource(path=str(tmp_path / "nothing.parquet"), timestamp_field="event_timestamp", created_timestamp_column="created")
    schema = [feast.Field(name=name, dtype=dtype) for name, dtype in (
        (names["driver"], Int64), ("conv_rate", Float32), ("trips", Int64), ("note", String), ("route", Array(Float64)))]
    view = feast.FeatureView(name=names["stats"], entities=[driver], schema=schema, ttl=datetime.timedelta(0),
                             source=feast.PushSource(name=names["trips"], batch_source=source))
    service = feast.FeatureService(name=names["ranking"], features=[view])
    # As `feast apply`, without the look at the parquet file.
    for apply, thing in ((feature_store.registry.apply_data_source, view.stream_source), (feature_store.registry.apply_entity, driver),
                         (feature_store.registry.apply_feature_view, view), (feature_store.registry.apply_feature_service, service)):
        apply(thing, "test")
    return feature_store


def rows(names, keys, trips, times):
    count = len(keys)
    return pandas.DataFrame({names["driver"]: keys, "conv_rate": [0.25] * count, "trips": trips, "note": ["é"] + [None] * (count - 1),
                             "route": [[1.5, 2.5]] * count, "event_timestamp": times, "created": times})


def read(store, names, keys, features=("conv_rate", "trips", "note", "route")):
    return store.get_online_features(features=[f"{names['stats']}:{feature}" for feature in features],
                                     entity_rows=[{names["driver"]: key} for key in keys]).to_dict()


def test_R09_written_and_read(store, names):
    store.write_to_online_store(names["stats"], rows(names, [1, 2], [10, 20], [day(1), day(1)]))
    assert read(store, names, [2, 1, 3]) == {names["driver"]: [2, 1, 3], "conv_rate": [0.25, 0.25, None], "trips": [20, 10, None],
                                              "note": [None, "é", None], "route": [[1.5, 2.5], [1.5, 2.5], None]}


def test_R09_values_have_the_types_that_feast_gives_them(server, store, names):
    """A whole float stays a float; a key may come as text, as it does from CSV."""
    url, view = f"{server.url}/write-to-online-store", names["stats"]
    written = {names["driver"]: ["41", 42], "conv_rate": [2.0, 0], "trips": [1, 2], "note": ["a", "b"], "route": [[1, 2], [3]],
               "event_timestamp": ["2026-01-01T00:00:00Z"] * 2}
    requests.post(url, json={"feature_view_name": view, "df": written}).raise_for_status()
    found = read(store, names, ["41", 42])
    assert [(type(one), one) for one in found["conv_rate"]] == [(float, 2.0), (float, 0.0)] and found["trips"] == [1, 2]
    for key, when in (("4x", "2026-01-02T00:00:00Z"), ("", "2026-01-02T00:00:00Z"), ("41.5", "2026-01-02T00:00:00Z"),
                      (41, "infinity"), (41, "tomorrow")):
        refused = requests.post(url, json={"feature_view_name": view, "df": {
            **{name: values[:1] for name, values in written.items()}, names["driver"]: [key], "event_timestamp": [when]}})
        assert refused.status_code == 422, (key, when)


def test_R09_a_service_with_full_names(store, names):
    store.write_to_online_store(names["stats"], rows(names, [7], [70], [day(1)]))
    answer = store.get_online_features(features=store.get_feature_service(names["ranking"]), entity_rows=[{names["driver"]: 7}],
                                       full_feature_names=True).to_dict()
    assert answer[f"{names['stats']}__trips"] == [70]


def test_R09_an_older_event_that_comes_later_is_history(store, names):
    store.push(names["trips"], rows(names, [1], [30], [day(3)]))
    store.push(names["trips"], rows(names, [1], [20], [day(2)]))
    assert read(store, names, [1], ["trips"])["trips"] == [30]


def test_what_is_not_there_is_feasts_own_error(server, store, names):
    from feast.errors import FeatureViewNotFoundException

    with pytest.raises(FeatureViewNotFoundException):
        store.get_online_features(features=["nothing_of_the_kind:x"], entity_rows=[{names["driver"]: 1}])
    answer = requests.post(f"{server.url}/get-online-features", json={"features": [f"{names['stats']}:trips"], "entities": {"x": [1]}})
    assert answer.status_code == 422 and names["driver"] in answer.json()["detail"]


def cairn(server, *arguments):
    return subprocess.run([os.environ["CAIRN_BIN"], "features", *arguments, "--data-dir", server.data_dir], capture_output=True, text=True,
                          timeout=60)


def test_R09_an_exported_registry_is_all_that_a_stock_sdk_needs(server, names, declared, tmp_path):
    done = cairn(server, "export-registry", str(tmp_path / "registry.db"), "--project", "rides")
    assert done.returncode == 0 and "as project rides" in done.stdout, done.stderr
    (tmp_path / "feature_store.yaml").write_text(
        "project: rides\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f"online_store: {{type: remote, path: '{server.url}'}}\noffline_store: {{type: file}}\n")
    store = feast.FeatureStore(repo_path=str(tmp_path))
    (view,) = [view for view in store.list_feature_views() if view.name == names["stats"]]
    assert [str(field.dtype) for field in view.features] == ["Float32", "Int64", "String", "Array(Float64)"]
    assert store.get_entity(names["driver"]).join_key == names["driver"]
    assert names["trips"] in [source.name for source in store.list_data_sources()]
    store.write_to_online_store(names["stats"], rows(names, [1], [10], [day(1)]))
    store.push(names["trips"], rows(names, [1], [11], [day(2)]))
    answer = store.get_online_features(features=store.get_feature_service(names["ranking"]), entity_rows=[{names["driver"]: 1}]).to_dict()
    assert answer == {names["driver"]: [1], "conv_rate": [0.25], "trips": [11], "note": ["é"], "route": [[1.5, 2.5]]}


def test_R09_a_feast_repository_moves_in(server, unique, tmp_path):
    from feast.types import Array, Float32, Int64, Json, Set, String, UnixTimestamp

    name = unique("shop").replace("-", "_")
    store = feast.FeatureStore(config=feast.RepoConfig(
        project="shop", provider="local", registry=str(tmp_path / "registry.db"), entity_key_serialization_version=3,
        online_store={"type": "remote", "path": server.url}, offline_store={"type": "file"}))
    user = feast.Entity(name=name, join_keys=[f"{name}_id"], value_type=feast.ValueType.STRING, description="who buys", tags={"team": "shop"})
    source = feast.FileSource(name="lake", path=str(tmp_path / "nothing.parquet"), timestamp_field="event_timestamp",
                              created_timestamp_column="created")
    view = feast.FeatureView(
        name=f"{name}_baskets", entities=[user], ttl=datetime.timedelta(days=3), tags={"k": "v"}, description="what they buy",
        source=feast.PushSource(name=f"{name}_events", batch_source=source), schema=[
            feast.Field(name=f"{name}_id", dtype=String), feast.Field(name="items", dtype=Int64), feast.Field(name="seen", dtype=UnixTimestamp),
            feast.Field(name="attributes", dtype=Json), feast.Field(name="colours", dtype=Set(String)),
            feast.Field(name="taste", dtype=Array(Float32), vector_index=True, vector_length=2, vector_search_metric="cosine")])
    service = feast.FeatureService(name=f"{name}_ranking", features=[view[["items", "taste"]]])
    store.apply([user, source, view, service])

    file = str(tmp_path / "registry.db")
    plan = cairn(server, "import-registry", file, "--dry-run")
    assert f"+ feature view {name}_baskets" in plan.stdout and "nothing was changed" in plan.stdout, plan.stderr
    assert f"left out: feature {name}_baskets:colours" in plan.stderr
    assert f"{name}_baskets" not in cairn(server, "list").stdout
    assert cairn(server, "import-registry", file).returncode == 0
    assert cairn(server, "import-registry", file).stdout == "nothing to change\n"
    (kept,) = [v for v in requests.get(f"{server.url}/api/v1/features").json()["feature_views"] if v["name"] == f"{name}_baskets"]
    assert (kept["ttl_s"], kept["push_source"], kept["tags"], kept["description"]) == (259200, f"{name}_events", {"k": "v"}, "what they buy")
    assert [f["value_type"] for f in kept["features"]] == ["int64", "unix_timestamp", "json", "vector"]

    requests.post(f"{server.url}/push", json={"push_source_name": f"{name}_events", "df": {
        f"{name}_id": ["u1"], "items": [3], "seen": [1700000000], "attributes": ["{}"], "taste": [[0.5, 1]]}}).raise_for_status()
    answer = store.get_online_features(features=store.get_feature_service(f"{name}_ranking"), entity_rows=[{f"{name}_id": "u1"}]).to_dict()
    assert answer == {f"{name}_id": ["u1"], "items": [3], "taste": [[0.5, 1.0]]}
    broken = tmp_path / "broken.db"
    broken.write_bytes((tmp_path / "registry.db").read_bytes()[:-7])
    done = cairn(server, "import-registry", str(broken))
    assert done.returncode == 2 and "registry.db of Feast's" in done.stderr
