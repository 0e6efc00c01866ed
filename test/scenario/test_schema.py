"""What the schema itself keeps: states, times, the audit log, and metrics that equal a simple model of them."""
import math
import random

import pytest

psycopg2 = pytest.importorskip("psycopg2")
from psycopg2 import errors  # noqa: E402  after the skip

# Everything in the catalog that a migration makes, without object ids.
CATALOG = """
SELECT 'column', c.oid::regclass::text, a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull
       || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || a.attcompression::text || a.attstorage::text
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
UNION ALL SELECT 'relation', oid::regclass::text, relkind::text || coalesce(reloptions::text, '') FROM pg_class
WHERE relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
UNION ALL SELECT 'constraint', conname, conrelid::regclass::text || pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
UNION ALL SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indexrelid::regclass::text NOT LIKE 'pg\\_%%'
UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'view', oid::regclass::text, pg_get_viewdef(oid) FROM pg_class WHERE relkind = 'v'
    AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
UNION ALL SELECT 'function', oid::regprocedure::text, pg_get_functiondef(oid) FROM pg_proc
WHERE prokind = 'f' AND pronamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
UNION ALL SELECT 'extension', extname, extversion FROM pg_extension
UNION ALL SELECT 'schema', nspname, '' FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
ORDER BY 1, 2, 3
"""


def fetch(db, statement, *values):
    with db.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else None


def test_R14_down_takes_everything_back(new_database, migrate):
    with new_database() as dsn:
        connection = psycopg2.connect(dsn)
        before = fetch(connection, CATALOG)
        migrate(connection, "up")
        first = fetch(connection, CATALOG)
        migrate(connection, "down")
        # Extensions stay: others may use them.
        left = [o for o in set(fetch(connection, CATALOG)) - set(before) if o[0] == "schema"]
        migrate(connection, "up")
        second = fetch(connection, CATALOG)
        connection.close()
    assert left == []
    assert len(first) > 300 and first == second


def test_R02_R03_every_foreign_key_is_indexed(db):
    assert fetch(db, """
        SELECT conrelid::regclass, conname FROM pg_constraint c WHERE contype = 'f' AND NOT EXISTS (
            SELECT FROM pg_index i WHERE i.indrelid = c.conrelid
                AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) ILIKE '%%IS NOT NULL%%')
                AND (string_to_array(i.indkey::text, ' ')::int2[])[1:cardinality(c.conkey)] @> c.conkey)""") == []


RUN = "INSERT INTO tracking.training_runs (run_id) VALUES ('run1')"
MODEL = "INSERT INTO registry.models (model_name) VALUES ('m')"
VERSION = "INSERT INTO registry.model_versions (model_id, version) SELECT model_id, 1 FROM registry.models WHERE model_name = 'm'"
DEPLOYMENT = "INSERT INTO registry.deployments (version_id, environment_id, status) SELECT version_id, 1, 'active' FROM registry.model_versions"


@pytest.mark.parametrize("wrong", [
    "UPDATE tracking.training_runs SET status = 'FINISHED'",
    "UPDATE tracking.training_runs SET lifecycle_stage = 'gone'",
    "UPDATE tracking.training_runs SET metrics = '[]'",
    "UPDATE tracking.training_runs SET start_time = 9223372036854775807",
    "INSERT INTO tracking.training_runs (run_id) VALUES ('-starts-with-a-dash')",
    "INSERT INTO tracking.training_runs (run_id) VALUES ('a' || repeat('b', 256))",
    "INSERT INTO tracking.training_runs (run_id) VALUES ('slash/es')",
    "UPDATE tracking.experiments SET lifecycle_stage = ''",
    "INSERT INTO tracking.logged_models (model_id, experiment_id, name) VALUES ('m-1', 0, 'm')",
    "UPDATE registry.models SET status = 'archived'",
    "UPDATE registry.model_versions SET current_stage = 'production'",
    "UPDATE registry.model_versions SET status = 'ready'",
    "UPDATE registry.deployments SET status = 'gone'",
    "INSERT INTO registry.approvals (version_id, status) SELECT version_id, 'maybe' FROM registry.model_versions",
    "INSERT INTO jobs.jobs (kind, status) VALUES ('train', 'lost')",
    "INSERT INTO jobs.jobs (kind, status) VALUES ('train', 'running')",
])
def test_R02_R03_states_outside_the_lists_are_refused(db, wrong):
    for statement in (RUN, MODEL, VERSION, DEPLOYMENT):
        fetch(db, statement)
    with pytest.raises(errors.CheckViolation):
        fetch(db, wrong)


def test_R02_one_active_deployment_for_a_model_and_environment(db):
    for statement in (MODEL, VERSION, DEPLOYMENT):
        fetch(db, statement)
    with pytest.raises(errors.UniqueViolation):
        fetch(db, DEPLOYMENT)


def test_R02_run_follows_its_version_and_model(db):
    for statement in (RUN, MODEL):
        fetch(db, statement)
    fetch(db, """INSERT INTO registry.model_versions (model_id, version, run_id)
                 SELECT model_id, 1, 'run1' FROM registry.models""")
    fetch(db, "UPDATE registry.models SET model_name = 'renamed'")
    assert fetch(db, "SELECT model_name, version_id IS NOT NULL FROM tracking.training_runs") == [("renamed", True)]
    fetch(db, "DELETE FROM registry.models")
    assert fetch(db, "SELECT version_id FROM tracking.training_runs WHERE run_id = 'run1'") == [(None,)]


def test_R03_run_without_an_experiment_of_that_name_says_what_to_do(db):
    with pytest.raises(errors.ForeignKeyViolation, match="INSERT INTO tracking.experiments"):
        fetch(db, "INSERT INTO tracking.training_runs (experiment_name) VALUES ('nowhere')")


def test_R03_run_takes_the_new_name_of_its_experiment(db):
    fetch(db, "INSERT INTO tracking.experiments (name) VALUES ('before')")
    fetch(db, "INSERT INTO tracking.training_runs (experiment_name) VALUES ('before')")
    fetch(db, "UPDATE tracking.experiments SET name = 'after' WHERE name = 'before'")
    assert fetch(db, "SELECT count(*) FROM tracking.training_runs WHERE experiment_name = 'after'") == [(1,)]


@pytest.mark.parametrize("table, change", [
    ("tracking.experiments", "tags = '{\"a\": \"b\"}'"), ("tracking.training_runs", "run_name = 'new'"),
    ("registry.models", "description = 'new'"), ("registry.model_versions", "description = 'new'"),
    ("registry.deployments", "replicas = 3"), ("registry.environments", "requires_approval = true"),
    ("jobs.jobs", "priority = 1")])
def test_R02_R03_updated_at_moves_with_the_row(database, table, change):
    connection = psycopg2.connect(database)
    connection.autocommit = True
    try:
        for statement in ("INSERT INTO jobs.jobs (kind) VALUES ('train')", RUN, MODEL, VERSION, DEPLOYMENT):
            fetch(connection, statement)
        fetch(connection, f"UPDATE {table} SET {change}")
        assert fetch(connection, f"SELECT count(*) FROM {table} WHERE updated_at <> now() AND updated_at > now() - interval '1 minute'") != [(0,)]
        before = fetch(connection, f"SELECT max(updated_at) FROM {table}")
        fetch(connection, f"UPDATE {table} SET {change}")
        assert fetch(connection, f"SELECT min(updated_at) FROM {table}") > before
    finally:
        fetch(connection, "TRUNCATE tracking.training_runs, registry.models, jobs.jobs CASCADE")
        connection.close()


@pytest.mark.parametrize("change", ["UPDATE audit.events SET actor = 'nobody'", "DELETE FROM audit.events", "TRUNCATE audit.events"])
def test_R02_audit_log_is_append_only(db, change):
    fetch(db, "INSERT INTO audit.events (action, object_type, object_id) VALUES ('create', 'model', 'm')")
    with pytest.raises(errors.InsufficientPrivilege, match="append-only"):
        fetch(db, change)


def rank(point):
    """The order of points that decides which is the latest: NaN counts as 0, and as greater than that 0."""
    step, timestamp, value = point
    nan = math.isnan(value)
    return step, timestamp, 0.0 if nan else value, nan


def same(point):
    return point[0], point[1], "NaN" if math.isnan(point[2]) else point[2] + 0.0


def append(db, points):
    """points: (run, key_id, step, timestamp, value); as the server does it, with the runs' rows locked."""
    columns = [list(column) for column in zip(*points)]
    fetch(db, "SELECT FROM tracking.training_runs WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE", columns[0])
    fetch(db, "SELECT tracking.append_metrics(%s::bigint[], %s::int[], %s::bigint[], %s::bigint[], %s::float8[])", *columns)


def make_runs(db, count):
    return [r[0] for r in fetch(db, "INSERT INTO tracking.training_runs SELECT FROM generate_series(1, %s) RETURNING id", count)]


def make_keys(db, *names):
    fetch(db, "INSERT INTO tracking.keys (name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", list(names))
    return [r[0] for r in fetch(db, "SELECT key_id FROM tracking.keys WHERE name = ANY(%s::text[]) ORDER BY name", list(names))]


@pytest.mark.parametrize("seed", range(12))
def test_R03_metrics_equal_a_simple_model(db, seed):
    random_ = random.Random(seed)
    runs, names = make_runs(db, 3), ["accuracy", "loss", "lr"]
    keys = dict(zip(make_keys(db, *names), names))
    # A small range makes duplicates and ties common; a large one fills chunks.
    steps = random_.choice([3, 20, 400])
    model = {}
    for _ in range(40):
        batch = []
        for _ in range(random_.choice([1, 1, 5, 90, 300])):
            series = random_.choice(runs), random_.choice(list(keys))
            value = random_.choice([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-300, random_.uniform(-1, 1)])
            point = random_.randrange(-2, steps), random_.randrange(5), value
            batch.append((*series, *point))
            model.setdefault(series, []).append(point)
        append(db, batch)
    stored = {}
    for run, key, *point in fetch(db, """SELECT r.id, m.key, m.step, m."timestamp", m.value FROM tracking.metrics m
                                         JOIN tracking.training_runs r USING (run_id)"""):
        stored.setdefault((run, key), []).append(same(point))
    expected = {(run, keys[key]): {same(p) for p in points} for (run, key), points in model.items()}
    assert {series: set(points) for series, points in stored.items()} == expected
    assert all(len(points) == len(set(points)) for points in stored.values())  # the view shows each point once
    latest = {(run, keys[key]): same(max(points, key=rank))[2] for (run, key), points in model.items()}
    documents = {(run, key): float(value) for run, key, value in fetch(
        db, "SELECT id, d.key, d.value FROM tracking.training_runs, jsonb_each_text(metrics) d WHERE id = ANY(%s)", runs)}
    assert {s: "NaN" if math.isnan(v) else v for s, v in documents.items()} == latest
    assert fetch(db, "SELECT * FROM tracking.check_consistency()") == []
    if sum(map(len, model.values())) > 1000:
        assert fetch(db, "SELECT count(*) > 0 FROM tracking.metric_chunks WHERE run = ANY(%s)", runs) == [(True,)]


def test_R03_doubles_come_back_exactly(db):
    values = [0.1, 1e-7, 5e-324, 1.7976931348623157e308, 2 / 3, 123456789.123456789, -1e22]
    run, key = make_runs(db, 1)[0], make_keys(db, "exact")[0]
    for step, value in enumerate(values):
        append(db, [(run, key, step, 0, value)])
        assert fetch(db, "SELECT (metrics ->> 'exact')::float8 FROM tracking.training_runs WHERE id = %s", run) == [(value,)]
    assert [v for v, in fetch(db, "SELECT value FROM tracking.metrics WHERE key = 'exact' ORDER BY step")] == values


@pytest.mark.parametrize("tampering, problem", [
    ("UPDATE tracking.training_runs SET accuracy = 0.99", "accuracy"),
    ("UPDATE tracking.training_runs SET metrics = metrics || '{\"loss\": 0}'", "metrics.loss"),
    ("UPDATE tracking.training_runs SET metrics = metrics - 'loss'", "metrics.loss"),
    ("UPDATE tracking.training_runs SET hyperparameters = '{\"lr\": \"2\"}'", "hyperparameters.lr"),
    ("DELETE FROM tracking.params", "hyperparameters.lr"),
    ("DELETE FROM tracking.metric_series", "metrics."),
    ("UPDATE tracking.metric_series SET tail_steps = '{99}', tail_timestamps = '{0}', tail_values = '{0}'", "greater than its last"),
    ("UPDATE tracking.metric_chunks SET max_timestamp = min_timestamp - 1", "timestamp bounds"),
    ("UPDATE tracking.experiments SET name = 'other'", "experiment_name"),
])
def test_R03_check_consistency_finds_tampering(db, tampering, problem):
    fetch(db, "INSERT INTO tracking.training_runs (accuracy, metrics, hyperparameters) VALUES (0.5, '{\"loss\": 2}', '{\"lr\": \"1\"}')")
    run = fetch(db, "SELECT max(id) FROM tracking.training_runs")[0][0]
    append(db, [(run, make_keys(db, "loss")[0], -step, step, 1.0) for step in range(1, 200)])
    assert fetch(db, "SELECT * FROM tracking.check_consistency()") == []
    fetch(db, "SET LOCAL session_replication_role = replica")  # triggers off, as a careless hand might
    fetch(db, tampering)
    assert any(problem in found for _, found in fetch(db, "SELECT * FROM tracking.check_consistency()"))


def test_R03_deleting_a_run_leaves_nothing_behind(db):
    run = make_runs(db, 1)[0]
    append(db, [(run, make_keys(db, "loss")[0], step, step, 1.0) for step in range(200)])
    fetch(db, "DELETE FROM tracking.training_runs WHERE id = %s", run)
    assert fetch(db, "SELECT (SELECT count(*) FROM tracking.metric_series), (SELECT count(*) FROM tracking.metric_chunks)") == [(0, 0)]
