"""What the benches of the server share: Cairn and its peer, each on a PostgreSQL of its own, under wrk's load."""
import contextlib
import glob
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import psycopg2
import requests


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def as_postgres(*command):
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


class Side:
    """A server under load. `files` are wrk's argument files by kind; `script` is wrk's, `prefix` stands before each path."""

    script, prefix = None, ""

    def __init__(self, name, version, url, process, database, folder):
        self.name, self.version, self.url, self.process, self.database, self.folder = name, version, url, process, database, folder
        self.session = requests.Session()
        self.files = {}

    def call(self, method, path, body=None):
        answer = self.session.request(method, self.url + self.prefix + path, json=body, timeout=600)
        answer.raise_for_status()
        return answer.json()

    def arguments(self, kind, lines):
        self.files[kind] = self.folder / f"{kind}.txt"
        self.files[kind].write_text("".join(line + "\n" for line in lines))

    def load(self, kind, connections, seconds):
        script = kind.split(":")[0]
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", self.script, self.url, "--", script, self.prefix, self.files[script]]
        figures = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        failed = figures["bad"] + figures["broken"]
        if failed:
            # The stock server runs out of connections under 64 searches at once. Only good answers count.
            say(f"  {self.name} {kind}: {figures['bad']} answers were errors, {figures['broken']} broke off")
            if self.name == "cairn":
                raise RuntimeError("Cairn's answers must all be good")
        figures["requests"] -= failed
        return figures

    def sql(self, statement):
        with contextlib.closing(psycopg2.connect(self.database)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def resident_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def start(stack, command, url, log):
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what the stack holds is then stopped too
    process = subprocess.Popen(command, stdout=open(log, "w"), stderr=subprocess.STDOUT, start_new_session=True)

    def stop():
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)

    stack.callback(stop)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url + "/health", timeout=5).ok:
                return process
        except requests.RequestException:
            time.sleep(0.2)
    raise RuntimeError(f"{command[0]} did not come up: {pathlib.Path(log).read_text()[-2000:]}")


def start_cairn(stack, folder):
    port = free_port()
    binary = os.environ["CAIRN_BIN"]
    url = f"http://127.0.0.1:{port}"
    process = start(stack, [binary, "serve", "--data-dir", str(folder / "data"), "--port", str(port)], url, folder / "log")
    cluster = next((folder / "data").rglob("postmaster.pid")).parent
    lines = (cluster / "postmaster.pid").read_text().splitlines()
    version = "cairn " + requests.get(url + "/version", timeout=5).text
    return Side("cairn", version, url, process, f"host={lines[4]} port={lines[3]} user=postgres dbname=cairn", folder)


def start_postgres(stack, folder, settings):
    """A cluster with these lines in its postgresql.conf; its socket is in the folder that is returned."""
    tools = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
    data = folder / "postgres"
    data.mkdir()
    if os.geteuid() == 0:
        shutil.chown(data, "postgres")

    def run(*command):
        subprocess.run(as_postgres(*command), check=True, stdout=subprocess.DEVNULL, timeout=120)

    run(f"{tools}/initdb", "-D", f"{data}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums")
    with open(data / "data" / "postgresql.conf", "a") as conf:
        conf.write(settings)
        conf.write(f"\nlisten_addresses = ''\nunix_socket_directories = '{data}'\nport = 5432\n")
    run(f"{tools}/pg_ctl", "-D", f"{data}/data", "-w", "-l", f"{data}/log", "start")
    stack.callback(run, f"{tools}/pg_ctl", "-D", f"{data}/data", "-m", "fast", "stop")
    return data


def settings_of(side):
    """What Cairn set in its own cluster that bears on speed and durability, as lines of a postgresql.conf."""
    rows = side.sql("SELECT name, setting, unit FROM pg_settings WHERE source = 'configuration file' AND vartype IN ('integer', 'real', 'bool', 'enum')"
                    " AND name !~ '^(port|log_|logging|ssl|unix_socket|listen|auto_explain|pg_stat_statements|compute_query_id)'")

    def line(name, setting, unit):
        if unit and unit[0].isdigit():  # pages: 8kB
            return f"{name} = '{int(setting) * int(unit[:-2])}{unit[-2:]}'\n"
        return f"{name} = '{setting}{unit or ''}'\n"

    return "".join(line(*row) for row in rows)


class Report:
    def __init__(self, bench, as_json, peer):
        self.bench, self.as_json, self.peer, self.rows = bench, as_json, peer, []

    def add(self, case, cairn, peer, unit, larger_is_better=True):
        ratio = (cairn / peer if larger_is_better else peer / cairn) if cairn and peer else None
        row = {"bench": self.bench, "case": case, "cairn": round(cairn, 3), "peer": round(peer, 3) if peer is not None else None,
               "peer_name": self.peer, "unit": unit, "ratio": round(ratio, 2) if ratio else None}
        self.rows.append(row)
        if self.as_json:
            print(json.dumps(row), flush=True)
        else:
            shown = [f"{x:,.1f}" if x is not None else "-" for x in (row["cairn"], row["peer"])]
            print(f"{case:32} {shown[0]:>14} {shown[1]:>14} {unit:12} {ratio and f'{ratio:.1f}x' or '':>8}", flush=True)
