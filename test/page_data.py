"""Many runs at once, for the page's tests and its benchmark: copies of one run, made in the server's own database."""
import pathlib

COPY = """
WITH made AS (
  INSERT INTO tracking.training_runs (run_name, experiment_id, experiment_name, status, artifact_uri, start_time, end_time, metrics)
  SELECT 'run ' || to_char(i, 'FM00000'), r.experiment_id, r.experiment_name, 'succeeded', r.artifact_uri, r.start_time + i * 1000, r.start_time + i * 1000 + 900,
         jsonb_build_object('loss', 10 + i)
  FROM tracking.training_runs r, generate_series(1, %(count)s) i WHERE r.run_id = %(run)s
  RETURNING id, metrics),
series AS (
  INSERT INTO tracking.metric_series (run, key_id, last_step, last_timestamp, last_value)
  SELECT m.id, s.key_id, 0, 1, (m.metrics->>'loss')::float8 FROM made m, tracking.metric_series s JOIN tracking.training_runs r ON r.id = s.run WHERE r.run_id = %(run)s)
INSERT INTO tracking.params (run, key_id, value)
SELECT m.id, p.key_id, CASE WHEN p.value = 'odd' THEN 'even' ELSE p.value END FROM made m, tracking.params p JOIN tracking.training_runs r ON r.id = p.run WHERE r.run_id = %(run)s
"""


def embedded_dsn(data_dir):
    """To the database of a server that runs on the directory."""
    lines = next(pathlib.Path(data_dir).rglob("postmaster.pid")).read_text().splitlines()
    return f"host={lines[4]} port={lines[3]} dbname=cairn user=postgres"


def copy_runs(connection, run, count):
    """Adds so many runs after this one, with its params and its one metric; all are older than none of them."""
    with connection, connection.cursor() as cursor:
        cursor.execute(COPY, {"run": run, "count": count})
        cursor.execute("ANALYZE tracking.training_runs")
