"""Databases for the tests that speak SQL: each made from a template to which every migration was applied.

They live in the server that CAIRN_TEST_DATABASE_URL names (a superuser's), else in a temporary cluster.
"""
import contextlib
import itertools
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIGRATIONS = ROOT / "migrations"
counter = itertools.count()


@pytest.fixture(scope="session")
def postgres_dsn():
    """Connection string of a server in which databases may be made."""
    given = os.environ.get("CAIRN_TEST_DATABASE_URL")
    if given:
        yield given
        return
    show = 'echo "$CAIRN_POSTGRES_BIN"; echo "$CAIRN_TEST_DATABASE_URL"; read -r _'
    with subprocess.Popen([ROOT / "tools" / "with_cluster", "sh", "-c", show],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
        os.environ["CAIRN_POSTGRES_BIN"] = cluster.stdout.readline().strip()
        yield cluster.stdout.readline().strip()
        cluster.communicate("stop\n", timeout=60)


def apply_migrations(connection, direction):
    """Applies the migrations in order ('up'), or takes all back ('down'), each in a transaction of its own."""
    for file in sorted(MIGRATIONS.glob(f"*.{direction}.sql"), reverse=direction == "down"):
        with connection, connection.cursor() as cursor:
            cursor.execute(file.read_text())


@pytest.fixture(scope="session")
def migrate():
    return apply_migrations


@pytest.fixture(scope="session")
def new_database(postgres_dsn):
    """A context manager that makes a database, empty or from the given template, and drops it in the end."""
    psycopg2 = pytest.importorskip("psycopg2")
    from psycopg2.extensions import make_dsn

    def server(statement):
        connection = psycopg2.connect(postgres_dsn)
        connection.autocommit = True
        try:
            connection.cursor().execute(statement)
        finally:
            connection.close()

    @contextlib.contextmanager
    def make(template="template0"):
        name = f"cairn_test_{os.getpid()}_{next(counter)}"
        server(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield make_dsn(postgres_dsn, dbname=name)
        finally:
            server(f"DROP DATABASE {name} WITH (FORCE)")

    return make


@pytest.fixture(scope="session")
def template_database(new_database):
    import psycopg2
    from psycopg2.extensions import parse_dsn

    with new_database() as dsn:
        connection = psycopg2.connect(dsn)
        apply_migrations(connection, "up")
        connection.close()
        yield parse_dsn(dsn)["dbname"]


@pytest.fixture(scope="module")
def database(new_database, template_database):
    """Connection string of a migrated database, shared by the tests of one file."""
    with new_database(template_database) as dsn:
        yield dsn


@pytest.fixture
def db(database):
    """A connection whose changes are rolled back when the test ends."""
    import psycopg2

    connection = psycopg2.connect(database)
    yield connection
    connection.rollback()
    connection.close()
