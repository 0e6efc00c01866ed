"""`cairn tune apply`, `status` and `undo`: changes made in a database that is in use, and taken back."""
import contextlib
import os

import pytest

psycopg2 = pytest.importorskip("psycopg2")
from psycopg2.extensions import make_dsn, parse_dsn  # noqa: E402
from tune_apply import SCHEMA, Tuned, Writer, change, column, index  # noqa: E402

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="these are Cairn's own commands")


@pytest.fixture
def tuned(new_database, tmp_path):
    with new_database() as dsn:
        database = Tuned(dsn, tmp_path)
        database.sql(SCHEMA)
        yield database


@pytest.fixture
def role(tuned, unique):
    """Makes roles that may log in: gives the connection string of one."""
    names = []

    def make(grants):
        name = unique("role").replace("-", "_")
        names.append(name)
        tuned.sql(f"CREATE ROLE {name} LOGIN; " + grants.format(role=name))
        return make_dsn(**{**parse_dsn(tuned.dsn), "user": name})

    yield make
    for name in names:
        tuned.sql(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def test_R21_applies_an_index_and_takes_it_back(tuned):
    before = tuned.catalog()
    tuned.advice(index("runs", "experiment", "accuracy"))
    report = tuned.apply()
    (made,) = report["changes"]
    assert made["outcome"] == "applied" and made["number"] == 1 and "CONCURRENTLY" in made["statement"]
    (new,) = [row for row in tuned.catalog() if row not in before]
    assert new[1] == "idx_runs_experiment_accuracy" and new[3]
    (row,) = tuned.status()["changes"]
    assert row["state"] == "applied" and row["after"] == new[2] and row["before"] == "" and row["role"] == "postgres"
    assert tuned.json("undo", made["id"])["changes"][0]["outcome"] == "undone"
    assert tuned.catalog() == before
    assert tuned.json("undo", made["id"])["changes"][0]["outcome"] == "undone already"
    assert tuned.states() == ["undone"]


def test_R21_an_index_that_is_there_already_stays_when_undone(tuned):
    tuned.sql("CREATE INDEX mine ON runs (experiment)")
    before = tuned.catalog()
    tuned.advice(index("runs", "experiment"))
    (report,) = tuned.apply()["changes"]
    assert report["outcome"] == "there already" and "mine" in report["detail"] and "id" not in report
    assert tuned.run("undo", "--all").stdout == "nothing to undo\n"
    assert tuned.catalog() == before


def test_R21_another_thing_of_the_name_is_refused_and_stays(tuned):
    tuned.sql("CREATE INDEX idx_runs_experiment ON runs (accuracy)")
    before = tuned.catalog()
    tuned.advice(index("runs", "experiment"), index("runs", "created"))
    first, second = tuned.apply(code=1)["changes"]
    assert first["outcome"] == "failed" and "something else of this name" in first["detail"] and "accuracy" in first["detail"]
    assert second["outcome"] == "applied"
    tuned.json("undo", "--last")
    assert tuned.catalog() == before


def test_R21_only_what_a_proof_kept_is_applied(tuned):
    name = tuned.advice(index("runs", "experiment"), index("runs", "accuracy"), dict(index("runs", "created"), on_request=True))
    refused = tuned.run("apply", "last")
    assert refused.returncode != 0 and "--unproven" in refused.stderr and f"cairn tune prove {name}" in refused.stderr
    tuned.proof(name, {1: ("rejected", "no faster"), 2: ("kept", ""), 3: ("kept", "")})
    report = tuned.json("apply", name)
    assert [c["number"] for c in report["changes"]] == [2]
    assert any("no faster" in text for text in report["left_out"]) and any("on request" in text for text in report["left_out"])
    assert "no faster" in tuned.run("apply", name, "--only", "1").stderr
    assert [c["outcome"] for c in tuned.json("apply", name, "--only", "1,3", "--unproven")["changes"]] == ["applied", "applied"]
    assert tuned.run("apply", name, "--only", "4").returncode == 2


def test_R21_names_stay_names(tuned):
    schema, table, name = 'a"b; DROP', "sel'ect\n;--", "ü" * 31 + '"'
    tuned.sql('CREATE SCHEMA "a""b; DROP"; CREATE TABLE "a""b; DROP"."sel\'ect\n;--" ("order" int, "x""y" text)')
    before = tuned.catalog()
    tuned.advice(index(table, "order", 'x"y', schema=schema, name=name))
    assert tuned.apply()["changes"][0]["outcome"] == "applied"
    (new,) = [row for row in tuned.catalog() if row not in before]
    assert new[:2] == (schema, name) and new[3]
    tuned.json("undo", "--last")
    assert tuned.catalog() == before


def test_R21_a_partitioned_table_two_levels_deep(tuned):
    tuned.sql("""CREATE TABLE points (k int, at date, v float8) PARTITION BY RANGE (at);
      CREATE TABLE points_1 PARTITION OF points FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
      CREATE TABLE points_2 PARTITION OF points FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (k);
      CREATE TABLE "points_2 a" PARTITION OF points_2 FOR VALUES IN (0, 1);
      CREATE TABLE points_2_b PARTITION OF points_2 DEFAULT;
      CREATE INDEX points_1_k_idx ON points_1 (v);
      INSERT INTO points SELECT i % 5, date '2026-01-01' + i % 50, i FROM generate_series(1, 5000) i""")
    before = tuned.catalog()
    tuned.advice(index("points", "k", name="points_k"))
    with Writer(tuned, "INSERT INTO points VALUES (3, '2026-02-02', 1), (1, '2026-01-02', 2)"):
        report = tuned.apply()
        assert report["changes"][0]["outcome"] == "applied"
        new = {row[1]: row for row in tuned.catalog() if row not in before}
        assert len(new) == 5 and all(row[3] for row in new.values())
        assert sorted(str(row[5]) for row in new.values()) == ["None", "idx_points_2_k", "idx_points_2_k", "points_k", "points_k"]
        assert tuned.apply()["changes"][0]["outcome"] == "there already"
        tuned.json("undo", "--last")
    assert tuned.catalog() == before


def test_R21_undo_leaves_alone_what_somebody_else_changed(tuned):
    tuned.advice(index("runs", "experiment"), index("runs", "created"))
    first, second = (c["id"] for c in tuned.apply()["changes"])
    tuned.sql("DROP INDEX idx_runs_created, idx_runs_experiment; CREATE INDEX idx_runs_experiment ON runs (accuracy)")
    before = tuned.catalog()
    report = {c["id"]: c for c in tuned.json("undo", "--all", code=1)["changes"]}
    assert report[first]["outcome"] == "failed" and "changed by somebody else" in report[first]["detail"]
    assert report[second]["outcome"] == "undone" and "dropped or renamed by somebody else" in report[second]["detail"]
    assert tuned.catalog() == before
    assert tuned.states() == ["applied", "undone"]


def test_R21_an_index_that_is_dropped_comes_back_the_same(tuned):
    tuned.sql("CREATE INDEX \"old one\" ON runs (lower(experiment) DESC, accuracy) INCLUDE (created) WHERE accuracy > 0.5")
    before = tuned.catalog()
    (definition,) = [row[2] for row in before if row[1] == "old one"]
    tuned.advice(change("drop_index", "old one", ['DROP INDEX CONCURRENTLY "public"."old one"'],
                        [definition.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY")], table="runs", schema="public"))
    assert tuned.apply()["changes"][0]["outcome"] == "applied"
    assert "old one" not in [row[1] for row in tuned.catalog()]
    assert tuned.apply()["changes"][0]["outcome"] == "there already"
    tuned.json("undo", "--last")
    assert tuned.catalog() == before


def test_R27_settings_statistics_and_views_are_applied_and_undone(tuned):
    database = tuned.one("SELECT quote_ident(current_database())")
    tuned.sql("ALTER TABLE runs SET (fillfactor = 90)")
    tuned.advice(
        change("setting", "autovacuum_vacuum_scale_factor", ["ALTER TABLE public.runs SET (autovacuum_vacuum_scale_factor = 0.02)"],
               ["ALTER TABLE public.runs RESET (autovacuum_vacuum_scale_factor)"], table="runs", schema="public"),
        change("setting", "jit", [f"ALTER DATABASE {database} SET jit = off"], [f"ALTER DATABASE {database} RESET jit"]),
        change("statistics", "runs_stats", ["CREATE STATISTICS public.runs_stats ON experiment, accuracy FROM public.runs", "ANALYZE public.runs"],
               ["DROP STATISTICS public.runs_stats"], table="runs", schema="public"),
        change("materialized_view", "best", ["CREATE MATERIALIZED VIEW public.best AS SELECT experiment, max(accuracy) AS best FROM public.runs GROUP BY 1",
                                             "CREATE UNIQUE INDEX best_experiment ON public.best (experiment)"],
               ["DROP MATERIALIZED VIEW public.best"], table="best", schema="public"))
    assert [c["outcome"] for c in tuned.apply()["changes"]] == ["applied"] * 4
    assert tuned.one("SELECT reloptions FROM pg_class WHERE relname = 'runs'") == ["fillfactor=90", "autovacuum_vacuum_scale_factor=0.02"]
    assert tuned.one("SHOW jit") == "off" and tuned.one("SELECT count(*) FROM best") == 300
    assert tuned.one("SELECT count(*) FROM pg_statistic_ext WHERE stxname = 'runs_stats'") == 1
    assert [c["outcome"] for c in tuned.json("undo", "--all")["changes"]] == ["undone"] * 4
    assert tuned.one("SELECT reloptions FROM pg_class WHERE relname = 'runs'") == ["fillfactor=90"]
    assert tuned.one("SELECT to_regclass('best')") is None and tuned.one("SHOW jit") == "on"
    assert tuned.one("SELECT count(*) FROM pg_statistic_ext WHERE stxname = 'runs_stats'") == 0


def test_R27_a_change_that_fails_half_way_leaves_nothing(tuned):
    tuned.advice(change("materialized_view", "best", ["CREATE MATERIALIZED VIEW public.best AS SELECT 1 AS a", "CREATE INDEX ON public.best (nothing)"],
                        ["DROP MATERIALIZED VIEW public.best"], table="best", schema="public"))
    (failed,) = tuned.apply(code=1)["changes"]
    assert failed["outcome"] == "failed" and "nothing" in failed["detail"]
    assert tuned.one("SELECT to_regclass('best')") is None
    assert tuned.states() == ["failed"]


def test_R21_waits_for_open_transactions_and_names_them(tuned):
    before = tuned.catalog()
    tuned.advice(index("runs", "experiment"))
    with contextlib.closing(psycopg2.connect(tuned.dsn, application_name="the long one")) as other, other.cursor() as cursor:
        cursor.execute("INSERT INTO runs (experiment) VALUES ('open')")
        refused = tuned.run("apply", "last", "--unproven", "--wait", "1")
        assert refused.returncode == 5
        for part in ("the long one", str(other.info.backend_pid), "INSERT INTO runs", "idle in transaction"):
            assert part in refused.stderr
        assert tuned.catalog() == before
        assert tuned.states() == ["failed"]
        waiting = tuned.start("apply", "last", "--unproven")
        assert "waiting for transactions" in waiting.stderr.readline()
        other.rollback()
        out, error = waiting.communicate(timeout=60)
        assert waiting.returncode == 0, out + error
    assert len(tuned.catalog()) == len(before) + 1


def test_R21_of_two_at_once_the_second_says_who_is_at_work(tuned):
    tuned.advice(index("runs", "experiment"))
    with contextlib.closing(psycopg2.connect(tuned.dsn)) as other, other.cursor() as cursor:
        cursor.execute("INSERT INTO runs (experiment) VALUES ('open')")
        first = tuned.start("apply", "last", "--unproven")
        assert "waiting for transactions" in first.stderr.readline()
        second = tuned.run("apply", "last", "--unproven", "--wait", "0")
        assert second.returncode == 4 and "cairn tune apply (process " in second.stderr and "role postgres" in second.stderr
        assert tuned.status()["at_work"].startswith("cairn tune apply (process ")
        other.rollback()
        out, error = first.communicate(timeout=60)
        assert first.returncode == 0, out + error
    assert tuned.status()["at_work"] == ""


def test_R21_a_role_that_may_not_is_told_what_it_needs(tuned, role):
    reader = role("GRANT SELECT ON runs TO {role}")
    tuned.advice(index("runs", "experiment"))
    refused = tuned.run("apply", "last", "--unproven", dsn=reader)
    assert refused.returncode == 6 and "GRANT CREATE ON DATABASE" in refused.stderr
    assert tuned.run("status", dsn=reader).stdout == "nothing was applied to this database\n"
    tuned.apply()
    refused = tuned.run("status", dsn=reader)
    assert refused.returncode == 6 and "GRANT USAGE ON SCHEMA cairn_tune TO" in refused.stderr
    assert tuned.run("undo", "--all", dsn=reader).returncode == 6


def test_R21_statements_of_somebody_elses_journal_are_not_run(tuned, role):
    stranger = role("DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {role}', current_database()); END $$; GRANT CREATE ON SCHEMA public TO {role}; ALTER TABLE runs OWNER TO {role}")
    tuned.advice(index("runs", "experiment"))
    assert tuned.run("apply", "last", "--unproven", dsn=stranger).returncode == 0
    refused = tuned.run("undo", "--all")
    assert refused.returncode == 6 and "with your rights" in refused.stderr
    assert tuned.run("undo", "--all", dsn=stranger).returncode == 0


def test_R21_an_advice_for_another_database_is_refused(tuned):
    tuned.advice(index("runs", "experiment"), database="other")
    assert "is for database other" in tuned.run("apply", "last", "--unproven").stderr
    tuned.advice(index("gone", "a"), index("runs", "a", keys=[column("no such")]))
    report = tuned.apply(code=1)["changes"]
    assert "there is no table public.gone" in report[0]["detail"] and "no such" in report[1]["detail"]
    assert tuned.run("undo", "99").returncode == 3


def test_R21_interrupting_apply_leaves_nothing(tuned):
    before = tuned.catalog()
    tuned.advice(index("runs", "experiment"), index("runs", "created"))
    with contextlib.closing(psycopg2.connect(tuned.dsn)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE runs IN SHARE UPDATE EXCLUSIVE MODE")
        waiting = tuned.start("apply", "last", "--unproven")
        assert "waiting for transactions" in waiting.stderr.readline()
        waiting.terminate()
        _, error = waiting.communicate(timeout=60)
        assert "stopped" in error
    assert tuned.catalog() == before
    assert tuned.states() == ["failed", "failed"]
    assert not tuned.status()["left"]
