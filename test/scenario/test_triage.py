"""`cairn triage`: a real jam of sessions seen as a tree, cancelled and terminated, each act written down."""
import contextlib
import json
import os
import pty
import signal
import subprocess
import threading
import time

import psycopg2
import pytest


class Jammed:
    """A holds a row and does nothing; B waits for it, and C for both."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.stack = contextlib.ExitStack()
        self.sql("CREATE TABLE jam (id int PRIMARY KEY, v int); INSERT INTO jam SELECT i, 0 FROM generate_series(1, 3) i")
        self.threads, self.errors = [], {}

    def connect(self, name):
        connection = self.stack.enter_context(contextlib.closing(psycopg2.connect(self.dsn, application_name=name)))
        return connection, connection.info.backend_pid

    def sql(self, text, values=None):
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def wait_for(self, text, values=None):
        deadline = time.monotonic() + 60
        while not self.sql(text, values)[0][0]:
            assert time.monotonic() < deadline, text

    def start(self, name, statement):
        """In a thread, until it waits for a lock."""
        connection, pid = self.connect(name)
        connection.autocommit = True

        def run():
            try:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    self.errors[name] = None
            except psycopg2.Error as error:
                self.errors[name] = error

        thread = threading.Thread(target=run)
        thread.start()
        self.threads.append(thread)
        self.wait_for("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)", (pid,))
        return pid

    def cairn(self, *arguments, code=0):
        done = subprocess.run([os.environ["CAIRN_BIN"], "triage", *arguments, "--database-url", self.dsn], capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def state(self, code=1):
        return json.loads(self.cairn("--json", code=code))

    def close(self):
        self.stack.close()
        for thread in self.threads:
            thread.join(60)


@pytest.fixture
def jam(new_database):
    with new_database() as dsn:
        jammed = Jammed(dsn)
        jammed.a_connection, jammed.a = jammed.connect("holder")
        jammed.a_connection.cursor().execute("UPDATE jam SET v = 1 WHERE id = 1 -- 'secret value'")
        jammed.b = jammed.start("second", "UPDATE jam SET v = 2 WHERE id = 1")
        jammed.c = jammed.start("third", "ALTER TABLE jam ADD w int")
        try:
            yield jammed
        finally:
            jammed.a_connection.close()
            for thread in jammed.threads:
                thread.join(60)
            jammed.close()


def tree_of(state, pids):
    return [(line["pid"], line["depth"], line["holds_back"]) for line in state["blocking"] if line["pid"] in pids]


def test_R33_the_blocking_tree_and_what_to_do(jam):
    state = jam.state()
    assert tree_of(state, {jam.a, jam.b, jam.c})[0] == (jam.a, 0, 2)
    assert {pid for pid, _, _ in tree_of(state, {jam.a, jam.b, jam.c})} == {jam.a, jam.b, jam.c}
    finding = next(f for f in state["findings"] if f["subject"] == "blocking" and str(jam.a) in f["what"])
    assert finding["severity"] == "critical" and finding["to_do"] == f"cairn triage terminate {jam.a}"
    assert "idle in transaction" in finding["what"] and "2 sessions" in finding["what"]
    waiting = next(s for s in state["sessions"] if s["pid"] == jam.c)
    assert waiting["waits_for"].startswith("AccessExclusiveLock on relation jam")
    assert state["connections_by_state"]["idle in transaction"] >= 1
    text = jam.cairn(code=1)
    assert "who waits for whom" in text and f"-> cairn triage terminate {jam.a}" in text


def test_R33_nothing_is_done_without_yes_and_all_or_nothing(jam):
    said = jam.cairn("terminate", str(jam.a), code=1)
    assert "nothing was done: add --yes" in said and "holds back 2" in said
    assert "there is no process 999999" in jam.cairn("terminate", str(jam.a), "999999", "--yes", code=3)
    assert jam.state()["blocking"]


def test_R33_terminate_ends_the_jam_and_is_in_postgresqls_log(jam):
    done = json.loads(jam.cairn("terminate", str(jam.a), "--yes", "--json"))
    assert done["processes"][0]["ended"] and done["written_to"] == "PostgreSQL's log"
    jam.wait_for("SELECT NOT EXISTS (SELECT FROM pg_locks WHERE pid = ANY (%s) AND NOT granted)", ([jam.b],))


def test_R33_cancel_ends_the_statement_and_not_the_session(jam):
    done = json.loads(jam.cairn("cancel", str(jam.b), str(jam.c), "--yes", "--json"))
    assert all(p["ended"] and p["signalled"] for p in done["processes"])
    for thread in jam.threads:
        thread.join(60)
    assert all(isinstance(jam.errors[name], psycopg2.errors.QueryCanceled) for name in ("second", "third"))
    assert jam.sql("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s)", ([jam.a, jam.b, jam.c],))[0][0] == 3


def test_R33_in_cairns_own_database_it_is_in_the_audit_log(new_database, template_database):
    with new_database(template_database) as dsn:
        jammed = Jammed(dsn)
        connection, pid = jammed.connect("victim")
        connection.cursor().execute("SELECT 'a secret'")
        assert json.loads(jammed.cairn("terminate", str(pid), "--yes", "--json"))["written_to"] == "audit.events"
        action, object_type, object_id, details = jammed.sql(
            "SELECT action, object_type, object_id, details FROM audit.events ORDER BY event_id DESC LIMIT 1")[0]
        assert (action, object_type, object_id) == ("terminate_backend", "postgres_process", str(pid))
        assert details["application"] == "victim" and "secret" not in json.dumps(details) and details["os_user"]
        jammed.close()


def test_R33_a_role_that_may_not_is_refused_and_that_is_said(new_database):
    with new_database() as dsn:
        jammed = Jammed(dsn)
        role = f"triage_{os.getpid()}"
        jammed.sql(f"CREATE ROLE {role} LOGIN")
        try:
            _, pid = jammed.connect("victim")
            plain = Jammed.__new__(Jammed)
            plain.dsn = psycopg2.extensions.make_dsn(dsn, user=role)
            said = plain.cairn("terminate", str(pid), "--yes", code=1)
            assert "refused" in said and "must be a superuser" in said
            assert "GRANT pg_read_all_stats" in plain.cairn()
        finally:
            jammed.close()
            jammed.sql(f"DROP ROLE {role}")


def test_R33_watch_in_a_terminal_shows_the_jam_come_and_go(jam):
    master, slave = pty.openpty()
    with subprocess.Popen([os.environ["CAIRN_BIN"], "triage", "--watch", "0.1", "--database-url", jam.dsn], stdout=slave,
                          stderr=subprocess.STDOUT) as watch:
        os.close(slave)

        def read_until(condition):
            seen, deadline = "", time.monotonic() + 60
            while not condition(seen):
                assert time.monotonic() < deadline, seen
                seen += os.read(master, 65536).decode(errors="replace")

        read_until(lambda seen: "who waits for whom" in seen and "\x1b[2J" in seen)
        jam.a_connection.rollback()
        read_until(lambda seen: any("database " in page and "connections:" in page and "disk:" in page and str(jam.a) + " (" not in page.split("connections:")[0]
                                    for page in seen.split("\x1b[2J")[1:-1]))
        watch.send_signal(signal.SIGINT)
        assert watch.wait(60) == 0
    os.close(master)


def test_R33_the_route_that_a_page_reads(api):
    state = api.get("/api/v1/database/triage")
    assert state["database"] == "cairn" and state["connections_max"] > 0 and not state["standby"]
    assert any(s["backend_type"] == "client backend" for s in state["sessions"])
