"""`cairn search` and /api/v1/collections: files in, answers out, and what was killed goes on where it was."""
import json
import os
import signal
import subprocess

import pytest
import requests

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")


def command(server, *arguments):
    return [os.environ["CAIRN_BIN"], "search", *arguments, "--data-dir", server.data_dir]


def cairn(server, *arguments):
    return subprocess.run(command(server, *arguments), capture_output=True, text=True, timeout=120)


@pytest.fixture
def collection(server, unique):
    name = unique("collection")
    assert cairn(server, "create", name).returncode == 0
    yield name
    requests.delete(f"{server.url}/api/v1/collections/{name}")


def test_R17_a_folder_is_added_and_searched(server, collection, tmp_path):
    (tmp_path / "vacuum.md").write_text("# Routine vacuuming\n\nVACUUM reclaims storage occupied by dead tuples.")
    (tmp_path / "wal.html").write_text("<title>Write-ahead log</title><p>The <b>log</b> is written first.<script>vacuum()</script>")
    (tmp_path / "more.jsonl").write_text(json.dumps({"source": "ü", "content": "Analyze collects statistics.", "metadata": {"year": 2021}}) + "\n")
    (tmp_path / "broken.txt").write_bytes(b"caf\xe9")
    done = cairn(server, "add", collection, str(tmp_path))
    assert done.returncode == 2 and "broken.txt is not UTF-8" in done.stderr
    assert done.stdout.startswith("3 added, 0 changed, 0 unchanged; 3 chunks written")
    again = json.loads(cairn(server, "add", collection, str(tmp_path), "--json").stdout)
    assert again["unchanged"] == 3 and again["chunks"] == 0
    found = cairn(server, "query", collection, "vacuuming dead tuples")
    assert found.stdout.count("\n") == 2 and "Routine vacuuming" in found.stdout and "<b>" not in found.stdout
    answer = json.loads(cairn(server, "query", collection, "statistics logs", "--where", "year>=2021", "--json", "--explain").stdout)
    assert [(hit["source"], hit["explain"]["text_rank"]) for hit in answer["results"]] == [("ü", 1)]
    (line,) = [line for line in cairn(server, "list").stdout.splitlines() if line.startswith(collection)]
    assert line.split()[1:3] == ["english", "3"]
    assert requests.get(f"{server.url}/api/v1/collections/{collection}").json()["chunks"] == 3
    # The server answers the same.
    reply = requests.post(f"{server.url}/api/v1/collections/{collection}/search", json={"query": "write-ahead", "highlight": True})
    assert reply.json()["results"][0]["title"] == "Write-ahead log"


def test_R19_a_bulk_load_that_is_killed_goes_on(server, unique):
    name = unique("bulk")
    assert cairn(server, "create", name, "--embedder", "own", "--dimension", "4").returncode == 0
    lines = "".join(json.dumps({"source": str(i), "content": f"text {i}", "embedding": [i % 97, i % 89, i % 83, 1]}) + "\n" for i in range(12000))
    loading = subprocess.Popen(command(server, "add", name, "-", "--bulk"), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    loading.stdin.write(lines[:len(lines) // 2].encode())
    loading.stdin.flush()
    while True:  # some of it is there
        shown = requests.get(f"{server.url}/api/v1/collections/{name}").json()
        if shown["documents"] > 0:
            break
    loading.send_signal(signal.SIGKILL)
    loading.communicate()
    before = requests.get(f"{server.url}/api/v1/collections/{name}").json()["documents"]
    assert 0 < before < 12000
    done = subprocess.run(command(server, "add", name, "-", "--bulk", "--json"), input=lines, capture_output=True, text=True, timeout=180)
    counts = json.loads(done.stdout)
    # What the server had read of the killed command's request it may have committed after it was asked.
    assert counts["added"] + counts["unchanged"] == 12000 and counts["unchanged"] >= before, (before, counts, done.stderr)
    shown = requests.get(f"{server.url}/api/v1/collections/{name}").json()
    assert shown["vector_index"]["kind"] == "hnsw" and shown["vector_index"]["valid"] and shown["chunks"] == 12000
    tuned = cairn(server, "tune", name, "--recall", "0.9", "--sample", "20")
    assert tuned.returncode == 0 and "hnsw.ef_search = " in tuned.stdout
    assert cairn(server, "drop", name).returncode == 0
    assert requests.get(f"{server.url}/api/v1/collections/{name}").status_code == 404


def test_R15_an_index_comes_when_there_are_enough_vectors(server, unique):
    name = unique("growing")
    collections = f"{server.url}/api/v1/collections"
    assert requests.post(collections, json={"name": name, "embedder": {"kind": "own", "dimension": 2}}).ok
    lines = "".join(json.dumps({"source": str(i), "content": "text", "embedding": [i % 101 + 1, i % 103]}) + "\n" for i in range(10000))
    added = requests.post(f"{collections}/{name}/documents", data=lines, headers={"Content-Type": "application/x-ndjson"})
    assert added.json()["added"] == 10000
    while not (requests.get(f"{collections}/{name}").json()["vector_index"] or {}).get("valid"):
        pass  # pytest's own time-out ends this
    assert requests.post(f"{collections}/{name}/index").json()["built"] is False
    tuned = requests.post(f"{collections}/{name}/tune", json={"recall": 0.9, "sample": 10}).json()
    assert tuned["reached"] and tuned["recall"] >= 0.9 and tuned["setting"] == "hnsw.ef_search"
    found = requests.post(f"{collections}/{name}/search", json={"vector": [1, 0], "k": 3, "explain": True}).json()["results"]
    assert [round(hit["explain"]["distance"], 6) for hit in found] == [0, 0, 0]
    assert requests.delete(f"{collections}/{name}").ok


def test_what_is_wrong_is_said(server, collection):
    assert cairn(server, "query", "no-such", "x").returncode == 3
    assert cairn(server, "create", collection).returncode in (2, 4)
    done = cairn(server, "query", collection, "x", "--where", "year")
    assert done.returncode == 2 and "key=value" in done.stderr
    assert cairn(server, "query", collection, "x", "--mode", "vector").returncode == 2
