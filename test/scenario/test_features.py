"""`cairn features`: what a file declares, shown first, and listed."""
import datetime
import json
import os
import pathlib
import re
import subprocess

import pytest
import requests

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")

DECLARATION = """
[[entities]]
name = "{name}"
value_type = "int64"

[[feature_views]]
name = "{name}_stats"
entities = ["{name}"]
ttl_s = 86400
features = [{{name = "conv_rate", value_type = "float"}}, {{name = "trips", value_type = "int64"}}]
"""


def cairn(server, *arguments):
    return subprocess.run([os.environ["CAIRN_BIN"], "features", *arguments, "--data-dir", server.data_dir], capture_output=True, text=True,
                          timeout=60)


def test_R09_a_file_is_applied_after_a_look_at_what_it_changes(server, unique, tmp_path):
    name = unique("driver").replace("-", "_")
    file = tmp_path / "features.toml"
    file.write_text(DECLARATION.format(name=name))
    changes = [f"+ entity {name}", f"+ feature view {name}_stats"]
    shown = cairn(server, "apply", str(file), "--dry-run")
    assert shown.stdout.splitlines() == [*changes, "nothing was changed: without --dry-run this is done"]
    assert f"{name}_stats" not in cairn(server, "list").stdout
    assert cairn(server, "apply", str(file)).stdout.splitlines() == changes
    assert cairn(server, "apply", str(file)).stdout == "nothing to change\n"
    (line,) = [line for line in cairn(server, "list").stdout.splitlines() if line.startswith(f"{name}_stats ")]
    assert line.split("  ")[-1].strip() == "conv_rate, trips" and "86400 s" in line
    # The server knows of it at once.
    answer = requests.post(f"{server.url}/get-online-features", json={"features": [f"{name}_stats:trips"], "entities": {name: [1]}})
    assert answer.json()["results"][1]["statuses"] == ["NOT_FOUND"]


def test_R09_a_range_is_asked_for_with_get(server, unique, tmp_path):
    name = unique("driver").replace("-", "_")
    file = tmp_path / "features.toml"
    file.write_text(DECLARATION.format(name=name))
    assert cairn(server, "apply", str(file)).returncode == 0
    requests.post(f"{server.url}/write-to-online-store", json={"feature_view_name": f"{name}_stats", "df": {
        name: [1, 1], "conv_rate": [0.5, 1.5], "trips": [1, 2], "event_timestamp": ["2026-01-01T10:00:00", "2026-01-01T10:30:00"]}})
    what = {"features": f"{name}_stats:conv_rate", "entities": json.dumps({name: [1]}), "start": "2026-01-01", "end": "2026-01-02"}
    columns = requests.get(f"{server.url}/api/v1/features/range", params=what).json()["columns"]
    assert (columns["event_timestamp"], columns["conv_rate"]) == (["2026-01-01T10:00:00Z", "2026-01-01T10:30:00Z"], [0.5, 1.5])
    columns = requests.get(f"{server.url}/api/v1/features/range", params=what | {"window_s": 3600}).json()["columns"]
    assert (columns["window_start"], columns["conv_rate__count"], columns["conv_rate__avg"]) == (["2026-01-01T10:00:00Z"], [2], [1.0])


def test_R06_windows_are_put_together_from_a_rollup(server, unique, tmp_path):
    name = unique("driver").replace("-", "_")
    file = tmp_path / "features.toml"

    def apply(rollup_s, *more):
        file.write_text(DECLARATION.format(name=name) + f"rollup_s = {rollup_s}\n")
        done = cairn(server, "apply", str(file), *more)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def write(times):
        requests.post(f"{server.url}/write-to-online-store", json={"feature_view_name": f"{name}_stats", "df": {
            name: [1] * len(times), "conv_rate": [0.5] * len(times), "trips": list(range(len(times))),
            "event_timestamp": times}}).raise_for_status()

    def windows():
        return requests.post(f"{server.url}/api/v1/features/range", json={
            "features": [f"{name}_stats:trips"], "entities": {name: [1]}, "start": "2026-01-01", "end": "2026-01-03", "window_s": 7200}).json()["columns"]

    apply(0)
    write([f"2026-01-01T{hour:02}:{minute:02}:00" for hour in range(24) for minute in (0, 20, 40)])
    expected = windows()
    changed = [f"~ feature view {name}_stats, rollup_s: 3600"]
    assert apply(3600, "--dry-run")[0] == changed[0]
    assert apply(3600) == changed and apply(3600) == ["nothing to change"]
    (view,) = [v for v in requests.get(f"{server.url}/api/v1/features").json()["feature_views"] if v["name"] == f"{name}_stats"]
    assert view["rollup_s"] == 3600 and windows() == expected
    assert cairn(server, "rollup", f"{name}_stats").returncode == 0
    for column, cells in windows().items():
        assert cells == pytest.approx(expected[column]), column
    # A late event counts at once.
    write(["2026-01-01T05:30:00"])
    assert windows()["trips__count"] == [6, 6, 7] + [6] * 9
    assert f"{name}_stats: " in cairn(server, "rollup").stdout
    assert windows()["trips__count"] == [6, 6, 7] + [6] * 9
    assert apply(0) == [f"~ feature view {name}_stats, rollup_s: 0"]
    assert windows()["trips__count"] == [6, 6, 7] + [6] * 9
    done = cairn(server, "rollup", f"{name}_stats")
    assert done.returncode == 2 and "rollup_s" in done.stderr


def test_R09_health_shows_what_drifted(server, unique, tmp_path):
    name = unique("driver").replace("-", "_")
    file = tmp_path / "features.toml"
    file.write_text(DECLARATION.format(name=name))
    assert cairn(server, "apply", str(file)).returncode == 0

    def write(shift):
        keys = list(range(100))
        requests.post(f"{server.url}/write-to-online-store", json={"feature_view_name": f"{name}_stats", "df": {
            name: keys, "conv_rate": [k + shift for k in keys], "trips": [None] * 100}}).raise_for_status()

    def shown(*more):
        lines = cairn(server, "health", *more).stdout.splitlines()
        return {line.split()[0]: line for line in lines if line.startswith(name)}

    write(0)
    assert "drifted" not in shown("--save-baseline")[f"{name}_stats:conv_rate"]
    assert "100.0 %" in shown()[f"{name}_stats:trips"]
    write(70)
    assert "drifted" in shown()[f"{name}_stats:conv_rate"]
    (view,) = [v for v in requests.get(f"{server.url}/api/v1/features/health").json()["feature_views"] if v["name"] == f"{name}_stats"]
    assert (view["entities"], view["features"][0]["min"], view["features"][0]["psi"] > 0.25) == (100, 70, True)
    assert "# TYPE cairn_feature_drift_psi gauge" in requests.get(f"{server.url}/metrics").text


def test_a_file_that_is_none_is_named(server, tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("[[entities]]\nname = ")
    done = cairn(server, "apply", str(broken))
    assert done.returncode == 2 and "broken.toml:2" in done.stderr
    done = cairn(server, "apply", str(tmp_path / "missing.toml"))
    assert done.returncode == 3 and "missing.toml" in done.stderr
    unknown = tmp_path / "unknown.json"
    unknown.write_text(json.dumps({"entities": [{"name": "e"}], "feature_views": [
        {"name": "v", "entities": ["e"], "features": [{"name": "f", "value_type": "quaternion"}]}]}))
    done = cairn(server, "apply", str(unknown))
    assert done.returncode == 2 and "quaternion" in done.stderr and "double_list" in done.stderr


def test_R09_latest_values_as_columns_in_json_and_binary(server, unique):
    name = unique("driver").replace("-", "_")
    kinds = {"rate": "double", "small": "float", "trips": "int64", "grade": "int32", "good": "bool", "seen": "unix_timestamp", "town": "string",
             "tags": "string_list", "face": "vector"}
    values = {"rate": [0.1, None], "small": [0.5, 2.5], "trips": [2**40, -1], "grade": [7, None], "good": [True, False], "seen": [1700000000, None],
              "town": ["Zürich", ""], "tags": [["a", "b"], None], "face": [[1.0, 0.5], [0.0, 2.0]]}
    features = [{"name": feature, "value_type": kind, **({"vector_length": 2} if kind == "vector" else {})} for feature, kind in kinds.items()]
    requests.post(f"{server.url}/api/v1/features/apply", json={
        "entities": [{"name": name, "value_type": "int64"}],
        "feature_views": [{"name": f"{name}_stats", "entities": [name], "ttl_s": 86400, "features": features}]}).raise_for_status()
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    requests.post(f"{server.url}/write-to-online-store", json={"feature_view_name": f"{name}_stats", "df": {
        name: [1, 2, 3], **{feature: [*column, column[0]] for feature, column in values.items()},
        "event_timestamp": [now.isoformat(), now.isoformat(), (now - datetime.timedelta(days=3)).isoformat()]}}).raise_for_status()
    question = {"features": [f"{name}_stats:{feature}" for feature in kinds], "entities": {name: [2, 9, 1, 3]}}
    answer = requests.post(f"{server.url}/api/v1/features/online", json=question).json()
    assert answer["columns"] == {name: [2, 9, 1, 3], **{feature: [b, None, a, None] for feature, (a, b) in values.items()}}
    view = answer["views"][f"{name}_stats"]
    assert view["statuses"] == ["PRESENT", "NOT_FOUND", "PRESENT", "OUTSIDE_MAX_AGE"]
    shown = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert view["event_timestamps"][:3] == [shown, None, shown]
    assert view["ages_s"][1] is None and 0 <= view["ages_s"][0] < 3600 and 3 * 86400 <= view["ages_s"][3] < 3 * 86400 + 3600
    # The reader that the format's page shows.
    numpy = pytest.importorskip("numpy")
    page = (pathlib.Path(__file__).parents[2] / "docs/formats/feature-columns.md").read_text(encoding="utf-8")
    reader = {}
    exec(re.search(r"```python\n(.*?)```", page, re.S)[1], reader)
    binary = requests.post(f"{server.url}/api/v1/features/online", json=question, headers={"Accept": "application/octet-stream"})
    assert binary.headers["Content-Type"] == "application/octet-stream"
    columns, views = reader["read_columns"](binary.content)
    assert list(columns) == list(kinds)
    for feature, (first, second) in values.items():
        given = columns[feature].tolist()
        if kinds[feature] in ("string_list", "vector"):
            given = [json.loads(text) if text is not None else None for text in given]
        assert given == [second, None, first, None], feature
    assert views[f"{name}_stats"]["statuses"].tolist() == [2, 0, 2, 1]
    assert views[f"{name}_stats"]["event_times"][0] == numpy.datetime64(now.replace(tzinfo=None), "us")
    wrong = requests.post(f"{server.url}/api/v1/features/online", json={"features": ["no:such"], "entities": {name: [1]}})
    assert wrong.status_code == 404 and "no" in wrong.json()["message"]
