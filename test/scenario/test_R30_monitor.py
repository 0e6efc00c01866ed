"""R30: what /metrics, `cairn monitor init` and the rules are worth to a real Prometheus and Alertmanager."""
import contextlib
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time

import pytest
import requests
from rule_cases import CASES, EVALUATED_MINUTES, at_instance, values
from servers import free_port, start_cairn

psycopg2 = pytest.importorskip("psycopg2")

pytestmark = pytest.mark.skipif(os.environ.get("CAIRN_TEST_TARGET") == "mlflow", reason="the metrics are Cairn's own")

PATIENCE_SECONDS = 60
# What rules and dashboards that others wrote for postgres_exporter read, and text 002's queries.
NAMES_OF_OTHERS = """pg_up pg_static pg_exporter_last_scrape_error pg_exporter_last_scrape_duration_seconds pg_scrape_collector_success
    pg_scrape_collector_duration_seconds pg_postmaster_start_time_seconds pg_database_size_bytes pg_locks_count pg_stat_activity_count
    pg_stat_activity_max_tx_duration pg_stat_database_xact_commit pg_stat_database_xact_rollback pg_stat_database_blks_hit
    pg_stat_database_blks_read pg_stat_database_deadlocks pg_stat_database_conflicts pg_stat_database_temp_bytes
    pg_stat_database_tup_fetched pg_stat_bgwriter_checkpoints_timed_total pg_stat_bgwriter_checkpoints_req_total
    pg_stat_bgwriter_buffers_checkpoint pg_stat_bgwriter_buffers_alloc pg_settings_max_connections pg_settings_shared_buffers_bytes
    pg_settings_superuser_reserved_connections pg_settings_max_locks_per_transaction pg_settings_autovacuum_vacuum_threshold
    pg_settings_autovacuum_vacuum_scale_factor pg_settings_work_mem_bytes pg_stat_user_tables_last_autovacuum
    pg_stat_user_tables_last_autoanalyze pg_stat_user_tables_n_dead_tup pg_stat_user_tables_n_live_tup pg_statio_user_tables_heap_blocks_hit
    pg_replication_lag_seconds pg_replication_lag pg_replication_is_replica pg_txid_current pg_general_index_info_pg_relation_size
    pg_wal_segments pg_wal_size_bytes pg_xlog_position_bytes pg_long_running_transactions pg_stat_statements_calls_total
    pg_stat_statements_seconds_total pg_stat_statements_rows_total pg_stat_statements_block_read_seconds_total
    pg_stat_statements_query_id pg_database_size pg_slow_queries pg_slow_queries_count pg_cache_hit_ratio pg_cache_hit_ratio_ratio
    pg_table_sizes pg_table_sizes_bytes pg_index_usage pg_index_usage_scans pg_index_usage_bytes pg_deadlocks pg_deadlocks_count
    pg_connections pg_connections_count pg_stat_statements_exec_time_bucket""".split()
# No series where there is no replica, no slot, no job, no large table.
ABSENT_HERE = {"pg_replication_slots_active", "pg_replication_slots_pg_wal_lsn_diff", "pg_stat_replication_pg_wal_lsn_diff",
               "pg_bloat_table_bloat_pct", "pg_bloat_table_real_size", "pg_bloat_btree_bloat_pct", "pg_bloat_btree_real_size",
               "pg_index_invalid", "cairn_jobs_oldest_due_seconds", "cairn_maintenance_job_failed", "cairn_feature_stale_ratio", "cairn_feature_drift_psi"}


def tool(name):
    path = shutil.which(name)
    assert path is not None, f"{name} is not installed: ./dev setup"
    return path


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], text=True, capture_output=True, timeout=PATIENCE_SECONDS, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def eventually(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError("it did not come true in time")


def cairn(*arguments):
    environment = {name: value for name, value in os.environ.items() if name == "CAIRN_POSTGRES_BIN" or not name.startswith("CAIRN_")}
    return run(os.environ["CAIRN_BIN"], *arguments, env=environment)


@pytest.fixture(scope="module")
def monitoring(server, tmp_path_factory):
    """The files for the session's server."""
    folder = tmp_path_factory.mktemp("monitoring")
    cairn("monitor", "init", folder, "--target", server.url.removeprefix("http://"))
    return folder


@pytest.fixture(scope="module")
def rules(monitoring):
    """Every rule: group, alert, expression, `for` in minutes."""
    found = []
    for file in sorted((monitoring / "rules").glob("*.yml")):
        for alert, expr, minutes in re.findall(r"- alert: (\w+)\n\s+expr: (.*)\n\s+for: (\d+)[ms]\n", file.read_text()):
            found.append((file, alert, json.loads(expr), int(minutes)))
    return found


@contextlib.contextmanager
def running(folder, name, *options):
    with open(folder / f"{name}.log", "wb") as log, subprocess.Popen([tool(name), *options], stdout=log, stderr=subprocess.STDOUT) as process:
        try:
            yield
        finally:
            process.terminate()


@contextlib.contextmanager
def prometheus(monitoring, folder, alertmanager="127.0.0.1:9"):
    """A Prometheus over the files, which looks each half second."""
    port = free_port()
    config = (monitoring / "prometheus.yml").read_text().replace("15s", "500ms").replace("rules/*", f"{monitoring}/rules/*")
    (folder / "prometheus.yml").write_text(config.replace("127.0.0.1:9093", alertmanager))
    with running(folder, "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                 f"--web.listen-address=127.0.0.1:{port}"):
        yield f"http://127.0.0.1:{port}/api/v1/"


@contextlib.contextmanager
def webhook():
    """A URL, and what was POSTed to it."""
    told = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            told.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", told
        server.shutdown()


def names_of(told, status="firing"):
    return {alert["labels"]["alertname"] for alert in told if alert["status"] == status}


@pytest.fixture(scope="module")
def watched():
    """A server of its own, and what its webhook was told."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-monitor-"))
    folder.chmod(0o755)  # the embedded PostgreSQL runs as another user
    with webhook() as (url, told):
        server = start_cairn(folder, environment={"CAIRN_ALERT_WEBHOOK": url})
        server.folder = folder
        yield server, told
        server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def deadlock(connect):
    """Two sessions that wait for each other, until PostgreSQL ends one's statement."""
    sessions = [connect(), connect()]
    for mine, session in enumerate(sessions):
        session.cursor().execute("SET deadlock_timeout = '10ms'; BEGIN; SELECT pg_advisory_xact_lock(%s)", [mine])

    def take(session, other):
        with contextlib.suppress(psycopg2.errors.DeadlockDetected):
            session.cursor().execute("SELECT pg_advisory_xact_lock(%s)", [other])
        session.close()

    threads = [threading.Thread(target=take, args=[session, 1 - mine]) for mine, session in enumerate(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def query(url, expr):
    answer = requests.get(url + "query", params={"query": expr}, timeout=30).json()
    assert answer["status"] == "success", f"{expr}: {answer}"
    return answer["data"]["result"]


def test_R30_the_files_are_what_their_programs_read(monitoring):
    run(tool("promtool"), "check", "config", monitoring / "prometheus.yml")
    run(tool("amtool"), "check-config", monitoring / "alertmanager.yml")
    dashboard = json.loads((monitoring / "grafana/dashboards/cairn.json").read_text())
    titles = [panel["title"] for panel in dashboard["panels"] if panel["type"] != "row"]
    assert titles[:6] == ["Query Latency (P50, P95, P99)", "Cache Hit Ratio", "Slow Queries (>100ms)", "Database Size",
                          "Active Connections", "Deadlocks"]


def test_R30_what_was_changed_by_hand_is_not_overwritten(monitoring, server):
    cairn("monitor", "init", monitoring, "--target", server.url.removeprefix("http://"))  # nothing has changed
    elsewhere = monitoring.parent / "changed"
    elsewhere.mkdir()
    (elsewhere / "alertmanager.yml").write_text("mine")
    done = subprocess.run([os.environ["CAIRN_BIN"], "monitor", "init", elsewhere], text=True, capture_output=True, timeout=30, cwd=elsewhere)
    assert done.returncode == 4 and "alertmanager.yml" in done.stderr
    assert [path.name for path in elsewhere.iterdir()] == ["alertmanager.yml"]


def test_R30_every_rule_fires_and_does_not(rules, monitoring, tmp_path):
    assert {alert for _, alert, _, _ in rules} == set(CASES)
    for group in sorted({file for file, *_ in rules}):
        series, checks = [], []
        for _, alert, _, minutes in [rule for rule in rules if rule[0] == group]:
            for fires, given in zip((True, False), CASES[alert]):
                instance = alert if fires else "not" + alert  # every rule is by instance: all cases fit into one test
                series += [{"series": at_instance(name, instance), "values": values(value)} for name, value in given.items()]
                expr = f'count(ALERTS{{alertname="{alert}",instance="{instance}",alertstate="firing"}})'
                checks.append({"expr": expr, "eval_time": f"{EVALUATED_MINUTES}m", "exp_samples": [{"labels": "{}", "value": 1}] if fires else []})
                if minutes > 1:  # never before it has lasted
                    checks.append({"expr": expr, "eval_time": f"{minutes // 2}m", "exp_samples": []})
        file = tmp_path / (group.stem + "_test.yml")
        tests = [{"interval": "30s", "input_series": series, "promql_expr_test": checks}]
        file.write_text(json.dumps({"rule_files": [str(group)], "evaluation_interval": "30s", "tests": tests}))
        run(tool("promtool"), "test", "rules", file)


def test_R30_a_real_prometheus_finds_data_for_every_panel_and_rule(server, api, experiment, monitoring, rules, tmp_path):
    api.create_run(experiment, run_name="seen", start_time=1)
    dashboard = json.loads((monitoring / "grafana/dashboards/cairn.json").read_text())
    expressions = [target["expr"].replace("$instance", ".*") for panel in dashboard["panels"] for target in panel.get("targets", [])]
    names = {name for _, _, expr, _ in rules for name in re.findall(r"\b((?:pg|cairn)_\w+)", expr)} | set(NAMES_OF_OTHERS)
    with prometheus(monitoring, tmp_path) as url:
        def scraped():
            with contextlib.suppress(requests.RequestException):
                return query(url, "changes(pg_exporter_last_scrape_duration_seconds[1m]) > 1")
        eventually(scraped)
        assert query(url, "up")[0]["value"][1] == "1"
        empty = [expr for expr in expressions if not query(url, expr)]
        assert not empty, "panels without data"
        assert not [name for name in sorted(names - ABSENT_HERE) if not query(url, name)], "names that are not served"
        bad = [rule for group in requests.get(url + "rules", timeout=30).json()["data"]["groups"] for rule in group["rules"] if rule["health"] == "err"]
        assert not bad
    asked = requests.get(server.url + "/metrics", timeout=30).text
    assert "pg_stat_statements_query_id{" in asked and "pg_snapshot_xmax" not in asked, "its own statements are not among the heaviest"


def test_R30_metrics_of_any_database_on_the_terminal(new_database):
    with new_database() as dsn:
        text = cairn("monitor", "metrics", "--database-url", dsn)
        assert "\npg_cache_hit_ratio " in text and "cairn_pool" not in text
        promtool = subprocess.run([tool("promtool"), "check", "metrics"], input=text, text=True, capture_output=True, timeout=PATIENCE_SECONDS)
        assert "error while linting" not in promtool.stderr, promtool.stderr
        assert "parsing error" not in promtool.stderr, promtool.stderr


def test_R30_without_prometheus_the_server_tells_of_its_alerts(watched):
    server, told = watched
    eventually(lambda: "PostgresRestarted" in names_of(told))  # it has
    shown = json.loads(cairn("monitor", "alerts", "--json", "--data-dir", server.data_dir))
    assert [alert["alert"] for alert in shown if alert["ended_at"] is None] == ["PostgresRestarted"]
    eventually(lambda: [alert["told"] for alert in requests.get(server.url + "/api/v1/monitor/alerts", timeout=30).json()["alerts"]] == [True])
    assert "PostgreSQL has just started" in cairn("monitor", "alerts", "--data-dir", server.data_dir)
    figures = eventually(lambda: requests.get(server.url + "/api/v1/monitor/figures", timeout=30).json()["figures"])
    assert figures[0]["connections"] >= 1 and figures[0]["cache_hit_ratio"] > 50
    later = requests.get(server.url + "/api/v1/monitor/figures", params={"since": figures[-1]["observed_at"] + 3_600_000}, timeout=30)
    assert later.json() == {"figures": []}


def test_R30_a_real_prometheus_and_alertmanager_tell_of_what_is_caused(watched, tmp_path):
    server, _ = watched
    files = tmp_path / "files"
    cairn("monitor", "init", files, "--target", server.url.removeprefix("http://"))
    for file in (files / "rules").glob("*.yml"):  # the same rules, sixty times faster and more
        text = re.sub(r"\[(\d+)m\]", r"[\1s]", file.read_text())
        file.write_text(re.sub(r"for: \d+m", "for: 1s", text).replace("interval: 30s", "interval: 500ms"))

    def connect():
        connection = psycopg2.connect(host=str(server.folder / "data" / "run"), user="postgres", dbname="cairn")
        connection.autocommit = True
        return connection

    port = free_port()
    with webhook() as (url, told), contextlib.closing(connect()) as connection:
        config = (files / "alertmanager.yml").read_text().replace("group_wait: 30s", "group_wait: 100ms").replace("group_interval: 5m", "group_interval: 500ms")
        (tmp_path / "alertmanager.yml").write_text(config.replace("- name: default\n", f"- name: default\n    webhook_configs:\n      - url: {url}\n"))
        sql = connection.cursor()
        sql.execute("INSERT INTO jobs.jobs (kind, run_after) VALUES ('train', now() - interval '1 hour')")
        sql.execute("CREATE TABLE holes WITH (autovacuum_enabled = off) AS SELECT generate_series(1, 30000) AS id; DELETE FROM holes WHERE id <= 20000")
        sql.execute("SELECT pg_create_physical_replication_slot('forgotten')")
        with running(tmp_path, "prometheus-alertmanager", f"--config.file={tmp_path}/alertmanager.yml", f"--storage.path={tmp_path}/alertmanager",
                     f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="), prometheus(files, tmp_path, f"127.0.0.1:{port}") as api:
            def counted():
                with contextlib.suppress(requests.RequestException):
                    return query(api, "count_over_time(pg_deadlocks[1m]) > 1")
            eventually(counted)
            deadlock(connect)
            caused = {"DeadlocksDetected", "JobsWait", "DeadRows", "ReplicationSlotInactive"}
            eventually(lambda: caused <= names_of(told))
            assert not names_of(told) & {"PostgresDown", "CairnDown", "DiskFull", "MetricsIncomplete"}
            sql.execute("SELECT pg_drop_replication_slot('forgotten')")
            eventually(lambda: "ReplicationSlotInactive" in names_of(told, "resolved"))
