"""psycopg 3 and psycopg2 with pgvector-python: text and binary, parameters and COPY, every type, search."""
import pytest

psycopg = pytest.importorskip("psycopg")
psycopg2 = pytest.importorskip("psycopg2")
pgvector = pytest.importorskip("pgvector")
np = pytest.importorskip("numpy")
import pgvector.psycopg  # noqa: E402  after the skip
import pgvector.psycopg2  # noqa: E402
from pgvector import Bit, HalfVector, SparseVector, Vector  # noqa: E402

CREATE = """CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v vector(3), h halfvec(3), s sparsevec(3), b bit(3))"""
ROWS = [  # exact in half precision
    (Vector([1, 2, 3]), HalfVector([1, 2, 3]), SparseVector([1, 0, 3]), "101"),
    (Vector([1.5, -2.25, 1e-3 * 0]), HalfVector([0.5, 65504, -65504]), SparseVector([0, 0, 0]), "000"),
    (Vector([3.4028234663852886e38, -1.401298464324817e-45, 0]), HalfVector([5.9604645e-08, 0, 1]), SparseVector([0, 1.25, 0]), "111"),
    (None, None, None, None),
]


@pytest.fixture
def connection(vector_database):
    with psycopg.connect(vector_database, autocommit=True) as connection:
        pgvector.psycopg.register_vector(connection)
        connection.execute(CREATE)
        yield connection


def plain(row):
    """A row as Python's own values, so that rows can be compared."""
    return tuple(None if x is None else x if isinstance(x, str) else
                 (x.dimensions(), x.indices(), x.values()) if isinstance(x, SparseVector) else
                 x.to_list() if hasattr(x, "to_list") else x.tolist() for x in row)


def stored(connection, binary):
    with connection.cursor(binary=binary) as cursor:
        return [plain(row) for row in cursor.execute("SELECT v, h, s, b::text FROM items ORDER BY id").fetchall()]


@pytest.mark.parametrize("binary_in", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("binary_out", [False, True], ids=["text", "binary"])
def test_psycopg_values_come_back_as_they_were_given(connection, binary_in, binary_out):
    marks = "%b, %b, %b" if binary_in else "%t, %t, %t"
    for v, h, s, b in ROWS:
        connection.execute(f"INSERT INTO items (v, h, s, b) VALUES ({marks}, %s::bit(3))", (v, h, s, b))
    assert stored(connection, binary_out) == [plain(row) for row in ROWS]


@pytest.mark.parametrize("format", ["text", "binary"])
def test_psycopg_copy_in_and_out(connection, format):
    options = f"WITH (FORMAT {format})"
    with connection.cursor().copy(f"COPY items (v, h, s, b) FROM STDIN {options}") as copy:
        copy.set_types(["vector", "halfvec", "sparsevec", "bit"])
        for v, h, s, b in ROWS:
            copy.write_row((v, h, s, None if b is None else Bit(b)))
    assert stored(connection, False) == stored(connection, True) == [plain(row) for row in ROWS]

    with connection.cursor().copy(f"COPY (SELECT v, h, s FROM items ORDER BY id) TO STDOUT {options}") as copy:
        copy.set_types(["vector", "halfvec", "sparsevec"])
        assert [plain(row) for row in copy.rows()] == [plain(row[:3]) for row in ROWS]


def test_psycopg_numpy_arrays_and_lists(connection):
    rng = np.random.default_rng(1)
    given = rng.standard_normal((200, 3)).astype(np.float32)
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO items (v) VALUES (%s)", [(row,) for row in given])
    found = connection.execute("SELECT v FROM items ORDER BY id", binary=True).fetchall()
    assert np.array_equal(np.array([Vector(v).to_list() if isinstance(v, list) else v.to_list() if hasattr(v, "to_list") else v
                                    for (v,) in found], dtype=np.float32), given)
    query = np.array([0.1, 0.2, 0.3], dtype=np.float32)
    nearest = [row[0] for row in connection.execute("SELECT id FROM items ORDER BY v <-> %s LIMIT 5", (query,))]
    assert nearest == (np.argsort(((given - query) ** 2).sum(1))[:5] + 1).tolist()


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_psycopg_wrong_values_are_refused(connection, binary):
    mark = "%b" if binary else "%t"
    for value, sqlstate, message in [
            (Vector([1, float("nan"), 3]), "22000", "NaN not allowed in vector"),
            (Vector([1, float("inf"), 3]), "22000", "infinite value not allowed in vector"),
            (Vector([1, 2]), "22000", "expected 3 dimensions, not 2"),
            (Vector([]), "22000", "vector must have at least 1 dimension")]:
        with pytest.raises(psycopg.errors.DataException) as refused:
            connection.execute(f"INSERT INTO items (v) VALUES ({mark})", (value,))
        assert (refused.value.sqlstate, refused.value.diag.message_primary) == (sqlstate, message)


@pytest.mark.parametrize("prepare", [False, True])
def test_psycopg_search_with_filter_threshold_and_index(connection, prepare):
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((1000, 3)).astype(np.float32)
    with connection.cursor().copy("COPY items (v) FROM STDIN WITH (FORMAT BINARY)") as copy:
        copy.set_types(["vector"])
        for vector in vectors:
            copy.write_row((vector,))
    connection.execute("CREATE INDEX ON items USING hnsw (v vector_cosine_ops)")
    connection.execute("SET hnsw.ef_search = 400; SET hnsw.iterative_scan = strict_order")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for query in rng.standard_normal((10, 3)).astype(np.float32):
        distances = 1 - unit @ (query / np.linalg.norm(query))
        order = np.argsort(distances)
        found = connection.execute("SELECT id, v <=> %s FROM items ORDER BY v <=> %s LIMIT 10", (query, query), prepare=prepare).fetchall()
        assert [row[0] for row in found] == (order[:10] + 1).tolist()
        assert [row[1] for row in found] == pytest.approx(distances[order[:10]].tolist(), abs=1e-5)
        even = [i + 1 for i in order if i % 2 == 1][:10]
        assert [row[0] for row in connection.execute(
            "SELECT id FROM items WHERE id %% 2 = 0 ORDER BY v <=> %s LIMIT 10", (query,), prepare=prepare)] == even
        near = (order[distances[order] < 0.05] + 1).tolist()
        assert [row[0] for row in connection.execute(
            "SELECT id FROM items WHERE v <=> %s < 0.05 ORDER BY v <=> %s", (query, query), prepare=prepare)] == near


def test_psycopg_distances_aggregates_and_arrays(connection):
    connection.execute("INSERT INTO items (v, h, s, b) VALUES ('[1,2,3]', '[1,2,3]', '{1:1,3:3}/3', '101'), ('[4,4,4]', '[4,4,4]', '{}/3', '000')")
    one = connection.execute("""SELECT v <-> '[1,1,1]', v <#> '[1,1,1]', v <=> '[1,1,1]', v <+> '[1,1,1]', h <-> '[1,1,1]', h <#> '[1,1,1]',
        h <=> '[1,1,1]', h <+> '[1,1,1]', s <-> '{1:1}/3', s <#> '{1:1}/3', s <=> '{1:1}/3', s <+> '{1:1}/3', b <~> '100', b <%%> '100'
        FROM items WHERE id = 1""".replace("%%", "%")).fetchone()
    cosine = 1 - 6 / (3 ** 0.5 * 14 ** 0.5)
    assert one == pytest.approx((5 ** 0.5, -6, cosine, 3, 5 ** 0.5, -6, cosine, 3, 3, -1, 1 - 1 / 10 ** 0.5, 3, 1, 0.5), abs=1e-6)
    row = connection.execute("SELECT avg(v), sum(v), avg(h), sum(h), array_agg(v ORDER BY id), v FROM items GROUP BY v ORDER BY v LIMIT 1").fetchone()
    assert plain(row[:4]) == ([1, 2, 3],) * 4
    assert plain(connection.execute("SELECT avg(v), sum(v) FROM items").fetchone()) == ([2.5, 3, 3.5], [5, 6, 7])
    assert connection.execute("SELECT vector_dims(v), vector_norm(v), v::real[], l2_normalize('[3,4]'::vector)::text, binary_quantize(v)::text "
                              "FROM items WHERE id = 1").fetchone() == (3, pytest.approx(14 ** 0.5), [1, 2, 3], "[0.6,0.8]", "111")


def test_psycopg2_register_insert_search_and_copy(vector_database):
    connection = psycopg2.connect(vector_database)
    try:
        pgvector.psycopg2.register_vector(connection)
        cursor = connection.cursor()
        cursor.execute(CREATE)
        for v, h, s, b in ROWS:
            cursor.execute("INSERT INTO items (v, h, s, b) VALUES (%s, %s, %s, %s)", (v, h, s, b))
        cursor.execute("SELECT v, h, s, b FROM items ORDER BY id")
        assert [plain(row) for row in cursor.fetchall()] == [plain(row) for row in ROWS]
        cursor.execute("INSERT INTO items (v) VALUES (%s)", (np.array([7, 8, 9]),))
        cursor.execute("SELECT id, v <-> %s FROM items WHERE v <-> %s < 1 ORDER BY v <-> %s LIMIT 5", (np.array([7, 8, 9.5]),) * 3)
        assert cursor.fetchall() == [(5, 0.5)]

        import io
        cursor.copy_expert("COPY items (v, s) FROM STDIN", io.StringIO("[0,0,1]\t{2:1}/3\n\\N\t{}/3\n"))
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT v, s FROM items WHERE id > 5 ORDER BY id) TO STDOUT", out)
        assert out.getvalue() == "[0,0,1]\t{2:1}/3\n\\N\t{}/3\n"
        with pytest.raises(psycopg2.DataError) as refused:
            cursor.execute("INSERT INTO items (v) VALUES (%s)", (np.array([1, 2]),))
        assert refused.value.pgcode == "22000"
    finally:
        connection.close()
