"""`cairn features training-set` and its routes on the whole binary."""
import csv
import hashlib
import io
import json
import os
import subprocess

import pytest
import requests

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")


def cairn(server, *arguments, stdin=None):
    return subprocess.run([os.environ["CAIRN_BIN"], "features", "training-set", *arguments, "--data-dir", server.data_dir],
                          capture_output=True, text=True, timeout=60, input=stdin)


@pytest.fixture
def view(server, unique):
    """A view with a value an hour for each of three entities."""
    name = unique("driver").replace("-", "_")
    answer = requests.post(f"{server.url}/api/v1/features/apply", json={
        "entities": [{"name": name, "value_type": "int64"}],
        "feature_views": [{"name": f"{name}_stats", "entities": [name], "features": [
            {"name": "rate", "value_type": "double"}, {"name": "note", "value_type": "string"}]}]})
    assert answer.status_code == 200, answer.text
    write(server, name, range(24))
    return name


def write(server, name, hours):
    times = [f"2026-01-01T{hour:02}:00:00Z" for hour in hours for _ in range(3)]
    answer = requests.post(f"{server.url}/write-to-online-store", json={"feature_view_name": f"{name}_stats", "df": {
        name: [1, 2, 3] * len(hours), "rate": [hour + driver / 10 for hour in hours for driver in (1, 2, 3)],
        "note": [None] * len(times), "event_timestamp": times, "created": times}})
    assert answer.status_code == 200, answer.text


def spine(name, rows=4000):
    return f"{name},event_timestamp,label\n" + "".join(
        f"{n % 4},2026-01-01 {n % 24:02}:{n % 60:02}:00+00,\"row {n}\"\n" for n in range(rows))


def expected(name, rows=4000):
    return f"{name},event_timestamp,label,rate,note\n" + "".join(
        f"{n % 4},2026-01-01 {n % 24:02}:{n % 60:02}:00+00,row {n},{(n % 24) + (n % 4) / 10 if n % 4 else ''},\n" for n in range(rows)
    ).replace(".0,\n", ",\n")


def test_R09_a_set_of_a_file_again_and_linked_to_its_run(server, client, view, unique, tmp_path):
    name, file, out = unique("set"), tmp_path / "spine.csv", tmp_path / "train.csv"
    file.write_text(spine(view))
    made = cairn(server, "create", name, "--spine-csv", str(file), "--features", f"{view}_stats:rate,{view}_stats:note", "-o", str(out))
    assert made.returncode == 0, made.stderr
    assert out.read_text() == expected(view)
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    assert made.stdout == f"4000 rows in {out}, SHA-256 {digest}\n"
    write(server, view, range(23))  # changes nothing
    requests.post(f"{server.url}/write-to-online-store", json={"feature_view_name": f"{view}_stats", "df": {
        view: [1], "rate": [-1], "note": ["late"], "event_timestamp": ["2026-01-01T03:00:00Z"], "created": ["2026-01-01T03:00:00Z"]}})
    again = tmp_path / "again.csv"
    done = cairn(server, "again", name, "-o", str(again))
    assert done.returncode == 0 and again.read_bytes() == out.read_bytes(), done.stderr
    run = client.create_run(client.create_experiment(unique("trained"))).info.run_id
    linked = cairn(server, "log-input", name, "--run-id", run)
    assert linked.returncode == 0, linked.stderr
    (dataset,) = client.get_run(run).inputs.dataset_inputs
    assert dataset.dataset.name == name and digest.startswith(dataset.dataset.digest) and dataset.tags[0].value == "training"
    assert f"runs          {run}\n" in cairn(server, "show", name).stdout
    assert [line.split()[:2] for line in cairn(server, "list").stdout.splitlines() if name in line] == [[name, "4000"]]
    assert cairn(server, "create", name, "--spine-csv", str(file), "--features", f"{view}_stats:rate").returncode == 4
    assert cairn(server, "remove", name).returncode == 0 and cairn(server, "again", name).returncode == 3
    assert sorted(os.listdir(tmp_path)) == ["again.csv", "spine.csv", "train.csv"]


def test_R09_a_query_runs_as_the_reader_and_a_stream_comes_in_pieces(server, view):
    query = (f"SELECT n % 4 AS {view}, timestamptz '2026-01-01 12:00+00' AS event_timestamp, n, current_user AS who"
             " FROM generate_series(1, 20000) n")
    answer = requests.post(f"{server.url}/api/v1/features/training-sets", json={"query": query, "features": [f"{view}_stats:rate"]},
                           stream=True)
    assert answer.headers["Transfer-Encoding"] == "chunked" and answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 20000 and {row["who"] for row in rows} == {"cairn_reader"}
    assert [(row["rate"]) for row in rows[::5000]] == ["", "12.1", "12.2", "12.3"]
    made = requests.post(f"{server.url}/api/v1/features/training-sets",
                         json={"query": query, "features": [f"{view}_stats:rate"], "to_table": f"public.{view}_set"})
    assert made.json() == {"table": f"public.{view}_set", "rows": 20000}
    piped = cairn(server, "create", "--spine-table", f"public.{view}_set", "--features", f"{view}_stats:note")
    assert piped.returncode == 0 and len(piped.stdout.splitlines()) == 20001 and piped.stderr == "20000 rows, SHA-256 " + hashlib.sha256(
        piped.stdout.encode()).hexdigest() + "\n"


def test_a_bad_spine_leaves_no_file(server, view, tmp_path):
    out = tmp_path / "train.csv"
    done = cairn(server, "create", "--spine-csv", "-", "--features", f"{view}_stats:rate", "-o", str(out),
                 stdin=f"{view},event_timestamp\n1,2026-01-01\n1,soon\n")
    assert done.returncode == 2 and "soon" in done.stderr and "line 2" in done.stderr
    done = cairn(server, "create", "--spine-query", "DROP SCHEMA features CASCADE", "--features", f"{view}_stats:rate")
    assert done.returncode == 2
    assert os.listdir(tmp_path) == []


def test_R09_R19_rows_in_bulk_from_csv_and_binary(server, view, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text(f"{view},rate,note,event_timestamp,created\n" + "".join(
        f"{n % 1000},{n / 4},,2026-02-{1 + n // 1000:02}T00:00:00Z,2026-02-{1 + n // 1000:02}T00:00:00Z\n" for n in range(10_000)))
    write = [os.environ["CAIRN_BIN"], "features", "write", f"{view}_stats", str(rows), "--data-dir", server.data_dir]
    done = subprocess.run(write, capture_output=True, text=True, timeout=60)
    assert done.stdout == "10000 rows read, 10000 new in the history, latest values of 1000 entities are new\n", done.stderr
    done = subprocess.run([*write, "--json"], capture_output=True, text=True, timeout=60)
    assert done.stdout == '{"rows":10000,"history":0,"latest":0}\n', done.stderr
    answer = requests.post(f"{server.url}/get-online-features", json={"features": [f"{view}_stats:rate"], "entities": {view: [0, 999]}})
    assert answer.json()["results"][1]["values"] == [2250, 2499.75]
    binary = (b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\3" + b"\0\0\0\x08" + (5000).to_bytes(8, "big") + b"\0\0\0\x04\x3f\0\0\0"
              + b"\0\0\0\2hi" + b"\xff\xff")
    answer = requests.post(f"{server.url}/api/v1/features/views/{view}_stats/rows", data=binary,
                           params={"columns": [view, "rate", "note"]}, headers={"Content-Type": "application/octet-stream"})
    assert answer.json() == {"rows": 1, "history": 1, "latest": 1}
    answer = requests.post(f"{server.url}/get-online-features",
                           json={"features": [f"{view}_stats:rate", f"{view}_stats:note"], "entities": {view: [5000]}})
    assert [column["values"] for column in answer.json()["results"]] == [[5000], [0.5], ["hi"]]


def test_R09_R19_a_write_that_was_killed_is_finished_by_the_next(server, view, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text(f"{view},rate,note,event_timestamp\n" + "".join(f"{n},{n},,2026-02-01T00:00:00Z\n" for n in range(10_000, 60_000)))
    write = [os.environ["CAIRN_BIN"], "features", "write", f"{view}_stats", str(rows), "--json", "--data-dir", server.data_dir]

    def values(*keys):
        answer = requests.post(f"{server.url}/get-online-features", json={"features": [f"{view}_stats:rate"], "entities": {view: keys}})
        return answer.json()["results"][1]["values"]

    with subprocess.Popen(write, stdout=subprocess.DEVNULL) as killed:
        while killed.poll() is None and values(10_000) == [None]:
            pass  # the first batch is not written yet
        killed.kill()
    done = subprocess.run(write, capture_output=True, text=True, timeout=60)
    report = json.loads(done.stdout)
    assert report["rows"] == 50_000 and report["history"] == report["latest"] <= 30_000, done.stderr
    assert values(10_000, 29_999, 30_000, 59_999) == [10_000, 29_999, 30_000, 59_999]
    done = subprocess.run(write, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == {"rows": 50_000, "history": 0, "latest": 0}
