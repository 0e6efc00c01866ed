"""`cairn tune verify`: what was applied is measured in production, and taken back where it did harm."""
import contextlib
import os

import pytest

psycopg2 = pytest.importorskip("psycopg2")
from tune_apply import SCHEMA, Tuned, change, index  # noqa: E402

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")

BY_EXPERIMENT = "SELECT * FROM runs WHERE experiment = 'exp-7'"
# How long it takes is a setting of the database, which a change can make worse.
SLOWED = "SELECT count(*) FROM runs WHERE accuracy > 0.5 AND slowed()"


@pytest.fixture
def tuned(new_database, tmp_path):
    with new_database() as dsn:
        database = Tuned(dsn, tmp_path)
        database.sql(SCHEMA + """CREATE EXTENSION pg_stat_statements; INSERT INTO runs (experiment) SELECT 'exp' || i FROM generate_series(1, 60000) i;
          ANALYZE runs;
          CREATE FUNCTION slowed() RETURNS boolean LANGUAGE sql STABLE AS
            $$ SELECT pg_sleep(coalesce(nullif(current_setting('test.seconds', true), ''), '0.001')::float8) IS NOT NULL $$""")
        yield database


def repeat(tuned, statement, times=30):
    with contextlib.closing(tuned.connect()) as connection, connection.cursor() as cursor:
        for _ in range(times):
            cursor.execute(statement)


def slowing(tuned):
    """A change that makes SLOWED forty times slower."""
    database = tuned.one("SELECT quote_ident(current_database())")
    return change("setting", "test.seconds", [f"ALTER DATABASE {database} SET test.seconds = '0.04'"],
                  [f"ALTER DATABASE {database} RESET test.seconds"], table="runs", schema="public")


def test_R21_what_got_faster_is_verified(tuned):
    repeat(tuned, BY_EXPERIMENT)
    tuned.advice(index("runs", "experiment"), statements=[("SELECT * FROM runs WHERE experiment = $1", [1])])
    tuned.apply()
    waiting = tuned.json("verify")
    assert waiting["changes"][0]["verdict"] == "waiting" and "not enough calls yet" in waiting["changes"][0]["reason"]
    assert "not enough calls yet: 0 of 20" in tuned.run("verify").stdout
    repeat(tuned, BY_EXPERIMENT)
    report = tuned.json("verify")
    (statement,) = [s for s in report["statements"] if s["serves"]]
    assert statement["effect"] == "faster" and statement["calls_before"] == statement["calls_after"] == 30
    assert statement["ratio_low"] <= statement["ratio"] <= statement["ratio_high"] < 0.95
    assert report["changes"][0]["verdict"] == "verified" and report["changes"][0]["state"] == "verified"
    assert tuned.states() == ["verified"]
    assert tuned.json("undo", "--all")["changes"][0]["outcome"] == "undone"
    assert tuned.json("verify")["changes"] == []


@pytest.mark.parametrize("made_for", [True, False])
def test_R21_what_got_slower_is_taken_back(tuned, made_for):
    repeat(tuned, SLOWED)
    tuned.advice(slowing(tuned), statements=[(SLOWED.replace("0.5", "$1"), [1] if made_for else [])])
    tuned.apply()
    repeat(tuned, SLOWED)
    kept = tuned.json("verify", "--keep", code=1)
    assert kept["changes"][0]["verdict"] == "slower" and tuned.states() == ["applied"]
    report = tuned.json("verify", code=1)
    assert report["changes"][0]["verdict"] == "taken back" and "got slower" in report["changes"][0]["reason"]
    assert any(s["effect"] == "slower" and bool(s["serves"]) == made_for for s in report["statements"])
    assert tuned.states() == ["reverted"]
    assert tuned.one("SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%%test.seconds%%'"
                     " AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())") == 0


def test_R21_verify_waits_for_calls(tuned):
    repeat(tuned, BY_EXPERIMENT)
    tuned.advice(index("runs", "experiment"), statements=[("SELECT * FROM runs WHERE experiment = $1", [1])])
    tuned.apply()
    waiting = tuned.start("verify", "--wait", "60")
    repeat(tuned, BY_EXPERIMENT)
    out, error = waiting.communicate(timeout=60)
    assert waiting.returncode == 0 and "verified" in out, out + error


def test_R21_verify_says_what_is_not_known(tuned):
    assert tuned.run("verify").returncode == 3
    tuned.sql("DROP EXTENSION pg_stat_statements")
    tuned.advice(index("runs", "experiment"))
    assert any("pg_stat_statements" in note for note in tuned.apply()["notes"])
    refused = tuned.run("verify")
    assert refused.returncode != 0 and "pg_stat_statements could not be read" in refused.stderr
