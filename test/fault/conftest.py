"""Fixtures of the fault tests."""
import contextlib
import os
import pathlib
import random
import shutil
import tempfile

import pytest
from faults import Cairn


@pytest.fixture
def folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix="cairn-fault-"))
    path.chmod(0o755)  # the embedded PostgreSQL runs as another user
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def cairn(folder):
    """Makes servers; none is left in the end."""
    assert os.environ.get("CAIRN_BIN"), "set CAIRN_BIN to the binary to test"
    with contextlib.ExitStack() as stack:

        def make(*options, where=folder):
            server = Cairn(where, *options)
            stack.callback(server.close)
            return server

        yield make


@pytest.fixture
def rng():
    seed = int(os.environ.get("CAIRN_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"CAIRN_SEED={seed}")
    return random.Random(seed)
