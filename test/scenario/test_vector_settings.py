"""Settings, storage parameters, limits and errors of the access methods: names, ranges and wording are what clients know."""
import pytest

SETTINGS = {
    # name: (type, default, least, most, values)
    "hnsw.ef_search": ("integer", "40", "1", "1000", None),
    "hnsw.iterative_scan": ("enum", "off", None, None, ["off", "relaxed_order", "strict_order"]),
    "hnsw.max_scan_tuples": ("integer", "20000", "1", "2147483647", None),
    "hnsw.scan_mem_multiplier": ("real", "1", "1", "1000", None),
    "ivfflat.iterative_scan": ("enum", "off", None, None, ["off", "relaxed_order"]),
    "ivfflat.max_probes": ("integer", "32768", "1", "32768", None),
    "ivfflat.probes": ("integer", "1", "1", "32768", None),
}


def test_settings_have_their_types_defaults_and_ranges(pg):
    pg.run("LOAD 'vector'")
    found = pg.run("""
        SELECT name, vartype, boot_val, min_val, max_val, enumvals, context, setting = boot_val FROM pg_settings
        WHERE name = ANY(%s)""", (list(SETTINGS),))
    assert {row[0]: row[1:6] for row in found} == SETTINGS
    assert {row[6:] for row in found} == {("user", True)}


@pytest.mark.parametrize("setting, wrong", [
    ("hnsw.ef_search", 0), ("hnsw.ef_search", 1001), ("hnsw.max_scan_tuples", 0), ("hnsw.scan_mem_multiplier", 0.5),
    ("hnsw.scan_mem_multiplier", 1001), ("ivfflat.probes", 0), ("ivfflat.probes", 32769), ("ivfflat.max_probes", 0)])
def test_settings_out_of_range_are_refused(pg, setting, wrong):
    pg.run("LOAD 'vector'")
    least, most = SETTINGS[setting][2:4]
    refusal = pg.refused(f"SET {setting} = {wrong}")
    assert refusal[:2] == ("22023", f'{wrong} is outside the valid range for parameter "{setting}" ({least} .. {most})')


def test_settings_of_a_choice_name_what_can_be_chosen(pg):
    pg.run("LOAD 'vector'")
    refusal = pg.refused("SET hnsw.iterative_scan = 'on'")
    assert (refusal.sqlstate, refusal.hint) == ("22023", "Available values: off, relaxed_order, strict_order.")
    refusal = pg.refused("SET ivfflat.iterative_scan = 'strict_order'")
    assert (refusal.sqlstate, refusal.hint) == ("22023", "Available values: off, relaxed_order.")


@pytest.mark.parametrize("method", ["hnsw", "ivfflat"])
def test_settings_that_do_not_exist_are_refused(pg, method):
    pg.run("LOAD 'vector'")
    refusal = pg.refused(f"SET {method}.nothing = 1")
    assert refusal[:2] == ("42602", f'invalid configuration parameter name "{method}.nothing"')


def test_settings_can_be_given_before_the_library_is_loaded_and_per_role_or_transaction(pg):
    pg.run("SET hnsw.ef_search = 100")
    pg.run("LOAD 'vector'")
    assert pg.value("SHOW hnsw.ef_search") == "100"
    with pg.connection.transaction():
        pg.run("SET LOCAL hnsw.ef_search = 200")
        assert pg.value("SHOW hnsw.ef_search") == "200"
    assert pg.value("SHOW hnsw.ef_search") == "100"
    assert pg.value("SELECT set_config('ivfflat.probes', '7', false)") == "7"


@pytest.fixture
def table(pg):
    pg.run("""CREATE TABLE items (id int, v vector(3), h halfvec(3), s sparsevec(3), b bit(3), free vector, free_h halfvec,
        free_s sparsevec, vb varbit, v2000 vector(2000), v2001 vector(2001), v16000 vector(16000), h4000 halfvec(4000),
        h4001 halfvec(4001), s2m sparsevec(2000000), b64000 bit(64000), b64001 bit(64001))""")
    return pg


INDEX_ERRORS = [
    # what follows CREATE INDEX ON items USING: SQLSTATE, message, detail
    ("hnsw (v)", "42704", 'data type vector has no default operator class for access method "hnsw"', None),
    ("hnsw (v vector_l2_ops) WITH (m = 1)", "22023", 'value 1 out of bounds for option "m"', 'Valid values are between "2" and "100".'),
    ("hnsw (v vector_l2_ops) WITH (m = 101)", "22023", 'value 101 out of bounds for option "m"', 'Valid values are between "2" and "100".'),
    ("hnsw (v vector_l2_ops) WITH (ef_construction = 3)", "22023", 'value 3 out of bounds for option "ef_construction"',
     'Valid values are between "4" and "1000".'),
    ("hnsw (v vector_l2_ops) WITH (ef_construction = 1001)", "22023", 'value 1001 out of bounds for option "ef_construction"',
     'Valid values are between "4" and "1000".'),
    ("hnsw (v vector_l2_ops) WITH (m = 16, ef_construction = 31)", "22023", "ef_construction must be greater than or equal to 2 * m", None),
    ("hnsw (v vector_l2_ops) WITH (lists = 10)", "22023", 'unrecognized parameter "lists"', None),
    ("ivfflat (v vector_l2_ops) WITH (lists = 0)", "22023", 'value 0 out of bounds for option "lists"',
     'Valid values are between "1" and "32768".'),
    ("ivfflat (v vector_l2_ops) WITH (lists = 32769)", "22023", 'value 32769 out of bounds for option "lists"',
     'Valid values are between "1" and "32768".'),
    ("ivfflat (v vector_l2_ops) WITH (m = 16)", "22023", 'unrecognized parameter "m"', None),
    ("hnsw (free vector_l2_ops)", "22023", "column does not have dimensions", None),
    ("hnsw (free_h halfvec_l2_ops)", "22023", "column does not have dimensions", None),
    ("hnsw (free_s sparsevec_l2_ops)", "22023", "column does not have dimensions", None),
    ("ivfflat (free vector_l2_ops)", "22023", "column does not have dimensions", None),
    ("ivfflat (free_h halfvec_l2_ops)", "22023", "column does not have dimensions", None),
    ("hnsw (vb bit_hamming_ops)", "0A000", "type not supported for hnsw index", None),
    ("ivfflat (vb bit_hamming_ops)", "0A000", "type not supported for ivfflat index", None),
    ("ivfflat (v2001 vector_l2_ops)", "54000", "column cannot have more than 2000 dimensions for ivfflat index", None),
    ("ivfflat (h4001 halfvec_l2_ops)", "54000", "column cannot have more than 4000 dimensions for ivfflat index", None),
    ("hnsw (b64001 bit_hamming_ops)", "54000", "column cannot have more than 64000 dimensions for hnsw index", None),
    ("ivfflat (b64001 bit_hamming_ops)", "54000", "column cannot have more than 64000 dimensions for ivfflat index", None),
    ("hnsw (v vector_l2_ops, h halfvec_l2_ops)", "0A000", 'access method "hnsw" does not support multicolumn indexes', None),
    ("ivfflat (v vector_l2_ops) INCLUDE (id)", "0A000", 'access method "ivfflat" does not support included columns', None),
    ("hnsw (v vector_l2_ops DESC)", "0A000", 'access method "hnsw" does not support ASC/DESC options', None),
    ("hnsw (h vector_l2_ops)", "42804", 'operator class "vector_l2_ops" does not accept data type halfvec', None),
    ("ivfflat (s sparsevec_l2_ops)", "42704", 'operator class "sparsevec_l2_ops" does not exist for access method "ivfflat"', None),
    ("ivfflat (v vector_l1_ops)", "42704", 'operator class "vector_l1_ops" does not exist for access method "ivfflat"', None),
    ("ivfflat (b bit_jaccard_ops)", "42704", 'operator class "bit_jaccard_ops" does not exist for access method "ivfflat"', None),
]


def test_indexes_that_cannot_be_are_refused_in_the_known_words(table):
    said = [(what, *table.refused("CREATE INDEX ON items USING " + what)[:3]) for what, *_ in INDEX_ERRORS]
    assert said == INDEX_ERRORS


def test_indexes_at_the_limits_are_made(table):
    for what in ("hnsw (v vector_l2_ops) WITH (m = 2, ef_construction = 4)", "hnsw (v vector_l2_ops) WITH (m = 100, ef_construction = 1000)",
                 "hnsw (v vector_l2_ops) WITH (m = 16, ef_construction = 32)", "ivfflat (v)", "ivfflat (v vector_l2_ops) WITH (lists = 32768)",
                 "hnsw (v2000 vector_l2_ops)", "hnsw (h4000 halfvec_l2_ops)", "hnsw (s2m sparsevec_l2_ops)", "hnsw (b64000 bit_hamming_ops)",
                 "ivfflat (v2000 vector_l2_ops)", "ivfflat (h4000 halfvec_l2_ops)", "ivfflat (b64000 bit_hamming_ops)"):
        table.run("CREATE INDEX ON items USING " + what)


def test_hnsw_over_more_than_2000_dimensions(table, vector_server):
    """The one limit that Cairn does not share: pgvector ends at 2,000 (halfvec at 4,000)."""
    if vector_server.name == "stock":
        assert table.refused("CREATE INDEX ON items USING hnsw (v2001 vector_l2_ops)")[:2] == (
            "54000", "column cannot have more than 2000 dimensions for hnsw index")
        return
    for dimensions in (2001, 16000):
        table.run(f"CREATE INDEX i{dimensions} ON items USING hnsw (v{dimensions} vector_l2_ops)")
        table.run(f"""INSERT INTO items (id, v{dimensions}) SELECT i, array_fill(i::real, ARRAY[{dimensions}])::vector
                      FROM generate_series(1, 60) i""")
        table.run("SET enable_seqscan = off")
        nearest = f"SELECT id FROM items ORDER BY v{dimensions} <-> array_fill(7.2, ARRAY[{dimensions}])::vector LIMIT 3"
        assert f"Index Scan using i{dimensions}" in table.plan(nearest)
        assert table.column(nearest) == [7, 8, 6]
        table.run(f"REINDEX INDEX i{dimensions}")
        assert table.column(nearest) == [7, 8, 6]


@pytest.mark.parametrize("method, options", [("hnsw", "m=8,ef_construction=40"), ("ivfflat", "lists=3")])
def test_unique_indexes_are_refused_and_options_can_be_changed(table, method, options):
    assert table.refused(f"CREATE UNIQUE INDEX ON items USING {method} (v vector_l2_ops)").sqlstate == "0A000"
    table.run(f"CREATE INDEX i ON items USING {method} (v vector_l2_ops) WITH ({options})")
    name = options.split("=")[0]
    assert f"WITH ({name}='" in table.value("SELECT pg_get_indexdef('i'::regclass)")
    table.run(f"ALTER INDEX i SET ({name} = 5)")
    assert f"{name}=5" in table.value("SELECT reloptions FROM pg_class WHERE oid = 'i'::regclass")
    assert table.refused(f"ALTER INDEX i SET ({name} = 0)").sqlstate == "22023"
    assert table.refused("ALTER INDEX i SET (fillfactor = 50)")[:2] == ("22023", 'unrecognized parameter "fillfactor"')
    table.run("REINDEX INDEX i")


def test_sparse_vectors_of_more_than_1000_elements_do_not_fit_hnsw(pg):
    pg.run("CREATE TABLE items (s sparsevec(3000))")

    def ones(count):
        return "{" + ",".join(f"{i}:1" for i in range(1, count + 1)) + "}/3000"

    words = ("54000", "sparsevec cannot have more than 1000 non-zero elements for hnsw index")
    pg.run("INSERT INTO items VALUES (%s)", (ones(1001),))
    assert pg.refused("CREATE INDEX i ON items USING hnsw (s sparsevec_l2_ops)")[:2] == words
    pg.run("TRUNCATE items")
    pg.run("CREATE INDEX i ON items USING hnsw (s sparsevec_l2_ops)")
    assert pg.refused("INSERT INTO items VALUES (%s)", (ones(1001),))[:2] == words
    pg.run("INSERT INTO items VALUES (%s)", (ones(1000),))
    pg.run("SET enable_seqscan = off")
    assert pg.value("SELECT count(*) FROM (SELECT 1 FROM items ORDER BY s <-> %s::sparsevec LIMIT 5) x", (ones(1001),)) == 1


def test_rows_and_queries_of_other_dimensions_are_refused(pg):
    pg.run("CREATE TABLE items (v vector(3)); INSERT INTO items VALUES ('[1,2,3]')")
    assert pg.refused("INSERT INTO items VALUES ('[1,2]')")[:2] == ("22000", "expected 3 dimensions, not 2")
    assert pg.refused("SELECT * FROM items ORDER BY v <-> '[1,2]'")[:2] == ("22000", "different vector dimensions 3 and 2")
    for method in ("hnsw", "ivfflat"):
        pg.run(f"SET enable_seqscan = off; CREATE INDEX i ON items USING {method} (v vector_l2_ops)")
        refusal = pg.refused("SELECT * FROM items ORDER BY v <-> '[1,2]' LIMIT 5")
        assert refusal.sqlstate == "22000" and refusal.message.startswith("different vector dimensions ")
        pg.run("DROP INDEX i")


def test_little_data_for_ivfflat_is_noticed(pg):
    pg.run("CREATE TABLE items (v vector(3)); INSERT INTO items SELECT array[i, i, i] FROM generate_series(1, 21) i")
    pg.notices.clear()
    pg.run("CREATE INDEX ON items USING ivfflat (v vector_l2_ops) WITH (lists = 21)")
    assert pg.notices == []
    pg.run("CREATE INDEX ON items USING ivfflat (v vector_l2_ops) WITH (lists = 22)")
    assert pg.notices == ["ivfflat index created with little data"]


def test_build_past_maintenance_work_mem_goes_on(pg):
    pg.run("""SET maintenance_work_mem = '1MB'; CREATE TABLE items (id int, v vector(500));
        INSERT INTO items SELECT i, (SELECT array_agg(random()) FROM generate_series(1, 500) WHERE i = i) FROM generate_series(1, 1500) i""")
    pg.run("CREATE INDEX i ON items USING hnsw (v vector_l2_ops)")
    assert all(n.startswith("hnsw graph no longer fits into maintenance_work_mem after ") for n in pg.notices)
    assert pg.value("SELECT id FROM items ORDER BY v <-> (SELECT v FROM items WHERE id = 77) LIMIT 1") == 77


def test_properties_and_phases_of_the_access_methods(pg):
    assert pg.run("""
        SELECT amname, array_agg(pg_indexam_progress_phasename(oid, n) ORDER BY n) FROM pg_am, generate_series(1, 5) n
        WHERE amname IN ('hnsw', 'ivfflat') GROUP BY amname ORDER BY amname""") == [
        ("hnsw", ["initializing", "loading tuples", None, None, None]),
        ("ivfflat", ["initializing", "performing k-means", "assigning tuples", "loading tuples", None])]
    properties = ["can_order", "can_unique", "can_multi_col", "can_include"]
    assert pg.value("""SELECT bool_or(pg_indexam_has_property(oid, p)) FROM pg_am, unnest(%s::text[]) p
        WHERE amname IN ('hnsw', 'ivfflat')""", (properties,)) is False
    for method in ("hnsw", "ivfflat"):
        pg.run(f"DROP TABLE IF EXISTS items; CREATE TABLE items (v vector(3)); CREATE INDEX i ON items USING {method} (v vector_l2_ops)")
        has = dict(pg.run("""SELECT p, pg_index_has_property('i'::regclass, p)
            FROM unnest(array['clusterable', 'index_scan', 'bitmap_scan', 'backward_scan']) p"""))
        assert has == {"clusterable": False, "index_scan": True, "bitmap_scan": False, "backward_scan": False}
