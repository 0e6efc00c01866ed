"""Indexes that no hypothesis can show (GIN, GiST, HNSW): from `cairn tune advise` over a clone to `apply`, by the real binary."""
import contextlib
import json
import os
import subprocess

import pytest

psycopg2 = pytest.importorskip("psycopg2")

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")

# Vectors on a line: on a curve that comes near to itself a search of the graph may end in the wrong place, stock pgvector's too.
SCHEMA = """
CREATE EXTENSION hypopg;
CREATE EXTENSION vector;
CREATE TABLE items (id int PRIMARY KEY, doc jsonb, tags text[], words tsvector, span int4range, embedding vector(8), note text);
INSERT INTO items SELECT i, jsonb_build_object('kind', 'k' || i % 900, 'owner', 'o' || i % 50), ARRAY['t' || i % 700, 't' || i % 650],
  to_tsvector('simple', 'w' || i % 800 || ' w' || i % 750 || ' common'), int4range(i, i + 20),
  (SELECT array_agg((i + 0.3) * k / 15000) FROM generate_series(1, 8) k)::vector, repeat('x', 200) FROM generate_series(1, 15000) i;
ANALYZE;
"""

LOAD = """
SELECT id FROM items WHERE doc @> '{"kind": "k7"}';
SELECT id FROM items WHERE tags && ARRAY['t17'];
SELECT id FROM items WHERE words @@ to_tsquery('simple', 'w77');
SELECT id FROM items WHERE span && int4range(5000, 5010);
SELECT id FROM items ORDER BY embedding <-> '[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8]' LIMIT 10;
"""


class Items:
    def __init__(self, dsn, folder):
        self.dsn, self.folder = dsn, folder
        self.sql(SCHEMA)
        (folder / "load.sql").write_text(LOAD)

    def sql(self, text):
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall() if cursor.description else []

    def tune(self, *arguments, codes=(0,)):
        command = [os.environ["CAIRN_BIN"], "tune", *arguments, "--database-url", self.dsn, "--state-dir", str(self.folder / "state")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode in codes, done.stderr + done.stdout
        return done.stdout

    def indexes(self):
        return {name: size for name, size in self.sql(
            "SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) FROM pg_index WHERE indrelid = 'items'::regclass AND NOT indisprimary")}


@pytest.fixture
def items(new_database, tmp_path):
    with new_database() as dsn:
        yield Items(dsn, tmp_path)


def test_R08_what_hypopg_cannot_show_is_tried_on_a_clone_and_applied(items):
    shown = items.tune("advise", "--files", str(items.folder / "load.sql"))
    assert "to be tried on a clone" in shown and 'USING "gin"' in shown and "only when named" in shown
    advice = json.loads(items.tune("advise", "--files", str(items.folder / "load.sql"), "--json"))
    changes = {change["name"]: change for change in advice["changes"] if change["kind"] == "index"}
    assert sorted(change["definition"]["method"] for change in changes.values()) == ["gin", "gin", "gin", "gist", "hnsw"]
    assert all(change["only_proved"] and change["gain_ms"] == 0 and change["serves"] for change in changes.values())
    assert advice["ms_after"] == advice["ms_before"]
    assert "jsonb_path_ops" in " ".join(statement for change in changes.values() for statement in change["statements"])
    [approximate] = [change for change in changes.values() if change["definition"]["method"] == "hnsw"]
    assert approximate["on_request"]

    # Nobody has said that they are of use: without a proof they are applied only by name.
    assert items.tune("apply", "last", "--unproven").count("--only") >= 5
    assert items.indexes() == {}

    proof = json.loads(items.tune("prove", "last", "--clone", "template", "--seconds", "60", "--rounds", "25", "--json"))
    assert {change["name"] for change in proof["changes"] if change["verdict"] == "kept"} >= set(changes), proof["changes"]
    [nearest] = [statement for statement in proof["statements"] if "embedding" in statement["text"]]
    assert nearest["recall"] >= 0.95 and "approximate" in nearest["rows_note"]
    assert all(statement["same_rows"] for statement in proof["statements"] if statement is not nearest)

    items.tune("apply", "last")
    assert set(items.indexes()) == set(changes) - {approximate["name"]}
    items.tune("apply", "last", "--only", str(approximate["number"]))
    made = items.indexes()
    assert set(made) == set(changes)
    for name, size in made.items():
        assert size / 3 < changes[name]["bytes"] < size * 3, (name, size, changes[name]["bytes"])
    # What is there is not proposed again.
    again = json.loads(items.tune("advise", "--files", str(items.folder / "load.sql"), "--json"))
    assert not [change for change in again["changes"] if change["kind"] == "index"]


def test_R08_a_budget_holds_for_them_too(items):
    advice = json.loads(items.tune("advise", "--files", str(items.folder / "load.sql"), "--budget-mb", "1", "--json"))
    assert 0 < sum(change["bytes"] for change in advice["changes"] if change["kind"] == "index") < 2**20
    assert any("budget" in rejection["reason"] for rejection in advice["rejected"])


def test_R08_too_little_recall_is_a_reason_to_reject(items):
    items.sql("SELECT setseed(0.5); ALTER TABLE items ADD far vector(24);"
              "UPDATE items SET far = (SELECT array_agg(random()) FROM generate_series(1, 24) WHERE id > 0)::vector; ANALYZE")
    (items.folder / "load.sql").write_text(f"SELECT id FROM items ORDER BY far <-> '{[0.5] * 24}' LIMIT 10")
    items.sql("ALTER DATABASE " + items.sql("SELECT quote_ident(current_database())")[0][0] + " SET hnsw.ef_search = 1")
    items.tune("advise", "--files", str(items.folder / "load.sql"))
    proof = json.loads(items.tune("prove", "last", "--clone", "template", "--seconds", "30", "--recall", "0.9", "--json", codes=(0, 1)))
    [change] = [change for change in proof["changes"] if "hnsw" in change["name"]]
    assert change["verdict"] == "rejected" and "rows are found" in change["reason"] and "90 % are wanted" in change["reason"], proof["changes"]
