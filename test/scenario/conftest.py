"""Fixtures of the scenario tests: one server for the whole session, and names that nobody else uses.

The server is `cairn serve` of $CAIRN_BIN. With CAIRN_TEST_TARGET=mlflow it is the stock MLflow server over a PostgreSQL of its
own, so that a test is proved right before it judges Cairn. Tests share the server: they make their own experiments and models,
and never count what they did not make.
"""
import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import tempfile
import uuid

import pytest
import vector_servers
from servers import TARGET, Api, start_cairn, start_mlflow


@pytest.fixture(scope="session")
def target():
    return TARGET


@pytest.fixture(scope="session")
def server():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-test-"))
    folder.chmod(0o755)  # the embedded PostgreSQL runs as another user
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        running = start_mlflow(folder, stack) if TARGET == "mlflow" else start_cairn(folder)
        stack.callback(running.stop)
        yield running


@pytest.fixture(scope="session")
def api(server):
    return Api(server.url)


@pytest.fixture
def unique():
    """A new name at each call."""
    return lambda stem="x": f"{stem}-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def experiment(api, unique):
    """The id of a new experiment."""
    return api.post("experiments/create", {"name": unique("experiment")})["experiment_id"]


@pytest.fixture
def run(api, experiment):
    """The id of a new run in the experiment."""
    return api.create_run(experiment, run_name="run", start_time=1)


@pytest.fixture
def client(server):
    mlflow = pytest.importorskip("mlflow")
    return mlflow.MlflowClient(tracking_uri=server.url, registry_uri=server.url)


@pytest.fixture
def fluent(server, unique):
    """The fluent API, pointed at the server and in an experiment of its own; nothing stays active afterwards."""
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(server.url)
    mlflow.set_registry_uri(server.url)
    mlflow.set_experiment(unique("fluent"))
    yield mlflow
    while mlflow.active_run():
        mlflow.end_run()


def error_of(call, *arguments, **options):
    """The MlflowException that the call raises."""
    exceptions = pytest.importorskip("mlflow.exceptions")
    with pytest.raises(exceptions.MlflowException) as caught:
        call(*arguments, **options)
    return caught.value


@pytest.fixture(name="error_of")
def error_of_fixture():
    return error_of


@pytest.fixture(scope="session")
def npm_modules():
    """The build folder with npm/*.js and npm/*.mjs beside the modules that package-lock.json pins; installed once."""
    assert shutil.which("npm"), "npm is not installed: ./dev setup"
    source = pathlib.Path(__file__).parent / "npm"
    installed = pathlib.Path(os.environ.get("CAIRN_SOURCE_DIR", source.parents[2])) / "build" / "npm"
    installed.mkdir(parents=True, exist_ok=True)
    with open(installed / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, wanted = installed / "stamp", (source / "package-lock.json").read_text()
        if not stamp.exists() or stamp.read_text() != wanted:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(source / name, installed)
            done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=installed, capture_output=True, text=True, timeout=240)
            if done.returncode != 0:
                pytest.skip("npm cannot install the test clients: " + done.stderr.strip().splitlines()[-1])
            stamp.write_text(wanted)
        for program in source.glob("*.*js"):
            shutil.copy(program, installed)
    return installed


@pytest.fixture(scope="session")
def stock_server():
    """PyPI's PostgreSQL with pgvector."""
    pytest.importorskip("psycopg")
    if not vector_servers.have_stock_tree():
        pytest.skip("PyPI's PostgreSQL with pgvector is not installed")
    with vector_servers.temporary_folder() as folder:
        programs = vector_servers.stock_tree(folder)
        with vector_servers.running_cluster(programs, folder) as dsn:
            yield vector_servers.VectorServer("stock", dsn, programs)


@pytest.fixture(scope="session")
def cairn_vector_server(postgres_dsn):
    """The test run's own cluster, with Cairn's extension."""
    pytest.importorskip("psycopg")
    server = vector_servers.VectorServer("cairn", postgres_dsn, None)
    server.programs = server.own_programs()
    yield server
    server.forget()


@pytest.fixture(scope="session", params=[pytest.param(name, marks=pytest.mark.full if name == "stock" else ()) for name in vector_servers.SERVERS])
def vector_server(request):
    """Each of the servers that a test of the extension has to pass on; stock pgvector shows that the test asks for what it does."""
    return request.getfixturevalue("stock_server" if request.param == "stock" else "cairn_vector_server")


@pytest.fixture
def vector_database(vector_server):
    """Connection string of a new database with the extension."""
    with vector_server.database() as dsn:
        yield dsn


@pytest.fixture
def pg(vector_database):
    """A session in a new database with the extension."""
    session = vector_servers.Session(vector_database)
    yield session
    session.close()
