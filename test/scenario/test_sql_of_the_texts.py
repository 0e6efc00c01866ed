"""Runs every SQL block of the three requirement texts against Cairn's tables (docs/reference/sql-of-the-texts.md).

A block is a file in sql_of_the_texts/ whose second line says: as is | corrected: why | later: part | not SQL: what.
CREATE TABLE statements of the first stage are not run over Cairn's tables but beside them, and the columns compared.
"""
import csv
import io
import pathlib
import re
import shutil
import subprocess

import pytest

psycopg2 = pytest.importorskip("psycopg2")

FOLDER = pathlib.Path(__file__).parent / "sql_of_the_texts"
DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "sql-of-the-texts.md"
SEARCH_PATH = {"000": "text000,public", "001": "text001,public", "002": "registry,tracking,text002,public"}
BLOCKS = {file.stem: file for file in sorted(FOLDER.glob("*.sql"))}
# The parts of the product that come later, and the blocks that wait for them.
LATER = {
    "feature store": ["000_03_feature_vectors", "000_11_feature_store", "000_12_feature_retrieval"],
    "vectors and documents": [
        "001_01_pgvector", "001_02_nearest", "001_03_ivfflat", "001_04_hnsw", "001_05_documents",
        "001_06_vector_documents", "001_07_ivfflat_lists", "001_08_hnsw_parameters", "001_10_analyze_documents",
        "001_11_ivfflat_trained", "001_13_index_not_used", "001_14_bulk_load"],
}
NOT_SQL = ["000_13_pgbouncer", "001_09_index_rules"]
RUN = sorted(set(BLOCKS) - {block for blocks in LATER.values() for block in blocks} - set(NOT_SQL))
# Compared with the catalog instead of run: text 000's own tables, which are views here.
CREATE_TABLE = re.compile(r"^CREATE TABLE (models|experiments|model_metrics) \(.*?^\);", re.S | re.M)

SEED = """
INSERT INTO tracking.experiments (name) VALUES ('fraud-exp-001'), ('churn-exp-002'), ('recommender-exp-003'), ('exp-001');
INSERT INTO registry.models (model_name, status, metadata) VALUES
    ('fraud-detection', 'production', '{"metrics": {"accuracy": 0.95}, "training_config": {"epochs": 20},
        "description": "image classification of cheques", "tags": ["computer_vision"]}'),
    ('churn', 'staging', '{"metrics": {"accuracy": 0.81}, "training_config": {"epochs": 5}, "tags": ["nlp"]}'),
    ('never-registered', 'draft', '{}');
INSERT INTO registry.model_versions (model_id, version, semver, metadata_)
SELECT model_id, v, '1.' || v || '.0', '{"framework": "pytorch"}' FROM registry.models, generate_series(1, 3) v
WHERE model_name <> 'never-registered';
INSERT INTO registry.deployments (version_id, environment_id, status, deployed_at, deployed_by)
SELECT version_id, 1, CASE WHEN version = 3 THEN 'active' ELSE 'inactive' END, now() - version * interval '1 day', 'ci'
FROM registry.model_versions;
INSERT INTO registry.approvals (version_id, status, approved_by, approved_at)
SELECT version_id, 'approved', 'lead', now() FROM registry.model_versions;
INSERT INTO tracking.training_runs (model_name, version_id, experiment_name, status, accuracy, start_time, created_at, hyperparameters)
SELECT 'fraud-detection', version_id, 'fraud-exp-001', 'succeeded', 0.9 + i * 0.001,
       1700000000000 + i * 60000, now() - i * interval '1 hour', '{"lr": 0.1}'
FROM generate_series(1, 30) i, registry.model_versions v JOIN registry.models USING (model_id)
WHERE model_name = 'fraud-detection' AND version = 2;
INSERT INTO tracking.training_runs (model_name, experiment_name, status, created_at)
VALUES ('churn', 'exp-001', 'failed', '2024-01-15 11:00:00');
INSERT INTO tracking.keys (name) VALUES ('loss') ON CONFLICT DO NOTHING;
SELECT tracking.append_metrics(array_agg(r.id), array_agg(k.key_id), array_agg(0::bigint), array_agg(r.start_time),
                               array_agg(1.0::float8 / r.id))
FROM tracking.training_runs r, tracking.keys k WHERE k.name = 'loss';
ANALYZE;
"""


def status(name):
    return BLOCKS[name].read_text().splitlines()[1].removeprefix("-- ")


@pytest.fixture(scope="module")
def seeded(database):
    connection = psycopg2.connect(database)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(SEED)
    yield database
    # What these blocks change outside their database.
    cursor.execute("ALTER SYSTEM RESET log_min_duration_statement")
    cursor.execute("SELECT pg_reload_conf(), count(*) FROM pg_roles WHERE rolname = 'app_readonly'")
    if cursor.fetchone()[1]:
        cursor.execute("DROP OWNED BY app_readonly; DROP ROLE app_readonly")
    connection.close()


def run_psql(database, name, sql):
    psql = shutil.which("psql") or max(map(str, pathlib.Path("/usr/lib/postgresql").glob("*/bin/psql")))
    result = subprocess.run(
        [psql, "-X", "-q", "--csv", "-v", "ON_ERROR_STOP=1", "-d", f"{database} options=-csearch_path={SEARCH_PATH[name[:3]]}"],
        input=sql, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def rows(output):
    """The rows of the first result set that psql wrote."""
    return list(csv.DictReader(io.StringIO(output)))


@pytest.fixture(scope="module")
def as_written(seeded):
    """The schema as_written: the tables of text 000 made as the text has them."""
    statements = [m[0] for name in RUN for m in CREATE_TABLE.finditer(BLOCKS[name].read_text())]
    connection = psycopg2.connect(seeded)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA as_written; SET search_path = as_written, public")
        for statement in statements:
            cursor.execute(statement)
    yield connection
    connection.close()


def test_every_block_is_run_or_named():
    for part, names in LATER.items():
        assert [n for n in BLOCKS if status(n).startswith(f"later: {part}")] == names
    assert [n for n in BLOCKS if status(n).startswith("not SQL")] == NOT_SQL
    assert all(status(n) == "as is" or status(n).startswith("corrected: ") for n in RUN)


def test_document_lists_every_correction_and_what_comes_later():
    document = DOCUMENT.read_text()
    for name in BLOCKS:
        if status(name) != "as is":
            assert f"| {name} | {status(name).partition(': ')[2]}" in document, name


@pytest.mark.parametrize("table", ["models", "experiments", "model_metrics"])
def test_R02_R03_columns_of_text_000(as_written, table):
    with as_written.cursor() as cursor:
        cursor.execute("""
            SELECT w.column_name, w.udt_name, c.udt_name FROM information_schema.columns w
            LEFT JOIN information_schema.columns c ON c.table_schema = 'text000' AND c.table_name = w.table_name
                AND c.column_name = w.column_name
            WHERE w.table_schema = 'as_written' AND w.table_name = %s""", (table,))
        columns = cursor.fetchall()
    assert columns
    assert [c for c in columns if c[1] != c[2]] == []


EXPECT = {
    "000_05_jsonb_queries": lambda found: any(r["name"] == "fraud-detection" and r["accuracy"] == "0.95" for r in found),
    "002_02_top_statements": lambda found: len(found) == 10,
    "002_04_dashboard": lambda found: len(found) == 6 and found[0]["semver"] == "1.1.0",
    "002_05_runs_of_experiment": lambda found: len(found) == 20 and float(found[0]["accuracy"]) == pytest.approx(0.93),
    "002_06_model_statistics": lambda found: [r["training_runs"] for r in found if r["model_name"] == "fraud-detection"] == ["30"],
    "002_07_active_deployments": lambda found: {r["semver"] for r in found} == {"1.3.0"} and len(found) == 2,
    "002_12_selectivity": lambda found: found[0]["column_name"] == "deployed_at" and found[0]["total_rows"] == "6",
    "002_21_or_union": lambda found: len(found) == 31,
    "002_22_not_in": lambda found: "never-registered" in [r["model_name"] for r in found],
    "002_23_anti_join": lambda found: "never-registered" in [r["model_name"] for r in found],
    "002_26_function_on_column": lambda found: [r["model_name"] for r in found] == ["churn"],
    "002_27_range": lambda found: [r["model_name"] for r in found] == ["churn"],
    "002_39_challenge_1": lambda found: {r["total_deployments"] for r in found} == {"3"},
    "002_42_workload_model_statistics": lambda found: len(found) >= 3,
}


@pytest.mark.parametrize("name", RUN)
def test_R02_R03_R06_block(seeded, name):
    sql = CREATE_TABLE.sub("", BLOCKS[name].read_text())
    output = run_psql(seeded, name, sql)
    if name in EXPECT:
        assert EXPECT[name](rows(output)), output


def query(database, statement):
    connection = psycopg2.connect(database)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()
    finally:
        connection.close()


def test_R06_moving_average_over_the_last_ten_points(seeded):
    output = run_psql(seeded, "000", CREATE_TABLE.sub("", BLOCKS["000_06_windows"].read_text()))
    found = rows(output)
    accuracies = [float(r["accuracy"]) for r in found]
    assert len(found) == 30
    assert float(found[-1]["accuracy_ma_10"]) == pytest.approx(sum(accuracies[-10:]) / 10)


def test_R03_text_000_experiment_is_a_run_with_params_and_metrics(seeded):
    run_psql(seeded, "000", """
        INSERT INTO experiments (model_id, parameters, results)
        SELECT id, '"learning_rate"=>"0.001"', '"accuracy"=>"0.777", "loss"=>"0.111"' FROM models WHERE name = 'churn'""")
    assert query(seeded, "SELECT count(*) FROM tracking.metrics WHERE value IN (0.777, 0.111)") == [(2,)]
    assert query(seeded, "SELECT accuracy, hyperparameters FROM tracking.training_runs WHERE accuracy = 0.777") == [
        (0.777, {"learning_rate": "0.001"})]


def test_R02_every_block_leaves_the_tables_consistent(seeded):
    assert query(seeded, "SELECT * FROM tracking.check_consistency()") == []
