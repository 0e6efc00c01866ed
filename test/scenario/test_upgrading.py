"""docs/reference/upgrading.md, with data in the database."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import psycopg2
import pytest
import requests
from servers import as_postgres, start_cairn

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")


def call(server, path, **body):
    answer = requests.post(f"{server.url}/api/2.0/mlflow/{path}", json=body, timeout=30)
    assert answer.ok, answer.text
    return answer.json()


def fill(server):
    experiment = call(server, "experiments/create", name="upgraded")["experiment_id"]
    run_id = call(server, "runs/create", experiment_id=experiment)["run"]["info"]["run_id"]
    call(server, "runs/log-batch", run_id=run_id, params=[{"key": "lr", "value": "0.1"}],
         metrics=[{"key": "loss", "value": 1 / (step + 1), "timestamp": step, "step": step} for step in range(100)])
    put = requests.put(f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run_id}/artifacts/model.bin", data=b"weights", timeout=30)
    assert put.ok, put.text
    return experiment, run_id


def content(server, experiment, run_id):
    """What a client sees of the run."""
    run = requests.get(f"{server.url}/api/2.0/mlflow/runs/get", params={"run_id": run_id}, timeout=30).json()
    history = requests.get(f"{server.url}/api/2.0/mlflow/metrics/get-history", params={"run_id": run_id, "metric_key": "loss"}, timeout=30).json()
    file = requests.get(f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run_id}/artifacts/model.bin", timeout=30).content
    assert len(history["metrics"]) == 100 and file == b"weights"
    return run, history


def migrate(server, *arguments):
    done = subprocess.run([os.environ["CAIRN_BIN"], "migrate", *arguments, "--json", "--data-dir", server.data_dir], capture_output=True, text=True,
                          timeout=120, env={k: v for k, v in os.environ.items() if not k.startswith("CAIRN_") or k == "CAIRN_POSTGRES_BIN"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if arguments[0] == "current" else None


@pytest.fixture
def filled():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-upgrading-"))
    folder.chmod(0o755)  # the embedded PostgreSQL runs as another user
    server = start_cairn(folder)
    yield folder, server, *fill(server)
    server.stop()
    shutil.rmtree(folder)


def test_r14_the_previous_schema_is_brought_up_to_date_with_its_data(filled):
    folder, server, experiment, run_id = filled
    before = content(server, experiment, run_id)
    server.stop()
    head = migrate(server, "current")["head"]
    migrate(server, "downgrade", "-1")
    assert migrate(server, "current")["current"] == head - 1
    newer = start_cairn(folder)
    try:
        assert content(newer, experiment, run_id) == before
        assert migrate(newer, "current")["current"] == head
    finally:
        newer.stop()


def test_r32_dumped_and_restored_into_another_cluster(filled, new_database, tmp_path):
    folder, server, experiment, run_id = filled
    before = content(server, experiment, run_id)
    tools = os.environ["CAIRN_POSTGRES_BIN"]
    dump = subprocess.run(as_postgres(f"{tools}/pg_dump", "--format=custom", "--no-owner", f"host={server.data_dir}/run user=postgres dbname=cairn"),
                          capture_output=True, timeout=120)
    assert dump.returncode == 0, dump.stderr.decode()
    server.stop()
    with new_database() as dsn:
        with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
            for role in ("cairn", "cairn_reader", "cairn_writer"):
                cursor.execute(f"DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$")
        connection.close()
        restored = subprocess.run([f"{tools}/pg_restore", "--no-owner", "--exit-on-error", f"--dbname={dsn}"], input=dump.stdout, capture_output=True,
                                  timeout=120)
        assert restored.returncode == 0, restored.stderr.decode()
        (tmp_path / "other").mkdir()
        other = start_cairn(tmp_path / "other", "--database-url", dsn, "--artifact-root", f"{server.data_dir}/artifacts")
        try:
            assert content(other, experiment, run_id) == before
        finally:
            other.stop()
