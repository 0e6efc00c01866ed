"""npm's `pg` and `pgvector` under node: types, inserts, named statements, indexes, search, errors (npm/talk.js is the client)."""
import fcntl
import json
import os
import pathlib
import shutil
import subprocess

import pytest

SOURCE = pathlib.Path(__file__).parent / "npm"
INSTALLED = pathlib.Path(os.environ.get("CAIRN_SOURCE_DIR", SOURCE.parents[2])) / "build" / "npm"


@pytest.fixture(scope="module")
def program():
    """talk.js in the build folder, beside the modules that package-lock.json pins; installed once."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed: ./dev setup")
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with open(INSTALLED / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, wanted = INSTALLED / "stamp", (SOURCE / "package-lock.json").read_text()
        if not stamp.exists() or stamp.read_text() != wanted:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SOURCE / name, INSTALLED)
            done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=INSTALLED, capture_output=True, text=True,
                                  timeout=240)
            if done.returncode != 0:
                pytest.skip("npm cannot install pg and pgvector: " + done.stderr.strip().splitlines()[-1])
            stamp.write_text(wanted)
        shutil.copy(SOURCE / "talk.js", INSTALLED)
    return INSTALLED / "talk.js"


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
