"""Artifacts through the server: written, listed, read, deleted; big ones streamed; nothing outside of the root."""
import hashlib
import json
import os
import pathlib

import pytest

mlflow = pytest.importorskip("mlflow")
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: E402

PROXY = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture
def root(experiment, run):
    """The proxy's path of the run's artifacts."""
    return f"{PROXY}/{experiment}/{run}/artifacts"


@pytest.fixture
def tree(tmp_path):
    files = {"a.txt": "hello", "sub/b c.json": "{}", "sub/deep/ü.csv": "1,2", "empty": ""}
    for name, text in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "tree", files


def raw(server, method, path, **options):
    """Sends the path as it is, without the clean-up that requests does."""
    import http.client

    connection = http.client.HTTPConnection(server.url.split("//")[1], timeout=60)
    connection.request(method, path, **options)
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


def listing(client, run, path=None):
    return {(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run, path)}


def test_log_and_list(client, run, tree):
    folder, _ = tree
    client.log_artifacts(run, str(folder))
    client.log_artifact(run, str(folder / "a.txt"), "copy/of")
    assert {(p, d) for p, d, _ in listing(client, run)} == {("a.txt", False), ("sub", True), ("empty", False), ("copy", True)}
    assert listing(client, run, "sub") == {("sub/b c.json", False, 2), ("sub/deep", True, None)}
    assert listing(client, run, "sub/deep") == {("sub/deep/ü.csv", False, 3)}
    assert listing(client, run, "copy/of") == {("copy/of/a.txt", False, 5)}
    assert listing(client, run, "none") == set()
    assert [f.path for f in client.list_artifacts(run)] == ["a.txt", "copy", "empty", "sub"]


def test_download(client, run, tree, tmp_path):
    folder, files = tree
    client.log_artifacts(run, str(folder), "tree")
    one = client.download_artifacts(run, "tree/sub/b c.json", str(tmp_path))
    assert pathlib.Path(one).read_text() == "{}"
    out = tmp_path / "out"
    out.mkdir()
    whole = pathlib.Path(client.download_artifacts(run, "tree", str(out)))
    assert {str(p.relative_to(whole)): p.read_text() for p in whole.rglob("*") if p.is_file()} == files


def test_texts_dicts_and_overwriting(fluent):
    with fluent.start_run() as active:
        fluent.log_text("one", "notes/a.txt")
        fluent.log_text("two", "notes/a.txt")
        fluent.log_dict({"a": [1, 2]}, "d.json")
    uri = active.info.artifact_uri
    assert fluent.artifacts.load_text(uri + "/notes/a.txt") == "two"
    assert fluent.artifacts.load_dict(uri + "/d.json") == {"a": [1, 2]}


def test_table(fluent):
    with fluent.start_run() as active:
        fluent.log_table({"x": [1, 2]}, "t.json")
        fluent.log_table({"x": [3]}, "t.json")
    assert list(fluent.load_table("t.json", run_ids=[active.info.run_id])["x"]) == [1, 2, 3]


def test_delete(client, run, tree):
    client.log_artifacts(run, str(tree[0]))
    store = get_artifact_repository(client.get_run(run).info.artifact_uri, tracking_uri=client.tracking_uri)
    store.delete_artifacts("sub")
    store.delete_artifacts("a.txt")
    assert {p for p, _, _ in listing(client, run)} == {"empty"}
    store.delete_artifacts("a.txt")  # what is gone may be deleted again


def test_a_missing_file(client, run, tmp_path):
    with pytest.raises(mlflow.MlflowException):
        client.download_artifacts(run, "none.txt", str(tmp_path))


def test_big_file_is_streamed(api, server, root, target):
    size = 192 << 20

    def memory_kib():
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])

    before = memory_kib()
    block = os.urandom(1 << 20)
    digest = hashlib.sha256()

    def blocks():
        for _ in range(size >> 20):
            digest.update(block)
            yield block

    put = api.session.put(api.url + root + "/big.bin", data=blocks(), timeout=120)
    assert put.status_code == 200
    got, length = hashlib.sha256(), 0
    with api.session.get(api.url + root + "/big.bin", stream=True, timeout=120) as answer:
        assert answer.headers.get("Content-Length", str(size)) == str(size)
        for part in answer.iter_content(1 << 20):
            got.update(part)
            length += len(part)
    assert (length, got.digest()) == (size, digest.digest())
    if target == "cairn":
        assert memory_kib() - before < 64 << 10
    assert api.delete(root + "/big.bin") == {}


def test_answer_headers(api, root):
    for name, kind in (("a.txt", "text/plain"), ("a.json", None), ("a.html", "text/html"), ("a.png", "image/png"), ("a.unknown", "application/octet-stream")):
        assert api.session.put(api.url + root + "/" + name, data=b"<b>x</b>").status_code == 200
        answer = api.session.get(api.url + root + "/" + name)
        assert answer.content == b"<b>x</b>"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
        if kind:
            assert answer.headers["Content-Type"].split(";")[0] == kind


def test_put_answers_200_and_empty_files_work(api, root):
    assert api.session.put(api.url + root + "/e", data=b"").status_code == 200
    assert api.session.get(api.url + root + "/e").content == b""


def test_raw_listing(api, experiment, run, root):
    for name in ("b/x", "a", "c%20d"):
        api.session.put(f"{api.url}{root}/{name}", data=b"12")
    assert api.get("artifacts/list", run_id=run) == {
        "root_uri": f"mlflow-artifacts:/{experiment}/{run}/artifacts",
        "files": [{"path": "a", "is_dir": False, "file_size": 2}, {"path": "b", "is_dir": True}, {"path": "c d", "is_dir": False, "file_size": 2}],
    }
    assert api.get(PROXY, path=f"{experiment}/{run}/artifacts/b") == {"files": [{"path": "x", "is_dir": False, "file_size": 2}]}
    assert api.get(PROXY, path=f"{experiment}/{run}/artifacts/none") == {}
    assert api.get("artifacts/list", run_id=run, path="a") == {"root_uri": f"mlflow-artifacts:/{experiment}/{run}/artifacts"}
    assert api.get("/ajax-api/2.0/mlflow/artifacts/list", run_id=run, path="b")["files"][0]["path"] == "b/x"


def test_missing_artifact_answers_404(api, root):
    answer = api.call("GET", root + "/none")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert answer.json()["message"].startswith("No such artifact")


def test_a_directory_is_no_file(api, root):
    api.session.put(f"{api.url}{root}/d/x", data=b"1")
    assert api.call("GET", root + "/d").status_code == 400


def test_get_artifact_as_the_page_asks(api, run, root):
    api.session.put(f"{api.url}{root}/d/x.txt", data=b"text")
    for key in ("run_id", "run_uuid"):
        assert api.call("GET", "/get-artifact", params={key: run, "path": "d/x.txt"}).content == b"text"
    assert api.call("GET", "/get-artifact", params={"run_id": run, "path": "none"}).status_code == 404
    assert api.call("GET", "/get-artifact", params={"run_id": run, "path": "../x"}).status_code == 400
    assert api.call("GET", "/get-artifact", params={"run_id": "none", "path": "x"}).status_code == 404


OUTSIDE = ["../../../../../escaped", "%2e%2e/%2e%2e/%2e%2e/escaped", "..%2f..%2f..%2fescaped", "a/../../../../escaped", ".%2e/.%2e/escaped", "%252e%252e%252fescaped"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_paths_that_leave_the_root_are_refused(server, root, method, name):
    answer = raw(server, method, f"{root}/{name}", body=b"evil" if method == "PUT" else None)
    assert (answer.status, json.loads(answer.body)["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("name", [*OUTSIDE, "%2fescaped", "/escaped", "./escaped", "//tmp/escaped", "..%5c..%5cescaped"])
def test_no_path_writes_outside_of_the_root(server, root, run, name):
    own = f"escaped-{run[:8]}"
    raw(server, "PUT", f"{root}/{name.replace('escaped', own)}", body=b"evil")
    folder = pathlib.Path(server.log).parent
    assert [p for p in folder.rglob(f"*{own}*") if f"/{run}/artifacts/" not in str(p)] == []
    assert not pathlib.Path("/", own).exists() and not pathlib.Path("/tmp", own).exists()


@pytest.mark.parametrize("path", ["../", "..", "/etc", "d/../..", "%2e%2e", "file:///etc"])
def test_no_listing_leaves_the_root(server, run, path):
    for query in (f"/api/2.0/mlflow/artifacts/list?run_id={run}&path={path}", f"{PROXY}?path={path}"):
        answer = raw(server, "GET", query)
        assert (answer.status, json.loads(answer.body)["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_no_link_leaves_the_root(api, server, run, root, target):
    """A symbolic link that somebody laid into the store leads nowhere."""
    if target == "mlflow":
        pytest.skip("the stock server follows links")
    api.session.put(f"{api.url}{root}/real", data=b"1")
    store = next(p for p in pathlib.Path(server.log).parent.rglob("real") if run in str(p)).parent
    outside = pathlib.Path(server.log).parent / "outside"
    outside.mkdir(mode=0o777, exist_ok=True)
    (outside / "secret").write_text("x")
    (store / "link").symlink_to(outside)
    (store / "file").symlink_to(outside / "secret")
    for path in ("link/secret", "file"):
        assert api.call("GET", f"{root}/{path}").status_code in (400, 403, 404)
    assert api.session.put(f"{api.url}{root}/link/new", data=b"1").status_code in (400, 403, 404)
    assert api.call("GET", "artifacts/list", params={"run_id": run, "path": "link"}).json().get("files", []) == []
    api.call("DELETE", root + "/link")
    assert [p.name for p in outside.iterdir()] == ["secret"]


def test_interrupted_upload_leaves_nothing(server, api, root, target):
    import socket

    if target == "mlflow":
        pytest.skip("the stock server keeps half a file")
    host, port = server.url.split("//")[1].split(":")
    with socket.create_connection((host, int(port))) as half:
        half.sendall(f"PUT {root}/half HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 1000000\r\n\r\n".encode() + b"x" * 1000)
    assert api.call("GET", root + "/half").status_code == 404
