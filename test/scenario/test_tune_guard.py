"""`cairn tune guard`: plans kept in a file, and a build that fails when one gets worse."""
import contextlib
import json
import os
import subprocess

import pytest

psycopg2 = pytest.importorskip("psycopg2")

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")

SCHEMA = """
CREATE TABLE runs (run_id int PRIMARY KEY, experiment text NOT NULL, accuracy float8, note text) WITH (autovacuum_enabled = off);
INSERT INTO runs SELECT i, 'e' || i % 1000, i / 50000.0, repeat('x', 200) FROM generate_series(1, 50000) i;
CREATE INDEX runs_experiment ON runs (experiment);
CREATE TABLE "we""ird" ("sel
ect" int);
INSERT INTO "we""ird" SELECT i FROM generate_series(1, 100) i;
"""

QUERIES = {
    "by-experiment.sql": "-- one experiment's runs\nSELECT run_id, accuracy FROM runs WHERE experiment = 'e7';\n",
    "pages.sql": "SELECT * FROM runs WHERE run_id > $1 ORDER BY run_id LIMIT 20;\nSELECT count(*) FROM runs;",
    "weird.sql": 'SELECT "sel\nect", \'"}]; DROP TABLE runs; --\' FROM "we""ird" WHERE "sel\nect" = 5',
    "write.sql": "UPDATE runs SET note = 'y' WHERE run_id = 5",
}


class Guarded:
    def __init__(self, dsn, folder):
        self.dsn, self.file = dsn, folder / "cairn-guard.json"
        self.queries = folder / "queries"
        self.queries.mkdir()
        for name, text in QUERIES.items():
            (self.queries / name).write_text(text)
        self.sql(SCHEMA)
        self.sql("VACUUM ANALYZE")

    def sql(self, text):
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall() if cursor.description else []

    def run(self, action, *arguments):
        command = [os.environ["CAIRN_BIN"], "tune", "guard", action, "--database-url", self.dsn, "--file", self.file, *arguments]
        return subprocess.run([*command, self.queries], capture_output=True, text=True, timeout=120, check=False)

    def save(self, *arguments):
        done = self.run("save", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(self.file.read_text())

    def check(self, *arguments):
        done = self.run("check", "--json", *arguments)
        assert done.returncode in (0, 1), done.stderr
        found = {one["name"]: one for one in json.loads(done.stdout)["statements"]}
        return done.returncode, found


@pytest.fixture
def guarded(new_database, tmp_path):
    with new_database() as dsn:
        yield Guarded(dsn, tmp_path)


def test_R36_an_unchanged_database_passes_and_nothing_is_written(guarded):
    saved = guarded.save("--run", "--rounds", "3")
    assert [one["name"] for one in saved["statements"]] == ["by-experiment", "pages#1", "pages#2", "weird", "write"]
    code, found = guarded.check("--run", "--rounds", "3")
    assert code == 0 and {one["state"] for one in found.values()} == {"same"}, found
    assert any("not run" in remark for remark in found["write"]["remarks"])
    assert any("by this machine's speed" in remark for remark in found["by-experiment"]["remarks"])
    assert guarded.sql("SELECT count(*) FROM runs WHERE note = 'y'") == [(0,)]
    assert guarded.save("--run", "--rounds", "3").keys() == saved.keys()


def test_R36_a_dropped_index_fails_the_build_and_shows_the_plans(guarded):
    guarded.save("--run", "--rounds", "3")
    guarded.sql("DROP INDEX runs_experiment")
    code, found = guarded.check("--run", "--rounds", "3")
    worse = found["by-experiment"]
    assert code == 1 and worse["state"] == "worse" and found["pages#1"]["state"] == "same"
    assert any("public.runs is read as a whole" in reason for reason in worse["reasons"])
    assert any(reason.startswith("blocks") for reason in worse["reasons"])
    printed = guarded.run("check")
    assert printed.returncode == 1
    lines = [line.strip() for line in printed.stdout.splitlines()]
    assert any(line.startswith("- ") and "runs_experiment" in line for line in lines)
    assert any(line.startswith("+ ") and "Seq Scan on runs" in line for line in lines)
    assert guarded.run("check", "--min-cost", "1e9").returncode == 0
    guarded.save()
    assert guarded.run("check").returncode == 0


def test_R36_new_gone_and_broken_statements_are_told(guarded):
    guarded.save()
    (guarded.queries / "weird.sql").unlink()
    (guarded.queries / "fresh.sql").write_text("SELECT 1")
    code, found = guarded.check()
    assert code == 0 and found["weird"]["state"] == "gone" and found["fresh"]["state"] == "new"
    guarded.sql("ALTER TABLE runs RENAME COLUMN experiment TO study")
    code, found = guarded.check()
    assert code == 1 and found["by-experiment"]["state"] == "failed"
    assert "experiment" in found["by-experiment"]["reasons"][0]
    refused = guarded.run("save")
    assert refused.returncode not in (0, 1) and "by-experiment" in refused.stderr


def test_R36_what_is_no_guard_file_is_said(guarded):
    missing = guarded.run("check")
    assert missing.returncode not in (0, 1) and "guard save" in missing.stderr
    guarded.file.write_text('{"format": 99}')
    assert guarded.run("check").returncode not in (0, 1)
