"""What is done about the database through HTTP: sessions ended, advice proved, applied, verified and undone, and what the server tells of it by events."""
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import pytest
import requests
from servers import Api, start_cairn

psycopg2 = pytest.importorskip("psycopg2")
from psycopg2.extensions import make_dsn  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import page_data  # noqa: E402
import tune_apply  # noqa: E402

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own routes")
PATIENCE_SECONDS = 90
ADVICE = "20261122T000001.000Z"


def eventually(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("it did not come true in time")


class Own:
    """A server of this file's own, with a table that its role owns and an advice for it; on its own PostgreSQL, or with a database of another."""

    def __init__(self, folder, dsn=None, role="cairn"):
        self.folder = folder
        environment = {"CAIRN_BACKUP_DIR": str(folder / "backups"), "XDG_STATE_HOME": str(folder / "state")}
        given = ("--database-url", make_dsn(dsn, user=role)) if dsn else ()
        self.server = start_cairn(folder, *given, *(("--migrate",) if dsn else ()), environment=environment)
        try:
            self.fill(dsn, role, given, environment)
        except BaseException:
            self.server.stop()
            raise

    def fill(self, dsn, role, given, environment):
        folder = self.folder
        self.data_dir = pathlib.Path(self.server.data_dir)
        self.state = self.data_dir / "tuner"
        if dsn:  # a folder for each database
            subprocess.run([os.environ["CAIRN_BIN"], "tune", "profile", "--save", *given], env={**os.environ, **environment}, capture_output=True, check=True, timeout=60)
            (self.state,) = (folder / "state/cairn/tuner").iterdir()
        self.api = Api(self.server.url)
        self.dsn = dsn or page_data.embedded_dsn(self.data_dir)
        self.sql("SET search_path = public; " + tune_apply.SCHEMA, user=role)
        self.advise(ADVICE, tune_apply.index("runs", "experiment"))

    def sql(self, text, values=None, **options):
        with contextlib.closing(psycopg2.connect(make_dsn(self.dsn, **options))) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def advise(self, name, *changes):
        statement = "SELECT count(*) FROM public.runs WHERE experiment = 'exp-7'"
        database = self.sql("SELECT current_database()")[0][0]
        tune_apply.write_advice(self.state, name, database, changes, [(statement, [1])])

    def cairn(self, *arguments):
        if arguments[0] == "backup":
            arguments = [*arguments, "--backup-dir", self.folder / "backups"]
        done = subprocess.run([os.environ["CAIRN_BIN"], *arguments, "--data-dir", self.data_dir], cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def begin(self, kind, name=ADVICE, **body):
        return self.api.call("POST", f"/api/v1/database/advice/{name}/{kind}", body)

    def refused(self, status, kind, name=ADVICE, **body):
        answer = self.begin(kind, name, **body)
        assert answer.status_code == status, answer.text
        return answer.json()["message"]

    def action(self):
        return self.api.get("/api/v1/database/action")["action"]

    def run(self, kind, **body):
        """To its end."""
        begun = self.begin(kind, **body)
        assert begun.status_code == 200, begun.text
        assert begun.json()["action"]["state"] == "running"
        return eventually(lambda: (action := self.action())["state"] != "running" and action)

    def children(self):
        """Command lines of the tuner's processes."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if " tune " in line and str(self.data_dir) in line:
                    found.append(line)
        return found


@pytest.fixture(scope="module")
def own():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-actions-"))
    folder.chmod(0o755)  # the embedded PostgreSQL runs as another user
    made = Own(folder)
    yield made
    made.server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_partitions_are_told_as_the_command_tells_them(own):
    shown = own.api.get("/api/v1/database/partitions")
    assert shown["status"] == {"conversions": [], "tables": []} and shown["due"] == {"tables": []}
    own.sql("CREATE TABLE public.events (id bigserial, at timestamptz NOT NULL, PRIMARY KEY (id, at)); INSERT INTO public.events (at) SELECT now() - i * interval '1 day' FROM generate_series(1, 90) i",
            user="cairn")
    own.cairn("partitions", "convert", "public.events", "--column", "at")
    newest = own.sql("SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'public.events'::regclass AND inhrelid <> 'public.events_default'::regclass")[0][0]
    own.sql(f"DROP TABLE {newest}")
    shown = own.api.get("/api/v1/database/partitions")
    assert shown["status"] == json.loads(own.cairn("partitions", "status", "--json"))
    (table,), (due,) = shown["status"]["tables"], shown["due"]["tables"]
    assert table["table"] == due["table"] == "public.events" and len(table["partitions"]) >= 4
    assert due["dry_run"] and len(due["made"]) >= 1


def test_replicas_backups_and_the_pool_are_told_as_the_commands_tell_them(own):
    assert own.api.get("/api/v1/database/replicas") == {"replicas": []}
    assert own.api.get("/api/v1/database/backups")["list"] == {"directory": str(own.folder / "backups"), "backups": []}
    assert own.api.get("/api/v1/database/pool") == {"running": False}
    own.cairn("backup", "create")
    shown = own.api.get("/api/v1/database/backups")
    assert shown["list"] == json.loads(own.cairn("backup", "list", "--json"))
    (backup,) = shown["list"]["backups"]
    assert "verified_at" not in backup and shown["archive"]["segments"] > 0 and not shown["archive"]["fails"]
    own.cairn("replica", "add", "near")
    (replica,) = own.api.get("/api/v1/database/replicas")["replicas"]
    assert replica["name"] == "near" and replica["state"] == "streaming" and replica["lag_bytes"] >= 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own.cairn("pool", "start", "--listen-port", str(port))
    try:
        pool = own.api.get("/api/v1/database/pool")
        assert pool["running"] and pool["settings"]["listen_port"] == str(port)
    finally:
        own.cairn("pool", "stop")
        own.cairn("replica", "remove", "near")


@pytest.fixture
def victim(own):
    own.sql("CREATE ROLE ann LOGIN PASSWORD 'of ann'; GRANT CONNECT ON DATABASE cairn TO ann")
    connection = psycopg2.connect(make_dsn(own.dsn, user="ann", password="of ann", application_name="victim"))
    connection.cursor().execute("SELECT 1")
    yield connection
    connection.close()
    own.sql("REVOKE ALL ON DATABASE cairn FROM ann; DROP ROLE ann")


def test_a_session_is_ended_and_who_did_it_is_in_the_audit(own, victim):
    pid = victim.info.backend_pid
    (session,) = [one for one in own.api.get("/api/v1/database/activity")["sessions"] if one["pid"] == pid]
    another = own.api.call("POST", f"/api/v1/database/sessions/{pid}/terminate", {"began_at": session["began_at"] - 1})
    assert another.status_code == 409 and "another one has its number" in another.json()["message"]
    ended = own.api.post(f"/api/v1/database/sessions/{pid}/terminate", {"began_at": session["began_at"]})
    assert ended["done"] and ended["written_to"] == "audit.events" and ended["processes"][0]["ended"]
    with pytest.raises(psycopg2.OperationalError):
        victim.cursor().execute("SELECT 1")
    action, object_id, request_id = own.sql("SELECT action, object_id, request_id FROM audit.events ORDER BY event_id DESC LIMIT 1")[0]
    assert (action, object_id) == ("terminate_backend", str(pid)) and request_id
    gone = own.api.call("POST", f"/api/v1/database/sessions/{pid}/terminate", {})
    assert gone.status_code == 404 and "there is no process" in gone.json()["message"]
    assert own.api.call("POST", "/api/v1/database/sessions/x/cancel", {}).status_code == 400


def test_a_superusers_session_is_refused_by_postgresql(own):
    with contextlib.closing(psycopg2.connect(own.dsn)) as connection:
        (process,) = own.api.post(f"/api/v1/database/sessions/{connection.info.backend_pid}/terminate", {})["processes"]
        assert "error" in process and not process["ended"]
        connection.cursor().execute("SELECT 1")


def test_advice_is_proved_applied_verified_and_undone(own):
    all_of_it(own)


def test_advice_for_a_database_that_is_given(new_database):
    """Whose owner is no superuser, but may copy the server."""
    role = f"owner_{os.getpid()}"
    with new_database() as dsn, contextlib.ExitStack() as stack:
        connection = stack.enter_context(contextlib.closing(psycopg2.connect(dsn)))
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(f"CREATE EXTENSION pg_stat_statements; CREATE ROLE {role} LOGIN REPLICATION; ALTER SCHEMA public OWNER TO {role}")
        cursor.execute(f"SELECT format('ALTER DATABASE %I OWNER TO {role}', current_database())")
        cursor.execute(cursor.fetchone()[0])
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cairn-actions-")))
        folder.chmod(0o755)
        own = Own(folder, dsn, role)
        stack.callback(own.server.stop)
        all_of_it(own)


def all_of_it(own):
    proved = own.run("prove")
    assert (proved["state"], "report" in proved) == ("done", False), proved["progress"]
    (entry,) = [one for one in own.api.get("/api/v1/database/advice")["advice"] if one["advice"]["id"] == ADVICE]
    (verdict,) = entry["proof"]["changes"]
    assert verdict["verdict"] == "kept", entry["proof"]
    applied = own.run("apply")
    assert (applied["state"], applied["exit_code"]) == ("done", 0), applied["progress"]
    assert applied["report"]["changes"][0]["outcome"] == "applied"
    verified = own.run("verify")
    assert verified["state"] == "done", verified["progress"]
    assert verified["report"]["changes"]
    (made,) = own.api.get("/api/v1/database/advice")["journal"]
    undone = own.run("undo", changes=[made["id"]])
    assert undone["state"] == "done" and undone["report"]["changes"][0]["outcome"] == "undone"
    assert own.sql("SELECT count(*) FROM pg_indexes WHERE indexname = 'idx_runs_experiment'") == [(0,)]
    audit = own.sql("SELECT action FROM audit.events WHERE object_type = 'advice' AND object_id = %s ORDER BY event_id", (ADVICE,))
    assert [row[0] for row in audit] == ["tune_prove", "tune_apply", "tune_verify", "tune_undo"]


def test_one_action_at_a_time_which_can_be_ended(own):
    assert own.begin("prove").status_code == 200
    (line,) = eventually(own.children)  # between fork and exec it has the server's name
    assert "host=" not in line
    assert "is under way" in own.refused(409, "apply")
    assert own.api.post("/api/v1/database/action/end", {})["action"]["kind"] == "prove"
    assert eventually(lambda: (action := own.action())["state"] != "running" and action)["state"] == "ended"
    assert own.children() == []
    assert own.api.call("POST", "/api/v1/database/action/end", {}).status_code == 409


def test_what_cannot_be_is_refused_before_it_is_begun(own):
    assert "There is no advice" in own.refused(404, "apply", "20200101T000000.000Z")
    assert own.begin("apply", "..%2F..%2Fx").status_code == 404
    own.sql("CREATE TABLE public.others (a int)")
    other = "20261122T000002.000Z"
    own.advise(other, tune_apply.index("others", "a"))
    assert "does not own public.others" in own.refused(409, "apply", other, unproven=True)
    assert "nothing of that is in force" in own.refused(409, "undo", other)
    assert "The last apply is what is measured" in own.refused(409, "verify", other)


def test_a_stopping_server_ends_the_action_and_the_streams():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-actions-"))
    folder.chmod(0o755)
    try:
        own = Own(folder)
        stream = requests.get(own.server.url + "/api/v1/events?topic=action", stream=True, timeout=30)
        lines = stream.iter_lines()
        assert own.begin("prove").status_code == 200
        assert any(b'"running"' in line for line in lines)
        own.server.process.terminate()
        assert own.server.process.wait(30) == 0
        assert own.children() == []
        list(lines)  # it was ended, not cut off
        own.server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- events ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(url, *topics, **options):
    """Iterates over (topic, value)."""
    with requests.get(url + "/api/v1/events", params={"topic": topics}, stream=True, timeout=30, **options) as answer:
        assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/event-stream", answer.text

        def events():
            topic = None
            for line in answer.iter_lines(decode_unicode=True):
                if line.startswith("event: "):
                    topic = line[7:]
                elif line.startswith("data: "):
                    yield topic, json.loads(line[6:])

        yield events()


def test_events_tell_a_topics_value_at_once_and_whenever_it_changes(own):
    with listening(own.server.url, "sessions", "alerts", "action") as events:
        first = {}
        while len(first) < 3:
            topic, value = next(events)
            first[topic] = value
        assert first["alerts"] == own.api.get("/api/v1/monitor/alerts") and "sessions" in first["sessions"]
        with contextlib.closing(psycopg2.connect(own.dsn, application_name="heard of")) as connection:
            connection.cursor().execute("SELECT 1")
            for topic, value in events:
                if topic == "sessions" and any(one["application"] == "heard of" for one in value["sessions"]):
                    break
        own.begin("prove")
        states = []
        for topic, value in events:
            if topic == "action":
                states.append(value["action"]["state"])
            if states == ["running"]:
                own.api.post("/api/v1/database/action/end", {})
            if states and states[-1] != "running":
                break
        assert states[0] == "running" and states[-1] == "ended"


def test_events_are_refused_when_they_are_of_nothing_or_too_many_listen(own):
    for query in ("", "?topic=nothing"):
        assert own.api.call("GET", "/api/v1/events" + query).status_code == 400
    with contextlib.ExitStack() as stack:
        refused = None
        for _ in range(65):
            answer = stack.enter_context(requests.get(own.server.url + "/api/v1/events?topic=alerts", stream=True, timeout=30))
            if answer.status_code != 200:
                refused = answer
                break
        assert refused is not None and refused.status_code == 429 and "Retry-After" in refused.headers
    # Who has gone is noticed.
    eventually(lambda: requests.get(own.server.url + "/api/v1/events?topic=alerts", stream=True, timeout=30).status_code == 200)
