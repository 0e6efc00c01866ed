"""LangChain's PGVector store (langchain/talk.py), in an environment of its own: it wants an older `pgvector` than the other tests."""
import fcntl
import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.full  # an environment of its own has to be installed
SOURCE = pathlib.Path(__file__).parent / "langchain"
INSTALLED = pathlib.Path(os.environ.get("CAIRN_SOURCE_DIR", SOURCE.parents[2])) / "build" / "langchain"


@pytest.fixture(scope="module")
def python():
    """The environment's Python; installed once, from the versions that requirements.txt pins."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with open(INSTALLED / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, wanted = INSTALLED / "stamp", (SOURCE / "requirements.txt").read_text()
        program = INSTALLED / "venv" / "bin" / "python"
        if not stamp.exists() or stamp.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", INSTALLED / "venv"], check=True, timeout=120)
            done = subprocess.run([program, "-m", "pip", "install", "-q", "-r", SOURCE / "requirements.txt"], capture_output=True, text=True,
                                  timeout=240)
            assert done.returncode == 0, done.stderr
            stamp.write_text(wanted)
    return program


def test_R16_langchains_store_adds_finds_and_deletes(python, vector_server):
    from psycopg.conninfo import conninfo_to_dict

    with vector_server.database(extension=False) as dsn:
        place = conninfo_to_dict(dsn)
        url = f"postgresql+psycopg://{place['user']}@/{place['dbname']}?host={place['host']}"
        done = subprocess.run([python, SOURCE / "talk.py", url], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "nearest": ["bird"], "filtered": ["cat", "dog"], "either": ["bird"], "equal": 0, "diverse": ["cat", "dog"],
        "replaced": "birds are silent now", "left": ["bird", "dog"]}
