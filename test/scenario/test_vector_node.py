"""npm's `pg` and `pgvector` under node: types, inserts, named statements, indexes, search, errors (npm/talk.js is the client)."""
import json
import subprocess

import pytest


@pytest.fixture(scope="module")
def program(npm_modules):
    return npm_modules / "talk.js"


def test_node_client_creates_inserts_indexes_and_searches(program, vector_server):
    from psycopg.conninfo import conninfo_to_dict

    with vector_server.database(extension=False) as dsn:
        place = conninfo_to_dict(dsn)
        done = subprocess.run(["node", str(program), json.dumps({"host": place["host"], "user": place["user"], "database": place["dbname"]})],
                              capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("rows") == [[[1, 1, 1], [1, 1, 1], [1, 0, 3], "101"], [[1.5, -2, 3e38], [0.5, 65504, 0], [0, 1.25, 0], "000"], [None] * 4]
    assert "Index Scan using hnsw_l2 on items" in found.pop("plan")
    assert found.pop("average") == [500.5, 500.5, 501.5]
    assert found == {
        "nearest": [500, 501, 499, 502, 498], "again": [500, 501, 499, 502, 498], "filtered": [501, 499, 503],
        "threshold": [500, 501, 499], "cosine": [1, 2, 3],
        "errors": [["22000", "expected 3 dimensions, not 2"], ["22000", "NaN not allowed in vector"],
                   ["22P02", 'invalid input syntax for type vector: "abc"']]}
