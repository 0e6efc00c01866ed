"""The queue of background jobs: taken once by many workers over HTTP, taken back from those that die, and `cairn jobs`."""
import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
import requests

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own routes")

PATIENCE_SECONDS = 60


def eventually(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("it did not come true in time")


def read_until(stream, text):
    line = "-"
    while text not in line:
        line = stream.readline()
        assert line, f"it ended without saying: {text}"


@pytest.fixture
def queue(unique):
    return unique("queue")


@pytest.fixture
def call(server):
    """POST (or GET, without a body) below /api/v1/jobs; gives status and JSON. Safe in threads."""
    def ask(path, body=None, **query):
        method = "GET" if body is None else "POST"
        answer = requests.request(method, f"{server.url}/api/v1/jobs{path}", json=body, params=query, timeout=60)
        return answer.status_code, answer.json()
    return ask


@pytest.fixture
def add(call, queue):
    def make(kind="train", **fields):
        status, answer = call("", {"queue": queue, "kind": kind, **fields})
        assert status == 200, answer
        return answer["job"]
    return make


@pytest.fixture
def job_of(call):
    return lambda job_id: call(f"/{job_id}")[1]["job"]


@pytest.fixture
def command(server):
    """Runs `cairn jobs ...` on the server's database."""
    data = pathlib.Path(server.log).parent / "data"

    def line(*arguments):
        program = arguments.index("--") if "--" in arguments else len(arguments)
        return [os.environ["CAIRN_BIN"], "jobs", *map(str, arguments[:program]), "--data-dir", str(data), *arguments[program:]]

    def run(*arguments, code=0, **options):
        done = subprocess.run(line(*arguments), capture_output=True, text=True, timeout=60, **options)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    run.line = line
    return run


def test_R12_jobs_are_taken_once_by_many_workers(call, add, queue):
    jobs, workers = 120, 8
    made = {add(payload={"n": n})["job_id"] for n in range(jobs)}

    def work(name):
        done = []
        while True:
            job = call("/take", {"queue": queue, "worker": name})[1]["job"]
            if job is None:
                return done
            status, answer = call(f"/{job['job_id']}/complete", {"lease_token": job["lease_token"], "result": {"by": name}})
            assert (status, answer["job"]["status"]) == (200, "succeeded")
            done.append(job["job_id"])

    with concurrent.futures.ThreadPoolExecutor(workers) as threads:
        results = list(threads.map(work, [f"w{n}" for n in range(workers)]))
    counts = collections.Counter(job_id for done in results for job_id in done)
    assert set(counts) == made
    assert set(counts.values()) == {1}
    assert all(results), "every worker got some"

    listed = []
    while page := call("", queue=queue, status="succeeded", limit=50, **({"before": listed[-1]} if listed else {}))[1]["jobs"]:
        listed += [job["job_id"] for job in page]
    assert listed == sorted(made, reverse=True)


def test_R12_jobs_of_a_worker_that_dies_come_back(call, add, queue, job_of):
    job_id = add(max_attempts=2)["job_id"]
    take = {"queue": queue, "lease_s": 1}
    dead = call("/take", {**take, "worker": "dead"})[1]["job"]
    assert dead["job_id"] == job_id
    again = eventually(lambda: call("/take", {**take, "worker": "alive"})[1]["job"])
    assert (again["job_id"], again["attempts"]) == (job_id, 2)
    status, answer = call(f"/{job_id}/complete", {"lease_token": dead["lease_token"]})
    assert (status, answer["error_code"]) == (409, "RESOURCE_CONFLICT")
    # Once renewed, it is nobody else's, though the first lease is over.
    assert call(f"/{job_id}/heartbeat", {"lease_token": again["lease_token"], "lease_s": 600})[0] == 200
    eventually(lambda: time.time() * 1000 > again["lease_until"] + 100)
    assert call("/take", take)[1]["job"] is None
    assert call(f"/{job_id}/heartbeat", {"lease_token": again["lease_token"], "lease_s": 1})[0] == 200
    eventually(lambda: call("/take", take)[1]["job"] is None and job_of(job_id)["status"] == "dead")
    assert "the lease of alive ended" in job_of(job_id)["error"]


def test_R12_jobs_that_fail_are_tried_again_and_can_be_requeued(call, add, queue):
    job_id = add(max_attempts=2, retry_delay_s=0)["job_id"]
    for expected in ("queued", "dead"):
        job = eventually(lambda: call("/take", {"queue": queue})[1]["job"])
        failed = call(f"/{job_id}/fail", {"lease_token": job["lease_token"], "error": "out of memory"})[1]["job"]
        assert (failed["status"], failed["error"]) == (expected, "out of memory")
    assert [job["job_id"] for job in call("", queue=queue, status="dead")[1]["jobs"]] == [job_id]
    assert call(f"/{job_id}/requeue", {})[1]["job"]["status"] == "queued"
    assert call("/take", {"queue": queue})[1]["job"]["job_id"] == job_id


def test_R12_jobs_command_runs_a_program_for_each(command, queue, job_of):
    made = json.loads(command("add", "train", "--queue", queue, "--payload", "-", "--json", input='{"lr": 0.5}').stdout)
    bad = json.loads(command("add", "bad", "--queue", queue, "--json", "--max-attempts", 2, "--retry-delay-s", 0).stdout)
    hopeless = json.loads(command("add", "hopeless", "--queue", queue, "--json").stdout)
    program = """
        if [ $JOB_KIND = bad ]; then echo "attempt $JOB_ATTEMPT is bad" >&2; exit 3; fi
        if [ $JOB_KIND = hopeless ]; then exit 65; fi
        cat"""
    done = command("work", "--queue", queue, "--until-empty", "--json", "--", program)
    ended = [json.loads(line) for line in done.stdout.splitlines()]
    assert [job["status"] for job in ended if job["job_id"] == bad["job_id"]] == ["queued", "dead"]
    assert "attempt 1 is bad" in done.stderr
    assert job_of(made["job_id"])["result"] == {"lr": 0.5}
    assert "exited with status 3: attempt 2 is bad" in job_of(bad["job_id"])["error"]
    assert (job_of(hopeless["job_id"])["status"], job_of(hopeless["job_id"])["attempts"]) == ("failed", 1)

    table = command("list", "--queue", queue).stdout
    assert len(table.splitlines()) == 4 and "attempt 2 is bad" in table
    command("requeue", bad["job_id"], hopeless["job_id"])
    assert job_of(bad["job_id"])["status"] == "queued"
    command("cancel", bad["job_id"])
    assert "cancelled" in command("show", bad["job_id"]).stdout
    assert "only a queued or running job" in command("cancel", bad["job_id"], code=4).stderr
    assert "not found" in command("show", 2**40, code=3).stderr
    assert "is no JSON" in command("add", "x", "--payload", "{", code=2).stderr


def test_R12_jobs_worker_drops_what_is_cancelled_and_finishes_before_it_stops(command, add, call, queue, job_of, tmp_path):
    long, last = add("long")["job_id"], add("last")["job_id"]
    program = f"echo $$ > {tmp_path}/$JOB_KIND; if [ $JOB_KIND = long ]; then sleep 600; fi; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    worker = subprocess.Popen(command.line("work", "--queue", queue, "--lease-s", "1", "--", program),
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        pid = int(eventually(lambda: (tmp_path / "long").exists() and (tmp_path / "long").read_text()))
        call(f"/{long}/cancel", {})
        eventually(lambda: (tmp_path / "last").exists())
        assert not pathlib.Path(f"/proc/{pid}").exists()
        worker.send_signal(signal.SIGTERM)
        read_until(worker.stderr, "stopping after the job under way")
        assert job_of(last)["status"] == "running"
        (tmp_path / "go").touch()
        assert worker.wait(PATIENCE_SECONDS) == 0
        assert job_of(last)["status"] == "succeeded"
    finally:
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
        worker.communicate()
