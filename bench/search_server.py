"""`cairn serve` for the search benchmarks, with the extension as it was built."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parent.parent
BATCH = 200


def say(text):
    print(text, file=sys.stderr, flush=True)


class Server:
    def __init__(self, folder, stack):
        tree = subprocess.run([ROOT / "tools/pgtree", folder / "postgresql"], check=True, stdout=subprocess.PIPE, text=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.session = requests.Session()
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what the stack holds is then stopped too
        log = folder / "log"
        command = [os.environ["CAIRN_BIN"], "serve", "--data-dir", folder / "data", "--port", str(port), "--postgres-bin", tree.stdout.split()[-1]]
        process = subprocess.Popen(list(map(str, command)), stdout=open(log, "w"), stderr=subprocess.STDOUT, start_new_session=True, cwd=folder)
        stack.callback(self.stop, process)
        deadline = time.monotonic() + 120
        while not self.is_up():
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"cairn did not come up: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        cluster = next((folder / "data").rglob("postmaster.pid"))
        lines = cluster.read_text().splitlines()
        self.database = f"host={lines[4]} port={lines[3]} user=postgres dbname=cairn"

    def is_up(self):
        try:
            return self.session.get(self.url + "/health", timeout=5).ok
        except requests.RequestException:
            return False

    @staticmethod
    def stop(process):
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)

    def post(self, path, body=None, **options):
        answer = self.session.post(self.url + path, json=body, timeout=7200, **options)
        if not answer.ok:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def ingest(self, name, documents):
        """As JSON lines, in one request."""
        lines = ((json.dumps(document) + "\n").encode() for document in documents)
        return self.post(f"/api/v1/collections/{name}/documents", data=lines, headers={"Content-Type": "application/x-ndjson"})
