"""R31: the tables that docs/reference/patroni-citus.md says to distribute meet Citus's rules."""
import os
import pathlib
import re

import pytest

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="it looks at Cairn's own tables")
PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "reference" / "patroni-citus.md").read_text()
DISTRIBUTED = dict(re.findall(r"^\| `(\w+\.\w+)` \| `(\w+)` \|", PAGE, re.M))
COPIED = re.findall(r"^\| `(\w+\.\w+)` \| [^`]", PAGE, re.M)

UNIQUE_KEYS = """
SELECT indexrelid::regclass::text, array(SELECT attname::text FROM pg_attribute WHERE attrelid = indrelid AND attnum = ANY (indkey))
FROM pg_index WHERE indrelid = %s::regclass AND (indisunique OR indisexclusion)
"""
FOREIGN_KEYS = """
SELECT confrelid::regclass::text, array(SELECT attname::text FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey))
FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass
"""


def rows(db, sql, *parameters):
    with db.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def test_R31_the_page_names_tables():
    assert len(DISTRIBUTED) >= 5 and len(COPIED) >= 5


@pytest.mark.parametrize("table", sorted(DISTRIBUTED))
def test_R31_a_distributed_table_has_its_key_in_every_unique_and_foreign_key(db, table):
    key = DISTRIBUTED[table]
    assert rows(db, "SELECT attnotnull FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s", table, key) == [(True,)]
    for index, columns in rows(db, UNIQUE_KEYS, table):
        assert key in columns, index
    for target, columns in rows(db, FOREIGN_KEYS, table):
        assert target in COPIED or DISTRIBUTED.get(target) == key and key in columns, f"{table} refers to {target}"
    assert rows(db, "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal", table) == []
    assert rows(db, "SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent WHERE i.inhrelid = %s::regclass AND c.relkind = 'r'", table) == []


@pytest.mark.parametrize("table", COPIED)
def test_R31_a_copied_table_refers_to_copied_ones_only(db, table):
    for target, _ in rows(db, FOREIGN_KEYS, table):
        assert target in COPIED, f"{table} refers to {target}"


def test_R31_nothing_that_stays_on_one_machine_refers_to_a_distributed_table(db):
    found = rows(db, "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint WHERE contype = 'f' "
                     "AND confrelid = ANY (%s::regclass[])", list(DISTRIBUTED))
    assert [pair for pair in found if pair[0] not in DISTRIBUTED] == []
