"""R14: stock Alembic against Cairn's database: its own steps beside Cairn's tables, its autogenerate over them."""
import json
import os
import pathlib
import subprocess
import sys

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


MODELS = """
import enum
import sqlalchemy as sa
from sqlalchemy.orm import declarative_base
print("a module may print")
Base = declarative_base(metadata=sa.MetaData(schema="shop", naming_convention={"ix": "ix_%(table_name)s_%(column_0_name)s"}))
class State(enum.Enum):
    new = 1
    paid = 2
sa.Table("training_runs", Base.metadata, sa.Column("id", sa.BigInteger, primary_key=True), schema="tracking", info={"cairn": True})
class Order(Base):
    __tablename__ = "orders"
    __table_args__ = (sa.CheckConstraint("price > 0", name="positive"), sa.UniqueConstraint("code", name="uq_code"), {"comment": "what's ordered"})
    id = sa.Column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    code = sa.Column(sa.String(20), nullable=False)
    state = sa.Column(sa.Enum(State, name="state", metadata=Base.metadata), server_default="new")
    price = sa.Column(sa.Numeric(10, 2), comment="in euros")
    made = sa.Column(sa.DateTime(timezone=True), server_default=sa.func.now(), index=True)
    tags = sa.Column(sa.ARRAY(sa.Text))
    run = sa.Column(sa.BigInteger, sa.ForeignKey("tracking.training_runs.id", ondelete="CASCADE"))
"""


@pytest.fixture
def fresh(new_database, template_database):
    with new_database(template_database) as dsn:
        yield dsn


@pytest.fixture
def revision(fresh, tmp_path):
    """What --autogenerate finds of the folder's models, after which the step is applied."""
    def cairn(*arguments, code=0):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CAIRN_") and name != "DATABASE_URL"}
        environment["PATH"] = os.path.dirname(sys.executable) + ":" + environment["PATH"]
        done = subprocess.run([os.environ["CAIRN_BIN"], "migrate", *arguments, "--database-url", fresh], cwd=tmp_path, env=environment,
                              capture_output=True, text=True, timeout=100)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def find(metadata="models:Base", *more, code=0):
        text = cairn("revision", "--autogenerate", "--metadata", metadata, "-m", "shop: change", "--json", *more, code=code)
        if code:
            return text
        found = json.loads(text)
        if found["changes"]:
            cairn("upgrade", "head", "--directory", "migrations")
        return found["changes"]

    find.cairn = cairn
    return find


def test_R14_revision_takes_sqlalchemys_metadata_for_the_wanted_schema(revision, fresh, tmp_path):
    models = tmp_path / "models.py"
    models.write_text(MODELS)
    cairns = tables(fresh, "tracking")
    made = "\n".join(change["sql"] for change in revision())
    assert "CREATE TABLE shop.orders" in made and "tracking" not in made.replace("REFERENCES tracking.training_runs(id)", "")
    assert revision() == []  # a fresh run finds nothing
    engine = sa.create_engine(url_of(fresh))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE mine (x int)"))  # in a schema that the metadata has nothing of
        connection.execute(sa.text("INSERT INTO shop.orders (code, price) VALUES ('a', 2)"))
    # SQLAlchemy itself sees what it wants.
    spare = {"__name__": "models"}
    exec(MODELS, spare)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={
            "include_schemas": True, "compare_type": True, "include_name": lambda name, kind, parents: kind != "schema" or name == "shop",
            "include_object": lambda thing, name, kind, reflected, other: kind != "table" or thing.schema == "shop"})
        assert compare_metadata(context, spare["Base"].metadata) == []
    # A column goes, one of its type comes: a person is asked. Rows stay.
    models.write_text(MODELS.replace("price = sa.Column(sa.Numeric(10, 2)", "cost = sa.Column(sa.Numeric(10, 2)").replace("price > 0", "cost > 0")
                      .replace("sa.String(20)", "sa.String(30)"))
    changes = {change["sql"]: change.get("warning", "") for change in revision()}
    assert "RENAME COLUMN price TO cost instead" in changes["ALTER TABLE shop.orders DROP COLUMN price"]
    assert any("TYPE character varying(30)" in sql for sql in changes)
    assert revision() == [] and tables(fresh, "tracking") == cairns and tables(fresh) == {"mine"}
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE mine"))
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT code FROM shop.orders")).scalar() == "a"
    # With a file for what metadata has not.
    (tmp_path / "more.sql").write_text("CREATE SCHEMA extra; CREATE FUNCTION extra.one() RETURNS int LANGUAGE sql RETURN 1")
    assert "CREATE SCHEMA extra" in [change["sql"] for change in revision("models:Base.metadata", "--schema", "more.sql")]
    revision.cairn("downgrade", "base", "--directory", "migrations")
    assert "shop" not in sa.inspect(engine).get_schema_names() and tables(fresh, "tracking") == cairns


def test_R14_metadata_that_cannot_be_read_is_refused(revision, tmp_path):
    (tmp_path / "models.py").write_text("import sqlalchemy as sa\nother = 7\n")
    assert "give MODULE:ATTRIBUTE" in revision("models", code=2)
    assert "ModuleNotFoundError" in revision("nothing:Base", code=2)
    assert "is a int: neither a MetaData" in revision("models:other", code=2)
    assert "--schema FILE or --metadata" in revision.cairn("revision", "--autogenerate", "-m", "x: y", code=2)
    assert not (tmp_path / "migrations").exists()
