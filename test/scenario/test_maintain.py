"""`cairn maintain` and `cairn runbook` on real bloat, invalid and useless indexes, a killed rebuild; the server's jobs."""
import contextlib
import json
import os
import subprocess
import time

import psycopg2
import pytest

# Keys at random, of which nine in ten then go: the index stays as large as it was.
BLOATED = """
CREATE EXTENSION IF NOT EXISTS pgstattuple;
CREATE FUNCTION held(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN PERFORM pg_advisory_lock_shared(7); PERFORM pg_advisory_unlock_shared(7); RETURN $1; END $$;
CREATE TABLE runs (id int PRIMARY KEY, v int) WITH (autovacuum_enabled = off);
INSERT INTO runs SELECT i, i % 10 FROM generate_series(1, 60000) i;
"""
SHRINK = "DELETE FROM runs WHERE v > 0"


class Maintained:
    def __init__(self, dsn):
        self.dsn = dsn

    def connect(self):
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        return contextlib.closing(connection)

    def sql(self, text, values=None):
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def one(self, text, values=None):
        return self.sql(text, values)[0][0]

    def wait_for(self, text, values=None):
        deadline = time.monotonic() + 60
        while not self.one(text, values):
            assert time.monotonic() < deadline, text

    def command(self, *arguments):
        return [os.environ["CAIRN_BIN"], *arguments, "--database-url", self.dsn]

    def cairn(self, *arguments, code=0):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    def json(self, *arguments, code=0):
        return json.loads(self.cairn(*arguments, "--json", code=code))

    def actions(self, *arguments):
        return {action["object"]: action for action in self.json("maintain", "plan", *arguments)["actions"]}

    def plan_when(self, condition, *arguments):
        """PostgreSQL's counters come a moment after the session that made them is gone."""
        deadline = time.monotonic() + 60
        while not condition(actions := self.actions(*arguments)):
            assert time.monotonic() < deadline, actions
        return actions


@pytest.fixture
def database(new_database):
    with new_database() as dsn:
        yield Maintained(dsn)


def test_R27_what_is_planned_is_done_and_then_nothing_is_left(database):
    database.sql(BLOATED)
    database.sql("VACUUM ANALYZE runs")
    database.sql(SHRINK)
    table, index = '"public"."runs"', '"public"."runs_pkey"'
    action = database.plan_when(lambda actions: table in actions)[table]
    assert action["kind"] == "vacuum" and action["statement"] == f"VACUUM (ANALYZE) {table}" and "54000 of 60000 rows are dead" in action["reason"]
    assert database.one("SELECT to_regnamespace('maintenance') IS NULL")  # a plan writes nothing
    assert [a["state"] for a in database.json("maintain", "run", "--only", "vacuum")["actions"]] == ["done"]
    action = database.plan_when(lambda actions: table not in actions)[index]
    assert action["kind"] == "reindex" and action["gain_bytes"] > action["bytes"] / 2
    with database.connect() as writer, writer.cursor() as cursor:
        done = database.json("maintain", "run", "--table", "runs")["actions"][0]
        cursor.execute("INSERT INTO runs VALUES (-1, -1)")
    assert done["state"] == "done" and done["bytes_after"] < done["bytes"] / 3
    assert database.one("SELECT count(*) FROM runs") == 6001
    assert database.one("SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 'runs'::regclass")
    assert index not in database.actions()
    runs = database.json("maintain", "history")
    assert [(r["job"], r["trigger"], r["state"], r["actions"]) for r in runs] == [("maintain", "command", "done", 1)] * 2
    assert f"REINDEX INDEX CONCURRENTLY {index};" in database.cairn("maintain", "history", str(runs[0]["run_id"]))


def test_R26_invalid_ones_go_and_useless_ones_on_request_with_their_undo(database):
    database.sql("CREATE TABLE t (a int, b int); INSERT INTO t SELECT i % 5, i FROM generate_series(1, 1000) i; ANALYZE t; "
                 "CREATE INDEX first ON t (b); CREATE INDEX second ON t (b)")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        database.sql("CREATE UNIQUE INDEX CONCURRENTLY broken ON t (a)")
    assert {name: a["kind"] for name, a in database.actions("--only", "drop-invalid,drop-duplicate").items()} == {
        '"public"."broken"': "drop-invalid", '"public"."second"': "drop-duplicate"}
    assert [(a["object"], a["state"]) for a in database.json("maintain", "run", "--only", "drop-invalid")["actions"]] == [('"public"."broken"', "done")]
    dropped = database.json("maintain", "run", "--only", "drop-duplicate")["actions"][0]
    assert dropped["state"] == "done"
    names = "SELECT array_agg(relname::text ORDER BY 1) FROM pg_class WHERE relkind = 'i' AND relnamespace = 'public'::regnamespace"
    assert database.one(names) == ["first"]
    database.sql(dropped["undo"])
    assert database.one(names) == ["first", "second"]
    assert "locks its table" in database.cairn("maintain", "run", "--only", "vacuum-full", code=2)
    assert "there are freeze, drop-invalid" in database.cairn("maintain", "plan", "--only", "magic", code=2)
    assert "there is no table" in database.cairn("maintain", "plan", "--table", "nowhere", code=3)


def test_R27_a_killed_rebuild_is_found_tidied_up_and_done_again_and_no_two_run_at_once(database):
    database.sql(BLOATED)
    database.sql("ALTER TABLE runs DROP CONSTRAINT runs_pkey")
    database.sql("CREATE INDEX idx_held ON runs (held(id))")
    database.sql(SHRINK)
    database.sql("VACUUM ANALYZE runs")
    assert set(database.actions()) == {'"public"."idx_held"'}
    with database.connect() as gate, gate.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(7)")
        running = subprocess.Popen(database.command("maintain", "run"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        database.wait_for("SELECT EXISTS (SELECT FROM pg_stat_progress_create_index p JOIN pg_locks l USING (pid) "
                          "WHERE p.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted)")
        assert "is running already" in database.cairn("maintain", "run", code=4)
        running.kill()
        running.wait(60)
        # The backend notices that its client is gone, though it waits.
        database.wait_for("SELECT NOT EXISTS (SELECT FROM pg_stat_activity "
                          "WHERE datname = current_database() AND left(application_name, 6) = 'cairn ')")
    left = [name for name, action in database.actions().items() if action["kind"] == "drop-invalid"]
    assert left == ['"public"."idx_held_ccnew"']
    outcome = database.json("maintain", "run", "--table", "runs", "--only", "drop-invalid,reindex")["actions"]
    assert [(a["kind"], a["state"]) for a in outcome] == [("drop-invalid", "done"), ("reindex", "done")]
    assert database.one("SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 'runs'::regclass")
    assert [run["state"] for run in database.json("maintain", "history")] == ["done", "interrupted"]


def test_R33_the_monthly_checklist_and_its_report(database):
    database.sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements; CREATE TABLE t (a int) WITH (autovacuum_enabled = off); "
                 "INSERT INTO t SELECT generate_series(1, 1000)")
    database.plan_when(lambda actions: '"public"."t"' in actions)
    dry = database.json("maintain", "monthly", "--dry-run")
    assert [check["name"] for check in dry["checks"]] == ["maintenance", "unused indexes", "bloat", "slow statements", "baseline", "backup",
                                                          "alert thresholds"]
    assert database.one("SELECT to_regnamespace('maintenance') IS NULL")
    first = {check["name"]: check for check in database.json("maintain", "monthly")["checks"]}
    assert first["backup"]["state"] == "by hand" and "the first report" in first["baseline"]["what"][-1]
    assert database.one("SELECT last_analyze IS NOT NULL FROM pg_stat_user_tables WHERE relname = 't'")
    for _ in range(2):
        database.sql("SELECT pg_sleep(0.12)")
    second = {check["name"]: check for check in database.json("maintain", "monthly")["checks"]}
    assert "compared with" in second["baseline"]["what"][-1]
    assert second["slow statements"]["state"] == "attention" and "pg_sleep" in second["slow statements"]["what"][0]
    third = {check["name"]: check for check in database.json("maintain", "monthly")["checks"]}
    assert "slow before" in third["slow statements"]["what"][0]
    assert [run["job"] for run in database.json("maintain", "history", "--job", "monthly")] == ["monthly"] * 3
    text = database.cairn("runbook", "slow-query")
    assert "pg_sleep" in text and "-> cairn tune advise" in text


def test_R33_the_runbooks(database):
    database.sql(BLOATED)
    database.sql("VACUUM ANALYZE runs")
    database.sql(SHRINK)
    database.plan_when(lambda actions: '"public"."runs"' in actions)
    assert [line.split()[0] for line in database.cairn("runbook").splitlines()[1:]] == ["slow-query", "bloat", "emergency", "monthly"]
    steps = {step["title"]: step for step in database.json("runbook", "bloat")["steps"]}
    assert "54000 dead rows (90.0 %)" in steps["Where dead rows and free room are"]["found"][0]
    assert steps["VACUUM where a fifth is dead"]["next"] == ['cairn maintain run --only vacuum --table "public"."runs"']
    assert steps["Keep it from coming back"]["next"][0].startswith('ALTER TABLE "public"."runs" SET (autovacuum_vacuum_scale_factor')
    with database.connect() as busy, busy.cursor() as cursor:
        cursor.execute("BEGIN; UPDATE runs SET v = 1 WHERE id = 10")
        steps = {step["title"]: step for step in database.json("runbook", "emergency")["steps"]}
    assert any("idle in transaction" in line for line in steps["What is going on"]["found"])
    assert "log_min_duration_statement is" in steps["Log slow statements for a while"]["found"][0]
    assert "7. alert thresholds" in database.cairn("runbook", "monthly")
    assert "there are slow-query, bloat" in database.cairn("runbook", "nothing", code=3)


def test_R33_somebody_elses_schema_is_left_alone(database):
    database.sql("CREATE SCHEMA maintenance; CREATE TABLE t (a int) WITH (autovacuum_enabled = off); INSERT INTO t VALUES (1)")
    database.plan_when(lambda actions: '"public"."t"' in actions)
    assert "is not Cairn's" in database.cairn("maintain", "run", "--only", "analyze", code=4)


def wait_until(condition):
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Jobs:
    """Of the session's server, whose schedule is put back in the end."""

    def __init__(self, server, api):
        self.server, self.api = server, api

    def change(self, *arguments, code=0):
        done = subprocess.run([os.environ["CAIRN_BIN"], "maintain", "jobs", *arguments, "--data-dir", self.server.data_dir],
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def rows(self):
        return {job["name"]: job for job in self.api.get("/api/v1/database/maintenance/jobs")["jobs"]}

    def runs(self, job):
        return self.api.get("/api/v1/database/maintenance/runs", job=job)["runs"]


@pytest.fixture
def jobs(server, api):
    jobs = Jobs(server, api)
    wait_until(lambda: set(jobs.rows()) >= {"maintain", "monthly", "refresh-views", "partitions", "feature-rollups", "audit", "backup-verify"})
    before = jobs.rows()
    yield jobs
    for name, job in before.items():
        jobs.change(name, "--schedule", job["schedule"], "--quiet-hours", job.get("quiet_hours", "any"), "--enable")


def test_R33_the_servers_jobs_run_by_their_schedule_and_are_in_the_history(jobs, api):
    names = jobs.rows()
    assert names["monthly"]["schedule"] == "0 2 * * 0#1" and names["monthly"]["quiet_hours"] == "01:00-05:00"
    assert names["monthly"]["next_due_at"] > time.time() * 1000
    assert "'25' is no hour" in jobs.change("maintain", "--schedule", "0 25 * * *", code=2)
    assert "there is no job nothing" in jobs.change("nothing", "--disable", code=3)
    jobs.change("maintain", "--schedule", "1 seconds", "--quiet-hours", "any")
    wait_until(lambda: any(run["state"] == "done" for run in jobs.runs("maintain")))
    jobs.change("maintain", "--disable")
    run = api.get(f"/api/v1/database/maintenance/runs/{jobs.runs('maintain')[-1]['run_id']}")["run"]
    assert run["trigger"] == "schedule" and run["role"] == "cairn" and run["summary"]
    assert api.get("/api/v1/database/maintenance/plan")["database"] == "cairn"
    assert api.call("GET", "/api/v1/database/maintenance/runs/999999999").status_code == 404


def test_R02_the_audit_keeps_400_days(jobs, server, unique):
    marks = {age: unique(f"age{age}") for age in (399, 401)}
    with contextlib.closing(psycopg2.connect(host=f"{server.data_dir}/run", user="cairn", dbname="cairn")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for age, mark in marks.items():
            cursor.execute("INSERT INTO audit.events (at, action, object_type, object_id) VALUES (now() - %s * interval '1 day', 'create', 'model', %s)",
                           (age, mark))

        def kept():
            cursor.execute("SELECT object_id FROM audit.events WHERE object_id = ANY (%s)", (list(marks.values()),))
            return [mark for mark, in cursor.fetchall()]

        jobs.change("audit", "--schedule", "1 seconds")
        wait_until(lambda: marks[401] not in kept())
        assert kept() == [marks[399]]
        wait_until(lambda: any("1 events of the audit" in run["summary"] for run in jobs.runs("audit")))


def test_R07_views_are_refreshed_by_the_schedule(jobs, server, unique):
    view = unique("view").replace("-", "_")
    with contextlib.closing(psycopg2.connect(host=f"{server.data_dir}/run", user="cairn", dbname="cairn")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"CREATE MATERIALIZED VIEW {view} AS SELECT 1 AS one; CREATE UNIQUE INDEX ON {view} (one); "
                       f"COMMENT ON MATERIALIZED VIEW {view} IS 'cairn tune: kept fresh by `cairn tune refresh`'")
        jobs.change("refresh-views", "--schedule", "1 seconds")

        def refreshed():
            cursor.execute("SELECT to_regclass('cairn_tune.materialized_views') IS NOT NULL")
            if not cursor.fetchone()[0]:
                return False
            cursor.execute("SELECT count(*) FROM cairn_tune.materialized_views WHERE view_name = %s AND refreshes > 0", (view,))
            return cursor.fetchone()[0] == 1

        wait_until(refreshed)
        wait_until(lambda: any(view in run["summary"] for run in jobs.runs("refresh-views")))
        cursor.execute(f"DROP MATERIALIZED VIEW {view}")


def test_R29_partitions_are_made_ahead_by_the_schedule(jobs, server, unique):
    table = unique("events").replace("-", "_")

    def convert(name):
        done = subprocess.run([os.environ["CAIRN_BIN"], "partitions", "convert", name, "--column", "at", "--data-dir", server.data_dir],
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    with contextlib.closing(psycopg2.connect(host=f"{server.data_dir}/run", user="cairn", dbname="cairn")) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def partitions():
            cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1", (table,))
            return [name for name, in cursor.fetchall()]

        cursor.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, at timestamptz NOT NULL); INSERT INTO {table} VALUES (1, now())")
        convert(table)
        made = partitions()
        newest = max(name for name in made if "default" not in name)
        cursor.execute(f"DROP TABLE {newest}")
        jobs.change("partitions", "--schedule", "1 seconds", "--quiet-hours", "any")
        wait_until(lambda: partitions() == made)
        wait_until(lambda: any("1 partitions made" in run["summary"] and run["state"] == "done" for run in jobs.runs("partitions")))
        # A table that cannot be looked after is a failure that is seen.
        cursor.execute(f"DROP TABLE {table}")
        wait_until(lambda: any(f"{table} is gone" in run["summary"] for run in jobs.runs("partitions") if run["state"] == "failed"))
        cursor.execute("DELETE FROM cairn_partitions.managed WHERE table_name = %s", (table,))
