"""The server's log as a source: real constants and auto_explain's plans, read through the server or from a file."""
import contextlib
import json
import os
import pathlib
import subprocess
import threading
import time

import pytest

psycopg2 = pytest.importorskip("psycopg2")
import vector_servers  # noqa: E402

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")

HOSTILE = "it's \\' ; DROP TABLE runs; --\n\t$1 \"LOG:  duration: 1 ms\""
SCHEMA = """
CREATE EXTENSION pg_stat_statements; CREATE EXTENSION hypopg;
CREATE TABLE runs (run_id serial PRIMARY KEY, status text NOT NULL, name text, accuracy float8, note text);
INSERT INTO runs (status, name, accuracy, note) SELECT CASE WHEN i % 1000 = 0 THEN 'failed' ELSE 'done' END, 'run-' || i, i / 4e4,
  repeat('x', 150) FROM generate_series(1, 40000) i;
ANALYZE;
"""
SETTINGS = ("shared_preload_libraries=pg_stat_statements,auto_explain", "logging_collector=on", "log_min_duration_statement=0",
            "auto_explain.log_min_duration=0", "auto_explain.log_format=json", "auto_explain.log_analyze=on", "compute_query_id=on",
            "log_line_prefix='%m [%p] db=%d '")


class Server:
    def __init__(self, dsn, folder):
        self.dsn, self.folder = dsn, folder

    def sql(self, text, *values):
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text, values or None)
                return cursor.fetchall() if cursor.description else []

    def log(self):
        return pathlib.Path(self.folder / "data") / self.sql("SELECT pg_current_logfile()")[0][0]

    def wait_for_log(self):
        """What ran so far is in the log: its collector is a process of its own."""
        marker = f"marker {time.monotonic_ns()}"
        self.sql("SELECT %s", marker)
        for _ in range(1000):
            if marker in self.log().read_text():
                return
            time.sleep(0.01)
        raise AssertionError("the log was not written")

    def tune(self, *arguments, user="postgres", code=0, as_json=True):
        command = [os.environ["CAIRN_BIN"], "tune", *map(str, arguments), "--database-url", self.dsn.replace("user=postgres", f"user={user}")]
        if arguments[0] in ("profile", "advise", "prove"):
            command += ["--state-dir", str(self.folder / "state")]
        done = subprocess.run(command + ["--json"] * as_json, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout) if as_json and code == 0 else done.stdout + done.stderr


@pytest.fixture(scope="module")
def server(postgres_dsn):
    programs = pathlib.Path(os.environ["CAIRN_POSTGRES_BIN"])
    with vector_servers.temporary_folder() as folder, vector_servers.running_cluster(programs, folder, *SETTINGS) as dsn:
        server = Server(dsn, folder)
        server.sql(SCHEMA)
        server.sql("SELECT pg_stat_statements_reset()")
        for i in range(8):
            server.sql("SELECT sum(accuracy) FROM runs WHERE status = %s AND run_id > %s", "failed", i)
        server.sql("SELECT run_id FROM runs WHERE name = %s", HOSTILE)
        server.wait_for_log()
        yield server


def of(profile, text):
    return next(statement for statement in profile["statements"] if text in statement["text"])


def test_R21_profile_says_which_statements_the_log_has(server):
    found = server.tune("profile", "--top", "100")
    assert found["log"]["read"].startswith("log/postgresql-") and found["log"]["note"] == ""
    logged = of(found, "sum(accuracy)")["logged"]
    assert logged["calls"] == 8 and logged["plans"] == 8 and logged["slowest_plan_ms"] > 0
    assert "failed" not in server.tune("profile", as_json=False), "constants stay in the log"
    from_file = server.tune("profile", "--log", server.log())
    assert of(from_file, "sum(accuracy)")["logged"] == logged and from_file["log"]["read"] == str(server.log())
    assert "cannot read the log" in server.tune("profile", "--log", "/gone", code=3)


def test_R23_explains_the_plan_that_was_logged(server):
    statement = of(server.tune("profile", "--top", "100"), "sum(accuracy)")
    for asked in (statement["id"], statement["text"]):
        explained = server.tune("explain", "--logged", asked)
        assert explained["analyzed"] and explained["logged_ms"] == statement["logged"]["slowest_plan_ms"]
        assert "sequential_scan" in [finding["kind"] for finding in explained["findings"]]
    assert "From the log" in server.tune("explain", "--logged", statement["id"], as_json=False)
    assert "no plan of this statement" in server.tune("explain", "--logged", "SELECT * FROM nowhere", code=3)


def test_R24_constants_of_the_log_decide(server, tmp_path):
    """A rare value of two: half of the rows to a generic plan, few to one that knows it."""
    def on_status(advice):
        return [c for c in advice["changes"] if c["kind"] == "index" and "status" in c["statements"][0]]

    (tmp_path / "empty.log").touch()
    without = server.tune("advise", "--log", tmp_path / "empty.log")
    assert any("holds no statements" in note for note in without["notes"]) and not on_status(without)
    advice = server.tune("advise")
    assert any("constants of the server's log" in note for note in advice["notes"])
    assert on_status(advice), advice["changes"]
    cost = {advised["text"]: advised["cost_after"] for advised in advice["statements"]}
    assert all("failed" not in text and "DROP" not in text for text in cost), "the advice keeps no constants but those of its indexes"
    assert server.sql("SELECT count(*) FROM runs")[0][0] == 40000


def test_R26_proves_with_constants_of_the_log(server):
    server.tune("advise")
    proof = server.tune("prove", "last", "--clone", "template", "--rounds", "2")
    assert any("run with constants of the server's log" in note for note in proof["notes"])
    assert server.sql("SELECT count(*) FROM runs")[0][0] == 40000


def test_R21_what_is_not_allowed_is_one_line(server):
    server.sql("CREATE ROLE looker LOGIN; GRANT pg_read_all_stats TO looker")
    try:
        note = server.tune("profile", user="looker")["log"]["note"]
        assert "GRANT pg_monitor TO looker" in note.replace('"', "") and "\n" not in note
        server.sql("GRANT pg_monitor TO looker; GRANT EXECUTE ON FUNCTION pg_current_logfile(text), pg_read_binary_file(text, bigint, bigint) TO looker")
        assert of(server.tune("profile", "--top", "100", user="looker"), "sum(accuracy)")["logged"]["calls"] == 8
    finally:
        server.sql("DROP OWNED BY looker; DROP ROLE looker")


@contextlib.contextmanager
def examples_only(postgres_dsn):
    """A server whose log is not collected, with pg_qualstats."""
    with vector_servers.temporary_folder() as folder:
        settings = ("shared_preload_libraries=pg_stat_statements,pg_qualstats", "pg_qualstats.sample_rate=1", "compute_query_id=on")
        with vector_servers.running_cluster(pathlib.Path(os.environ["CAIRN_POSTGRES_BIN"]), folder, *settings) as dsn:
            server = Server(dsn, folder)
            server.sql(SCHEMA)
            server.sql("CREATE SCHEMA \"qual \"\"stats\"; CREATE EXTENSION pg_qualstats SCHEMA \"qual \"\"stats\"")
            yield server


def test_R21_constants_of_pg_qualstats(postgres_dsn):
    with examples_only(postgres_dsn) as server:
        server.sql("SELECT sum(accuracy) FROM runs WHERE status = %s AND run_id > %s", "failed", 7)
        assert server.tune("profile")["log"]["read"] == "pg_qualstats"
        notes = server.tune("advise")["notes"]
        assert any("with constants of the server's log, pg_qualstats" in note for note in notes), notes
        assert any("logging_collector is off" in note for note in notes)


def test_R21_what_each_statement_waits_for(server):
    update = "UPDATE runs SET note = 'x' WHERE run_id = 1"
    server.sql(update)  # what has not ended once is not counted yet
    with contextlib.closing(psycopg2.connect(server.dsn)) as holder:
        holder.cursor().execute("SELECT run_id FROM runs WHERE run_id = 1 FOR UPDATE")
        waiter = threading.Thread(target=server.sql, args=(update,))
        waiter.start()
        try:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE runs%'"
            while server.sql(waiting)[0][0] == 0:
                time.sleep(0.01)
            found = server.tune("profile", "--samples", "3", "--top", "1000")
        finally:
            holder.rollback()
            waiter.join()
    assert of(found, "UPDATE runs SET note")["waits"] == {"Lock: transactionid": 3}
