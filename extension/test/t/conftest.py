"""Fixtures of the extension's tests: clusters that end with the test, and the access methods to test."""
import contextlib
import os
import random

import pytest
from clusters import Cluster



@pytest.fixture
def cluster():
    """Makes clusters; none is left in the end."""
    assert os.environ.get("CAIRN_POSTGRES_BIN"), "run it beside tools/with_cluster, which makes a PostgreSQL with the extension"
    with contextlib.ExitStack() as stack:

        def make(**options):
            made = Cluster(**options)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def rng():
    seed = int(os.environ.get("CAIRN_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"CAIRN_SEED={seed}")
    return random.Random(seed)
