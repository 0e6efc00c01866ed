"""R23: `cairn tune explain`: plans read by the program, by a role that may only read, and nothing ever changed."""
import json
import os
import subprocess

import pytest

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="this is Cairn's own command")
psycopg2 = pytest.importorskip("psycopg2")

# Text 002's four, on its tables.
DASHBOARD = """SELECT m.model_name, mv.semver, d.environment_id, d.status, d.deployed_at, d.deployed_by
FROM deployments d JOIN model_versions mv ON d.version_id = mv.version_id JOIN models m ON mv.model_id = m.model_id
WHERE d.deployed_at > NOW() - INTERVAL '30 days' ORDER BY d.deployed_at DESC LIMIT 50;"""
TRAINING_RUNS = """SELECT run_id, model_name, status, accuracy, created_at FROM training_runs
WHERE experiment_name = 'churn-exp-002' AND created_at > NOW() - INTERVAL '7 days' ORDER BY accuracy DESC NULLS LAST LIMIT 20"""
STATISTICS = """SELECT m.model_name, COUNT(DISTINCT mv.version_id) AS version_count, COUNT(DISTINCT tr.run_id) AS training_runs,
  COUNT(DISTINCT d.deployment_id) AS deployments, MAX(tr.accuracy) AS best_accuracy
FROM models m LEFT JOIN model_versions mv ON m.model_id = mv.model_id LEFT JOIN training_runs tr ON tr.version_id = mv.version_id
LEFT JOIN deployments d ON d.version_id = mv.version_id
WHERE m.is_active = true GROUP BY m.model_id, m.model_name ORDER BY deployments DESC"""
STATUS_CHECK = """SELECT m.model_name, mv.semver, d.status, d.replicas, d.deployed_at FROM deployments d
JOIN model_versions mv ON d.version_id = mv.version_id JOIN models m ON mv.model_id = m.model_id
WHERE d.environment_id = 1 AND d.status = 'active' ORDER BY d.deployed_at DESC"""

TABLES = """
CREATE TABLE models (model_id int PRIMARY KEY, model_name text, is_active boolean);
CREATE TABLE model_versions (version_id int PRIMARY KEY, model_id int, semver text);
CREATE TABLE deployments (deployment_id int PRIMARY KEY, version_id int, environment_id int, status varchar(20), replicas int,
  deployed_at timestamptz, deployed_by text);
CREATE TABLE training_runs (run_id int PRIMARY KEY, version_id int, model_name text, experiment_name text, status text,
  accuracy float8, created_at timestamptz);
CREATE TABLE secrets (word text);
INSERT INTO models SELECT i, 'model-' || i, i % 10 > 0 FROM generate_series(1, 500) i;
INSERT INTO model_versions SELECT i, i % 500 + 1, '1.' || i FROM generate_series(1, 2000) i;
INSERT INTO deployments SELECT i, i % 2000 + 1, i % 4, CASE WHEN i % 50 = 0 THEN 'active' ELSE 'retired' END, 2,
  now() - i * interval '1 hour', 'ci' FROM generate_series(1, 20000) i;
INSERT INTO training_runs SELECT i, i % 2000 + 1, 'model-' || i % 500, 'churn-exp-' || lpad((i % 400)::text, 3, '0'), 'done',
  (i * 7919 % 1000) / 1000.0, now() - i * interval '10 minutes' FROM generate_series(1, 50000) i;
ANALYZE;
"""


@pytest.fixture(scope="module")
def database(new_database):
    with new_database() as dsn:
        connection = psycopg2.connect(dsn)
        with connection, connection.cursor() as cursor:
            cursor.execute(TABLES)
        connection.close()
        yield dsn


@pytest.fixture(scope="module")
def explain(database):
    """Runs `cairn tune explain`; gives its output, or what it says when it refuses."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CAIRN_") and name != "DATABASE_URL"}

    def run(*arguments, code=0, stdin=None, dsn=database):
        done = subprocess.run([os.environ["CAIRN_BIN"], "tune", "explain", *arguments, "--database-url", dsn], env=environment,
                              input=stdin, text=True, capture_output=True, timeout=120)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.fixture
def reader(database):
    """Connection string of a role that may read the tables of text 002, and do nothing else."""
    name = f"reader_{os.getpid()}"
    connection = psycopg2.connect(database)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(f"CREATE ROLE {name} LOGIN")
    cursor.execute(f"GRANT SELECT ON models, model_versions, deployments, training_runs TO {name}")
    yield psycopg2.extensions.make_dsn(database, user=name)
    cursor.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
    connection.close()


def kinds(answer):
    return [finding["kind"] for finding in answer["findings"]]


def test_R23_the_four_statements_of_the_text(explain):
    """What a person would find in them, the program finds."""
    expected = {DASHBOARD: 'ON "public"."deployments" USING "btree" ("deployed_at")',
                TRAINING_RUNS: 'ON "public"."training_runs" USING "btree" ("experiment_name", "created_at")',
                STATUS_CHECK: 'ON "public"."deployments" USING "btree" ("environment_id", "status")'}
    for statement, index in expected.items():
        answer = json.loads(explain("--analyze", "--json", statement))
        scan = next(f for f in answer["findings"] if f["kind"] == "sequential_scan")
        assert index in scan["mend"]["statements"][0]
        assert 0 < scan["share_percent"] <= 100
        assert sum(node["share_percent"] for node in answer["nodes"]) <= 100.5
    assert "multiplied_rows" in kinds(json.loads(explain("--analyze", "--json", STATISTICS)))


def test_R23_the_plan_as_a_tree(explain):
    shown = explain("--analyze", DASHBOARD)
    assert shown.startswith("Ran in ")
    assert "Seq Scan on deployments d" in shown and "◀ 1" in shown
    assert "CREATE INDEX CONCURRENTLY" in shown
    assert max(map(len, shown.splitlines())) < 250


def test_R23_statements_come_from_files_and_standard_input(explain, tmp_path):
    file = tmp_path / "query.sql"
    file.write_text("-- the dashboard\n" + DASHBOARD + "\n")
    assert "Limit" in explain("--file", str(file))
    assert "Limit" in explain("-", stdin=DASHBOARD)
    assert "cannot read" in explain("--file", str(tmp_path / "none.sql"), code=2)
    assert "--file" in explain(code=2)


def test_R23_a_normalised_statement(explain):
    statement = "SELECT run_id FROM training_runs WHERE experiment_name = $1 AND created_at > now() - interval $2"
    planned = json.loads(explain("--json", statement))
    assert planned["generic_plan"] and not planned["analyzed"]
    untyped = json.loads(explain("--json", "SELECT json_build_object($1, run_id, $2, concat($3, experiment_name)) FROM training_runs WHERE run_id > $4"))
    assert untyped["generic_plan"]
    bound = json.loads(explain("--json", "--analyze", "SELECT run_id FROM training_runs WHERE experiment_name = $1",
                               "--parameters", "churn-exp-002"))
    assert kinds(bound) == ["sequential_scan"]
    assert "--parameters" in explain("--analyze", statement, code=2)


@pytest.mark.parametrize("statement, reason", [
    ("DELETE FROM models", "only SELECT"),
    ("WITH gone AS (DELETE FROM models RETURNING 1) SELECT * FROM gone", "writes"),
    ("SELECT * INTO copied FROM models", "writes"),
    ("SELECT 1; DELETE FROM models", "2 statements"),
    ("SELECT * FROM models FOR UPDATE", "lock rows"),
    ("SELECT nextval('s')", "read-only"),
    ("EXPLAIN SELECT 1", "without EXPLAIN"),
    ("CREATE INDEX ON models (name)", "another kind of statement"),
    ("ANALYZE models", "another kind of statement"),
    ("  ;", "empty"),
])
def test_R23_what_writes_is_refused(explain, database, statement, reason):
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE SEQUENCE IF NOT EXISTS s")
    assert reason in explain("--analyze", statement, code=2)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM models")
        assert cursor.fetchone()[0] == 500
    connection.close()


def test_R23_a_role_that_may_only_read(explain, reader):
    answer = json.loads(explain("--analyze", "--json", DASHBOARD, dsn=reader))
    assert "sequential_scan" in kinds(answer)
    assert "permission denied" in explain("--analyze", "SELECT * FROM secrets", code=6, dsn=reader)
    assert "permission denied" in explain("DELETE FROM secrets", code=6, dsn=reader)
