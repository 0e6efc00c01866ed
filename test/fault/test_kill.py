"""What was acknowledged is there, once, after `kill -9` of the server, of PostgreSQL, or of one of its backends, under load.

CAIRN_KILLS says how often each is killed; CAIRN_SEED repeats a run's choices.
"""
import collections
import threading
import time

import pytest
from faults import KILLS, assert_try_again, eventually, kill

WRITERS = 6
pytestmark = pytest.mark.timeout(120 + 20 * KILLS)

# Every point as it is stored, copies too: the last one, the tail and the chunks of each series.
STORED_POINTS = """
SELECT r.run_id, p.step, p.value
FROM tracking.metric_series s JOIN tracking.training_runs r ON r.id = s.run
CROSS JOIN LATERAL (
    SELECT s.last_step, s.last_value
    UNION ALL SELECT * FROM unnest(s.tail_steps, s.tail_values)
    UNION ALL SELECT u.* FROM tracking.metric_chunks c CROSS JOIN LATERAL unnest(c.steps, c.values) u
              WHERE c.run = s.run AND c.key_id = s.key_id) p (step, value)
"""


class Writer:
    """Writes to a run of its own, one request after the other, and keeps account of what it asked for and what was acknowledged."""

    def __init__(self, server, number, experiment):
        self.client, self.number, self.experiment = server.client(), number, experiment
        self.run = self.client.good("POST", "runs/create", {"experiment_id": experiment, "run_name": f"writer {number}"})["run"]["info"]["run_id"]
        self.acknowledged_count = 0
        self.statuses = collections.Counter()
        self.asked_points, self.kept_points = set(), set()
        self.asked_params, self.kept_params = {}, {}
        self.asked_runs, self.kept_runs = set(), {}
        self.asked_tag, self.kept_tag = -1, -1
        self.problem = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def stop(self):
        self.stopping.set()
        self.thread.join()
        if self.problem is not None:
            raise self.problem

    def work(self):
        try:
            n = 0
            while not self.stopping.is_set():
                write = (self.log_metric, self.log_batch, self.log_param, self.set_tag, self.create_run)[n % 5]
                if not write(n):
                    self.stopping.wait(0.01)  # the server is away: not too eagerly
                n += 1
        except Exception as problem:
            self.problem = problem

    def post(self, path, body):
        """The answer if it acknowledges; else None: whether it was written is not known."""
        answer = self.client.post(path, body)
        if answer is None:
            return None
        self.statuses[answer.status] += 1
        if answer.status == 200:
            self.acknowledged_count += 1
            return answer
        assert_try_again(answer)
        return None

    def log_metric(self, n):
        self.asked_points.add((self.run, n, 1.0))
        body = {"run_id": self.run, "key": "loss", "value": 1.0, "timestamp": n, "step": n}
        if answer := self.post("runs/log-metric", body):
            self.kept_points.add((self.run, n, 1.0))
        return answer

    def log_batch(self, n):
        points = {(self.run, n, float(i)) for i in range(100)}
        self.asked_points |= points
        metrics = [{"key": "loss", "value": value, "timestamp": n, "step": n} for _, _, value in points]
        self.asked_params[f"batch{n}"] = str(n)
        if answer := self.post("runs/log-batch", {"run_id": self.run, "metrics": metrics, "params": [{"key": f"batch{n}", "value": str(n)}]}):
            self.kept_points |= points
            self.kept_params[f"batch{n}"] = str(n)
        return answer

    def log_param(self, n):
        self.asked_params[f"p{n}"] = str(n)
        if answer := self.post("runs/log-parameter", {"run_id": self.run, "key": f"p{n}", "value": str(n)}):
            self.kept_params[f"p{n}"] = str(n)
        return answer

    def set_tag(self, n):
        self.asked_tag = n
        if answer := self.post("runs/set-tag", {"run_id": self.run, "key": "newest", "value": str(n)}):
            self.kept_tag = n
        return answer

    def create_run(self, n):
        name = f"made by {self.number} at {n}"
        self.asked_runs.add(name)
        if answer := self.post("runs/create", {"experiment_id": self.experiment, "run_name": name}):
            self.kept_runs[name] = answer.json()["run"]["info"]["run_id"]
        return answer


class Load:
    """The writers, and the proof that nothing of theirs was lost or doubled."""

    def __init__(self, server):
        self.server = server
        client = server.client()
        self.experiment = client.good("POST", "experiments/create", {"name": "kills"})["experiment_id"]
        self.writers = [Writer(server, i, self.experiment) for i in range(WRITERS)]

    def progress(self, times):
        """Waits until each writer has had so many more acknowledgements."""
        wanted = [writer.acknowledged_count + times for writer in self.writers]

        def done():
            for writer in self.writers:
                if writer.problem is not None:
                    raise writer.problem
            return all(writer.acknowledged_count >= count for writer, count in zip(self.writers, wanted))

        eventually(done, "progress of every writer")

    def stop(self):
        for writer in self.writers:
            writer.stop()
        return sum((writer.statuses for writer in self.writers), collections.Counter())

    def check(self):
        client = self.server.client()
        with self.server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(STORED_POINTS)
            stored = collections.defaultdict(collections.Counter)
            for run, step, value in cursor:
                stored[run][run, step, value] += 1
            cursor.execute("SELECT run_name, array_agg(run_id) FROM tracking.training_runs WHERE experiment_id = %s GROUP BY 1", [self.experiment])
            runs = dict(cursor.fetchall())
            cursor.execute("SELECT * FROM tracking.check_consistency()")
            assert cursor.fetchall() == []
        connection.close()
        for writer in self.writers:
            points = stored[writer.run]
            assert not writer.kept_points - points.keys(), "points were lost"
            assert not points.keys() - writer.asked_points, "points that nobody sent"
            assert not [point for point, count in points.items() if count > 1], "points were doubled"
            data = client.good("GET", f"runs/get?run_id={writer.run}")["run"]["data"]
            params = {param["key"]: param["value"] for param in data["params"]}
            assert writer.kept_params.items() <= params.items(), "params were lost"
            assert params.items() <= writer.asked_params.items()
            assert writer.kept_tag <= int(dict((tag["key"], tag["value"]) for tag in data["tags"])["newest"]) <= writer.asked_tag
            made = {name: ids for name, ids in runs.items() if name.startswith(f"made by {writer.number} at ")}
            assert {name: [run] for name, run in writer.kept_runs.items()}.items() <= made.items(), "runs were lost or doubled"
            assert made.keys() <= writer.asked_runs
            assert all(len(ids) == 1 for ids in made.values())
        print(f"{sum(len(writer.kept_points) for writer in self.writers)} points, "
              f"{sum(len(writer.kept_params) for writer in self.writers)} params, "
              f"{sum(len(writer.kept_runs) for writer in self.writers)} runs acknowledged and there")


def moment(rng):
    """Any moment of the load: not a wait for something."""
    time.sleep(rng.uniform(0, 0.2))


def test_the_server_is_killed(cairn, rng):
    server = cairn().start()
    load = Load(server)
    for _ in range(KILLS):
        load.progress(5)
        moment(rng)
        server.kill()
        server.start()
    load.progress(5)
    assert set(load.stop()) <= {200, 503}
    load.check()


def test_the_server_is_killed_while_it_starts(cairn, rng):
    """Also the first time, while it makes the cluster and the tables."""
    server = cairn()
    for _ in range(KILLS):
        server.launch()
        time.sleep(rng.uniform(0, 1.5))  # any moment
        server.kill()
        server.process.stdout.close()
    load = Load(server.start())
    load.progress(5)
    load.stop()
    load.check()


def test_postgres_is_killed(cairn, rng):
    server = cairn().start()
    process = server.process.pid
    load = Load(server)
    for _ in range(KILLS):
        load.progress(5)
        moment(rng)
        victim = eventually(server.postmaster, "a postmaster")
        kill(victim)
        eventually(lambda: server.postmaster() not in (None, victim), "another postmaster")
    load.progress(5)
    statuses = load.stop()
    assert set(statuses) == {200, 503}, "requests are answered while PostgreSQL is away"
    assert server.process.pid == process and server.process.poll() is None
    load.check()


def test_a_backend_is_killed(cairn, rng):
    server = cairn().start()
    load = Load(server)
    for _ in range(KILLS):
        load.progress(5)
        moment(rng)
        victim = rng.choice(eventually(server.backends, "a backend"))
        kill(victim)
        eventually(lambda: victim not in server.postgres_pids(), "the end of the backend")
    load.progress(5)
    assert set(load.stop()) <= {200, 503}
    assert server.process.poll() is None
    load.check()
