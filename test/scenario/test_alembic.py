"""R14: stock Alembic against Cairn's database: its own steps beside Cairn's tables, its autogenerate over them."""
import pathlib

import pytest

alembic_command = pytest.importorskip("alembic.command")
pytest.importorskip("psycopg2")
import sqlalchemy as sa  # noqa: E402
from alembic.autogenerate import compare_metadata  # noqa: E402
from alembic.config import Config  # noqa: E402
from alembic.runtime.migration import MigrationContext  # noqa: E402
from psycopg2.extensions import parse_dsn  # noqa: E402

ENVIRONMENT = """
from alembic import context
import sqlalchemy as sa
target = sa.MetaData()
sa.Table("training_runs", target, sa.Column("id", sa.BigInteger, primary_key=True), schema="tracking", info={"cairn": True})
sa.Table("notes", target, sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text, nullable=False),
         sa.Column("run", sa.BigInteger, sa.ForeignKey("tracking.training_runs.id", ondelete="CASCADE"), index=True))
def mine(thing, name, kind, reflected, compare_to):
    return kind != "table" or thing.schema is None  # Cairn's own are in schemas of their own
with sa.create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection, target_metadata=target, include_object=mine)
    with context.begin_transaction():
        context.run_migrations()
"""
TEMPLATE = '''"""${message}"""
from alembic import op
import sqlalchemy as sa
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
def upgrade():
    ${upgrades if upgrades else "pass"}
def downgrade():
    ${downgrades if downgrades else "pass"}
'''


def url_of(dsn):
    parts = parse_dsn(dsn)
    return f"postgresql+psycopg2://{parts['user']}@/{parts['dbname']}?host={parts['host']}"


@pytest.fixture
def alembic(database, tmp_path):
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENVIRONMENT)
    (tmp_path / "script.py.mako").write_text(TEMPLATE)
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("sqlalchemy.url", url_of(database).replace("%", "%%"))
    return config


def tables(database, schema="public"):
    return set(sa.inspect(sa.create_engine(url_of(database))).get_table_names(schema=schema))


def test_R14_alembic_keeps_its_own_tables_beside_cairns(alembic, database):
    before = tables(database, "tracking")
    alembic_command.revision(alembic, "notes", autogenerate=True)
    alembic_command.upgrade(alembic, "head")
    assert "notes" in tables(database)
    engine = sa.create_engine(url_of(database))
    with engine.begin() as connection:
        run = connection.execute(sa.text(
            "INSERT INTO tracking.training_runs (model_name, experiment_name, status) VALUES ('m', 'Default', 'running') RETURNING id")).scalar()
        connection.execute(sa.text("INSERT INTO notes (text, run) VALUES ('seen', :run)"), {"run": run})
    # Nothing is found a second time, and nothing of Cairn's is touched.
    again = alembic_command.revision(alembic, "again", autogenerate=True)
    assert "op." not in pathlib.Path(again.path).read_text().split("def upgrade")[1]
    pathlib.Path(again.path).unlink()
    alembic_command.check(alembic)
    alembic_command.downgrade(alembic, "base")
    assert "notes" not in tables(database) and tables(database, "tracking") == before


def test_R14_alembic_reads_all_of_cairns_tables_and_finds_no_difference_to_them(database):
    engine = sa.create_engine(url_of(database))
    schemas = ("tracking", "registry", "jobs")
    metadata = sa.MetaData()
    for schema in schemas:
        metadata.reflect(engine, schema=schema)
    assert {"tracking.training_runs", "registry.models"} <= set(metadata.tables)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={
            "include_schemas": True, "compare_type": True,
            "include_name": lambda name, kind, parents: kind != "schema" or name in schemas})
        assert compare_metadata(context, metadata) == []
