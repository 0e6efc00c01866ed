"""R10: PgBouncer in transaction mode before PostgreSQL, by `cairn pool`; and the server behind one."""
import concurrent.futures
import json
import os
import pathlib
import resource
import select
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
import requests
from servers import Api, Server, free_port, start_cairn

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="PgBouncer is set up by Cairn")
psycopg2 = pytest.importorskip("psycopg2")
from psycopg2.extensions import POLL_OK, POLL_READ  # noqa: E402

CLIENTS, CONNECTIONS = 1000, 20
PATIENCE_SECONDS = 60


def eventually(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("it did not come true in time")


class Pooled:
    """A server, and a PgBouncer before its PostgreSQL."""

    def __init__(self, folder, *options):
        self.folder, self.data, self.port = folder, folder / "data", free_port()
        self.server = start_cairn(folder)
        self.start = ["start", "--listen-port", str(self.port), *options]
        try:
            self.cairn(*self.start)
        except BaseException:
            self.server.stop()
            raise

    def cairn(self, *arguments, check=True):
        result = subprocess.run([os.environ["CAIRN_BIN"], "pool", *arguments, "--data-dir", str(self.data)],
                                capture_output=True, text=True, timeout=60)
        assert not check or result.returncode == 0, result.stderr
        return result

    def status(self):
        return json.loads(self.cairn("status", "--json").stdout)

    def dsn(self, port=None, user="cairn"):
        return f"host={self.data / 'run'} port={port or self.port} dbname=cairn user={user}"

    def direct(self, sql, user="postgres"):
        """Of the PostgreSQL itself."""
        connection = psycopg2.connect(self.dsn(5432, user))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def backends(self):
        """Processes of PostgreSQL that PgBouncer's clients have."""
        return self.direct("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pooled client'")[0][0]

    def pgbouncer(self):
        """Its process: the watcher's child."""
        watcher = int((self.data / "pgbouncer" / "pool.lock").read_text())
        children = pathlib.Path(f"/proc/{watcher}/task/{watcher}/children").read_text().split()
        return int(children[0]) if children else None


@pytest.fixture(scope="module")
def pooled():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-pgb-"))
    folder.chmod(0o755)  # the embedded PostgreSQL runs as another user
    running = Pooled(folder, "--default-pool-size", str(CONNECTIONS), "--max-db-connections", str(CONNECTIONS),
                     "--reserve-pool-size", "0")
    yield running
    running.cairn("stop")
    running.server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def settled(client):
    """Waits until the client's connection has nothing under way; by poll, since select refuses descriptors beyond 1,023."""
    waiting = select.poll()
    while (state := client.poll()) != POLL_OK:
        waiting.register(client.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        assert waiting.poll(60_000), "PgBouncer does not answer"
        waiting.unregister(client.fileno())


def test_R10_a_thousand_clients_on_twenty_connections(pooled):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * CLIENTS + 500)), hard))
    pooled.direct("CREATE TABLE public.counted (n int NOT NULL)", user="cairn")
    clients = []
    try:
        for _ in range(CLIENTS):
            clients.append(psycopg2.connect(pooled.dsn() + " application_name='pooled client'", async_=True))
            settled(clients[-1])
        cursors = [client.cursor() for client in clients]
        for number, cursor in enumerate(cursors):  # sent by all before anybody's answer is read
            cursor.execute("BEGIN; INSERT INTO public.counted VALUES (%s); SELECT pg_backend_pid(); COMMIT", (number,))
        for client in clients:
            settled(client)
        (pool,) = [pool for pool in pooled.status()["pools"] if pool["user"] == "cairn"]
        assert pool["cl_active"] + pool["cl_waiting"] == CLIENTS
        assert pool["sv_active"] + pool["sv_idle"] + pool["sv_used"] <= CONNECTIONS
        assert 1 <= pooled.backends() <= CONNECTIONS
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert pooled.direct("SELECT count(*), count(DISTINCT n) FROM public.counted") == [(CLIENTS, CLIENTS)]


def test_R10_every_role_comes_in_with_its_own_password_and_stays_itself(pooled):
    pooled.direct("CREATE ROLE ann LOGIN PASSWORD 'of ann' IN ROLE cairn_reader; CREATE ROLE root LOGIN SUPERUSER PASSWORD 'of root'")
    over_tcp = f"host=127.0.0.1 port={pooled.port} dbname=cairn"
    connection = psycopg2.connect(f"{over_tcp} user=ann password='of ann'")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user, count(*) FROM tracking.training_runs")
        assert cursor.fetchone()[0] == "ann"
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("DELETE FROM tracking.training_runs")
    connection.close()
    for refused in ("user=ann password=wrong", "user=ann", "user=cairn", "user=cairn password=''", "user=postgres",
                    "user=root password='of root'", "user=nobody password=x"):
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(f"{over_tcp} {refused}")


def test_R10_the_keys_of_the_text_are_set_and_shown(pooled):
    shown = pooled.status()["settings"]
    assert shown == {"pool_mode": "transaction", "max_client_conn": "1000", "default_pool_size": "20", "reserve_pool_size": "0",
                     "reserve_pool_timeout": "3", "server_idle_timeout": "600", "max_db_connections": "20",
                     "listen_addr": "127.0.0.1", "listen_port": str(pooled.port)}
    text = pooled.cairn("status").stdout
    assert "transaction mode" in text and "cairn" in text
    dry = pooled.cairn("config", "--dry-run", "--reserve-pool-size", "7").stdout
    assert "reserve_pool_size = 7" in dry and pooled.status()["settings"]["reserve_pool_size"] == "0"
    # More than PostgreSQL has is refused, and nothing is written.
    refused = pooled.cairn("config", "--max-db-connections", "5000", check=False)
    assert refused.returncode == 4 and "max_connections" in refused.stderr
    assert pooled.status()["settings"]["max_db_connections"] == "20"


def test_R10_it_comes_back_when_it_dies_and_goes_when_its_watcher_does(pooled):
    first = pooled.pgbouncer()
    os.kill(first, signal.SIGKILL)
    second = eventually(lambda: (now := pooled.pgbouncer()) != first and now)
    eventually(lambda: pooled.cairn("status", "--json", check=False).returncode == 0)
    psycopg2.connect(pooled.dsn()).close()
    os.kill(int((pooled.data / "pgbouncer" / "pool.lock").read_text()), signal.SIGKILL)
    eventually(lambda: not pathlib.Path(f"/proc/{second}").exists())
    assert pooled.cairn("status", check=False).returncode == 3
    pooled.cairn(*pooled.start)
    psycopg2.connect(pooled.dsn()).close()


@pytest.fixture(scope="module")
def behind():
    """A server that knows PostgreSQL only through PgBouncer, which has two connections for it."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-behind-"))
    folder.chmod(0o755)
    running = Pooled(folder, "--default-pool-size", "2", "--reserve-pool-size", "0")
    port = free_port()
    command = [os.environ["CAIRN_BIN"], "serve", "--data-dir", str(folder / "other"), "--port", str(port),
               "--database-url", running.dsn(), "--migrate"]
    running.behind = Server(command, port, folder / "behind.log").wait()
    yield running
    running.behind.process.kill()
    running.behind.stop()
    running.cairn("stop")
    running.server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_R10_the_server_works_behind_pgbouncer(behind):
    api = Api(behind.behind.url)
    experiment = api.post("experiments/create", {"name": "behind"})["experiment_id"]

    def train(number):
        mine = Api(behind.behind.url)
        run = mine.create_run(experiment)
        for step in range(10):
            mine.post("runs/log-metric", {"run_id": run, "key": "loss", "value": number + step / 10, "step": step, "timestamp": step})
        mine.post("runs/log-parameter", {"run_id": run, "key": "n", "value": str(number)})
        return run

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        runs = list(threads.map(train, range(32)))
    found = api.post("runs/search", {"experiment_ids": [experiment], "filter": "metrics.loss > 0.85", "max_results": 100})["runs"]
    assert {run["info"]["run_id"] for run in found} == set(runs)
    # Nothing was prepared on the connections that PgBouncer shares, and no lock of a session is left.
    assert behind.direct("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
    log = (behind.folder / "behind.log").read_text()
    assert "prepared statement" not in log and " error " not in log.lower().replace("[error]", " error "), log


def test_R10_an_index_is_built_behind_pgbouncer_by_one_at_a_time(behind):
    url = behind.behind.url + "/api/v1/collections"
    made = requests.post(url, json={"name": "texts", "embedder": {"kind": "local"}}, timeout=60)
    assert made.ok, made.text
    documents = [{"id": str(n), "content": f"report {n} on {('loss', 'speed', 'memory')[n % 3]} of training number {n * 7}"} for n in range(300)]
    ingested = requests.post(f"{url}/texts/documents", json={"documents": documents}, timeout=120)
    assert ingested.ok, ingested.text
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        built = list(threads.map(lambda _: requests.post(f"{url}/texts/index", json={}, timeout=120), range(3)))
    assert [answer.status_code for answer in built] == [200] * 3, [answer.text for answer in built]
    assert behind.direct("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_R10_what_needs_a_session_says_so(behind):
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("CAIRN_")}, "CAIRN_DATABASE_URL": behind.dsn()}
    for command in (["migrate", "upgrade", "head"], ["tune", "profile"], ["pool", "config"]):
        refused = subprocess.run([os.environ["CAIRN_BIN"], *command, "--data-dir", str(behind.folder / "other")], env=environment,
                                 capture_output=True, text=True, timeout=60)
        assert refused.returncode != 0 and "PostgreSQL's own address" in refused.stderr, (command, refused)


def test_R10_the_server_goes_on_when_pgbouncer_comes_back(behind):
    first = behind.pgbouncer()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: requests.get(behind.behind.url + "/health", timeout=30).ok)
    assert eventually(lambda: behind.pgbouncer()) != first
