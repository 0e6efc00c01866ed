"""The six steps of requirement text 001 as a script: its models, its statements, its Alembic commands, its searches.

What the text asks of the database is unmodified: `postgresql://` URLs, its classes and tables, its SQL. Its embeddings come from an
endpoint that is not here: a stand-in of 1,536 dimensions turns words into vectors, so that like texts are near.
"""
import hashlib
import os
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("psycopg")
pytest.importorskip("pgvector")
pytest.importorskip("alembic")
sqlalchemy = pytest.importorskip("sqlalchemy")
np = pytest.importorskip("numpy")
from alembic.config import main as command_line  # noqa: E402  after the skip
from pgvector.sqlalchemy import Vector  # noqa: E402
from sqlalchemy import DateTime, String, Text, create_engine, func, select, text, update  # noqa: E402
from sqlalchemy.dialects.postgresql import TSVECTOR  # noqa: E402
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column  # noqa: E402

DIMENSIONS = 1536
DOCUMENTS = [
    ("Machine learning", "machine learning finds patterns in data and learns from examples", "research"),
    ("Deep learning", "deep learning is machine learning with neural networks of many layers", "research"),
    ("Gradient descent", "gradient descent trains neural networks step by step", "blog"),
    ("PostgreSQL", "postgresql is a relational database with transactions and indexes", "manual"),
    ("Vector search", "vector search finds the nearest neighbours of an embedding in a database", "manual"),
    ("Cooking pasta", "boil water add salt and cook the pasta until it is done", "blog"),
    ("Baking bread", "flour water salt and yeast make bread in a hot oven", "blog"),
]


def get_embedding(words):
    """A vector of length 1: the sum of a fixed random direction for each word."""
    total = np.zeros(DIMENSIONS)
    for word in words.lower().split():
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
        total += np.random.default_rng(seed).standard_normal(DIMENSIONS)
    return (total / np.linalg.norm(total)).tolist()


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(255))
    content: Mapped[str] = mapped_column(Text)
    source: Mapped[Any] = mapped_column(String(255), nullable=True)
    created_at: Mapped[Any] = mapped_column(DateTime, server_default=func.now())
    updated_at: Mapped[Any] = mapped_column(DateTime, server_default=func.now(), onupdate=func.now())


class VectorDocument(Base):
    __tablename__ = "vector_documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(255))
    content: Mapped[str] = mapped_column(Text)
    source: Mapped[Any] = mapped_column(String(255), nullable=True)
    embedding: Mapped[Any] = mapped_column(Vector(1536), nullable=True)
    content_tsv: Mapped[Any] = mapped_column(TSVECTOR, nullable=True)


@pytest.fixture(scope="module")
def url(vector_server):
    """DATABASE_URL of an empty database, as the text writes it."""
    from psycopg.conninfo import conninfo_to_dict

    with vector_server.database(extension=False) as dsn:
        place = conninfo_to_dict(dsn)
        yield f"postgresql://{place['user']}@/{place['dbname']}?host={place['host']}"


@pytest.fixture(scope="module")
def engine(url):
    engine = create_engine(url, pool_size=20, max_overflow=10)
    yield engine
    engine.dispose()


def test_step_1_and_2_sqlalchemy_basics_and_crud(engine):
    Document.__table__.create(engine)
    with Session(engine) as session:
        session.add_all([Document(title=title, content=content, source=source) for title, content, source in DOCUMENTS])
        session.commit()
    with Session(engine) as session:
        assert len(session.execute(select(Document)).scalars().all()) == len(DOCUMENTS)
        [document] = session.execute(select(Document).where(Document.title == "PostgreSQL")).scalars().all()
        created = document.created_at
        document.title = "PostgreSQL 15"
        session.commit()
        assert document.updated_at >= created
        session.execute(update(Document).where(Document.source == "blog").values(source="web"))
        session.delete(session.get(Document, 7))
        session.commit()
        assert session.scalar(select(func.count()).select_from(Document).where(Document.source == "web")) == 2
        user_input = "1 OR 1=1"
        with pytest.raises(sqlalchemy.exc.DBAPIError):
            session.execute(text("SELECT * FROM documents WHERE id = :id"), {"id": user_input}).all()
        session.rollback()
        session.bulk_insert_mappings(Document, [dict(title=f"batch {i}", content="x") for i in range(1000)])
        session.commit()
        assert session.scalar(select(func.count()).select_from(Document)) == len(DOCUMENTS) - 1 + 1000
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE documents"))
        connection.execute(text("VACUUM ANALYZE documents"))
    Document.__table__.drop(engine)


def test_step_3_alembic_migrations(url, engine, tmp_path, monkeypatch):
    """init, the two files edited as the text says, revision --autogenerate, upgrade, a manual one, downgrade, current, history."""
    monkeypatch.chdir(tmp_path)

    def alembic(*arguments):
        command_line(argv=list(arguments), prog="alembic")

    def told_by_alembic(*arguments):
        return subprocess.run([sys.executable, "-m", "alembic", *arguments], capture_output=True, text=True, check=True, timeout=120,
                              env={**os.environ, "PYTHONPATH": os.path.dirname(__file__)}).stdout

    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
    alembic("init", "alembic")
    edits = {"alembic.ini": ("sqlalchemy.url = driver://user:pass@localhost/dbname", f"sqlalchemy.url = {url}"),
             "alembic/env.py": ("target_metadata = None", "from test_vector_text_001 import Base\ntarget_metadata = Base.metadata"),
             "alembic/script.py.mako": ("import sqlalchemy as sa", "import sqlalchemy as sa\nimport pgvector.sqlalchemy")}
    for name, (old, new) in edits.items():
        file = tmp_path / name
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    alembic("revision", "--autogenerate", "-m", "Add documents table")
    [first] = (tmp_path / "alembic" / "versions").glob("*add_documents_table.py")
    assert "dim=1536" in first.read_text()
    alembic("upgrade", "head")
    alembic("revision", "-m", "Add index")
    [second] = (tmp_path / "alembic" / "versions").glob("*add_index.py")
    body = second.read_text().replace("def upgrade() -> None:\n    \"\"\"Upgrade schema.\"\"\"\n    pass", (
        "def upgrade() -> None:\n    op.create_index('by_embedding', 'vector_documents', ['embedding'], postgresql_using='hnsw',\n"
        "                    postgresql_with={'m': 16, 'ef_construction': 64}, postgresql_ops={'embedding': 'vector_cosine_ops'})"))
    second.write_text(body.replace("\"\"\"Downgrade schema.\"\"\"\n    pass", "op.drop_index('by_embedding')"))
    alembic("upgrade", "head")
    with engine.connect() as connection:
        indexes = "SELECT indexdef FROM pg_indexes WHERE indexname = 'by_embedding'"
        assert "USING hnsw (embedding vector_cosine_ops) WITH (m='16', ef_construction='64')" in connection.scalar(text(indexes))
        alembic("downgrade", "-1")
        assert connection.scalar(text(indexes)) is None
    first_id, second_id = first.name.split("_")[0], second.name.split("_")[0]
    assert told_by_alembic("current").split() == [first_id]
    assert [line.split(", ")[-1] for line in told_by_alembic("history").splitlines()] == ["Add index", "Add documents table"]
    alembic("upgrade", "head")
    assert told_by_alembic("current").split() == [second_id, "(head)"]
    alembic("downgrade", "base")
    assert sqlalchemy.inspect(engine).get_table_names() == ["alembic_version"]


def test_R15_step_4_pgvector_setup(engine):
    """The type, the three distances, both kinds of indexes with their parameters: the text's own statements."""
    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
        connection.exec_driver_sql("""
            CREATE TABLE vector_documents (
                id SERIAL PRIMARY KEY,
                title VARCHAR(255) NOT NULL,
                content TEXT NOT NULL,
                source VARCHAR(255),
                embedding VECTOR(1536),
                content_tsv TSVECTOR  -- For full-text search
            );
            -- Vector index (IVFFlat)
            CREATE INDEX ON vector_documents
            USING ivfflat (embedding vector_cosine_ops)
            WITH (lists = 100);
            -- Full-text search index
            CREATE INDEX ON vector_documents
            USING GIN(content_tsv);""")
        connection.exec_driver_sql("DROP INDEX vector_documents_embedding_idx")
    with Session(engine) as session:
        session.add_all([VectorDocument(title=title, content=content, source=source, embedding=get_embedding(content))
                         for title, content, source in DOCUMENTS])
        session.execute(text("UPDATE vector_documents SET content_tsv = to_tsvector('english', content)"))
        session.commit()
        for operator in ("<->", "<#>", "<=>"):
            found = session.execute(text(f"SELECT title FROM vector_documents ORDER BY embedding {operator} CAST(:q AS vector) LIMIT 5"),
                                    {"q": str(get_embedding(DOCUMENTS[4][1]))}).scalars().all()
            assert len(found) == 5 and found[0] == "Vector search"
        # By the number of rows: none for few, IVFFlat with rows / 1000 lists, HNSW with its parameters.
        for index in ("ivfflat (embedding vector_cosine_ops) WITH (lists = 100)", "hnsw (embedding vector_cosine_ops)",
                      "hnsw (embedding vector_cosine_ops) WITH (m = 16, ef_construction = 64)"):
            session.execute(text("CREATE INDEX documents_embedding_idx ON vector_documents USING " + index))
            session.execute(text("ANALYZE vector_documents"))
            session.execute(text("SET LOCAL enable_seqscan = off"))
            plan = session.execute(text("EXPLAIN ANALYZE SELECT * FROM vector_documents ORDER BY embedding <=> CAST(:q AS vector) LIMIT 10"),
                                   {"q": str(get_embedding("machine learning"))}).scalars().all()
            assert "Index Scan using documents_embedding_idx" in "\n".join(plan)
            session.execute(text("REINDEX INDEX documents_embedding_idx"))
            session.execute(text("DROP INDEX documents_embedding_idx"))
        session.execute(text("CREATE INDEX documents_embedding_idx ON vector_documents USING hnsw (embedding vector_cosine_ops)"))
        session.commit()
        assert session.scalar(text("SELECT pg_size_pretty(pg_relation_size('documents_embedding_idx'))"))
        assert session.scalar(text("SELECT count(*) FROM pg_stat_user_indexes WHERE relname = 'vector_documents'")) == 3


@pytest.mark.parametrize("by_index", [False, True], ids=["exact", "index"])
def test_R16_step_5_vector_search(engine, by_index):
    query_embedding = get_embedding("machine learning")
    with Session(engine) as session:
        session.execute(text(f"SET LOCAL enable_seqscan = {'off' if by_index else 'on'}"))
        results = session.execute(
            select(VectorDocument)
            .order_by(VectorDocument.embedding.cosine_distance(query_embedding))
            .limit(5)
        ).scalars().all()
        assert [d.title for d in results][:2] == ["Deep learning", "Machine learning"] and len(results) == 5
        results = session.execute(
            select(VectorDocument)
            .where(VectorDocument.source == "research")
            .order_by(VectorDocument.embedding.cosine_distance(query_embedding))
            .limit(5)
        ).scalars().all()
        assert [d.title for d in results] == ["Deep learning", "Machine learning"]
        results = session.execute(
            select(VectorDocument)
            .where(VectorDocument.embedding.cosine_distance(query_embedding) < 0.7)
            .order_by(VectorDocument.embedding.cosine_distance(query_embedding))
        ).scalars().all()
        assert [d.title for d in results] == ["Deep learning", "Machine learning"]


def test_R17_step_6_hybrid_search(engine):
    """Full text and vectors, weighted: in the program as the text has it, and in one statement."""
    query, vector_weight, keyword_weight = "neural networks", 0.7, 0.3
    with Session(engine) as session:
        embedding = get_embedding(query)
        distance = VectorDocument.embedding.cosine_distance(embedding)
        vector_results = {d: 1 - x for d, x in session.execute(select(VectorDocument.title, distance).order_by(distance).limit(5))}
        question = func.plainto_tsquery("english", query)
        keyword_results = {d: rank for d, rank in session.execute(
            select(VectorDocument.title, func.ts_rank(VectorDocument.content_tsv, question))
            .where(VectorDocument.content_tsv.bool_op("@@")(question)))}
        assert set(keyword_results) == {"Deep learning", "Gradient descent"}
        combined = {title: vector_weight * vector_results.get(title, 0) + keyword_weight * keyword_results.get(title, 0)
                    for title in {*vector_results, *keyword_results}}
        best = sorted(combined, key=combined.get, reverse=True)
        assert set(best[:2]) == {"Deep learning", "Gradient descent"}
        in_sql = session.execute(text("""
            WITH by_vector AS (SELECT id, 1 - (embedding <=> CAST(:q AS vector)) AS score FROM vector_documents ORDER BY embedding <=> CAST(:q AS vector) LIMIT 5),
                 by_words AS (SELECT id, ts_rank(content_tsv, plainto_tsquery('english', :words)) AS score FROM vector_documents
                              WHERE content_tsv @@ plainto_tsquery('english', :words))
            SELECT title, :vw * coalesce(v.score, 0) + :kw * coalesce(w.score, 0) AS score
            FROM by_vector v FULL JOIN by_words w USING (id) JOIN vector_documents d USING (id) ORDER BY score DESC LIMIT 3"""),
            {"q": str(embedding), "words": query, "vw": vector_weight, "kw": keyword_weight}).all()
        assert [row[0] for row in in_sql][:2] == best[:2]
        assert in_sql[0][1] == pytest.approx(combined[best[0]], abs=1e-5)


def test_R19_bulk_load_drops_the_index_loads_rebuilds_and_analyses(engine):
    """Batches of the session, COPY of the driver, the index made anew after it, ANALYZE, and search over it."""
    rng = np.random.default_rng(8)
    vectors = rng.standard_normal((600, DIMENSIONS)).astype(np.float32)
    with Session(engine) as session:
        session.execute(text("DROP INDEX documents_embedding_idx"))
        session.bulk_insert_mappings(VectorDocument, [dict(title=f"row {i}", content="batch", embedding=v.tolist())
                                                      for i, v in enumerate(vectors[:100])])
        cursor = session.connection().connection.cursor()
        with cursor.copy("COPY vector_documents (title, content, embedding) FROM STDIN") as copy:
            for i, vector in enumerate(vectors[100:], 100):
                copy.write_row((f"row {i}", "copied", str(vector.tolist())))
        session.execute(text("CREATE INDEX documents_embedding_idx ON vector_documents USING hnsw (embedding vector_cosine_ops)"))
        session.execute(text("ANALYZE vector_documents"))
        session.commit()
        assert session.scalar(text("SELECT reltuples FROM pg_class WHERE relname = 'vector_documents'")) == len(DOCUMENTS) + 600
        session.execute(text("SET LOCAL enable_seqscan = off"))
        for i in (0, 99, 100, 599):
            near = VectorDocument.embedding.cosine_distance((vectors[i] + 0.1 * rng.standard_normal(DIMENSIONS)).tolist())
            assert session.scalars(select(VectorDocument.title).order_by(near).limit(1)).all() == [f"row {i}"]
