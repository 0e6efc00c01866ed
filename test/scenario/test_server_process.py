"""The server as a process: how it starts, survives, refuses and ends, and the commands that look after its database."""
import contextlib
import glob
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
import requests

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")

PATIENCE_SECONDS = 90


def eventually(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("it did not come true in time")


@pytest.fixture(scope="module")
def binary():
    assert os.environ.get("CAIRN_BIN"), "set CAIRN_BIN to the binary to test"
    return os.environ["CAIRN_BIN"]


@pytest.fixture
def folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix="cairn-process-"))
    path.chmod(0o755)  # the embedded PostgreSQL runs as another user
    yield path
    shutil.rmtree(path, ignore_errors=True)


def clean_environment(**extra):
    return {**{k: v for k, v in os.environ.items() if not k.startswith("CAIRN_") and k != "DATABASE_URL"}, **extra}


@pytest.fixture
def serve(binary, folder):
    """Starts servers in the folder and gives (process, url) for each; none is left in the end."""
    started = []

    def start(*options, **environment):
        process = subprocess.Popen([binary, "serve", "--port", "0", "--data-dir", folder / "data", *options], cwd=folder, text=True,
                                   stdout=subprocess.PIPE, stderr=open(folder / "log", "a"), env=clean_environment(**environment))
        started.append(process)
        line = process.stdout.readline()
        assert line.startswith("listening on "), (folder / "log").read_text()
        return process, line.split()[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
    eventually(lambda: not postgres_pids(folder))


def postgres_pids(folder):
    pids = []
    for link in glob.glob("/proc/[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if os.readlink(link).startswith(str(folder)):
                pids.append(int(link.split("/")[2]))
    return pids


def postmaster(folder):
    return int(next((folder / "data" / "postgres").glob("*/postmaster.pid")).read_text().split()[0])


def run(binary, *arguments, folder, **environment):
    return subprocess.run([binary, *arguments], cwd=folder, text=True, capture_output=True, timeout=PATIENCE_SECONDS,
                          env=clean_environment(**environment))


def test_r01_one_command_makes_a_working_server(serve, folder):
    process, url = serve()
    assert requests.get(url + "/health", timeout=30).text == "OK"
    assert requests.get(url + "/version", timeout=30).text
    process.terminate()
    assert process.wait(30) == 0
    assert not postgres_pids(folder)


def test_r10_the_pool_is_sized_and_counted(serve):
    _, url = serve("--pool-size", "3", "--max-overflow", "2")
    requests.get(url + "/health", timeout=30)
    lines = dict(line.rsplit(" ", 1) for line in requests.get(url + "/metrics", timeout=30).text.splitlines() if line[0] != "#")
    assert lines["cairn_pool_size"] == "3" and lines["cairn_pool_max_overflow"] == "2"
    assert 1 <= int(lines["cairn_pool_open"]) <= 5
    assert int(lines["cairn_pool_acquired_total"]) >= 1


def test_a_killed_postgres_comes_back_without_a_restart_of_the_server(serve, folder):
    process, url = serve()
    first = postmaster(folder)
    os.kill(first, signal.SIGKILL)
    seen = set()

    def healthy_again():
        response = requests.get(url + "/health", timeout=30)
        seen.add(response.status_code)
        if response.status_code == 503:
            assert response.headers["Retry-After"]
            assert response.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
        return response.ok and postmaster(folder) != first

    eventually(healthy_again)
    assert seen <= {200, 503}
    assert process.poll() is None


def test_a_killed_server_takes_its_postgres_along_and_starts_again(serve, folder):
    process, _ = serve()
    process.kill()
    process.wait()
    # At once: the old PostgreSQL may still be shutting down.
    _, url = serve()
    assert requests.get(url + "/health", timeout=30).ok


def test_a_second_server_on_the_directory_is_refused(serve, binary, folder):
    process, _ = serve()
    second = run(binary, "serve", "--port", "0", "--data-dir", folder / "data", folder=folder)
    assert second.returncode == 4
    assert f"process {process.pid}" in second.stderr


def test_doctor_and_migrate_work_beside_the_server(serve, binary, folder):
    serve()
    doctor = run(binary, "doctor", "--json", "--data-dir", folder / "data", folder=folder)
    report = json.loads(doctor.stdout)
    assert doctor.returncode == 0 and report["healthy"], report
    assert any("pg_stat_statements" in finding["what"] for finding in report["findings"])
    current = json.loads(run(binary, "migrate", "current", "--json", "--data-dir", folder / "data", folder=folder).stdout)
    assert current["pending"] == 0 and current["current"] == current["head"]


def test_r14_migrate_goes_down_and_up_without_a_server(serve, binary, folder):
    process, _ = serve()
    process.terminate()
    process.wait()

    def migrate(*arguments):
        done = run(binary, "migrate", *arguments, "--data-dir", folder / "data", folder=folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    head = json.loads(migrate("current", "--json"))["head"]
    assert "DELETE FROM cairn.migrations" in migrate("downgrade", "-1", "--sql")
    migrate("downgrade", "-1")
    assert json.loads(migrate("current", "--json"))["current"] == head - 1
    migrate("upgrade")
    assert json.loads(migrate("current", "--json"))["current"] == head


def test_r14_a_project_keeps_migrations_of_its_own(binary, folder, new_database):
    made = json.loads(run(binary, "migrate", "revision", "-m", "notes: add", "--json", folder=folder).stdout)
    assert made["up"] == "migrations/0001_notes_add.up.sql"
    (folder / made["up"]).write_text("CREATE TABLE notes (id int PRIMARY KEY);\n")
    (folder / made["down"]).write_text("DROP TABLE notes;\n")
    with new_database() as dsn:
        options = ["--directory", "migrations", "--database-url", dsn]
        assert run(binary, "migrate", "upgrade", "head", *options, folder=folder).returncode == 0
        (folder / made["up"]).write_text("CREATE TABLE notes (id bigint PRIMARY KEY);\n")
        refused = run(binary, "migrate", "current", *options, folder=folder)
        assert refused.returncode == 4
        assert "0001_notes_add was edited" in refused.stderr


def test_r20_the_database_of_a_dotenv_file_is_used_but_not_changed_untold(serve, binary, folder, new_database):
    with new_database() as dsn:
        (folder / ".env").write_text(f'DATABASE_URL="{dsn}"\n')
        refused = run(binary, "serve", "--port", "0", folder=folder)
        assert refused.returncode == 4
        assert "cairn migrate upgrade head" in refused.stderr
        process, url = serve("--migrate")
        assert requests.get(url + "/health", timeout=30).ok
        assert not list((folder / "data").rglob("PG_VERSION"))  # no cluster beside the given one
        process.terminate()
        assert process.wait(30) == 0


def test_r20_no_password_in_the_log(serve, binary, folder):
    refused = run(binary, "serve", "--port", "0", folder=folder, DATABASE_URL="postgresql://ann:s3cret@127.0.0.1:1/db")
    assert refused.returncode == 5
    assert "s3cret" not in refused.stdout + refused.stderr


def test_r20_other_machines_are_served_with_credentials_only(binary, folder):
    refused = run(binary, "serve", "--port", "0", "--host", "0.0.0.0", "--data-dir", folder / "data", folder=folder)
    assert refused.returncode == 2
    assert "refusing to serve 0.0.0.0" in refused.stderr


def test_r20_a_token_opens_the_server(serve, binary, folder):
    made = run(binary, "credentials", "token", "ci", folder=folder)
    token = made.stderr.split()[-1]
    (folder / "credentials.toml").write_text(made.stdout)
    _, url = serve("--credentials", str(folder / "credentials.toml"))
    assert requests.get(url + "/metrics", timeout=30).status_code == 401
    assert requests.get(url + "/metrics", timeout=30, headers={"Authorization": f"Bearer {token}"}).ok
    assert requests.get(url + "/health", timeout=30).ok


@pytest.mark.parametrize("arguments, status", [((), 2), (("serv",), 2), (("serve", "--prot", "1"), 2), (("migrate", "downgrade"), 2),
                                               (("--help",), 0), (("serve", "--help"), 0), (("version",), 0)])
def test_exit_codes_of_the_command_line(binary, folder, arguments, status):
    assert run(binary, *arguments, folder=folder).returncode == status


def test_an_unknown_setting_names_the_nearest(binary, folder):
    refused = run(binary, "doctor", folder=folder, CAIRN_POOLSIZE="3")
    assert refused.returncode == 2
    assert "did you mean pool_size?" in refused.stderr
