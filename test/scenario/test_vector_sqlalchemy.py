"""SQLAlchemy with pgvector.sqlalchemy: models of every type, indexes by Index(), every distance, filters, thresholds, aggregates."""
from typing import Any, Optional

import pytest

pytest.importorskip("psycopg")
pytest.importorskip("pgvector")
sqlalchemy = pytest.importorskip("sqlalchemy")
np = pytest.importorskip("numpy")
from pgvector import HalfVector, SparseVector, Vector  # noqa: E402  after the skip
from pgvector.sqlalchemy import BIT, HALFVEC, SPARSEVEC, VECTOR, avg, sum  # noqa: E402
from sqlalchemy import Index, create_engine, func, inspect, select, text  # noqa: E402
from sqlalchemy.dialects import postgresql  # noqa: E402
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column  # noqa: E402


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[Optional[int]]
    v: Mapped[Optional[Any]] = mapped_column(VECTOR(3))
    h: Mapped[Optional[Any]] = mapped_column(HALFVEC(3))
    s: Mapped[Optional[Any]] = mapped_column(SPARSEVEC(3))
    b: Mapped[Optional[Any]] = mapped_column(BIT(3))


INDEXES = [
    Index("hnsw_l2", Item.v, postgresql_using="hnsw", postgresql_with={"m": 16, "ef_construction": 64}, postgresql_ops={"v": "vector_l2_ops"}),
    Index("hnsw_cosine", Item.v, postgresql_using="hnsw", postgresql_ops={"v": "vector_cosine_ops"}),
    Index("ivfflat_ip", Item.v, postgresql_using="ivfflat", postgresql_with={"lists": 1}, postgresql_ops={"v": "vector_ip_ops"}),
    Index("hnsw_half", Item.h, postgresql_using="hnsw", postgresql_ops={"h": "halfvec_l1_ops"}),
    Index("hnsw_sparse", Item.s, postgresql_using="hnsw", postgresql_ops={"s": "sparsevec_cosine_ops"}),
    Index("hnsw_bit", Item.b, postgresql_using="hnsw", postgresql_ops={"b": "bit_hamming_ops"}),
    Index("hnsw_cast", func.cast(Item.v, HALFVEC(3)).label("half"), postgresql_using="hnsw", postgresql_ops={"half": "halfvec_l2_ops"}),
    Index("hnsw_quantized", func.cast(func.binary_quantize(Item.v), BIT(3)).label("bits"), postgresql_using="hnsw",
          postgresql_ops={"bits": "bit_hamming_ops"}),
]
ROWS = [dict(kind=1, v=[1, 1, 1], h=[1, 1, 1], s=SparseVector([1, 1, 1]), b="000"),
        dict(kind=2, v=[2, 2, 2], h=[2, 2, 2], s=SparseVector([2, 2, 2]), b="101"),
        dict(kind=1, v=[1, 1, 2], h=[1, 1, 2], s=SparseVector([1, 1, 2]), b="111")]


@pytest.fixture(scope="module", params=["psycopg", "psycopg2"])
def engine(request, vector_server):
    pytest.importorskip(request.param)
    from psycopg.conninfo import conninfo_to_dict

    with vector_server.database(extension=False) as dsn:
        place = conninfo_to_dict(dsn)
        engine = create_engine(f"postgresql+{request.param}://{place['user']}@/{place['dbname']}", connect_args={"host": place["host"]})
        with engine.begin() as connection:
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
        Base.metadata.create_all(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def session(engine):
    with Session(engine) as session:
        session.execute(text("TRUNCATE items RESTART IDENTITY"))
        session.add_all([Item(**row) for row in ROWS])
        session.commit()
        yield session


def test_sqlalchemy_tables_and_indexes_are_made_and_reflected(engine):
    assert {index["name"]: index["dialect_options"]["postgresql_using"] for index in inspect(engine).get_indexes("items")} == {
        index.name: index.name.split("_")[0] for index in INDEXES}
    columns = {c["name"]: c["type"] for c in inspect(engine).get_columns("items")}
    assert (str(columns["v"]), str(columns["h"]), str(columns["s"])) == ("VECTOR(3)", "HALFVEC(3)", "SPARSEVEC(3)")
    Base.metadata.drop_all(engine)
    assert not inspect(engine).has_table("items")
    Base.metadata.create_all(engine)


def test_sqlalchemy_create_read_update_delete(session):
    item = session.get(Item, 2)
    assert np.array_equal(vector_of(item.v), [2, 2, 2]) and vector_of(item.h).tolist() == [2, 2, 2]
    assert item.s == SparseVector([2, 2, 2]) and item.b == "101"
    item.v, item.h, item.s = np.array([4, 5, 6], dtype=np.float32), HalfVector([7, 8, 9]), None
    session.commit()
    assert vector_of(session.get(Item, 2).v).tolist() == [4, 5, 6]
    assert vector_of(session.get(Item, 2).h).tolist() == [7, 8, 9] and session.get(Item, 2).s is None
    session.delete(item)
    session.commit()
    assert session.scalars(select(Item.id).order_by(Item.id)).all() == [1, 3]
    session.execute(sqlalchemy.insert(Item), [dict(v=[i, i, i]) for i in range(200)])
    assert session.scalar(select(func.count()).where(Item.v == [100, 100, 100])) == 1


def vector_of(value):
    """pgvector-python gives arrays or Vectors, by its version."""
    return np.array(value.to_list() if hasattr(value, "to_list") else value)


@pytest.mark.parametrize("column, distance, target, expected", [
    ("v", "l2_distance", [1, 1, 1], [1, 3, 2]), ("v", "max_inner_product", [1, 1, 1], [2, 3, 1]),
    ("v", "cosine_distance", [2, 2, 2.1], [1, 2, 3]), ("v", "l1_distance", [1, 1, 1], [1, 3, 2]),
    ("h", "l2_distance", [1, 1, 1], [1, 3, 2]), ("h", "max_inner_product", [1, 1, 1], [2, 3, 1]),
    ("h", "cosine_distance", [2, 2, 2.1], [1, 2, 3]), ("h", "l1_distance", [1, 1, 1], [1, 3, 2]),
    ("s", "l2_distance", SparseVector([1, 1, 1]), [1, 3, 2]), ("s", "max_inner_product", SparseVector([1, 1, 1]), [2, 3, 1]),
    ("s", "cosine_distance", SparseVector([2, 2, 2.1]), [1, 2, 3]), ("s", "l1_distance", SparseVector([1, 1, 1]), [1, 3, 2]),
    ("b", "hamming_distance", "101", [2, 3, 1]), ("b", "jaccard_distance", "101", [2, 3, 1])])
@pytest.mark.parametrize("by_index", [False, True], ids=["exact", "index"])
def test_sqlalchemy_distances(session, column, distance, target, expected, by_index):
    if by_index:
        session.execute(text("SET LOCAL enable_seqscan = off"))
    measure = getattr(getattr(Item, column), distance)(target)
    found = session.execute(select(Item.id, measure).order_by(measure, Item.id)).all()
    nearest = session.scalars(select(Item.id).order_by(measure).limit(3)).all()
    assert [row[0] for row in found] == expected
    assert sorted(nearest, key=lambda i: ([row[1] for row in found if row[0] == i], i)) == expected


def test_sqlalchemy_filters_and_thresholds(session):
    near = Item.v.l2_distance([1, 1, 1])
    assert session.scalars(select(Item.id).where(Item.kind == 1).order_by(near).limit(1)).all() == [1]
    assert session.scalars(select(Item.id).where(near < 1.5).order_by(near)).all() == [1, 3]
    assert session.scalars(select(Item.id).where(near.between(1, 2)).order_by(near)).all() == [3, 2]
    assert session.execute(select(Item.id, (1 - Item.v.cosine_distance([1, 1, 1])).label("similarity")).order_by(Item.id)).all() == [
        (1, pytest.approx(1)), (2, pytest.approx(1)), (3, pytest.approx(4 / (3 * 6) ** 0.5))]
    subquery = select(Item.v).where(Item.id == 3).scalar_subquery()
    assert session.scalars(select(Item.id).where(Item.id != 3).order_by(Item.v.l2_distance(subquery))).all() == [1, 2]


def test_sqlalchemy_aggregates(session):
    assert vector_of(session.scalar(select(avg(Item.v)))) == pytest.approx([4 / 3, 4 / 3, 5 / 3])
    assert vector_of(session.scalar(select(sum(Item.v)))).tolist() == [4, 4, 5]
    assert vector_of(session.scalar(select(sum(Item.h)))).tolist() == [4, 4, 5]
    assert session.scalar(select(avg(Item.v)).where(Item.id > 99)) is None
    groups = session.execute(select(Item.kind, avg(Item.v)).group_by(Item.kind).order_by(Item.kind)).all()
    assert [(kind, vector_of(mean).tolist()) for kind, mean in groups] == [(1, [1, 1, 1.5]), (2, [2, 2, 2])]


def test_sqlalchemy_index_is_used_by_the_query_that_the_model_writes(session):
    session.execute(text("INSERT INTO items (v) SELECT array[random(), random(), random()] FROM generate_series(1, 2000)"))
    session.execute(text("ANALYZE items; SET LOCAL enable_seqscan = off"))
    for measure, index in [(Item.v.l2_distance([0.5, 0.5, 0.5]), "hnsw_l2"), (Item.v.cosine_distance([1, 2, 3]), "hnsw_cosine"),
                           (sqlalchemy.cast(Item.v, HALFVEC(3)).l2_distance([1, 2, 3]), "hnsw_cast")]:
        statement = select(Item.id).order_by(measure).limit(5)
        assert f"Index Scan using {index} on items" in explain(session, statement)


def explain(session, statement):
    """The plan of a statement, with its parameters bound as the statement binds them."""
    compiled = statement.compile(session.get_bind())
    values = {name: (compiled._bind_processors.get(name) or (lambda x: x))(value) for name, value in compiled.params.items()}
    return "\n".join(row[0] for row in session.connection().exec_driver_sql("EXPLAIN " + str(compiled), values))


def test_sqlalchemy_wrong_dimensions_are_refused(session):
    session.add(Item(v=[1, 2]))
    with pytest.raises(sqlalchemy.exc.StatementError, match="expected 3 dimensions, not 2"):
        session.commit()
    session.rollback()
    session.execute(text("INSERT INTO items (v) VALUES ('[1,2,3]')"))
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="different vector dimensions 3 and 2"):
        session.execute(text("SELECT id FROM items ORDER BY v <-> '[1,2]'"))


def test_sqlalchemy_arrays_of_vectors(engine):
    table = sqlalchemy.Table("lists", sqlalchemy.MetaData(), sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
                             sqlalchemy.Column("vs", postgresql.ARRAY(VECTOR(3))))
    table.create(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), {"id": 1, "vs": [Vector([1, 2, 3]), Vector([4, 5, 6])]})
        assert connection.scalar(text("SELECT vs[2] <-> '[4,5,7]' FROM lists")) == 1
