"""recall@10 of every operator class of both access methods, beside the exact search over the same rows.

The rows are cut from few hundred clusters, as embeddings are. With a search list of 200, or a third of the lists, 95 of 100 are found.
"""
import pytest

np = pytest.importorskip("numpy")

ROWS, QUERIES, DIMENSIONS = 2500, 25, 32
RNG = np.random.default_rng(20)
CENTRES = RNG.standard_normal((150, DIMENSIONS))
DENSE = (CENTRES[RNG.integers(0, 150, ROWS)] + 0.4 * RNG.standard_normal((ROWS, DIMENSIONS))).round(3)
ASKED = (CENTRES[RNG.integers(0, 150, QUERIES)] + 0.4 * RNG.standard_normal((QUERIES, DIMENSIONS))).round(3)


def dense(vector):
    return "[" + ",".join(map(str, vector)) + "]"


def sparse(vector):
    kept = [(i, x) for i, x in enumerate(vector, 1) if abs(x) > 0.8]
    return "{" + ",".join(f"{i}:{x}" for i, x in kept) + f"}}/{DIMENSIONS}"


def bits(vector):
    return "".join("1" if x > 0.6 else "0" for x in vector)


TYPES = {"vector": (f"vector({DIMENSIONS})", dense), "halfvec": (f"halfvec({DIMENSIONS})", dense),
         "sparsevec": (f"sparsevec({DIMENSIONS})", sparse), "bit": (f"bit({DIMENSIONS})", bits)}
OPERATORS = {"l2": "<->", "ip": "<#>", "cosine": "<=>", "l1": "<+>", "hamming": "<~>", "jaccard": "<%%>"}
CLASSES = [(method, kind, measure) for method, classes in {
    "hnsw": {"vector": "l2 ip cosine l1", "halfvec": "l2 ip cosine l1", "sparsevec": "l2 ip cosine l1", "bit": "hamming jaccard"},
    "ivfflat": {"vector": "l2 ip cosine", "halfvec": "l2 ip cosine", "bit": "hamming"}}.items()
    for kind, measures in classes.items() for measure in measures.split()]


def fill(pg, kind, table="items"):
    column, text = TYPES[kind]
    pg.run(f"CREATE TABLE {table} (id int, v {column})")
    with pg.connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        for i, row in enumerate(DENSE):
            copy.write_row((i, text(row)))


def recall(pg, kind, measure, index):
    """The share of the ten that an exact search finds; a row as near as the tenth counts, whichever it is."""
    column, text = TYPES[kind]
    operator = OPERATORS[measure]
    search = f"SELECT id, v {operator} %(q)s::{column} FROM items ORDER BY v {operator} %(q)s::{column} LIMIT 10"
    hits = 0
    for query in map(text, ASKED):
        pg.run("SET enable_seqscan = on; SET enable_indexscan = off")
        exact = pg.run(search, {"q": query})
        pg.run("SET enable_seqscan = off; SET enable_indexscan = on")
        found = pg.run(search, {"q": query})
        assert len(found) == 10
        distances = [distance for _, distance in found]
        assert all(a <= b + 1e-3 * abs(b) for a, b in zip(distances, distances[1:]))  # cosine is over rounded unit vectors
        hits += sum(distance <= exact[-1][1] + 1e-6 * abs(exact[-1][1]) for distance in distances)
    assert f"Index Scan using {index}" in "\n".join(pg.column("EXPLAIN " + search, {"q": query}))
    return hits / (10 * QUERIES)


@pytest.mark.parametrize("method, kind, measure", CLASSES, ids=lambda x: x)
def test_recall_of_an_index_that_was_built_one_that_grew_and_one_that_was_vacuumed(pg, method, kind, measure):
    fill(pg, kind)
    options = "WITH (lists = 25)" if method == "ivfflat" else ""
    pg.run("SET hnsw.ef_search = 200; SET ivfflat.probes = 10")
    pg.run(f"CREATE INDEX built ON items USING {method} (v {kind}_{measure}_ops) {options}")
    assert recall(pg, kind, measure, "built") >= 0.95

    # The same rows, two thirds of them inserted into an index of the rest.
    pg.run("CREATE TABLE later AS SELECT * FROM items WHERE id % 3 > 0; DROP INDEX built; DELETE FROM items WHERE id % 3 > 0")
    pg.run("VACUUM items")
    pg.run(f"CREATE INDEX grown ON items USING {method} (v {kind}_{measure}_ops) {options}")
    pg.run("INSERT INTO items SELECT * FROM later")
    assert recall(pg, kind, measure, "grown") >= 0.95

    pg.run("DELETE FROM items WHERE id % 4 = 0")
    pg.run("VACUUM items")
    assert recall(pg, kind, measure, "grown") >= 0.95
