"""R31: reads go on while a replica dies, lags or is promoted, and what was acknowledged with a synchronous one is never lost."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import threading

import pytest
from faults import eventually, kill

pytestmark = pytest.mark.timeout(300)
psycopg2 = pytest.importorskip("psycopg2")
FULL = bool(os.environ.get("CAIRN_FULL"))


def command(server, *arguments, code=0):
    environment = {k: v for k, v in os.environ.items() if k == "CAIRN_POSTGRES_BIN" or not k.startswith("CAIRN_") and k != "DATABASE_URL"}
    done = subprocess.run([os.environ["CAIRN_BIN"], "replica", *arguments, "--data-dir", server.data], cwd=server.folder,
                          capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def replicas(server):
    return {one["name"]: one for one in json.loads(command(server, "list", "--json"))}


def reads_by_replica(client, name):
    found = re.search(rf'^cairn_replica_reads_total{{replica="{name}"}} (\d+)', client.good("GET", "/metrics"), re.M)
    return int(found[1]) if found else 0


def replica_postmaster(server, name):
    return int(next((server.data / "replicas" / name).glob("*/postmaster.pid")).read_text().split()[0])


class Writer:
    """Creates runs, one after the other, and remembers which were acknowledged."""

    def __init__(self, server, experiment):
        self.client, self.experiment = server.client(timeout=120), experiment
        self.acknowledged, self.refused = [], 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while not self.stopping.is_set():
            answer = self.client.post("runs/create", {"experiment_id": self.experiment})
            if answer is not None and answer.status == 200:
                self.acknowledged.append(answer.json()["run"]["info"]["run_id"])
            else:
                self.refused += 1
                self.stopping.wait(0.02)

    def stop(self):
        self.stopping.set()
        self.thread.join()


def found_runs(client, experiment):
    ids, token = set(), None
    while True:
        page = client.good("POST", "runs/search", {"experiment_ids": [experiment], "max_results": 1000, **({"page_token": token} if token else {})})
        ids |= {run["info"]["run_id"] for run in page.get("runs", [])}
        token = page.get("next_page_token")
        if not token:
            return ids


def search(client, experiment):
    return client.post("runs/search", {"experiment_ids": [experiment], "max_results": 5})


def test_R31_reads_go_to_a_replica_see_every_acknowledged_write_and_outlive_it(cairn):
    server = cairn().start()
    client = server.client()
    experiment = client.good("POST", "experiments/create", {"name": "read"})["experiment_id"]
    command(server, "add", "near")
    eventually(lambda: search(client, experiment) and reads_by_replica(client, "near") > 0, "a read from the replica")
    listed = replicas(server)["near"]
    assert listed["state"] == "streaming" and listed["lag_bytes"] >= 0 and listed["lag_seconds"] >= 0

    # Each read right after a write, and there are always reads that the replica answers.
    before = reads_by_replica(client, "near")
    for number in range(60):
        run = client.good("POST", "runs/create", {"experiment_id": experiment, "start_time": number + 1})["run"]["info"]["run_id"]
        first = search(client, experiment).json()["runs"][0]["info"]["run_id"]
        assert first == run, f"write {number} was not seen"
    assert reads_by_replica(client, "near") > before

    # It does not replay any more: what it lacks is read from the primary.
    with contextlib.closing(psycopg2.connect(host=str(server.data / "run"), port=listed["port"], user="postgres", dbname="cairn")) as standby:
        standby.autocommit = True
        standby.cursor().execute("SELECT pg_wal_replay_pause()")
        run = client.good("POST", "runs/create", {"experiment_id": experiment, "start_time": 1000})["run"]["info"]["run_id"]
        assert search(client, experiment).json()["runs"][0]["info"]["run_id"] == run
        assert eventually(lambda: replicas(server)["near"]["lag_bytes"], "a lag that is seen") > 0
        standby.cursor().execute("SELECT pg_wal_replay_resume()")

    if FULL:  # it hangs
        def signal_all(number):
            for pid in server.postgres_pids():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                    if b"near" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, number)

        signal_all(signal.SIGSTOP)
        assert search(client, experiment).status == 200
        signal_all(signal.SIGCONT)
    # It dies: no read fails, and it comes back.
    kill(replica_postmaster(server, "near"))
    for _ in range(20):
        assert search(client, experiment).status == 200
    before = reads_by_replica(client, "near")
    eventually(lambda: search(client, experiment) and reads_by_replica(client, "near") > before, "reads from the replica that came back")

    command(server, "remove", "near")
    assert replicas(server) == {} and not (server.data / "replicas" / "near").exists()
    assert search(client, experiment).status == 200
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_replication_slots")
        assert cursor.fetchone()[0] == 0
    server.terminate()


def test_R31_promotion_of_a_synchronous_replica_loses_nothing_and_reads_go_on(cairn):
    server = cairn().start()
    client = server.client()
    experiment = client.good("POST", "experiments/create", {"name": "kept"})["experiment_id"]
    command(server, "add", "near", "--synchronous")
    assert replicas(server)["near"]["sync_state"] in ("sync", "quorum")
    eventually(lambda: search(client, experiment) and reads_by_replica(client, "near") > 0, "a read from the replica")
    writers = [Writer(server, experiment) for _ in range(3)]
    eventually(lambda: all(len(writer.acknowledged) > 20 for writer in writers), "writes")
    # The primary is gone for good: it dies, and its control file with it.
    control = next((server.data / "postgres").glob("*/global/pg_control"))
    control.rename(control.with_suffix(".lost"))
    kill(server.postmaster())
    for _ in range(10):  # the replica answers
        assert search(client, experiment).status == 200
    command(server, "promote", "near")
    eventually(lambda: search(client, experiment).status == 200, "reads")
    counts = [len(writer.acknowledged) for writer in writers]
    eventually(lambda: all(len(w.acknowledged) > count for w, count in zip(writers, counts)), "writes on the new primary")
    for writer in writers:
        writer.stop()
    acknowledged = {run for writer in writers for run in writer.acknowledged}
    assert acknowledged <= found_runs(client, experiment)
    assert replicas(server)["near"]["state"] == "former primary"
    command(server, "remove", "near")
    if not FULL:
        return

    # The same without a server, and started again: nothing is lost either.
    command(server, "add", "other", "--synchronous")
    client.good("POST", "runs/create", {"experiment_id": experiment})
    count = len(found_runs(client, experiment))
    server.terminate()
    command(server, "promote", "other")
    server.start()
    assert len(found_runs(server.client(), experiment)) == count
    server.terminate()
