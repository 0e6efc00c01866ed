"""R20: readers and writers, refusals in the audit, a certificate renewed without a restart, the database's read-only role."""
import hashlib
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time

import pytest
import requests
from servers import Server, free_port, start_cairn

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="access is Cairn's own")
psycopg2 = pytest.importorskip("psycopg2")

PATIENCE_SECONDS = 60


def eventually(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("it did not come true in time")


def certificate(folder, serial):
    """A certificate of its own for this machine, and its key."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-set_serial", str(serial),
                    "-keyout", folder / f"key{serial}.pem", "-out", folder / f"cert{serial}.pem"], check=True, capture_output=True)
    return folder / f"cert{serial}.pem", folder / f"key{serial}.pem"


@pytest.fixture(scope="module")
def guarded():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-access-"))
    folder.chmod(0o755)  # the embedded PostgreSQL runs as another user
    entries = [("rita", "of rita", 'role = "reader"'), ("will", "of will", 'role = "writer"'), ("old", "of old", "")]
    (folder / "credentials.toml").write_text("".join(
        f'[[tokens]]\nname = "{name}"\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n{role}\n' for name, token, role in entries))
    for file, source in zip(("cert.pem", "key.pem"), certificate(folder, 1)):
        shutil.copy(source, folder / file)
    port = free_port()
    running = Server([os.environ["CAIRN_BIN"], "serve", "--data-dir", str(folder / "data"), "--port", str(port), "--credentials",
                      str(folder / "credentials.toml"), "--tls-certificate", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")],
                     port, folder / "server.log")
    running.url, running.port, running.folder = f"https://127.0.0.1:{port}", port, folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(folder / "cert1.pem"))
        running.wait()
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def call(server, token, method, path, **arguments):
    return requests.request(method, server.url + path, verify=False, timeout=60,
                            headers={"Authorization": f"Bearer {token}"} if token else {}, **arguments)


def direct(server, sql, user="postgres"):
    connection = psycopg2.connect(host=str(server.folder / "data" / "run"), user=user, dbname="cairn")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


API = "/api/2.0/mlflow/"
pytestmark = [pytestmark, pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")]


def test_R20_a_reader_looks_and_searches_and_changes_nothing(guarded):
    made = call(guarded, "of will", "POST", API + "experiments/create", json={"name": "mine"})
    assert made.ok, made.text
    experiment = made.json()["experiment_id"]
    assert call(guarded, "of old", "POST", API + "runs/create", json={"experiment_id": experiment}).ok
    for method, path, arguments in (("GET", API + "experiments/get", {"params": {"experiment_id": experiment}}),
                                    ("POST", API + "runs/search", {"json": {"experiment_ids": [experiment]}}),
                                    ("POST", API + "experiments/search", {"json": {"max_results": 5}}),
                                    ("GET", "/api/v1/collections", {})):
        assert call(guarded, "of rita", method, path, **arguments).ok, path
    before = direct(guarded, "SELECT (SELECT count(*) FROM tracking.experiments), (SELECT count(*) FROM registry.models)")
    for method, path in (("POST", API + "experiments/create"), ("POST", API + "experiments/delete"), ("POST", API + "runs/create"),
                         ("POST", API + "registered-models/create"), ("DELETE", API + "registered-models/delete"),
                         ("PATCH", API + "registered-models/update"), ("POST", "/api/v1/collections"), ("POST", "/api/v1/jobs"),
                         ("PUT", "/api/2.0/mlflow-artifacts/artifacts/x"), ("POST", "/api/v1/features/apply")):
        refused = call(guarded, "of rita", method, path, json={"name": "not mine", "experiment_id": experiment})
        assert refused.status_code == 403 and refused.json()["error_code"] == "PERMISSION_DENIED", (path, refused.text)
    assert direct(guarded, "SELECT (SELECT count(*) FROM tracking.experiments), (SELECT count(*) FROM registry.models)") == before


def test_R20_every_refusal_is_in_the_audit(guarded):
    def refusals(actor):
        return dict(direct(guarded, "SELECT object_id, sum((details->>'count')::int)::int FROM audit.events"
                                    f" WHERE action = 'refuse' AND actor = '{actor}' GROUP BY 1"))
    known, nobody = refusals("rita"), refusals("(nobody known)")
    for _ in range(3):
        assert call(guarded, "of rita", "POST", API + "runs/delete", json={"run_id": "x"}).status_code == 403
    for token in ("wrong", None):
        assert call(guarded, token, "GET", API + "experiments/search").status_code == 401
    assert call(guarded, "wrong", "GET", "/nothing/here").status_code == 401
    eventually(lambda: refusals("rita").get(API + "runs/delete", 0) == known.get(API + "runs/delete", 0) + 3)
    eventually(lambda: refusals("(nobody known)").get(API + "experiments/search", 0) == nobody.get(API + "experiments/search", 0) + 2)
    eventually(lambda: refusals("(nobody known)").get("(no route)", 0) == nobody.get("(no route)", 0) + 1)


def serial(server):
    """Of the certificate that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain, context.wrap_socket(plain) as tls:
        text = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-serial"], input=tls.getpeercert(True), capture_output=True, check=True).stdout
    return int(text.decode().strip().partition("=")[2], 16)


def test_R20_a_renewed_certificate_is_taken_without_a_restart(guarded):
    assert serial(guarded) == 1
    with requests.Session() as session:  # that stays open over it
        session.headers["Authorization"] = "Bearer of will"
        session.trust_env, session.verify = False, str(guarded.folder / "cert1.pem")
        assert session.get(guarded.url + "/version", timeout=30).ok
        second, key = certificate(guarded.folder, 2)
        shutil.copy(second, guarded.folder / "cert.pem")  # for a moment the key is another's
        eventually(lambda: "cannot be used" in (guarded.folder / "server.log").read_text())
        assert serial(guarded) == 1
        shutil.copy(key, guarded.folder / "key.pem")
        eventually(lambda: serial(guarded) == 2)
        assert session.get(guarded.url + "/version", timeout=30).ok


def test_R20_the_databases_reader_reads_everything_and_writes_nothing(guarded):
    direct(guarded, "CREATE ROLE looker LOGIN IN ROLE cairn_reader")
    # What it may, by the catalog: on all tables, views, sequences and schemas that are not PostgreSQL's.
    assert direct(guarded, """
        SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND relkind IN ('r', 'p', 'v', 'm')
        AND (has_table_privilege('looker', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
             OR (nspname NOT IN ('public', 'cairn') AND NOT has_table_privilege('looker', c.oid, 'SELECT')))""") == [("access.users",)]
    assert direct(guarded, "SET ROLE looker; SELECT count(*) >= 0 FROM access.users WHERE username <> '' AND role <> ''") == [(True,)]
    assert direct(guarded, "SELECT nspname FROM pg_namespace WHERE has_schema_privilege('looker', oid, 'CREATE')") == []
    assert direct(guarded, "SELECT has_database_privilege('looker', 'cairn', 'TEMPORARY'), has_database_privilege('looker', 'cairn', 'CREATE')") == [(False, False)]
    # And by trying.
    assert direct(guarded, "SET ROLE looker; SELECT count(*) >= 0 FROM tracking.training_runs") == [(True,)]
    for sql in ("SELECT password_hash FROM access.users", "INSERT INTO tracking.experiments (name) VALUES ('x')", "UPDATE registry.models SET description = ''", "DELETE FROM audit.events",
                "TRUNCATE jobs.jobs", "CREATE TABLE public.x (x int)", "CREATE TEMP TABLE x (x int)", "DROP TABLE tracking.training_runs",
                "SELECT tracking.append_metrics(ARRAY[1::bigint], ARRAY[1], ARRAY[1::bigint], ARRAY[1::bigint], ARRAY[1::float8])"):
        with pytest.raises(psycopg2.Error) as refused:
            direct(guarded, "SET ROLE looker; " + sql)
        assert refused.value.pgcode == "42501", (sql, refused.value)


def test_R20_the_databases_writer_changes_rows_and_nothing_else(guarded):
    direct(guarded, "CREATE ROLE scribe LOGIN IN ROLE cairn_writer")
    rows = ("tracking", "registry", "features", "search")
    assert direct(guarded, f"""
        SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND relkind IN ('r', 'p', 'v', 'm')
        AND (has_table_privilege('scribe', c.oid, 'TRUNCATE, REFERENCES, TRIGGER')
             OR has_table_privilege('scribe', c.oid, 'INSERT') <> (nspname IN {rows})
             OR has_table_privilege('scribe', c.oid, 'UPDATE') <> (nspname IN {rows})
             OR has_table_privilege('scribe', c.oid, 'DELETE') <> (nspname IN {rows}))""") == []
    assert direct(guarded, "SELECT nspname FROM pg_namespace WHERE has_schema_privilege('scribe', oid, 'CREATE')") == []
    # And by trying: triggers included, and on a table that was made later.
    assert direct(guarded, """
        SET ROLE scribe;
        INSERT INTO tracking.experiments (name) VALUES ('of scribe');
        INSERT INTO tracking.training_runs (experiment_name, metrics, hyperparameters) VALUES ('of scribe', '{"accuracy": 0.5}', '{"a": "b"}');
        INSERT INTO registry.models (model_name) VALUES ('of scribe');
        UPDATE registry.models SET model_name = 'renamed' WHERE model_name = 'of scribe';
        DELETE FROM registry.models WHERE model_name = 'renamed';
        UPDATE tracking.training_runs SET run_name = 'x' WHERE experiment_name = 'of scribe';
        SELECT count(*)::int FROM tracking.metrics JOIN tracking.training_runs USING (run_id) WHERE experiment_name = 'of scribe'""") == [(1,)]
    assert call(guarded, "of will", "POST", "/api/v1/collections", json={"name": "later"}).ok
    assert direct(guarded, """SELECT bool_and(has_table_privilege('scribe', c.oid, 'INSERT')) FROM pg_class c
                              WHERE relname ~ '^chunks_' AND relkind = 'r'""") == [(True,)]
    for sql in ("SELECT password_hash FROM access.users", "UPDATE access.users SET role = 'admin'", "INSERT INTO access.permissions VALUES (1, 'collection', 'x', 'READ')",
                "UPDATE access.changes SET number = 1", "INSERT INTO audit.events (action, object_type, object_id) VALUES ('a', 'b', 'c')",
                "DELETE FROM jobs.jobs", "DELETE FROM cairn.migrations", "TRUNCATE tracking.tags", "DROP TABLE tracking.tags", "ALTER TABLE tracking.tags ADD x int",
                "CREATE TABLE public.x (x int)", "CREATE TEMP TABLE x (x int)", "CREATE INDEX ON tracking.tags (value)", "CREATE FUNCTION tracking.x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                "COPY tracking.tags TO PROGRAM 'cat'"):
        with pytest.raises(psycopg2.Error) as refused:
            direct(guarded, "SET ROLE scribe; " + sql)
        assert refused.value.pgcode == "42501", (sql, refused.value)


def test_R20_every_change_is_in_the_audit_and_many_are_one_row(guarded):
    def changes(**details):
        where = "".join(f" AND details->>'{name}' = '{value}'" for name, value in details.items())
        return direct(guarded, "SELECT actor, object_type, object_id, sum((details->>'count')::int)::int, count(*)::int FROM audit.events"
                               f" WHERE action = 'change'{where} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3")
    experiment = call(guarded, "of will", "POST", API + "experiments/create", json={"name": "audited"}).json()["experiment_id"]
    run = call(guarded, "of old", "POST", API + "runs/create", json={"experiment_id": experiment}).json()["run"]["info"]["run_id"]
    with requests.Session() as session:
        session.headers["Authorization"], session.verify, session.trust_env = "Bearer of will", False, False
        for step in range(200):
            assert session.post(guarded.url + API + "runs/log-metric", json={"run_id": run, "key": "m", "value": 1, "timestamp": 1, "step": step}, timeout=60).ok
    assert call(guarded, "of will", "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/x", data=b"x").ok
    assert call(guarded, "of will", "POST", "/api/v1/collections", json={"name": "audited"}).ok
    eventually(lambda: ("will", "experiment", experiment, 1, 1) in changes(route=API + "experiments/create"))
    eventually(lambda: ("old", "experiment", experiment, 1, 1) in changes(route=API + "runs/create"))
    eventually(lambda: ("will", "artifact", f"{experiment}/{run}/artifacts/x", 1, 1) in changes(method="PUT"))
    eventually(lambda: ("will", "collection", "audited", 1, 1) in changes(route="/api/v1/collections"))
    metrics = lambda: [row for row in changes(route=API + "runs/log-metric") if row[2] == run]
    ((*_, rows),) = eventually(lambda: [row for row in metrics() if row[:4] == ("will", "run", run, 200)])
    assert rows < 100
    # What fails changes nothing; what only asks neither; and the registry has its own row, that says more.
    before = direct(guarded, "SELECT count(*) FROM audit.events")
    assert call(guarded, "of will", "POST", API + "runs/update", json={"run_id": "nothing"}).status_code == 404
    assert call(guarded, "of will", "POST", API + "runs/search", json={"experiment_ids": [experiment]}).ok
    assert call(guarded, "of will", "POST", API + "registered-models/create", json={"name": "audited"}).ok
    assert call(guarded, "of will", "POST", API + "experiments/create", json={"name": "last"}).ok
    eventually(lambda: direct(guarded, "SELECT count(*) FROM audit.events")[0][0] == before[0][0] + 2)


def test_R20_a_caller_that_asks_too_much_is_told_when_to_come_again():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-rate-"))
    folder.chmod(0o755)
    (folder / "credentials.toml").write_text("".join(
        f'[[tokens]]\nname = "{name}"\nsha256 = "{hashlib.sha256(f"of {name}".encode()).hexdigest()}"\n' for name in ("fast", "slow")))
    running = start_cairn(folder, "--credentials", str(folder / "credentials.toml"), "--rate-limit", "0.5")
    try:
        def ask(token, path="/api/v1/openapi.json"):
            return requests.get(running.url + path, headers={"Authorization": f"Bearer of {token}"}, timeout=60)
        assert ask("fast").ok
        answer = ask("fast")
        assert answer.status_code == 429 and answer.json()["error_code"] == "REQUEST_LIMIT_EXCEEDED", answer.text
        assert 1 <= int(answer.headers["Retry-After"]) <= 2
        assert ask("slow").ok  # who asks seldom is not kept waiting
        for path in ("/health", "/version", "/metrics"):
            assert all(ask("fast", path).ok for _ in range(5)), path
        running.folder = folder
        eventually(lambda: direct(running, "SELECT count(*) FROM audit.events WHERE actor = 'fast' AND action = 'refuse' AND details->>'status' = '429'")[0][0] > 0)
        eventually(lambda: ask("fast").ok)
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)
