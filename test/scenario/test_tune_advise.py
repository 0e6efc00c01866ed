"""`cairn tune advise`: indexes for a workload, tried in hypothesis, on tables like those of text 002."""
import contextlib
import json
import os
import subprocess

import pytest

psycopg2 = pytest.importorskip("psycopg2")
from psycopg2.extensions import make_dsn, parse_dsn  # noqa: E402

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")

SCHEMA = """
CREATE TABLE models (model_id serial PRIMARY KEY, model_name text NOT NULL, is_active boolean NOT NULL);
CREATE TABLE model_versions (version_id serial PRIMARY KEY, model_id int NOT NULL REFERENCES models, semver text NOT NULL);
CREATE TABLE deployments (deployment_id serial PRIMARY KEY, version_id int NOT NULL REFERENCES model_versions,
  environment_id int NOT NULL, status text NOT NULL, replicas int, deployed_by text, deployed_at timestamptz NOT NULL);
CREATE TABLE training_runs (run_id serial PRIMARY KEY, version_id int, model_name text, experiment_name text NOT NULL, status text,
  accuracy float8, created_at timestamptz NOT NULL);
CREATE TABLE events (event_id bigserial PRIMARY KEY, kind text, body text);
INSERT INTO models (model_name, is_active) SELECT 'model-' || i, i % 5 > 0 FROM generate_series(1, 200) i;
INSERT INTO model_versions (model_id, semver) SELECT 1 + i % 200, '1.' || i || '.0' FROM generate_series(1, 2000) i;
INSERT INTO deployments (version_id, environment_id, status, replicas, deployed_by, deployed_at)
  SELECT 1 + i % 2000, 1 + i % 4, CASE WHEN i % 50 = 0 THEN 'active' ELSE 'retired' END, 1, 'ada', now() - i * interval '10 minutes'
  FROM generate_series(1, 20000) i;
INSERT INTO training_runs (version_id, model_name, experiment_name, status, accuracy, created_at)
  SELECT 1 + i % 2000, 'model-' || i % 200, 'exp-' || i % 300, 'done', (i * 7919 % 10000) / 10000.0, now() - i * interval '1 minute'
  FROM generate_series(1, 40000) i;
INSERT INTO events (kind, body) SELECT 'kind-' || i % 1000, repeat('x', 100) FROM generate_series(1, 20000) i;
ANALYZE;
"""
# Advice asked for twice is of the same statistics.
SCHEMA += "".join(f"ALTER TABLE {table} SET (autovacuum_enabled = off);" for table in ("models", "model_versions", "deployments", "training_runs", "events"))

FAMILIES = """
SELECT m.model_name, mv.semver, d.environment_id, d.status, d.deployed_at, d.deployed_by
FROM deployments d JOIN model_versions mv ON d.version_id = mv.version_id JOIN models m ON mv.model_id = m.model_id
WHERE d.deployed_at > now() - interval '30 days' ORDER BY d.deployed_at DESC LIMIT 50;

SELECT run_id, model_name, status, accuracy, created_at FROM training_runs
WHERE experiment_name = 'exp-7' AND created_at > now() - interval '7 days' ORDER BY accuracy DESC NULLS LAST LIMIT 20;

SELECT m.model_name, mv.semver, d.status, d.replicas, d.deployed_at
FROM deployments d JOIN model_versions mv ON d.version_id = mv.version_id JOIN models m ON mv.model_id = m.model_id
WHERE d.environment_id = 1 AND d.status = 'active' ORDER BY d.deployed_at DESC;
"""


class Registry:
    """A database of text 002's kind, and what `cairn tune advise` says of it."""

    def __init__(self, dsn, folder):
        self.dsn, self.folder = dsn, folder
        self.sql(SCHEMA)

    def sql(self, text, role=None):
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                if role:
                    cursor.execute(f"SET ROLE {role}")
                cursor.execute(text)
                return cursor.fetchall() if cursor.description else []

    def run_all(self, statements):
        for statement in statements:
            self.sql(statement)

    def run(self, *arguments, dsn=None, statements=None):
        options = []
        if statements is not None:
            (self.folder / "workload.sql").write_text(statements)
            options = ["--files", self.folder / "workload.sql"]
        command = [os.environ["CAIRN_BIN"], "tune", "advise", "--database-url", dsn or self.dsn, "--state-dir", self.folder / "state"]
        return subprocess.run([*command, *options, *arguments], capture_output=True, text=True, timeout=120, check=False)

    def advise(self, *arguments, **options):
        done = self.run("--json", *arguments, **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def indexes(self):
        return self.sql("SELECT schemaname, indexname FROM pg_indexes WHERE schemaname <> 'pg_catalog' ORDER BY 1, 2")


@pytest.fixture
def registry(new_database, tmp_path):
    with new_database() as dsn:
        yield Registry(dsn, tmp_path)


@pytest.fixture
def reader(registry, unique):
    """Connection string of a role that may only read."""
    role = unique("reader").replace("-", "_")
    registry.sql(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    yield make_dsn(**{**parse_dsn(registry.dsn), "user": role})
    registry.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def keys(change):
    return [key.get("column", key.get("expression")) for key in change["definition"]["keys"]]


def made(advice):
    return [change for change in advice["changes"] if change["kind"] == "index"]


def on(advice, table):
    return [keys(change) for change in made(advice) if change["table"] == table]


def test_R24_advises_the_obvious_indexes_and_makes_none(registry):
    registry.sql("CREATE EXTENSION hypopg")
    before = registry.indexes()
    advice = registry.advise(statements=FAMILIES)
    assert registry.indexes() == before
    assert any(k[0] == "experiment_name" for k in on(advice, "training_runs"))
    assert any(k[0] == "deployed_at" for k in on(advice, "deployments"))
    assert any(3 in change["serves"] for change in made(advice)), "the active deployments of an environment"
    assert advice["ms_after"] < advice["ms_before"] / 3
    for change in made(advice):
        assert change["statements"][0].startswith("CREATE INDEX CONCURRENTLY")
        assert change["reason"] and change["serves"] and change["bytes"] > 0
    saved = json.loads((registry.folder / "state" / "advice" / f"{advice['id']}.json").read_text())
    assert saved == advice


def test_R24_one_statement_that_one_index_helps(registry):
    registry.sql("CREATE EXTENSION hypopg")
    (change,) = made(registry.advise(statements="SELECT * FROM training_runs WHERE experiment_name = 'exp-7';"))
    assert keys(change) == ["experiment_name"]


def test_R24_the_advice_can_be_run_and_taken_back(registry):
    registry.sql("CREATE EXTENSION hypopg")
    before = registry.indexes()
    advice = registry.advise(statements=FAMILIES)
    for change in made(advice):
        registry.run_all(change["statements"])
    assert len(registry.indexes()) == len(before) + len(made(advice))
    again = registry.advise(statements=FAMILIES)
    assert made(again) == []
    assert again["ms_before"] < advice["ms_before"] / 3
    for change in made(advice):
        registry.run_all(change["inverse"])
    assert registry.indexes() == before


def test_R24_sizes_are_near_what_is_built(registry):
    registry.sql("CREATE EXTENSION hypopg")
    for change in made(registry.advise(statements=FAMILIES)):
        registry.run_all(change["statements"])
        ((real,),) = registry.sql(f"SELECT pg_relation_size('{change['name']}')")
        assert real / 2 <= change["bytes"] <= real * 2, change["statements"]


def test_R25_keeps_to_a_budget_and_says_what_it_left(registry):
    registry.sql("CREATE EXTENSION hypopg")
    whole = registry.advise(statements=FAMILIES)
    budget = whole["bytes"] / 2 / 2**20
    half = registry.advise("--budget-mb", f"{budget:.6f}", statements=FAMILIES)
    assert 0 < half["bytes"] <= budget * 2**20
    assert whole["ms_after"] <= half["ms_after"] < half["ms_before"]
    assert any("budget" in rejection["reason"] for rejection in half["rejected"])


def test_R25_leaves_a_table_alone_that_is_mostly_written(registry):
    registry.sql("CREATE EXTENSION hypopg")
    read = "SELECT body FROM events WHERE kind = 'kind-7';\n"
    insert = "INSERT INTO events (kind, body) SELECT 'kind-7', 'x' FROM generate_series(1, 100);\n"
    assert on(registry.advise(statements=read), "events") == [["kind"]]
    advice = registry.advise(statements=read + insert * 20000)
    assert on(advice, "events") == []
    assert any("writes" in rejection["reason"] and "events" in rejection["statement"] for rejection in advice["rejected"])


def test_R24_reads_the_workload_from_pg_stat_statements(registry):
    registry.sql("CREATE EXTENSION hypopg; CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()")
    for number in range(20):
        registry.sql(f"SELECT * FROM training_runs WHERE experiment_name = 'exp-{number}'")
    advice = registry.advise()
    assert any(k[0] == "experiment_name" for k in on(advice, "training_runs"))
    (statement,) = [s for s in advice["statements"] if "experiment_name = $1" in s["text"]]
    assert statement["calls"] == 20 and statement["measured"] and statement["uses"]


def test_R24_a_role_that_may_only_read_gets_advice(registry, reader):
    registry.sql("CREATE EXTENSION hypopg")
    write = "UPDATE deployments SET status = 'retired' WHERE environment_id = 3;"
    advice = registry.advise(dsn=reader, statements=FAMILIES + write)
    assert any(k[0] == "experiment_name" for k in on(advice, "training_runs"))
    assert any("permission denied" in note for note in advice["notes"])


def test_R24_without_hypopg_it_says_what_is_not_known(registry, reader):
    advice = registry.advise(dsn=reader, statements=FAMILIES)
    assert made(advice) == []
    assert any("CREATE EXTENSION hypopg" in note for note in advice["notes"])
    assert any("experiment_name" in rejection["statement"] for rejection in advice["rejected"])
    refused = registry.advise("--allow-extension", dsn=reader, statements=FAMILIES)
    assert any("hypopg could not be made" in note for note in refused["notes"])
    allowed = registry.advise("--allow-extension", statements=FAMILIES)
    assert made(allowed)


def test_R24_statements_that_cannot_be_planned_are_named_and_left_out(registry):
    registry.sql("CREATE EXTENSION hypopg")
    advice = registry.advise(statements=FAMILIES + "SELECT * FROM gone WHERE a = 1;\nDROP TABLE events;\n")
    assert len(advice["statements"]) == 3
    assert any("gone" in note for note in advice["notes"])
    assert registry.sql("SELECT count(*) FROM events") == [(20000,)]


def test_R26_lists_an_index_that_is_there_twice(registry):
    registry.sql("CREATE INDEX one ON events (kind); CREATE INDEX two ON events (kind)")
    drops = [change for change in registry.advise(statements=FAMILIES)["changes"] if change["kind"] == "drop_index"]
    (drop,) = [drop for drop in drops if drop["name"] in ("one", "two") and "never used" not in drop["reason"]]
    before = registry.indexes()
    registry.run_all(drop["statements"])
    assert len(registry.indexes()) == len(before) - 1
    registry.run_all(drop["inverse"])
    assert registry.indexes() == before
    assert f"DROP INDEX CONCURRENTLY \"public\".\"{drop['name']}\"" in registry.run(statements=FAMILIES).stdout


def test_R24_prints_the_advice_for_people(registry):
    registry.sql("CREATE EXTENSION hypopg")
    done = registry.run(statements=FAMILIES)
    assert done.returncode == 0, done.stderr
    assert "  1  CREATE INDEX CONCURRENTLY" in done.stdout
    assert "serves" in done.stdout and "kept as" in done.stdout
    bad = registry.run(statements="SELEC 1")
    assert bad.returncode == 2 and "is no SQL" in bad.stderr


def test_R24_names_that_need_quotes_stay_names(registry):
    registry.sql("""CREATE EXTENSION hypopg; CREATE SCHEMA "a""b"; CREATE TABLE "a""b"."drop table; --" ("sel ect" int, "ü'" text);
      INSERT INTO "a""b"."drop table; --" SELECT i, 'x' FROM generate_series(1, 30000) i; ANALYZE""")
    advice = registry.advise(statements='SELECT * FROM "a""b"."drop table; --" WHERE "sel ect" = 7;')
    (change,) = made(advice)
    assert keys(change) == ["sel ect"]
    registry.run_all(change["statements"])
    registry.run_all(change["inverse"])


def test_R24_a_file_that_is_not_there_is_an_error(registry):
    done = registry.run("--files", "missing.sql")
    assert done.returncode == 2 and "missing.sql" in done.stderr


THE_FOUR = """
SELECT * FROM training_runs WHERE model_name = 'model-7' OR experiment_name = 'exp-1';
SELECT * FROM models WHERE model_id NOT IN (SELECT model_id FROM model_versions);
SELECT * FROM training_runs ORDER BY created_at DESC LIMIT 20 OFFSET 10000;
SELECT * FROM training_runs WHERE DATE(created_at) = current_date;
SELECT * FROM models WHERE (SELECT count(*) FROM model_versions v WHERE v.model_id = models.model_id) > 0;
SELECT * FROM training_runs WHERE run_id NOT IN (SELECT version_id FROM training_runs);
"""


def test_R28_offers_the_four_rewrites_of_the_text_with_what_makes_them_equal(registry):
    registry.sql("CREATE EXTENSION hypopg; CREATE INDEX by_model ON training_runs (model_name); "
                 "CREATE INDEX by_experiment ON training_runs (experiment_name)")
    advice = registry.advise(statements=THE_FOUR)
    text_of = {statement["number"]: statement["text"] for statement in advice["statements"]}
    found = {(rewrite["rule"], text_of[rewrite["serves"]]): rewrite for rewrite in advice["rewrites"]}
    rules = {rule for rule, _ in found}
    assert {"not-in-to-not-exists", "offset-to-keyset", "function-to-range", "count-to-exists"} <= rules
    for (rule, text), rewrite in found.items():
        assert rewrite["reason"] and (rewrite["guarantee"] or rewrite["caveat"])
        if rewrite["guarantee"]:
            assert sorted(registry.sql(text)) == sorted(registry.sql(rewrite["text"])), rewrite["text"]
        else:
            assert rule == "offset-to-keyset" or "training_runs.version_id" in rewrite["caveat"]
    nullable = next(r for (rule, text), r in found.items() if rule == "not-in-to-not-exists" and "version_id" in text)
    assert "may be NULL" in nullable["caveat"]
    printed = registry.run(statements=THE_FOUR).stdout
    assert "NOT EXISTS (SELECT 1 FROM model_versions" in printed and "the same rows: never NULL" in printed


def test_R24_planning_keeps_to_its_share_of_the_server(registry):
    registry.sql("CREATE EXTENSION hypopg")
    advice = registry.advise("--max-db-cpu", "5", statements=FAMILIES)
    assert advice["planner_calls"] > 0 and advice["planner_ms"] > 0 and advice["planner_percent"] < 7
    assert f"planning: {advice['planner_calls']} calls" in registry.run(statements=FAMILIES).stdout


def test_R24_plans_on_a_clone_instead(registry, new_database):
    with new_database() as clone:
        Registry(clone, registry.folder)
        advice = registry.advise("--clone-url", clone, statements=FAMILIES)
    assert advice["planner_is_clone"] and any(k[0] == "experiment_name" for k in on(advice, "training_runs"))
    assert registry.sql("SELECT count(*) FROM pg_extension WHERE extname = 'hypopg'") == [(0,)], "nothing is made in the database itself"
