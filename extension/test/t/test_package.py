"""The Debian package that the build made, unpacked over a PostgreSQL that never had the extension."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from clusters import ROOT, new_folder


@pytest.fixture(scope="module")
def package():
    preset = os.environ.get("CAIRN_PRESET", "dev")
    found = [*(ROOT / "build" / preset).glob("postgresql-*.deb")] or [*(ROOT / "build/dev").glob("postgresql-*.deb")]  # a sanitized build makes none
    assert len(found) == 1, f"the build made {found}"
    return found[0]


def field(package, name):
    return subprocess.run(["dpkg-deb", "-f", package, name], check=True, capture_output=True, text=True).stdout.strip()


def test_it_takes_the_place_of_pgvector_and_needs_only_what_debian_has(package):
    assert field(package, "Package") == "postgresql-15-cairn-vector"
    assert field(package, "Version") == (ROOT / "VERSION").read_text().strip()
    assert field(package, "Provides").startswith("postgresql-15-pgvector (= 0.8")
    assert field(package, "Conflicts") == field(package, "Replaces") == "postgresql-15-pgvector"
    needed = {re.match(r"[\w.+-]+", item)[0] for item in field(package, "Depends").split(", ")}
    assert needed <= {"postgresql-15", "libc6", "libgcc-s1", "libstdc++6", "libhwy1"} and "postgresql-15" in needed


@pytest.fixture
def unpacked(package):
    """A private PostgreSQL whose extension files are the package's."""
    folder = new_folder()
    binaries = subprocess.run([ROOT / "tools/pgtree", folder / "tree", "none"], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["dpkg-deb", "-x", package, folder / "tree"], check=True)
    yield pathlib.Path(binaries), folder / "tree"
    shutil.rmtree(folder)


def test_what_it_unpacks_is_root_owned_stripped_and_works(package, unpacked, cluster):
    binaries, tree = unpacked
    listing = subprocess.run(["dpkg-deb", "-c", package], check=True, capture_output=True, text=True).stdout.splitlines()
    assert all(re.match(r"(drwxr-xr-x|-rw-r--r--) root/root ", line) for line in listing), listing
    for document in ("copyright", "changelog.gz"):
        assert (tree / "usr/share/doc/postgresql-15-cairn-vector" / document).stat().st_size > 0
    library = tree / "usr/lib/postgresql/15/lib/vector.so"
    assert ".debug_info" not in subprocess.run(["readelf", "-S", library], check=True, capture_output=True, text=True).stdout

    server = cluster(binaries=binaries)
    server.sql("CREATE EXTENSION vector")
    assert server.sql("SELECT '[1,2,3]'::vector <-> '[1,2,4]'") == [(1.0,)]
    [(version,)] = server.sql("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    assert field(package, "Provides") == f"postgresql-15-pgvector (= {version})"
    # Every function is in the library: a name that is not fails only when it is called.
    assert server.sql("SELECT count(*) > 0 FROM pg_proc WHERE probin LIKE '%%vector'") == [(True,)]
    exported = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
    symbols = {line.split()[-1] for line in exported.splitlines()}
    called = {name for name, in server.sql("SELECT prosrc FROM pg_proc WHERE probin LIKE '%%vector'")}
    assert called <= symbols, called - symbols
    # And nothing else is: names in a module are global in the server.
    own = called | {f"pg_finfo_{name}" for name in called} | {"Pg_magic_func", "_PG_init"}
    assert symbols <= own, symbols - own
