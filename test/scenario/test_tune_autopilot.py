"""`cairn tune autopilot` and `cairn tune report` on a registry's database: what they change, keep, say and write."""

import contextlib
import json
import os
import subprocess
import xml.etree.ElementTree

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

EXPERIMENTS = ["fraud-exp-001", "churn-exp-002", "recommender-exp-003"]
SELECT = """SELECT run_id, model_name, status, accuracy, created_at FROM training_runs
WHERE experiment_name = %s AND created_at > now() - interval '7 days' ORDER BY accuracy DESC NULLS LAST LIMIT 20"""


class Registry:
    def __init__(self, dsn, folder):
        self.dsn, self.folder = dsn, folder
        self.sql("CREATE EXTENSION hypopg; CREATE EXTENSION pg_stat_statements")
        self.cairn("workload", "seed", "--scale", "0.5", state=False)
        self.sql("SELECT pg_stat_statements_reset()")

    def sql(self, text, *values):
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text, values or None)
                return cursor.fetchall() if cursor.description else []

    def load(self, calls=30):
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for number in range(calls):
                cursor.execute(SELECT, (EXPERIMENTS[number % 3],))
                cursor.fetchall()

    def cairn(self, *arguments, state=True, check=True):
        options = ["--state-dir", self.folder / "state"] if state else []
        command = [os.environ["CAIRN_BIN"], *arguments, "--database-url", self.dsn, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert not check or done.returncode == 0, done.stderr + done.stdout
        return done

    def indexes(self):
        return {name for (name,) in self.sql("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")}

    def clones(self):
        return {name for (name,) in self.sql("SELECT datname FROM pg_database WHERE datname LIKE 'cairn_prove%'")}


@pytest.fixture
def registry(new_database, tmp_path):
    with new_database() as dsn:
        yield Registry(dsn, tmp_path)


def steps(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_R22_autopilot_makes_what_was_proved_and_says_why(registry):
    registry.load()
    before = registry.indexes()
    done = registry.cairn("tune", "autopilot", "--clone", "template", "--verify-seconds", "0", "--json")
    made = registry.indexes() - before
    assert any("experiment_name" in name for name in made), done.stdout
    said = steps(done)
    assert [step["step"] for step in said if step["step"] == "apply"]
    for name in made:
        assert any(step["step"] == "prove" and f"keep {name}" in step["what"] for step in said)
    assert not registry.clones()
    again = registry.cairn("tune", "autopilot", "--clone", "template", "--verify-seconds", "0")
    assert registry.indexes() - before == made, again.stdout
    registry.cairn("tune", "undo", "--all", state=False)
    assert registry.indexes() == before


def test_R22_a_dry_run_changes_nothing(registry):
    registry.load()
    before = registry.indexes()
    done = registry.cairn("tune", "autopilot", "--clone", "template", "--dry-run")
    assert "keep idx_training_runs" in done.stdout and "dry run" in done.stdout
    assert registry.indexes() == before
    assert registry.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'cairn_tune'") == [(0,)]


def test_R22_without_a_clone_nothing_is_made_unless_estimates_may_do(registry):
    registry.load()
    before = registry.indexes()
    with contextlib.closing(psycopg2.connect(registry.dsn)):  # so it cannot be a template
        refused = registry.cairn("tune", "autopilot", "--clone", "template", "--verify-seconds", "0", check=False)
        assert refused.returncode == 1 and "no proof" in refused.stdout
        assert registry.indexes() == before
        registry.cairn("tune", "autopilot", "--clone", "template", "--unproven", "--verify-seconds", "0")
    assert any("experiment_name" in name for name in registry.indexes() - before)


def test_R22_limits_hold(registry):
    registry.load()
    before = registry.indexes()
    done = registry.cairn("tune", "autopilot", "--clone", "template", "--budget-mb", "0.01", "--verify-seconds", "0")
    assert registry.indexes() == before
    assert "nothing to change" in done.stdout


def test_R22_an_index_that_a_view_makes_superfluous_waits_for_the_program(registry):
    count = """SELECT m.model_id, count(DISTINCT t.run_id) AS runs, count(DISTINCT d.deployment_id) AS deployments
        FROM model_versions m LEFT JOIN training_runs t ON t.version_id = m.version_id LEFT JOIN deployments d ON d.version_id = m.version_id
        GROUP BY m.model_id ORDER BY runs"""

    def counted():
        return [registry.sql(count) for _ in range(25)]

    def autopilot():
        said = registry.cairn("tune", "autopilot", "--clone", "template", "--allow", "index,materialized_view", "--verify-seconds", "0").stdout
        proof = json.loads(max((registry.folder / "state" / "proofs").glob("*.json")).read_text())
        kept = {change["name"] for change in proof["changes"] if change["verdict"] == "kept"}
        return said, {name for name in kept if name.startswith("idx_")}

    before = registry.indexes()
    counted()
    said, kept = autopilot()  # which of them are faster beyond noise is the machine's to say
    assert "offer " in said, said
    assert len(registry.sql("SELECT matviewname FROM pg_matviews")) == 1
    assert all(f"put off {name}" in said for name in kept), said
    assert not registry.indexes() & kept, said
    counted()  # as if nothing had been offered
    said, kept = autopilot()
    assert kept <= registry.indexes() - before, said


def test_R21_R24_the_report_holds_what_was_measured(registry):
    registry.load()
    registry.cairn("tune", "advise")
    registry.cairn("tune", "prove", "last", "--clone", "template")
    registry.cairn("tune", "apply", "last")
    registry.load(40)
    folder = registry.folder / "report"
    registry.cairn("tune", "report", "--dir", folder)
    baseline = (folder / "docs/performance-baseline.md").read_text()
    assert "| 30 |" in baseline and "Avg Time" in baseline and "experiment_name = $1" in baseline
    results = (folder / "docs/performance-results.md").read_text()
    assert "| **Calls** | 30 | 40 |" in results and "On a Copy" in results, results
    assert "Seq Scan on training_runs" in baseline  # the plan before, though there is an index by now
    assert "![Before and after](performance-results.svg)" in results
    chart = xml.etree.ElementTree.parse(folder / "docs/performance-results.svg").getroot()
    assert any("training_runs" in text for text in chart.itertext())
    strategy = (folder / "docs/index-strategy.md").read_text()
    assert "idx_training_runs_experiment_name" in strategy and "kept" in strategy
    history = (folder / "docs/performance-improvements.md").read_text()
    assert "idx_training_runs_experiment_name" in history and "applied" in history
    assert "cairn tune undo" in (folder / "docs/runbook-performance-tuning.md").read_text()
    made = registry.indexes()
    registry.cairn("tune", "undo", "--all", state=False)
    subprocess.run(["psql", "-X", "-q", "-d", make_dsn(**parse_dsn(registry.dsn)), "-f", folder / "sql/50_indexes.sql"],
                   check=True, capture_output=True, timeout=120)
    assert registry.indexes() == made
    own = folder / "docs/performance-baseline.md"
    own.write_text("# mine\n")
    refused = registry.cairn("tune", "report", "--dir", folder, check=False)
    assert refused.returncode == 4 and "was not written by this command" in refused.stderr
    assert own.read_text() == "# mine\n"
