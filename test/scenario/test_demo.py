"""`cairn demo`: every step holds, the server can be kept, and nothing is left behind however it ends."""
import glob
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest
import requests

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="this is Cairn's own command")

STEPS = ["server", "data", "sweep", "history", "choose", "register", "approve", "promote", "deploy", "use", "audit", "vectors", "features", "manual",
         "dashboard 1", "dashboard 2", "dashboard 3", "dashboard 4", "dashboard 5", "windows 1", "windows 2",
         "slow", "advise", "prove", "apply", "tuned"]


def processes_below(folder):
    found = []
    for link in glob.glob("/proc/[0-9]*/cwd"):
        try:
            if os.readlink(link).startswith(str(folder)):
                found.append(link.split("/")[2])
        except OSError:
            pass  # it ended meanwhile
    return found


@pytest.fixture
def folder():
    """Where the demonstration makes its directory; what is still there in the end was left behind."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="cairn-test-demo-"))
    path.chmod(0o755)  # the embedded PostgreSQL runs as another user
    yield path
    left = list(path.iterdir()), processes_below(path)
    shutil.rmtree(path, ignore_errors=True)
    assert left == ([], [])


@pytest.fixture
def start(folder):
    """Starts the demonstration. The settings that a user may have are not for it."""
    started = []
    # Those of the tests are no settings of the program, but for the PostgreSQL that has the extension.
    inherited = {name: value for name, value in os.environ.items() if name == "CAIRN_POSTGRES_BIN" or not name.startswith("CAIRN_")}

    def run(*options):
        process = subprocess.Popen(
            [os.environ["CAIRN_BIN"], "demo", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**inherited, "TMPDIR": str(folder), "DATABASE_URL": "postgresql://nobody@nowhere.invalid/none", "CAIRN_PORT": "1"})
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def bare_postgres(folder):
    """Programs of a PostgreSQL without the extensions vector and hypopg."""
    root = pathlib.Path(__file__).resolve().parents[2]
    tree = folder / "postgresql"
    programs = subprocess.run([root / "tools" / "pgtree", tree, "none"], check=True, capture_output=True, text=True).stdout.strip()
    for control in tree.rglob("hypopg.control"):
        control.unlink()
    yield programs
    shutil.rmtree(tree)


@pytest.mark.timeout(600)  # on a busy machine
def test_every_step_holds(start):
    process = start("--json")
    out, err = process.communicate(timeout=480)
    assert process.returncode == 0, out + err
    summary = json.loads(out)
    assert [step["name"] for step in summary["steps"]] == STEPS
    assert [step["summary"] for step in summary["steps"] if not step["held"]] == []
    assert summary["held"] is True
    figures = {step["name"]: step["figures"] for step in summary["steps"]}
    assert figures["data"]["images"] == 1797
    assert figures["sweep"]["runs"] >= 24
    assert figures["sweep"]["points"] >= figures["sweep"]["epochs"] >= 24 * 20
    assert figures["choose"]["validation_accuracy"] > 0.95
    assert figures["use"]["test_accuracy"] == figures["register"]["test_accuracy"] > 0.95
    vectors = figures["vectors"]
    assert vectors["images"] == figures["data"]["train"] + figures["data"]["validation"]
    assert vectors["questions"] == figures["data"]["test"]
    assert 0.95 <= vectors["recall"] <= 1 and 0.95 <= vectors["accuracy"] <= 1
    assert min(vectors["build_ms"], vectors["index_ms"], vectors["exact_ms"]) > 0
    assert figures["windows 1"]["rows"] == 2 * figures["sweep"]["epochs"] / figures["sweep"]["runs"]
    made = figures["apply"]["statements"]
    assert len(made) == figures["apply"]["changes"] == figures["prove"]["kept"] <= figures["advise"]["changes"]
    assert made  # which ones win beyond noise is the machine's affair
    assert figures["apply"]["undo"] == "cairn tune undo --all"
    families = ["dashboard", "training-runs", "model-stats", "deployment-status", "total"]
    assert [name.removesuffix(" p99_ms before") for name in figures["tuned"] if name.endswith(" p99_ms before")] == families
    assert all(figures["tuned"][f"{name} {what}"] > 0 for name in families for what in ("mean_ms before", "p99_ms", "mean_ms"))


@pytest.mark.full
def test_without_the_extensions_too_the_kept_server_serves_what_was_made_until_it_is_told_to_stop(start, bare_postgres):
    process = start("--keep", "--postgres-bin", bare_postgres)
    output = ""
    while not re.search(r"steps held", output):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        output += line
    assert f"{len(STEPS)} of {len(STEPS)} steps held" in output
    assert "the extension vector is not installed" in output and "the extension hypopg is not installed" in output
    url = re.search(r"http://127\.0\.0\.1:\d+", output)[0]
    model = requests.get(url + "/api/2.0/mlflow/registered-models/get", params={"name": "digits"}, timeout=30).json()["registered_model"]
    assert model["aliases"] == [{"alias": "champion", "version": "2"}]
    assert "<title>Cairn</title>" in requests.get(url, timeout=30).text
    assert requests.get(url + "/api/v1/database/statements", timeout=30).json()["statements"]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert url in err
    with pytest.raises(requests.ConnectionError):
        requests.get(url + "/health", timeout=5)


def test_unread_and_interrupted_in_the_middle_it_cleans_up(start):
    process = start()
    assert process.stdout.readline()
    process.stdout.close()  # as `cairn demo | head -1` does: the next steps have nobody to tell
    line = ""
    while "training run 2 " not in line:
        line = process.stderr.readline()
        assert line, f"it ended with {process.wait()}"
    process.send_signal(signal.SIGINT)
    assert "stopped" in process.stderr.read()
    assert process.wait(60) not in (0, -signal.SIGINT)
