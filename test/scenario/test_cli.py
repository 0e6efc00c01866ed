"""The commands for the terminal: what they show, what they print as JSON, how they end, and that they complete themselves."""
import json
import os
import subprocess

import pytest

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")


@pytest.fixture(scope="module")
def cairn(server, tmp_path_factory):
    """Runs a command on the database of the tests' server, and gives its output."""
    folder = tmp_path_factory.mktemp("cli")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CAIRN_") and name != "DATABASE_URL"}

    def run(*arguments, code=0):
        data = ["--data-dir", server.data_dir] if arguments[0] in ("runs", "models", "jobs") and "--help" not in arguments else []
        done = subprocess.run([os.environ["CAIRN_BIN"], *arguments, *data], cwd=folder, env=environment, text=True, capture_output=True, timeout=120)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.fixture
def two_runs(api, unique):
    """An experiment's name and two runs in it that differ in lr and loss, not in depth."""
    name = unique("cli")
    experiment = api.post("experiments/create", {"name": name})["experiment_id"]
    ids = []
    for position, (lr, loss) in enumerate([("0.1", 0.5), ("0.2", 0.25)]):
        run = api.create_run(experiment, run_name=f"run-{position}", start_time=1700000000000 + position)
        api.post("runs/log-batch", {"run_id": run, "params": [{"key": "lr", "value": lr}, {"key": "depth", "value": "3"}],
                                    "metrics": [{"key": "loss", "value": loss, "timestamp": 1, "step": 7}]})
        ids.append(run)
    return name, ids


def test_runs_list(cairn, two_runs):
    name, ids = two_runs
    lines = cairn("runs", "list", "--experiment", name, "--order-by", "metrics.loss ASC", "--show", "lr", "--show", "loss").splitlines()
    assert lines[0].split() == ["run_id", "name", "status", "started", "(UTC)", "lr", "loss"]
    assert [line.split()[0] for line in lines[1:]] == [ids[1], ids[0]]
    assert lines[1].split()[1:] == ["run-1", "RUNNING", "2023-11-14", "22:13:20", "0.2", "0.25"]
    assert cairn("runs", "list", "--experiment", name, "--filter", "metrics.loss > 1") == "no runs\n"
    found = json.loads(cairn("runs", "list", "--experiment", name, "--filter", "params.lr = '0.1' or metrics.loss < 0", "--json"))
    assert [run["info"]["run_id"] for run in found["runs"]] == [ids[0]]


def test_runs_list_tells_of_more(cairn, two_runs):
    assert cairn("runs", "list", "--experiment", two_runs[0], "--limit", "1").splitlines()[-1] == "there are more: raise --limit"


def test_runs_show(cairn, two_runs):
    shown = cairn("runs", "show", two_runs[1][0])
    assert two_runs[1][0] in shown
    assert ["loss", "0.5", "7"] in [line.split() for line in shown.splitlines()]
    assert json.loads(cairn("runs", "show", two_runs[1][0], "--json"))["run"]["info"]["run_name"] == "run-0"


def test_runs_compare(cairn, two_runs):
    rows = [line.split() for line in cairn("runs", "compare", *two_runs[1]).splitlines()]
    assert rows[:3] == [["run-0", "run-1"], ["lr", "0.1", "0.2"], ["loss", "0.5", "0.25"]]
    assert ["depth", "3", "3"] in [line.split() for line in cairn("runs", "compare", *two_runs[1], "--all").splitlines()]
    compared = json.loads(cairn("runs", "compare", *two_runs[1], "--json"))
    assert {row["key"]: row["differs"] for row in compared["params"]} == {"depth": False, "lr": True}
    assert compared["metrics"] == [{"key": "loss", "differs": True, "values": [0.5, 0.25]}]


def test_models(cairn, api, unique, two_runs):
    name = unique("model")
    api.post("registered-models/create", {"name": name, "description": "of a test"})
    api.post("model-versions/create", {"name": name, "source": "s3://bucket/x", "run_id": two_runs[1][0]})
    api.post("registered-models/alias", {"name": name, "alias": "champion", "version": "1"})
    listed = cairn("models", "list", "--filter", f"name = '{name}'").splitlines()
    assert len(listed) == 2 and "champion=1" in listed[1] and "of a test" in listed[1]
    shown = cairn("models", "show", name)
    assert "s3://bucket/x" in shown and "champion" in shown
    document = json.loads(cairn("models", "show", name, "--json"))
    assert document["registered_model"]["name"] == name
    assert [version["version"] for version in document["model_versions"]] == ["1"]
    assert document["deployments"] == [] and document["approvals"] == []


def test_exit_codes_say_what_went_wrong(cairn, unique):
    assert "no such run" not in cairn("runs", "show", "0" * 32, code=3)
    assert cairn("models", "show", unique(), code=3)
    assert cairn("runs", "list", "--filter", "metrics.loss >", code=2)
    assert "--limit" in cairn("runs", "list", "--limit", "0", code=2)
    assert cairn("runs", "compare", "one", code=2)
    assert cairn("nothing", code=2)


@pytest.mark.parametrize("command", ["serve", "demo", "migrate", "runs", "models", "jobs", "features", "tune", "doctor", "credentials", "completion"])
def test_help_teaches_with_an_example(cairn, command):
    if command in ("credentials", "doctor"):
        assert "Usage" in cairn(command, "--help")
    else:
        assert "Example" in cairn(command, "--help")


def complete(script, *words):
    """What bash offers for the last of the words."""
    program = f'source "$1"; COMP_WORDS=({" ".join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}; _cairn; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return subprocess.run(["bash", "-c", program, "bash", script], text=True, capture_output=True, check=True, timeout=30).stdout.split()


def test_bash_completes(cairn, tmp_path):
    script = tmp_path / "cairn.bash"
    script.write_text(cairn("completion", "bash"))
    assert {"serve", "demo", "migrate", "runs", "models", "jobs", "doctor"} <= set(complete(script, "cairn", ""))
    assert complete(script, "cairn", "mig") == ["migrate"]
    assert set(complete(script, "cairn", "runs", "")) == {"list", "show", "compare"}
    assert complete(script, "cairn", "runs", "list", "--exp") == ["--experiment"]
    assert {"--data-dir", "--database-url", "--port"} <= set(complete(script, "cairn", "serve", "--"))


def test_zsh_completes(cairn, tmp_path):
    script = tmp_path / "_cairn"
    script.write_text(cairn("completion", "zsh"))
    # compadd outside of a completion is an error: this one shows what the function would add.
    program = 'autoload -U compinit; compinit -D -u; source "$1"; compadd() { print -- "${@[2,-1]}" }; _files() { }; words=(cairn ${@[2,-1]} ""); CURRENT=$#words; _cairn'

    def complete_zsh(*before):
        return subprocess.run(["zsh", "-f", "-c", program, "zsh", str(script), *before], text=True, capture_output=True, check=True, timeout=30).stdout.split()

    assert {"serve", "demo", "migrate", "runs", "models", "jobs", "doctor"} <= set(complete_zsh())
    assert set(complete_zsh("runs")) == {"list", "show", "compare"}
    assert {"--experiment", "--filter", "--json"} <= set(complete_zsh("runs", "list"))
