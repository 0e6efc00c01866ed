#!/usr/bin/env python3
"""Failover by promotion: the primary is killed and cannot start again while clients write and read; a synchronous replica is promoted.

Measured: how long no read was answered, how long no write was, and how many acknowledged writes are missing afterwards.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test" / "fault"))
from faults import Cairn, eventually, kill  # noqa: E402


class Client:
    """Repeats one request, and keeps the times at which it was answered well."""

    def __init__(self, server, action):
        self.client, self.action, self.times = server.client(timeout=60), action, []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while not self.stopping.is_set():
            if self.action(self.client):
                self.times.append(time.monotonic())
            else:
                self.stopping.wait(0.005)

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def longest_pause(self, begin):
        times = [begin, *(t for t in self.times if t > begin)]
        return max((b - a for a, b in zip(times, times[1:])), default=float("inf"))


def command(server, *arguments):
    subprocess.run([os.environ["CAIRN_BIN"], "replica", *arguments, "--data-dir", server.data], cwd=server.folder, check=True, stdout=subprocess.DEVNULL)


def one_round(folder):
    server = Cairn(folder).start()
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        experiment = server.client().good("POST", "experiments/create", {"name": "failover"})["experiment_id"]
        command(server, "add", "near", "--synchronous")
        acknowledged = []

        def write(client):
            answer = client.post("runs/create", {"experiment_id": experiment})
            if answer is None or answer.status != 200:
                return False
            acknowledged.append(answer.json()["run"]["info"]["run_id"])
            return True

        def read(client):
            answer = client.post("runs/search", {"experiment_ids": [experiment], "max_results": 5})
            return answer is not None and answer.status == 200

        writers, readers = [Client(server, write) for _ in range(2)], [Client(server, read) for _ in range(2)]
        eventually(lambda: len(acknowledged) > 100, "writes")
        control = next((server.data / "postgres").glob("*/global/pg_control"))
        control.rename(control.with_suffix(".lost"))
        died = time.monotonic()
        kill(server.postmaster())
        command(server, "promote", "near")
        promoted = time.monotonic() - died
        counts = [len(client.times) for client in writers + readers]
        eventually(lambda: all(len(c.times) > n for c, n in zip(writers + readers, counts)), "answers")
        for client in writers + readers:
            client.stop()
        found, token = set(), None
        while True:
            page = server.client().good("POST", "runs/search", {"experiment_ids": [experiment], "max_results": 1000, **({"page_token": token} if token else {})})
            found |= {run["info"]["run_id"] for run in page.get("runs", [])}
            token = page.get("next_page_token")
            if not token:
                break
        return {"promote_s": promoted, "reads_pause_s": max(c.longest_pause(died) for c in readers),
                "writes_pause_s": max(c.longest_pause(died) for c in writers),
                "acknowledged": len(acknowledged), "lost": len(set(acknowledged) - found)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds = []
    for _ in range(options.rounds):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-failover-"))
        folder.chmod(0o755)
        try:
            rounds.append(one_round(folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if not options.json:
            print("  ".join(f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}" for name, value in rounds[-1].items()), flush=True)
    if options.json:
        print(json.dumps(rounds))
    return 1 if any(one["lost"] for one in rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
