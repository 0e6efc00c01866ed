"""The types in a server: what psql's output cannot show."""
import pathlib
import re

import pytest


def peak_bytes(process):
    return int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{process}/status").read_text())[1]) * 1024


@pytest.mark.parametrize("make", ["array_fill(1, ARRAY[1500])::vector || ARRAY[n * 7919 % 1000]::vector",
                                  "(array_fill(1, ARRAY[1500])::vector || ARRAY[n * 7919 % 1000]::vector)::sparsevec",
                                  "(array_fill(1, ARRAY[3000])::halfvec || ARRAY[n * 7919 % 1000]::halfvec)"])
def test_a_sort_keeps_no_copy_of_what_it_compares(cluster, make):
    """6 kB twice for each of 20,000 comparisons would be 240 MB."""
    connection = cluster(work_mem="64MB").connect()
    cursor = connection.cursor()
    cursor.execute(f"CREATE EXTENSION vector; CREATE TABLE items AS SELECT {make} AS v FROM generate_series(1, 2000) n; SELECT pg_backend_pid()")
    process = cursor.fetchone()[0]
    before = peak_bytes(process)
    cursor.execute("SELECT count(*) FROM (SELECT v FROM items ORDER BY v OFFSET 0) x")
    assert cursor.fetchone() == (2000,)
    assert peak_bytes(process) - before < 60e6


@pytest.mark.parametrize("aggregate, expected", [("avg", "1.5"), ("sum", "45000")])
def test_aggregates_of_many_rows_need_little_memory(cluster, aggregate, expected):
    connection = cluster(max_parallel_workers_per_gather=0).connect()
    cursor = connection.cursor()
    cursor.execute("CREATE EXTENSION vector; CREATE TABLE items AS SELECT array_fill(1.5, ARRAY[400])::vector AS v"
                   " FROM generate_series(1, 30000); SELECT pg_backend_pid()")
    process = cursor.fetchone()[0]
    before = peak_bytes(process)
    cursor.execute(f"SELECT {aggregate}(v) FROM items")
    assert cursor.fetchone()[0] == "[" + ",".join([expected] * 400) + "]"
    assert peak_bytes(process) - before < 40e6
