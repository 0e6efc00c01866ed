"""`cairn tune profile` on databases that are not Cairn's own: what ran is found, by whoever may only read."""
import json
import os
import pathlib
import stat
import subprocess

import pytest

psycopg2 = pytest.importorskip("psycopg2")
import vector_servers  # noqa: E402
from psycopg2.extensions import make_dsn  # noqa: E402

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="this is Cairn's own command")


def session(dsn):
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    return connection


@pytest.fixture
def dsn(new_database):
    with new_database() as dsn:
        yield dsn


@pytest.fixture
def tune(dsn, tmp_path):
    """Runs a command of `cairn tune`, and checks its exit code."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CAIRN_") and name != "DATABASE_URL"}
    environment["XDG_STATE_HOME"] = str(tmp_path / "state")

    def run(*arguments, url=dsn, code=0):
        done = subprocess.run([os.environ["CAIRN_BIN"], "tune", *arguments, "--database-url", url], cwd=tmp_path, env=environment, text=True,
                              capture_output=True, timeout=120)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def profile(tune):
    """Its JSON or, with as_json=False, its text; what it says when it fails."""
    def run(*arguments, as_json=True, **options):
        done = tune("profile", *arguments, *(["--json"] if as_json else []), **options)
        if done.returncode != 0:
            return done.stderr
        return json.loads(done.stdout) if as_json else done.stdout

    return run


def of(profile, text):
    return next(statement for statement in profile["statements"] if text in statement["text"])


def test_R21_finds_what_ran(dsn, profile):
    connection = session(dsn)
    cursor = connection.cursor()
    cursor.execute("CREATE EXTENSION pg_stat_statements; CREATE TABLE runs (id int, name text)")
    cursor.execute("INSERT INTO runs SELECT g, 'run ' || g FROM generate_series(1, 20000) g")  # more WAL than full pages of catalogs
    for number in range(20):
        cursor.execute("SELECT name FROM runs WHERE id <= %s", (number,))
        cursor.execute("SELECT id FROM runs WHERE id IN (" + ", ".join(str(one) for one in range(number + 1)) + ")")
    found = profile()
    by_name = of(found, "SELECT name")
    assert (by_name["calls"], by_name["rows"]) == (20, sum(range(20)))
    assert by_name["text"] == "SELECT name FROM runs WHERE id <= $1"
    by_list = of(found, "SELECT id FROM runs")
    assert by_list["calls"] == 20 and len(by_list["queryids"]) > 1, "lists of any length are one statement"
    assert of(found, "INSERT INTO runs")["wal_bytes"] > 0
    assert found["since"] <= found["taken_at"] and 0 < found["cache_hit_ratio"] <= 1
    assert sum(statement["share"] for statement in found["statements"]) == pytest.approx(1)
    assert not any("cairn tune" in statement["text"] for statement in found["statements"])
    times = [statement["total_ms"] for statement in found["statements"]]
    assert times == sorted(times, reverse=True)
    assert len(profile("--top", "2", "--order", "wal")["statements"]) == 2
    assert "INSERT INTO runs" in profile("--top", "2", "--order", "wal")["statements"][0]["text"]
    text = profile(as_json=False)
    assert "SELECT name FROM runs WHERE id <= $1" in text and by_name["id"] in text
    connection.close()


def test_R21_since_a_snapshot(dsn, profile, tmp_path):
    connection = session(dsn)
    cursor = connection.cursor()
    cursor.execute("CREATE EXTENSION pg_stat_statements")
    assert "cairn tune profile --save" in profile("--since", "last", code=3)
    cursor.execute("SELECT 1 AS a")
    cursor.execute("CREATE ROLE %s_%s PASSWORD 'hidden-thing'" % ("tune_profile", os.getpid()))
    try:
        saved = profile("--save")
        for _ in range(3):
            cursor.execute("SELECT 1 AS a")
        since = profile("--since", saved["snapshot"])
        assert of(since, "AS a")["calls"] == 3
        assert since["since"] == saved["taken_at"]
        assert not any("CREATE" in statement["text"] for statement in since["statements"])
        assert saved["snapshot"] in profile("--since", "nothing", code=3)
        files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
        assert len(files) == 1
        assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
        assert "CREATE ROLE" in files[0].read_text() and "hidden-thing" not in files[0].read_text()
    finally:
        cursor.execute(f"DROP ROLE tune_profile_{os.getpid()}")
        connection.close()


def test_R21_a_role_that_may_only_read(dsn, profile):
    connection = session(dsn)
    cursor = connection.cursor()
    role = f"only reads\" {os.getpid()}"
    quoted = '"' + role.replace('"', '""') + '"'
    cursor.execute(f"CREATE ROLE {quoted} LOGIN")
    url = make_dsn(dsn, user=role)
    try:
        found = profile("--tables", url=url)
        assert found["statements"] == []
        assert [note["remedy"] for note in found["notes"]] == ["CREATE EXTENSION pg_stat_statements;"]
        cursor.execute("CREATE EXTENSION pg_stat_statements")
        found = profile(url=url)
        assert {statement["id"] for statement in found["statements"]} == {"hidden"}
        assert found["notes"][0]["remedy"] == f"GRANT pg_read_all_stats TO {quoted};"
        cursor.execute(found["notes"][0]["remedy"])
        found = profile("--save", url=url)
        assert of(found, "CREATE EXTENSION")["calls"] == 1 and found["notes"] == []
        assert profile("--since", "last", url=url)["notes"] == []
    finally:
        cursor.execute(f"DROP ROLE {quoted}")
        connection.close()


def test_R21_interval_and_usage(dsn, profile):
    found = profile("--interval", "0.05", "--samples", "3", "--tables")
    assert found["waits"]["samples"] == 3 and found["tables"] == []
    assert "--order" in profile("--order", "colour", code=2)
    assert profile("--interval", "1", "--since", "last", code=2)
    assert profile(url="postgresql://nobody@127.0.0.1:1/x", code=5)


def test_R21_setup_says_what_is_missing_and_makes_it(tune):
    def setup(*arguments, code):
        return json.loads(tune("setup", "--json", *arguments, code=code).stdout)

    assert [missing["remedy"] for missing in setup(code=1)["missing"]] == ["CREATE EXTENSION pg_stat_statements;"]
    assert setup("--apply", code=0)["done"] == ["CREATE EXTENSION pg_stat_statements;"]
    assert setup(code=0)["ready"]


def test_R21_a_server_that_did_not_load_it(postgres_dsn, profile):
    with vector_servers.temporary_folder() as folder, vector_servers.running_cluster(pathlib.Path(os.environ["CAIRN_POSTGRES_BIN"]), folder, "shared_preload_libraries=auto_explain") as url:
        found = profile(url=url)
        assert found["notes"][0]["remedy"].startswith("ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'pg_stat_statements';")
        assert found["notes"][1]["remedy"] == "CREATE EXTENSION pg_stat_statements;"
        connection = session(url)
        connection.cursor().execute(found["notes"][1]["remedy"])
        connection.close()
        found = profile("--save", "--tables", url=url)
        assert len(found["notes"]) == 1 and "did not load" in found["notes"][0]["what"]
        assert found["statements"] == [] and found["cache_hit_ratio"] > 0
        assert "did not load" in profile("--since", "last", url=url, as_json=False)
