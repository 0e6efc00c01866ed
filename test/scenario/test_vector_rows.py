"""R01, R04, R08, R19: the extension among the others, arrays beside vectors, every type of index where it belongs, bulk load."""
import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("psycopg")
pytest.importorskip("pgvector")
import pgvector.psycopg  # noqa: E402  after the skip
import vector_servers  # noqa: E402

TEXTS_EXTENSIONS = ("uuid-ossp", "pg_trgm", "hstore", "pg_stat_statements", "pgstattuple", "vector")


def test_R01_vector_is_among_the_extensions(cairn_vector_server):
    with cairn_vector_server.database(extension=False) as dsn:
        session = vector_servers.Session(dsn)
        for name in TEXTS_EXTENSIONS:
            session.run(f'CREATE EXTENSION IF NOT EXISTS "{name}"')
        installed = session.column("SELECT extname FROM pg_extension WHERE extname = ANY(%s)", (list(TEXTS_EXTENSIONS),))
        assert sorted(installed) == sorted(TEXTS_EXTENSIONS)
        assert session.value("SELECT comment FROM pg_available_extensions WHERE name = 'vector'") == (
            "vector data type and ivfflat and hnsw access methods")
        assert session.value("SELECT relocatable FROM pg_available_extension_versions WHERE name = 'vector' AND installed")
        session.run("CREATE SCHEMA elsewhere; ALTER EXTENSION vector SET SCHEMA elsewhere")
        assert session.value("SELECT '[1,2]'::elsewhere.vector OPERATOR(elsewhere.<->) '[1,4]'") == 2
        session.run("DROP EXTENSION vector; CREATE EXTENSION vector")
        session.close()


def test_R04_arrays_of_float4_beside_vector(pg):
    """Text 000's table, its small feature vectors as FLOAT4[], and the same numbers as vector."""
    pg.run("""
        CREATE TABLE features (
            id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
            model_id UUID,
            feature_vector FLOAT4[],
            created_at TIMESTAMPTZ DEFAULT NOW(),
            embedding vector(4) GENERATED ALWAYS AS (feature_vector::vector(4)) STORED
        );
        INSERT INTO features (model_id, feature_vector) VALUES
            (gen_random_uuid(), ARRAY[0.12, -0.34, 0.56, 0.78]), (gen_random_uuid(), ARRAY[1, 0, 0, 0]), (gen_random_uuid(), NULL)""")
    assert pg.value("SELECT count(*) FROM features WHERE embedding::float4[] = feature_vector") == 2
    assert pg.value("SELECT embedding::text FROM features WHERE feature_vector[1] = 0.12::float4") == "[0.12,-0.34,0.56,0.78]"
    assert pg.value("SELECT feature_vector[1] FROM features WHERE feature_vector IS NOT NULL ORDER BY embedding <-> ARRAY[1, 0, 0, 0.1]::float4[]::vector LIMIT 1") == 1
    assert pg.value("SELECT embedding::text FROM features WHERE feature_vector IS NULL") is None
    # The element types that features come in, and what cannot be one.
    for array in ("ARRAY[1, 2, 3]", "ARRAY[1, 2, 3]::float8[]", "ARRAY[1, 2, 3]::float4[]", "ARRAY[1, 2, 3]::numeric[]"):
        assert pg.value(f"SELECT ({array})::vector::text") == "[1,2,3]"
        assert pg.value(f"SELECT ({array})::halfvec::text") == "[1,2,3]"
    for array, sqlstate, message in (
            ("ARRAY[1, NULL]::float4[]", "22004", "array must not contain nulls"), ("ARRAY[[1], [2]]::float4[]", "22000", "array must be 1-D"),
            ("ARRAY[]::float4[]", "22000", "vector must have at least 1 dimension"), ("ARRAY['NaN']::float4[]", "22000", "NaN not allowed in vector")):
        assert pg.refused(f"SELECT ({array})::vector")[:2] == (sqlstate, message)
    assert pg.refused("INSERT INTO features (feature_vector) VALUES (ARRAY[1, 2, 3])")[:2] == ("22000", "expected 4 dimensions, not 3")


def test_R08_every_type_of_index_is_used_where_it_belongs(pg):
    """One table, one query a type: B-tree, composite, covering, partial, expression, GIN, BRIN, hash, IVFFlat, HNSW."""
    pg.run("""
        CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, model int, status text, at timestamptz, metadata jsonb, name text,
                             latency float8, v vector(16), w vector(16));
        INSERT INTO events (model, status, at, metadata, name, latency, v, w)
        SELECT i % 500, CASE WHEN i % 50 = 0 THEN 'failed' ELSE 'done' END, timestamptz '2025-01-01' + i * interval '1 minute',
               jsonb_build_object('tag', 't' || i % 1000), 'Name ' || i, i * 0.1, random_vector, random_vector
        FROM generate_series(1, 20000) i, LATERAL (SELECT array_agg(random())::vector(16) AS random_vector FROM generate_series(1, 16) WHERE i = i) x;
        CREATE INDEX btree ON events (id);
        CREATE INDEX composite ON events (model, at DESC);
        CREATE INDEX covering ON events (latency) INCLUDE (status);
        CREATE INDEX partial ON events (at) WHERE status = 'failed';
        CREATE INDEX expression ON events (lower(name));
        CREATE INDEX gin ON events USING gin (metadata jsonb_path_ops);
        CREATE INDEX brin ON events USING brin (at);
        CREATE INDEX hash ON events USING hash (name);
        SET maintenance_work_mem = '128MB';
        CREATE INDEX ivfflat ON events USING ivfflat (w vector_cosine_ops) WITH (lists = 20);
        CREATE INDEX hnsw ON events USING hnsw (v vector_l2_ops) WITH (m = 8, ef_construction = 32)""")
    pg.run("VACUUM ANALYZE events")
    query = "'[" + ",".join(["0.5"] * 16) + "]'"
    for index, statement in {
            "btree": "SELECT * FROM events WHERE id = 77", "composite": "SELECT * FROM events WHERE model = 7 ORDER BY at DESC LIMIT 5",
            "covering": "SELECT latency, status FROM events WHERE latency BETWEEN 5 AND 6",
            "partial": "SELECT count(*) FROM events WHERE status = 'failed' AND at < '2025-01-03'",
            "expression": "SELECT * FROM events WHERE lower(name) = 'name 77'", "gin": """SELECT * FROM events WHERE metadata @> '{"tag": "t7"}'""",
            "hash": "SELECT * FROM events WHERE name = 'Name 77'", "ivfflat": f"SELECT id FROM events ORDER BY w <=> {query} LIMIT 5",
            "hnsw": f"SELECT id FROM events ORDER BY v <-> {query} LIMIT 5"}.items():
        assert f" {index} on events" in pg.plan(statement) or f"Bitmap Index Scan on {index}" in pg.plan(statement), pg.plan(statement)
    assert "Index Only Scan using covering" in pg.plan("SELECT latency, status FROM events WHERE latency BETWEEN 5 AND 6")
    pg.run("DROP INDEX composite; DROP INDEX partial; SET enable_seqscan = off")
    assert "Bitmap Index Scan on brin" in pg.plan("SELECT count(*) FROM events WHERE at BETWEEN '2025-01-02' AND '2025-01-03'")


@pytest.mark.parametrize("method", ["hnsw", "ivfflat"])
def test_R19_drop_load_rebuild_analyse(pg, method):
    """COPY and batches into a table without its index, the index made anew, ANALYZE; the planner then knows the table's size."""
    vectors = np.random.default_rng(19).standard_normal((4000, 16)).astype(np.float32)
    pg.run("CREATE TABLE documents (id int, embedding vector(16))")
    pg.run(f"CREATE INDEX documents_embedding_idx ON documents USING {method} (embedding vector_l2_ops)")
    pg.run("DROP INDEX documents_embedding_idx")
    pgvector.psycopg.register_vector(pg.connection)
    with pg.connection.cursor().copy("COPY documents FROM STDIN WITH (FORMAT BINARY)") as copy:
        copy.set_types(["int4", "vector"])
        for i, vector in enumerate(vectors[:3000]):
            copy.write_row((i, vector))
    with pg.connection.cursor() as cursor, pg.connection.transaction():
        cursor.executemany("INSERT INTO documents VALUES (%s, %s)", [(i, v) for i, v in enumerate(vectors[3000:], 3000)])
    pg.run(f"CREATE INDEX documents_embedding_idx ON documents USING {method} (embedding vector_l2_ops)")
    pg.run("ANALYZE documents")
    assert pg.value("SELECT reltuples FROM pg_class WHERE relname = 'documents'") == 4000
    pg.run("SET hnsw.ef_search = 100; SET ivfflat.probes = 100")
    for i in (5, 3500):
        statement = "SELECT id FROM documents ORDER BY embedding <-> %s LIMIT 1"
        assert pg.column(statement, (vectors[i],)) == [i]
    pg.run("RESET ALL")
    assert "Index Scan using documents_embedding_idx" in pg.plan("SELECT id FROM documents ORDER BY embedding <-> (SELECT embedding FROM documents LIMIT 1) LIMIT 10")
