"""`cairn tune prove`: an advice tried on clones of several kinds, by the real binary."""
import contextlib
import glob
import json
import os
import signal
import subprocess
import tempfile

import pytest

psycopg2 = pytest.importorskip("psycopg2")
from psycopg2.extensions import make_dsn, parse_dsn  # noqa: E402

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")

SCHEMA = """
CREATE EXTENSION hypopg;
CREATE TABLE runs (run_id serial PRIMARY KEY, experiment text NOT NULL, status text NOT NULL, accuracy float8, note text,
  created_at timestamptz NOT NULL);
INSERT INTO runs (experiment, status, accuracy, note, created_at)
  SELECT 'exp-' || i % 3000, 'done', (i * 7919 % 10000) / 10000.0, repeat('x', 150), now() - i * interval '1 minute'
  FROM generate_series(1, 60000) i;
ANALYZE;
"""

LOAD = """
SELECT run_id, accuracy FROM runs WHERE experiment = 'exp-7' ORDER BY accuracy DESC;
SELECT count(*) FROM runs WHERE created_at > now() - interval '3 hours';
UPDATE runs SET status = 'failed' WHERE experiment = 'exp-9';
"""


class Tuned:
    """A database, and what `cairn tune` says of it."""

    def __init__(self, dsn, folder):
        self.dsn, self.folder = dsn, folder
        self.sql(SCHEMA)
        (folder / "load.sql").write_text(LOAD)

    def sql(self, text, dsn=None):
        with contextlib.closing(psycopg2.connect(dsn or self.dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall() if cursor.description else []

    def command(self, *arguments, dsn=None):
        return [os.environ["CAIRN_BIN"], "tune", arguments[0], "--database-url", dsn or self.dsn, "--state-dir",
                str(self.folder / "state"), *arguments[1:]]

    def run(self, *arguments, dsn=None):
        return subprocess.run(self.command(*arguments, dsn=dsn), capture_output=True, text=True, timeout=240, check=False)

    def advise(self):
        done = self.run("advise", "--files", str(self.folder / "load.sql"), "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def prove(self, *arguments, dsn=None):
        done = self.run("prove", *arguments, "--json", "--seconds", "30", dsn=dsn)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    def state(self):
        return (self.sql("SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"),
                self.sql("SELECT count(*) FROM runs WHERE status = 'failed'"),
                self.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'cairn_prove%'"))


@pytest.fixture
def tuned(new_database, tmp_path):
    with new_database() as dsn:
        yield Tuned(dsn, tmp_path)


def folders():
    return set(glob.glob(tempfile.gettempdir() + "/cairn-clone-*"))


def kept(proof):
    return [change for change in proof["changes"] if change["verdict"] == "kept"]


def test_R26_a_template_clone_proves_the_advice(tuned):
    advice, before = tuned.advise(), tuned.state()
    done = tuned.run("prove", "--seconds", "30")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TEMPLATE" in done.stdout and "kept" in done.stdout and "0 of" not in done.stdout.splitlines()[0]
    assert tuned.state() == before
    proof = json.loads((tuned.folder / "state" / "proofs" / f"{advice['id']}.json").read_text())
    assert proof["advice"] == advice["id"] and kept(proof)
    first = next(statement for statement in proof["statements"] if "exp-7" in statement["text"])
    assert first["outcome"] == "faster" and first["same_rows"] and first["ratio_low"] <= first["ratio"] <= first["ratio_high"] < 0.95
    assert first["blocks_after"] < first["blocks_before"]


def test_R26_a_base_backup_proves_it_while_others_work(tuned, tmp_path):
    tuned.advise()
    before, there = tuned.state(), folders()
    with contextlib.closing(psycopg2.connect(tuned.dsn)):
        refused = tuned.run("prove", "--clone", "template")
        assert refused.returncode not in (0, 1) and "connected" in refused.stderr, refused.stderr
        proof = tuned.prove("--clone", "auto", "--postgres-bin", os.environ["CAIRN_POSTGRES_BIN"])
    assert "base backup" in proof["clone"] and kept(proof), proof
    assert all("not_run" not in statement for statement in proof["statements"])
    assert tuned.state() == before
    assert not folders() - there


def test_R26_values_for_placeholders_come_from_the_data(tuned):
    tuned.sql("CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()")
    for number in range(20):
        tuned.sql(f"SELECT run_id FROM runs WHERE experiment = 'exp-{number}' AND accuracy >= 0")
    done = tuned.run("advise", "--json")
    assert done.returncode == 0, done.stderr
    proof = tuned.prove("last", "--parameters", "4")
    statement = next(s for s in proof["statements"] if "experiment = $1" in s["text"])
    assert statement["parameter_sets"] == 4 and statement["rows"] > 0
    assert statement["used_after"] and statement["blocks_after"] < statement["blocks_before"]


def test_R26_ones_own_clone_is_used_and_left_as_it_was(tuned, new_database):
    tuned.advise()
    name = parse_dsn(tuned.dsn)["dbname"]
    with new_database(name) as copy:
        before = tuned.sql("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'", copy)
        assert kept(tuned.prove("--clone-url", copy))
        assert tuned.sql("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'", copy) == before
        assert tuned.sql("SELECT count(*) FROM runs WHERE status = 'failed'", copy) == [(0,)]
    itself = tuned.run("prove", "--clone-url", tuned.dsn)
    assert itself.returncode not in (0, 1) and "the database itself" in itself.stderr


def test_R26_a_role_that_may_only_read_is_told_what_it_lacks(tuned, unique):
    tuned.advise()
    role = unique("reader").replace("-", "_")
    tuned.sql(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    try:
        done = tuned.run("prove", dsn=make_dsn(**{**parse_dsn(tuned.dsn), "user": role}))
        assert done.returncode not in (0, 1)
        assert "CREATEDB" in done.stderr and "REPLICATION" in done.stderr and "--clone-url" in done.stderr
    finally:
        tuned.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_R26_a_sample_is_enough_for_a_role_that_may_only_read(tuned, unique):
    tuned.sql("CREATE TABLE notes (run_id int REFERENCES runs, note text); INSERT INTO notes SELECT i, 'n' FROM generate_series(1, 500) i;"
              "CREATE TABLE secret (n int); ANALYZE")
    (tuned.folder / "load.sql").write_text(
        LOAD + "SELECT count(*) FROM notes WHERE run_id = 7;\nINSERT INTO runs (experiment, status, created_at) VALUES ('exp-1', 'new', now());")
    advice = tuned.advise()
    before, there = tuned.state(), folders()
    role = unique("reader").replace("-", "_")
    tuned.sql(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON runs, notes TO {role}")
    reader = make_dsn(**{**parse_dsn(tuned.dsn), "user": role})
    sample = ["--clone", "sample", "--sample-rows", "20000", "--postgres-bin", os.environ["CAIRN_POSTGRES_BIN"]]
    try:
        done = tuned.run("prove", *sample, "--seconds", "30", "--rounds", "9", dsn=reader)
        assert done.returncode == 0 and "on a sample of" in done.stdout and "only some of the rows" in done.stdout, done.stdout + done.stderr
        proof = json.loads((tuned.folder / "state" / "proofs" / f"{advice['id']}.json").read_text())
        assert kept(proof) and all("not_run" not in statement for statement in proof["statements"]), done.stdout
        assert next(s for s in proof["statements"] if "notes" in s["text"])["rows"] == 1
        assert any("may not read" in note for note in proof["notes"])
    finally:
        tuned.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert tuned.state() == before
    assert not folders() - there


@pytest.mark.parametrize("kind", ["template", "basebackup", "sample"])
def test_R26_an_interrupt_leaves_nothing_behind(tuned, kind):
    tuned.sql("INSERT INTO runs (experiment, status, created_at) SELECT 'more', 'done', now() FROM generate_series(1, 100)")
    (tuned.folder / "load.sql").write_text("SELECT count(*) FROM runs a, runs b WHERE a.accuracy < b.accuracy;" + LOAD)
    tuned.advise()
    before, there = tuned.state(), folders()
    command = tuned.command("prove", "--clone", kind, "--seconds", "300", "--postgres-bin", os.environ["CAIRN_POSTGRES_BIN"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("before: statement"):
                break
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode not in (0, 1)
    assert tuned.state() == before
    assert not folders() - there


def processes_in(folders):
    def where(process):
        try:
            return os.readlink(process)
        except OSError:
            return ""

    return [process for process in glob.glob("/proc/[0-9]*/cwd") if where(process).startswith(tuple(folders))]


def test_R26_what_a_killed_proof_left_is_removed_by_the_next_one(tuned):
    tuned.advise()
    there = folders()
    prove = ["prove", "--clone", "basebackup", "--postgres-bin", os.environ["CAIRN_POSTGRES_BIN"], "--seconds", "10", "--rounds", "2"]
    with subprocess.Popen(tuned.command(*prove), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert any(line.startswith("before: statement") for line in process.stderr)
        process.send_signal(signal.SIGSTOP)
        left = folders() - there
        assert len(left) == 2 and processes_in(left)
        assert tuned.run(*prove).returncode == 0
        assert folders() - there == left and processes_in(left), "its maker lives: that is nothing left behind"
        process.kill()
    done = tuned.run(*prove)
    assert done.returncode == 0 and "left behind" in done.stderr
    assert not folders() - there and not processes_in(left)


def test_R26_an_advice_that_is_not_there_is_an_error(tuned):
    done = tuned.run("prove", "nothing")
    assert done.returncode == 3 and "advice" in done.stderr
