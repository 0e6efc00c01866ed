"""`cairn workload`: the registry that seed makes, and the load that run puts on it or on a user's own statements."""
import json
import os
import signal
import subprocess

import pytest

psycopg2 = pytest.importorskip("psycopg2")

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="this is Cairn's own command")

TABLES = ["environments", "models", "model_versions", "deployments", "training_runs", "approvals"]
FAMILIES = ["dashboard", "training-runs", "model-stats", "deployment-status"]
WRITES = ["insert-training-run", "insert-deployment"]
SMALL = ["--scale", "0.05"]


def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("CAIRN_") and name != "DATABASE_URL"}


def workload(*arguments, code=0):
    done = subprocess.run([os.environ["CAIRN_BIN"], "workload", *arguments], env=environment(), text=True, capture_output=True,
                          errors="surrogateescape", timeout=120)
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if code in (0, 1) else done.stderr


def run(dsn, *arguments, code=0):
    duration = [] if "--duration" in arguments else ["--duration", "2"]
    return json.loads(workload("run", "--database-url", dsn, "--json", *duration, *arguments, code=code))


def by_family(report):
    return {family["family"]: family for family in report["families"]}


def query(dsn, sql):
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    try:
        cursor = connection.cursor()
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


@pytest.fixture(scope="module")
def seeded(new_database):
    with new_database() as dsn:
        workload("seed", "--database-url", dsn, *SMALL)
        yield dsn


@pytest.fixture
def empty(new_database):
    with new_database() as dsn:
        yield dsn


@pytest.fixture
def queries(tmp_path):
    """Writes SQL files into a directory, by name, and gives its path."""
    def write(**files):
        for name, sql in files.items():
            (tmp_path / f"{name}.sql").write_text(sql)
        return str(tmp_path)

    return write


def test_R22_seed_makes_the_tables_with_primary_keys_alone(empty):
    report = json.loads(workload("seed", "--database-url", empty, *SMALL, "--json"))
    assert [table["table"] for table in report["tables"]] == TABLES
    for table in report["tables"]:
        assert query(empty, f"SELECT count(*), pg_total_relation_size('{table['table']}') FROM {table['table']}") == [
            (table["rows"], table["bytes"])]
    indexes = query(empty, "SELECT tablename, count(*), bool_and(i.indisprimary) FROM pg_indexes "
                           "JOIN pg_index i ON i.indexrelid = indexname::regclass WHERE schemaname = 'public' GROUP BY 1 ORDER BY 1")
    assert indexes == [(table, 1, True) for table in sorted(TABLES)]
    assert query(empty, "SELECT count(*) FROM pg_stats WHERE schemaname = 'public' AND tablename = 'training_runs'")[0][0] >= 10  # analyzed
    causes = """SELECT count(*) FILTER (WHERE v.registered_at < m.created_at), count(*) FILTER (WHERE d.deployed_at < v.registered_at),
                       count(*) FILTER (WHERE r.created_at > v.registered_at), count(*) FILTER (WHERE r.created_at > now())
                FROM models m JOIN model_versions v USING (model_id) LEFT JOIN deployments d USING (version_id)
                     LEFT JOIN training_runs r USING (version_id)"""
    assert query(empty, causes) == [(0, 0, 0, 0)]


def rows_of(dsn):
    """All that does not depend on the time of seeding."""
    return query(dsn, """SELECT md5(string_agg(t::text, '|' ORDER BY t)) FROM (
        SELECT run_id::text, version_id::text, model_name, experiment_name, accuracy::text, hyperparameters::text FROM training_runs
        UNION ALL SELECT deployment_id::text, version_id::text, status, environment_id::text, replicas::text, config::text FROM deployments
    ) AS t""")


def test_R22_the_same_seed_makes_the_same_rows_in_the_place_of_the_earlier(empty):
    workload("seed", "--database-url", empty, *SMALL)
    first = rows_of(empty)
    query(empty, "CREATE INDEX an_index ON training_runs (created_at)")
    workload("seed", "--database-url", empty, *SMALL)
    assert rows_of(empty) == first
    assert query(empty, "SELECT to_regclass('an_index')") == [(None,)]
    workload("seed", "--database-url", empty, *SMALL, "--seed", "2")
    assert rows_of(empty) != first


@pytest.mark.parametrize("theirs", ["TABLE deployments (x int)", "VIEW models AS SELECT 1 AS x"])
def test_R22_seed_does_not_touch_what_it_has_not_made(empty, theirs):
    query(empty, f"CREATE {theirs}")
    message = workload("seed", "--database-url", empty, *SMALL, code=4)
    assert f'"public"."{theirs.split()[1]}"' in message and "nothing was touched" in message
    assert query(empty, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(1,)]


def test_R22_seed_leaves_alone_what_others_depend_on(empty):
    workload("seed", "--database-url", empty, *SMALL)
    query(empty, "CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM models")
    assert "materialized view counts" in workload("seed", "--database-url", empty, *SMALL, code=4)
    assert query(empty, "SELECT count FROM counts")[0][0] > 0


def test_R22_run_measures_every_family_and_the_sum(seeded):
    report = run(seeded, "--rate", "30")
    families = by_family(report)
    assert list(families) == FAMILIES
    for family in families.values():
        assert family["count"] == family["answered"] > 0
        assert family["rows"] > 0
        assert 0 < family["p50_ms"] <= family["p90_ms"] <= family["p95_ms"] <= family["p99_ms"] <= family["max_ms"]
    for field in ("count", "answered", "errors", "timeouts", "rows"):
        assert report["total"][field] == sum(family[field] for family in families.values())
    assert report["total"]["max_ms"] == max(family["max_ms"] for family in families.values())
    assert report["achieved_rate"] == pytest.approx(report["total"]["count"] / report["elapsed_s"])
    database = report["database"]
    assert database["blocks_hit"] > 100 and 0 < database["cache_hit_ratio"] <= 1
    assert database["cpu_seconds"] > 0


def test_R22_the_same_seed_makes_the_same_arrivals(seeded):
    counts = [[family["count"] for family in run(seeded, "--rate", "40", "--seed", seed)["families"]] for seed in ("1", "1", "2")]
    assert counts[0] == counts[1] != counts[2]


@pytest.mark.parametrize("mix", FAMILIES)
def test_R22_one_family_alone(seeded, mix):
    assert list(by_family(run(seeded, "--mix", mix, "--duration", "0.5", "--rate", "20"))) == [mix]


def test_R22_writes_are_their_percent_and_are_written(seeded):
    before = query(seeded, "SELECT (SELECT count(*) FROM training_runs), (SELECT count(*) FROM deployments)")[0]
    families = by_family(run(seeded, "--rate", "100", "--writes", "40"))
    after = query(seeded, "SELECT (SELECT count(*) FROM training_runs), (SELECT count(*) FROM deployments)")[0]
    assert [now - then for now, then in zip(after, before)] == [families[name]["answered"] for name in WRITES]
    share = sum(families[name]["count"] for name in WRITES) / sum(family["count"] for family in families.values())
    assert 0.25 < share < 0.55
    assert list(by_family(run(seeded, "--duration", "0.5", "--writes", "100"))) == WRITES


def test_R22_reads_need_no_more_than_the_right_to_read(seeded, unique):
    role = unique("reader")
    query(seeded, f'CREATE ROLE "{role}" LOGIN')
    query(seeded, f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"')
    try:
        report = run(psycopg2.extensions.make_dsn(seeded, user=role), "--rate", "30")
        assert report["total"]["count"] == report["total"]["answered"] > 0
        assert report["database"]["blocks_hit"] > 0
    finally:
        query(seeded, f'DROP OWNED BY "{role}"')
        query(seeded, f'DROP ROLE "{role}"')


def test_R22_latency_counts_from_the_intended_start(empty, queries):
    # One after the other on one connection: the last one ends after all have slept, however early it came.
    report = run(empty, "--files", queries(nap="SELECT pg_sleep(0.03)"), "--rate", "60", "--duration", "1", "--connections", "1")
    count = report["total"]["count"]
    assert count * 30 > 1000
    assert report["total"]["max_ms"] >= count * 30 - 1000
    assert report["waited_ms_mean"] > 0 and report["elapsed_s"] * 1000 >= count * 30


def test_R22_own_files_and_what_fails_in_them(empty, queries):
    folder = queries(good="SELECT generate_series(1, 3); SELECT 2", bad="SELECT * FROM gone", broken="SELECT FROM WHERE", open="BEGIN")
    families = by_family(run(empty, "--files", folder, "--rate", "60", "--connections", "1"))
    assert sorted(families) == ["bad", "broken", "good#1", "good#2", "open"]
    assert families["good#1"]["rows"] == 3 * families["good#1"]["count"] > 0
    assert families["good#2"]["errors"] == families["open"]["errors"] == 0
    for name, reason in (("bad", 'relation "gone" does not exist'), ("broken", "syntax error")):
        assert families[name]["errors"] == families[name]["count"] > 0
        assert families[name]["answered"] == 0 and families[name]["max_ms"] == 0
        assert reason in families[name]["first_error"]


def test_R22_the_table_names_what_failed(empty, queries):
    text = workload("run", "--database-url", empty, "--duration", "1", "--files", queries(bad="SELECT * FROM gone"), code=1)
    lines = text.splitlines()
    assert lines[0].split()[:4] == ["family", "count", "errors", "time-outs"]
    assert lines[1].split()[0] == "bad" and lines[1].split()[1] == lines[1].split()[2] != "0"
    assert any(line.startswith('bad: PostgreSQL: relation "gone" does not exist') for line in lines)


def test_R22_time_outs_are_counted_apart_and_measured(empty, queries):
    folder = queries(slow="SELECT pg_sleep(60)", fast="SELECT 1")
    families = by_family(run(empty, "--files", folder, "--rate", "20", "--statement-timeout-ms", "50"))
    slow, fast = families["slow"], families["fast"]
    assert slow["timeouts"] == slow["count"] > 0 and slow["errors"] == slow["answered"] == 0
    assert slow["p50_ms"] >= 50 and "statement timeout" in slow["first_error"]
    assert fast["answered"] == fast["count"] > 0


def test_R22_a_lost_connection_costs_one_request(empty, queries):
    folder = queries(suicide="SELECT pg_terminate_backend(pg_backend_pid())", fine="SELECT 1")
    families = by_family(run(empty, "--files", folder, "--rate", "40", "--connections", "2"))
    assert families["suicide"]["errors"] == families["suicide"]["count"] > 0
    assert families["fine"]["answered"] == families["fine"]["count"] > 0


def test_R22_hostile_file_names(empty, tmp_path):
    names = [b"it's \"quoted\"; DROP TABLE x", b"new\nline \x1b[31m", "größe 模型".encode(), b"no utf-8 \xff", b"--help", b"%s {} $1"]
    for name in names:
        with open(bytes(tmp_path) + b"/" + name + b".sql", "w") as file:
            file.write("SELECT 1")
    report = run(empty, "--files", str(tmp_path), "--rate", "60")
    expected = {name.decode(errors="replace") for name in names}
    assert set(by_family(report)) == expected and report["total"]["errors"] == 0
    text = workload("run", "--database-url", empty, "--duration", "0.5", "--files", str(tmp_path))
    assert "\x1b" not in text and "new line" in text


def test_R22_an_interrupt_ends_it_and_prints_what_was_measured(empty, queries):
    folder = queries(endless="SELECT pg_sleep(3600)", fast="SELECT 1")
    process = subprocess.Popen([os.environ["CAIRN_BIN"], "workload", "run", "--database-url", empty, "--duration", "3600", "--rate", "50",
                                "--connections", "3", "--files", folder, "--json"], env=environment(), text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%' AND state = 'active'"
        while query(empty, sleeping) != [(3,)]:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode in (0, 1), error
    report = json.loads(out)
    assert report["ended_early"] and report["total"]["unfinished"] >= 3
    assert report["total"]["count"] == report["total"]["answered"] + report["total"]["unfinished"]
    assert query(empty, sleeping) == [(0,)]  # nothing goes on in the server


@pytest.mark.parametrize("arguments, reason", [
    (["--files", "/nowhere/at/all.sql"], "/nowhere/at/all.sql"),
    (["--mix", "other"], "mixed"),
    (["--rate", "0"], "--rate"),
    (["--writes", "101"], "--writes"),
    (["--mix", "dashboard", "--files", "x.sql"], "excludes"),
])
def test_R22_bad_arguments(empty, arguments, reason):
    done = subprocess.run([os.environ["CAIRN_BIN"], "workload", "run", "--database-url", empty, *arguments], env=environment(), text=True,
                          capture_output=True, timeout=60)
    assert done.returncode in (2, 3) and reason in done.stdout + done.stderr


def test_R22_writes_without_the_tables_say_so(empty):
    assert "cairn workload seed" in subprocess.run(
        [os.environ["CAIRN_BIN"], "workload", "run", "--database-url", empty, "--writes", "10"], env=environment(), text=True,
        capture_output=True, timeout=60).stderr
