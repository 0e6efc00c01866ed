"""Moving from pgvector to Cairn's extension, and back: by dump and restore, and by changing the library under the tables.

The other side is PyPI's PostgreSQL 16 with pgvector. For the change under running tables the extension is compiled for that
PostgreSQL and put into a copy of its tree.
"""
import fcntl
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import vector_servers
from extension_catalog import catalog_of, differences

np = pytest.importorskip("numpy")
pytest.importorskip("psycopg")
pytestmark = [pytest.mark.timeout(900), pytest.mark.skipif("cairn" not in vector_servers.SERVERS, reason="CAIRN_TEST_VECTOR leaves Cairn's extension out")]

ROOT = pathlib.Path(os.environ.get("CAIRN_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
OURS, ADDED = "0.8.100", ["vector_index_check(regclass)"]
# Rows of every type: in the row itself, compressed, and out of line (TOAST); edge values; no value.
TABLES = """
CREATE TABLE items (id int PRIMARY KEY, kind text, v vector(3), h halfvec(3), s sparsevec(100000), b bit(12), free vector, long vector(2000), big halfvec(4000),
    half halfvec(3) GENERATED ALWAYS AS (v::halfvec(3)) STORED, CHECK (vector_norm(v) >= 0));
INSERT INTO items (id, kind, v, h, s, b, free, long, big)
SELECT i, 'kind ' || i % 3, array[i, i * 0.5, -i], array[i % 60000, 1.0 / (i + 1), 0], format('{1:%s,%s:2.5}/100000', i + 1, i + 50)::sparsevec, i::bit(12),
    array_fill(i::real, ARRAY[1 + i % 5]), (SELECT array_agg(sin(i * n)) FROM generate_series(1, 2000) n), (SELECT array_agg(cos(i + n)) FROM generate_series(1, 4000) n)
FROM generate_series(1, 300) i;
INSERT INTO items (id, v, h, s, free) VALUES (1001, '[65504,-65504,1e-45]', '[65504,-65504,6e-08]', '{}/100000', '[3.4028235e38,-3.4028235e38,1e-45]'),
    (1002, '[-0,0,1]', '[-0,0,1]', '{100000:-1}/100000', '[-0]'), (1003, NULL, NULL, NULL, NULL);
CREATE VIEW near AS SELECT id, v <-> '[1,2,3]' AS distance FROM items ORDER BY v <-> '[1,2,3]' LIMIT 10;
CREATE TABLE parts (id int, v vector(3) DEFAULT '[0,0,1]') PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (200);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (200) TO (400);
INSERT INTO parts SELECT id, v FROM items WHERE id < 400;
CREATE MATERIALIZED VIEW means AS SELECT kind, avg(v) AS mean, sum(h) AS total FROM items WHERE id < 400 GROUP BY kind;
"""
INDEXES = """
CREATE INDEX by_l2 ON items USING hnsw (v vector_l2_ops) WITH (m=8, ef_construction=32);
CREATE INDEX by_cosine ON items USING hnsw (h halfvec_cosine_ops) WHERE id < 1000;
CREATE INDEX by_sparse ON items USING hnsw (s sparsevec_l1_ops);
CREATE INDEX by_bits ON items USING hnsw (b bit_hamming_ops);
CREATE INDEX by_list ON items USING ivfflat (v vector_ip_ops) WITH (lists=3);
CREATE INDEX by_list_of_bits ON items USING ivfflat (b bit_hamming_ops) WITH (lists=3);
CREATE INDEX by_expression ON items USING ivfflat (((v)::halfvec(3)) halfvec_l2_ops) WITH (lists=3);
CREATE INDEX by_value ON items USING btree (v);
CREATE INDEX by_part ON parts USING hnsw (v vector_l2_ops);
"""
OF_PGVECTOR = {"by_l2": "v <-> '[1,2,3]'", "by_cosine": "h <=> '[1,2,3]'", "by_sparse": "s <+> '{1:1}/100000'", "by_list": "v <#> '[1,2,3]'",
               "by_expression": "v::halfvec(3) <-> '[1,2,3]'"}
SEARCHES = {"by_l2": "SELECT id FROM items ORDER BY v <-> '[40.2,20,-40]' LIMIT 5", "by_bits": "SELECT id FROM items ORDER BY b <~> 7::bit(12), id LIMIT 1",
            "by_sparse": "SELECT id FROM items ORDER BY s <+> '{1:31,80:2.5}/100000' LIMIT 1", "by_list": "SELECT id FROM items ORDER BY v <#> '[1,0,0]' LIMIT 1",
            "by_part": "SELECT id FROM parts ORDER BY v <-> '[40.2,20,-40]' LIMIT 5"}


def binary_of(session, query):
    with session.connection.cursor().copy(f"COPY ({query}) TO STDOUT WITH (FORMAT BINARY)") as copy:
        return b"".join(bytes(block) for block in copy)


def contents(session):
    """All rows of all tables in their binary format, and how the indexes are defined."""
    tables = {name: binary_of(session, f"SELECT * FROM {name} ORDER BY 1") for name in ("items", "parts", "means")}
    return tables, session.column("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname")


def answers(session):
    session.run("SET enable_seqscan = off; SET hnsw.ef_search = 200; SET ivfflat.probes = 3")
    found = {name: session.column(query) for name, query in SEARCHES.items()}
    session.run("RESET ALL")
    return found


@pytest.fixture(params=["stock to cairn", "cairn to stock"])
def way(request, stock_server, cairn_vector_server):
    servers = {"stock": stock_server, "cairn": cairn_vector_server}
    source, target = request.param.split(" to ")
    return servers[source], servers[target]


@pytest.mark.parametrize("form", ["plain", "custom"])
def test_dump_and_restore(way, stock_server, tmp_path, form):
    """With pg_dump and psql or pg_restore. An archive is read by the pg_restore of the version that wrote it, or a later one."""
    source, target = way
    with source.database() as old, target.database(extension=False) as new:
        session = vector_servers.Session(old)
        session.run(TABLES)
        session.run(INDEXES)
        before, found = contents(session), answers(session)
        file = str(tmp_path / "dump")
        source.tool("pg_dump", "-d", old, "-F", form, "-f", file)
        if form == "plain":
            target.tool("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", new, "-f", file)
        else:
            stock_server.tool("pg_restore", "--exit-on-error", "-d", new, file)
        session.close()
        session = vector_servers.Session(new)
        assert contents(session) == before
        assert answers(session) == found
        assert found["by_l2"] == found["by_part"] == [40, 41, 39, 42, 38]
        session.close()


def test_catalog_is_that_of_pgvector(stock_server, cairn_vector_server):
    """Functions and their C symbols, operators, classes, casts, aggregates: row by row, but for what Cairn adds."""
    with stock_server.database() as one, cairn_vector_server.database() as other:
        sessions = [vector_servers.Session(dsn) for dsn in (one, other)]
        stock, ours = map(catalog_of, sessions)
        for session in sessions:
            session.close()
    assert len(stock["functions"]) > 100 and len(stock["operators of classes"]) > 30
    found = differences(stock, ours)
    assert {kind: missing for kind, (missing, _) in found.items() if missing} == {}
    added = [row for _, rows in found.values() for row in rows]
    assert [row for row in added if not any(name.split("(")[0] in row for name in ADDED)] == []


@pytest.fixture(scope="module")
def swapped():
    """Where the extension lies that was compiled for the stock PostgreSQL (in the folder of extension/test/t/test_versions.py)."""
    build = ROOT / "build" / "postgresql16"
    build.mkdir(parents=True, exist_ok=True)
    with open(build / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["cmake", "--preset", "dev", "-B", build, f"-DPG_CONFIG={vector_servers.stock_package()}/pginstall/bin/pg_config", "-DCAIRN_TESTS=OFF"],
                        ["ninja", "-C", build, "-j", os.environ.get("CAIRN_JOBS", "2"), "vector", "vector_sql"]):
            done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return build / "extension"


def put_in(extension, tree):
    """Changes the extension's files in a PostgreSQL tree, as a package does."""
    for file in (tree / "share" / "postgresql" / "extension").glob("vector*"):
        file.unlink()
    for file in [*extension.glob("vector--*.sql"), extension / "vector.control"]:
        shutil.copy(file, tree / "share" / "postgresql" / "extension")
    shutil.copy(extension / "vector.so", tree / "lib" / "postgresql" / "vector.so.new")
    os.replace(tree / "lib" / "postgresql" / "vector.so.new", tree / "lib" / "postgresql" / "vector.so")


def keep(tree, folder):
    """A copy of the extension's files of a tree, in the form that put_in takes."""
    folder.mkdir()
    for file in [*(tree / "share" / "postgresql" / "extension").glob("vector*"), tree / "lib" / "postgresql" / "vector.so"]:
        shutil.copy(file, folder)
    return folder


def see_refusals(session):
    """Each of pgvector's indexes is refused where it is used, by its name and with what to do; what does not use it works."""
    session.run("SET enable_seqscan = off; SET enable_sort = off")
    for index, order in OF_PGVECTOR.items():
        assert session.refused(f"SELECT id FROM items WHERE id < 1000 ORDER BY {order} LIMIT 1") == (
            "55000", f'index "{index}" was built by pgvector', None, f"Rebuild it: REINDEX INDEX {index};")
    session.run("RESET enable_seqscan; RESET enable_sort; DELETE FROM items WHERE id = 1003")
    for statement in ("INSERT INTO items (id, v) VALUES (2000, '[1,2,3]')", "UPDATE items SET v = v + v", "VACUUM (INDEX_CLEANUP on) items"):
        refusal = session.refused(statement)
        assert refusal.sqlstate == "55000" and refusal.hint.startswith("Rebuild it: REINDEX INDEX by_"), statement


def test_extension_is_changed_under_existing_tables_and_back(swapped):
    """The tables stay as they are; pgvector's indexes are refused with a hint until REINDEX; the catalog becomes a new one's."""
    with vector_servers.temporary_folder() as folder:
        programs = vector_servers.stock_tree(folder)
        tree = programs.parent
        stock_files = keep(tree, folder / "pgvector")
        cluster = folder / "cluster"
        cluster.mkdir()
        with vector_servers.running_cluster(programs, cluster) as dsn:
            session = vector_servers.Session(dsn)
            session.run("CREATE EXTENSION vector")
            session.run(TABLES)
            session.run(INDEXES)
            before = contents(session)
            found = answers(session)
            session.close()

        put_in(swapped, tree)
        with vector_servers.running_cluster(programs, cluster) as dsn:
            session = vector_servers.Session(dsn)
            session.run("SET enable_indexscan = off")
            assert contents(session) == before
            session.run("RESET enable_indexscan")
            see_refusals(session)

            session.run("ALTER EXTENSION vector UPDATE")
            assert session.value("SELECT extversion FROM pg_extension WHERE extname = 'vector'") == OURS
            updated = catalog_of(session)
            session.run("CREATE DATABASE fresh TEMPLATE template0")
            fresh = vector_servers.Session(dsn.replace("dbname=postgres", "dbname=fresh"))
            fresh.run("CREATE EXTENSION vector")
            assert differences(updated, catalog_of(fresh)) == {}
            fresh.close()

            session.run("REINDEX TABLE items")
            session.run("REINDEX INDEX by_part")
            assert answers(session) == found
            session.run("INSERT INTO items (id, v, h, s, b, free, long) SELECT id + 5000, v + '[1,1,1]', h, s, b, free, long FROM items WHERE id < 100")
            session.run("VACUUM items")
            assert session.run("SELECT i, c.* FROM unnest(%s::text[]) i, vector_index_check(i::regclass) c", (list(OF_PGVECTOR),)) == []
            after = contents(session)
            session.close()

        # And back: what Cairn's extension has written, pgvector reads.
        put_in(stock_files, tree)
        with vector_servers.running_cluster(programs, cluster) as dsn:
            session = vector_servers.Session(dsn)
            session.run("SET enable_indexscan = off")
            assert contents(session) == after
            session.run("RESET enable_indexscan; REINDEX TABLE items")
            session.run("REINDEX INDEX by_part")
            assert answers(session)["by_part"] == found["by_part"]
            session.close()
