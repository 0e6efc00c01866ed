"""The data directory on a small file system that fills up: writes get 507, reads go on, and all is well once there is room."""
import contextlib
import os
import subprocess
import time

import pytest
from faults import PATIENCE_SECONDS, Cairn, assert_try_again, eventually

MIB = 1 << 20
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def small_disk(folder):
    """Makes a file system of so many MiB on a folder."""
    with contextlib.ExitStack() as stack:

        def make(size_mib):
            place = folder / "disk"
            place.mkdir()
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=755", "tmpfs", place], capture_output=True, text=True)
            if mounted.returncode != 0:
                pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
            stack.callback(subprocess.run, ["umount", "-l", place], check=True)
            return place

        yield make


@pytest.fixture
def server(cairn, small_disk):
    return cairn("--log-format", "json", where=small_disk(400)).start()


class Filler:
    """Someone else's file, which takes all of the disk but so many MiB."""

    def __init__(self, place):
        self.file = open(place / "someone-elses", "wb", buffering=0)

    def leave(self, mib):
        with contextlib.suppress(OSError):
            while (free := os.statvfs(self.file.name).f_bavail * os.statvfs(self.file.name).f_frsize - mib * MIB) > 0:
                self.file.write(bytes(min(free, MIB)))

    def clear(self):
        self.file.truncate(0)
        self.file.seek(0)


class Experimenter:
    """Logs points to one run, and knows which of them must be there."""

    def __init__(self, server):
        self.client = server.client()
        self.experiment = self.client.good("POST", "experiments/create", {"name": "disk"})["experiment_id"]
        self.run = self.client.good("POST", "runs/create", {"experiment_id": self.experiment})["run"]["info"]["run_id"]
        self.asked, self.kept = 0, set()

    def log_batch(self, size=500):
        first = self.asked
        self.asked += size
        metrics = [{"key": "loss", "value": hash(step) / 7, "timestamp": step * 7919, "step": step} for step in range(first, self.asked)]
        answer = self.client.post("runs/log-batch", {"run_id": self.run, "metrics": metrics})
        if answer.status == 200:
            self.kept |= set(range(first, self.asked))
        return answer

    def log_until(self, status, statuses=(200, 503, 507)):
        def logged():
            answer = self.log_batch()
            assert answer.status in statuses, answer
            if answer.status != 200:
                assert_try_again(answer, statuses)
            return answer if answer.status == status else None

        return eventually(logged, f"status {status}")

    def read(self):
        steps = [m["step"] for m in self.client.good("GET", f"metrics/get-history?run_id={self.run}&metric_key=loss").get("metrics", [])]
        assert self.kept <= set(steps) <= set(range(self.asked))
        found = self.client.good("POST", "runs/search", {"experiment_ids": [self.experiment]})["runs"]
        assert self.run in [run["info"]["run_id"] for run in found]


def check_writes_are_refused(writer):
    for path, body in (("runs/create", {"experiment_id": writer.experiment}), ("experiments/create", {"name": "one more"}),
                       ("runs/set-tag", {"run_id": writer.run, "key": "k", "value": "v"}), ("registered-models/create", {"name": "m"}),
                       ("runs/delete", {"run_id": writer.run})):
        answer = writer.client.post(path, body)
        assert answer.status == 507 and answer.json()["error_code"] == "INSUFFICIENT_STORAGE", answer


def test_a_disk_that_fills_up_slowly(server):
    """Nothing breaks: PostgreSQL is never restarted, no read fails."""
    writer, filler = Experimenter(server), Filler(server.folder)
    writer.log_batch()
    postmaster = server.postmaster()
    for _ in range(2):
        filler.leave(40)
        writer.log_until(507, (200, 507))
        for _ in range(10):
            check_writes_are_refused(writer)
            writer.read()
        assert "cairn_disk_full 1" in writer.client.good("GET", "/metrics")
        filler.clear()
        writer.log_until(200, (200, 507))
        writer.client.good("POST", "runs/set-tag", {"run_id": writer.run, "key": "k", "value": "v"})
        writer.read()
    assert server.postmaster() == postmaster
    log = server.log()
    assert log.count("writes are refused with status 507") == log.count("there is room again") == 2


@pytest.mark.parametrize("left_mib", [0, 6])
def test_a_disk_that_is_full_all_at_once(server, left_mib):
    """PostgreSQL may panic over its log: it comes back on the space that was kept for that, and reads with it."""
    writer, filler = Experimenter(server), Filler(server.folder)
    writer.log_batch()
    filler.leave(left_mib)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:  # under load, for long enough to need another segment of the log if that were allowed
        writer.log_batch()
    writer.log_until(507)
    eventually(lambda: writer.client.get(f"runs/get?run_id={writer.run}").status == 200, "reads")
    for _ in range(10):
        check_writes_are_refused(writer)
        writer.read()
    filler.clear()
    writer.log_until(200)
    writer.read()
    assert "writes are refused with status 507" in server.log() and "there is room again" in server.log()


def test_postgres_dies_while_the_disk_is_full(server):
    """And there is no room left for its recovery but what was kept."""
    writer, filler = Experimenter(server), Filler(server.folder)
    for _ in range(20):
        writer.log_batch()
    filler.leave(0)
    writer.log_until(507, (200, 507))
    victim = server.postmaster()
    os.kill(victim, 9)
    eventually(lambda: server.postmaster() not in (None, victim) and writer.client.get(f"runs/get?run_id={writer.run}").status == 200, "reads")
    writer.read()
    check_writes_are_refused(writer)
    assert "PostgreSQL gets the 64 MiB" in server.log()
    filler.clear()
    writer.log_until(200)
    writer.read()
    server.terminate()
    server.start()
    writer.client.close()
    writer.log_until(200)
    writer.read()


def test_an_upload_that_does_not_fit(server):
    writer, filler = Experimenter(server), Filler(server.folder)
    path = f"/api/2.0/mlflow-artifacts/artifacts/{writer.experiment}/{writer.run}/artifacts"
    put = writer.client.call("PUT", path + "/small.bin", bytes(MIB))
    assert put.status == 200, put
    filler.leave(90)
    before = sorted(p for p in (server.data / "artifacts").rglob("*"))
    for _ in range(3):
        answer = writer.client.call("PUT", path + "/large.bin", bytes(60 * MIB))
        assert answer is not None and answer.status == 507 and answer.json()["error_code"] == "INSUFFICIENT_STORAGE", answer
        eventually(lambda: sorted(p for p in (server.data / "artifacts").rglob("*")) == before, "nothing left behind")
    got = writer.client.get(path + "/small.bin")
    assert got.status == 200 and got.body == bytes(MIB)
    assert writer.log_batch().status == 200, "an upload leaves room to the database"
    filler.clear()
    assert writer.client.call("PUT", path + "/large.bin", bytes(60 * MIB)).status == 200
