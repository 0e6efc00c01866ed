"""`cairn tune refresh`: views by schedule and after so many changes, how fresh they are, and what goes wrong."""
import contextlib
import json
import os
import subprocess
import time

import psycopg2
import pytest

TABLES = """
CREATE TABLE runs (run_id int PRIMARY KEY, model text NOT NULL, accuracy float8);
INSERT INTO runs SELECT i, 'model-' || i % 40, i % 100 / 100.0 FROM generate_series(1, 4000) i;
CREATE MATERIALIZED VIEW "by Model" AS SELECT model, count(*) AS runs, max(accuracy) AS best FROM runs GROUP BY model;
CREATE UNIQUE INDEX ON "by Model" (model);
"""


class Database:
    def __init__(self, dsn):
        self.dsn = dsn
        self.sql(TABLES)

    def sql(self, text):
        """In a session of its own, so that its counters are handed in when it ends."""
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else []

    def refresh(self, *arguments, code=0):
        done = subprocess.run([os.environ["CAIRN_BIN"], "tune", "refresh", *arguments, "--database-url", self.dsn],
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def outcomes(self, *arguments, code=0):
        return {one["view"]: one for one in json.loads(self.refresh(*arguments, "--json", code=code))}

    def status(self):
        return {one["view"]: one for one in json.loads(self.refresh("--status", "--json"))}

    def status_when(self, condition):
        """PostgreSQL's counters come a moment after the session that made them is gone."""
        deadline = time.monotonic() + 30
        while not condition(state := self.status()["by Model"]):
            assert time.monotonic() < deadline, state
        return state

    def hours_pass(self, hours):
        self.sql(f"UPDATE cairn_tune.materialized_views SET refreshed_at = refreshed_at - interval '{hours} hours'")

    def insert(self, start, rows):
        self.sql(f"INSERT INTO runs SELECT i, 'model-new', 1 FROM generate_series({start}, {start + rows - 1}) i")

    def new_runs(self):
        return self.sql("""SELECT coalesce(sum(runs), 0)::int FROM "by Model" WHERE model = 'model-new'""")[0][0]


@pytest.fixture
def database(new_database):
    with new_database() as dsn:
        yield Database(dsn)


def test_R34_by_schedule_and_only_when_something_has_changed(database):
    assert "no materialized view is kept fresh here" in database.refresh("--status")
    assert database.outcomes('"by Model"', "--every-s", "3600")["by Model"]["outcome"] == "refreshed"
    state = database.status_when(lambda state: state["refreshes"] == 1)
    assert state["every_s"] == 3600 and not state["due"] and state["age_s"] < 600
    database.hours_pass(2)
    assert database.outcomes("--due")["by Model"]["outcome"] == "fresh"  # it is old, but its rows would be the same
    database.insert(10_001, 5)
    state = database.status_when(lambda state: state["changes"] == 5)
    assert state["due"] and state["reason"] == "2 h old" and 7200 <= state["age_s"] < 7800
    assert "2 h old" in database.refresh("--status")
    assert database.new_runs() == 0
    assert database.outcomes("--due")["by Model"]["outcome"] == "refreshed"
    assert database.new_runs() == 5
    state = database.status()["by Model"]
    assert state["refreshes"] == 2 and state["changes"] == 0 and state["age_s"] < 600 and not state["due"]


def test_R34_after_so_many_changes(database):
    database.refresh('"by Model"', "--every-s", "86400", "--max-changes", "100")
    database.insert(10_001, 60)
    state = database.status_when(lambda state: state["changes"] == 60)
    assert not state["due"] and state["changes_max"] == 100
    assert database.outcomes("--due")["by Model"]["outcome"] == "fresh"
    database.sql("UPDATE runs SET accuracy = 0 WHERE run_id <= 30; DELETE FROM runs WHERE run_id BETWEEN 31 AND 45")
    state = database.status_when(lambda state: state["changes"] == 105)
    assert state["due"] and state["reason"] == "105 rows changed"
    assert database.outcomes("--due")["by Model"]["outcome"] == "refreshed"
    assert database.new_runs() == 60
    database.refresh("--max-changes", "0")
    database.insert(20_001, 200)
    assert not database.status_when(lambda state: state["changes"] == 200)["due"]


def test_R34_the_hits_of_readers_are_counted_without_those_of_refreshes(database):
    database.refresh('"by Model"')
    hits = database.status_when(lambda state: state["refreshes"] == 1)["hits"]
    assert hits == 0
    database.sql("; ".join(["""SELECT * FROM "by Model" WHERE model = 'model-3'"""] * 99))
    state = database.status_when(lambda state: state["hits"] == 99)
    assert state["hit_ratio"] == pytest.approx(0.99)
    database.insert(10_001, 1)
    database.refresh()
    assert database.status_when(lambda state: state["refreshes"] == 2)["hits"] == 99


def test_R34_readers_are_not_blocked_and_what_would_block_them_is_refused(database):
    database.sql("CREATE MATERIALIZED VIEW plain AS SELECT count(*) AS n FROM runs")
    database.refresh('"by Model"')
    refused = database.outcomes("plain", code=1)["plain"]
    assert refused["outcome"] == "failed" and "unique index" in refused["why"]
    database.insert(10_001, 1)
    with contextlib.closing(psycopg2.connect(database.dsn)) as reader, reader.cursor() as cursor:
        cursor.execute('SELECT count(*) FROM "by Model"')  # in a transaction that stays open
        both = database.outcomes(code=1)
        assert both["by Model"]["outcome"] == "refreshed" and both["plain"]["outcome"] == "failed"
    assert "there is no materialized view" in database.refresh("nowhere", code=3)
