"""R32: `cairn backup`, with a server and its clients: what is restored is what was acknowledged, artifacts and all."""
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
from servers import Api, start_cairn

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="this is Cairn's own command")


@pytest.fixture
def folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix="cairn-backup-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    path.chmod(0o755)  # PostgreSQL runs as another user
    yield path
    shutil.rmtree(path, ignore_errors=True)


def begin(folder, *arguments):
    environment = {k: v for k, v in os.environ.items() if k == "CAIRN_POSTGRES_BIN" or not k.startswith("CAIRN_") and k != "DATABASE_URL"}
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen([os.environ["CAIRN_BIN"], "backup", *arguments, "--data-dir", folder / "data", "--backup-dir", folder / "backups"],
                            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment | {"TMPDIR": str(folder / "tmp")})


def backup(folder, *arguments, code=0):
    process = begin(folder, *arguments)
    try:
        said, complaint = process.communicate(timeout=150)
    finally:
        process.kill()
    assert process.returncode == code, said + complaint
    return said or complaint


@pytest.mark.parametrize("tool", ["postgresql", "pgbackrest"])
def test_R32_a_restored_server_has_every_run_and_every_artifact_with_its_checksum(folder, tool):
    server = start_cairn(folder)
    try:
        api = Api(server.url)
        experiment = api.post("experiments/create", {"name": "kept"})["experiment_id"]
        sums = {}

        def new_run(number):
            run = api.create_run(experiment, run_name=f"run {number}")
            content = os.urandom(5000 + number)
            path = f"{experiment}/{run}/artifacts/model/weights.bin"
            assert api.call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", data=content).status_code == 200
            api.post("runs/log-metric", {"run_id": run, "key": "loss", "value": number / 7, "timestamp": 1, "step": number})
            sums[run] = (number, path, hashlib.sha256(content).hexdigest())

        for number in range(3):
            new_run(number)
        made = json.loads(backup(folder, "create", "--with", tool, "--json"))
        assert made["artifacts"] == 3 and made["exact"] and ("type" in made) == (tool == "pgbackrest")
        for number in range(3, 5):
            new_run(number)
        assert json.loads(backup(folder, "verify", "--json"))["good"]
        listed = json.loads(backup(folder, "list", "--json"))["backups"]
        assert [one["id"] for one in listed] == [made["id"]] and listed[0]["good"]
    finally:
        server.stop()
    backup(folder, "restore", str(folder / "again" / "data"), "--json")
    (folder / "again").chmod(0o755)
    shutil.rmtree(folder / "data")
    server = start_cairn(folder / "again")
    try:
        api = Api(server.url)
        runs = {run["info"]["run_id"]: run for run in api.post("runs/search", {"experiment_ids": [experiment]})["runs"]}
        assert set(runs) == set(sums)
        for run, (number, path, checksum) in sums.items():
            assert runs[run]["data"]["metrics"][0]["value"] == number / 7
            content = api.call("GET", f"/api/2.0/mlflow-artifacts/artifacts/{path}").content
            assert hashlib.sha256(content).hexdigest() == checksum
    finally:
        server.stop()


def test_R32_what_a_killed_verify_leaves_the_next_one_removes(folder):
    def scratch():
        return set((folder / "tmp").glob("cairn-recovery-*"))

    def postgres(of):
        try:
            return int((of / ".s.PGSQL.5432.lock").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None

    def begin_verify():
        while True:  # one that was done before its server was seen is begun anew
            before, process = scratch(), begin(folder, "verify")
            while process.poll() is None:
                if seen := [one for one in scratch() - before if postgres(one)]:
                    return process, *seen
                time.sleep(0.01)
            said, complaint = process.communicate()
            assert process.returncode == 0, said + complaint

    server = start_cairn(folder)
    try:
        backup(folder, "create")
    finally:
        server.stop()
    killed, left = begin_verify()
    pid = postgres(left)
    killed.kill()
    killed.communicate()
    wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists())
    assert left.is_dir()
    at_work, its_own = begin_verify()
    try:
        at_work.send_signal(signal.SIGSTOP)
        backup(folder, "verify")
        assert scratch() == {its_own}, "that of one at work is its own; the killed one's is gone"
        at_work.send_signal(signal.SIGCONT)
        said, complaint = at_work.communicate(timeout=150)
        assert at_work.returncode == 0, said + complaint
        assert not scratch()
    finally:
        at_work.kill()


def wait_until(condition):
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_R32_the_schedule_verifies_the_newest_backup_and_a_failure_is_seen(folder):
    def cairn(*arguments):
        done = subprocess.run([os.environ["CAIRN_BIN"], *arguments, "--data-dir", folder / "data"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    server = start_cairn(folder)  # is told nothing of the backups' directory
    try:
        api = Api(server.url)
        experiment = api.post("experiments/create", {"name": "kept"})["experiment_id"]
        path = f"{experiment}/{api.create_run(experiment)}/artifacts/model/weights.bin"
        assert api.call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", data=b"weights").status_code == 200

        def runs(state):
            listed = api.get("/api/v1/database/maintenance/runs", job="backup-verify")["runs"]
            return [run for run in listed if run["state"] == state]

        def monthly():
            return {check["name"]: check for check in json.loads(cairn("maintain", "monthly", "--dry-run", "--json"))["checks"]}["backup"]

        wait_until(lambda: "backup-verify" in {job["name"] for job in api.get("/api/v1/database/maintenance/jobs")["jobs"]})
        assert monthly()["state"] == "by hand"
        made = json.loads(backup(folder, "create", "--json"))["id"]
        cairn("maintain", "jobs", "backup-verify", "--schedule", "1 seconds", "--quiet-hours", "any")
        first = wait_until(lambda: runs("done"))[-1]
        assert first["summary"] == f"backup {made}: good" and monthly()["state"] == "good"
        content = next(file for file in (folder / "backups" / "artifacts").rglob("*") if file.is_file())
        content.write_bytes(b"weight5")
        failed = wait_until(lambda: runs("failed"))[0]
        wait_until(lambda: 'cairn_maintenance_job_failed{name="backup-verify"} 1' in cairn("monitor", "metrics"))
        cairn("maintain", "jobs", "backup-verify", "--disable")
        assert "NOT GOOD; artifacts: " in failed["summary"] and "weights.bin" in failed["summary"]
        report = api.get(f"/api/v1/database/maintenance/runs/{failed['run_id']}")["run"]["report"]
        assert not report["good"] and [check["name"] for check in report["checks"] if not check["good"]] == ["artifacts"]
        check = monthly()
        assert check["state"] == "attention" and check["to_do"] == ["cairn backup verify"] and "NOT GOOD" in check["what"][0]
    finally:
        server.stop()
