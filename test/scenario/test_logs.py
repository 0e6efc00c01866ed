"""The server's log: one JSON object a line on request, with the request's ids as fields of their own, and never a secret."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest
import requests
from servers import start_cairn

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own logs")

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix="cairn-logs-"))
    path.chmod(0o755)  # the embedded PostgreSQL runs as another user
    yield path
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def served(folder, *options):
    server = start_cairn(folder, *options)
    try:
        yield server
    finally:
        server.stop()


def test_json_lines_carry_the_requests_ids(folder):
    with served(folder, "--log-format", "json", "--log-level", "debug") as server:
        answer = requests.get(server.url + "/api/2.0/mlflow/runs/get?run_id=n%0Aone", timeout=30,
                              headers={"X-Request-Id": "order-66", "traceparent": TRACE})
        assert answer.status_code == 404 and answer.headers["X-Request-Id"] == "order-66"
        unnamed = requests.get(server.url + "/version", timeout=30).headers["X-Request-Id"]
    lines = [json.loads(line) for line in (folder / "server.log").read_text().splitlines() if line.startswith("{")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"]) and line["level"] and line["message"] for line in lines)
    named = [line for line in lines if line.get("request_id") == "order-66"]
    assert len(named) == 1
    assert named[0]["traceparent"] == TRACE and named[0]["message"] == "request"
    assert (named[0]["method"], named[0]["path"], named[0]["status"]) == ("GET", "/api/2.0/mlflow/runs/get", 404)
    assert isinstance(named[0]["ms"], float)
    other = next(line for line in lines if line.get("request_id") == unnamed)
    assert other["path"] == "/version" and "traceparent" not in other


def test_text_lines_carry_them_too_and_cannot_be_forged(folder):
    with served(folder, "--log-level", "debug") as server:
        requests.get(server.url + "/no%0Awhere", timeout=30, headers={"X-Request-Id": "a-1", "traceparent": TRACE})
        requests.get(server.url + "/version", timeout=30, headers={"X-Request-Id": "x y=z"})
    lines = (folder / "server.log").read_text().splitlines()
    assert [line for line in lines if line.endswith(f"request_id=a-1 traceparent={TRACE}") and " path=/no%0Awhere " in line]
    assert not [line for line in lines if "x y=z" in line]


def test_no_secret_is_logged_or_shown(folder, new_database):
    password, token_name = "pw-5ecret-5ecret", "ci"
    made = subprocess.run([os.environ["CAIRN_BIN"], "credentials", "token", token_name], capture_output=True, text=True, timeout=60, check=True)
    token = made.stderr.split()[-1]
    user = subprocess.run([os.environ["CAIRN_BIN"], "credentials", "user", "ann"], input=password + "\n", capture_output=True, text=True, timeout=60,
                          check=True)
    (folder / "credentials.toml").write_text(made.stdout + user.stdout)
    shown = []
    with new_database() as dsn:
        dsn += " password=pg-5ecret-5ecret"
        with served(folder, "--log-format", "json", "--log-level", "trace", "--credentials", str(folder / "credentials.toml"),
                    "--database-url", dsn, "--migrate") as server:
            for options in ({"headers": {"Authorization": f"Bearer {token}"}}, {"auth": ("ann", password)}, {"auth": ("ann", password + "-wrong")},
                            {"headers": {"Authorization": f"Bearer {token}-wrong"}}, {"headers": {"Authorization": f"Nonsense {token}"}}):
                for path in ("/metrics", f"/api/2.0/mlflow/runs/get?run_id=x&access_token={token}", "/nowhere?password=" + password):
                    answer = requests.get(server.url + path, timeout=30, **options)
                    shown.append(answer.text + str(answer.headers))
    shown.append((folder / "server.log").read_text())
    for text in shown:
        for secret in (password, token, "pg-5ecret"):
            assert secret not in text
