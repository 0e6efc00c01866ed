"""Runs docs/TUTORIAL.md: its blocks in their order, by the stock client, the binary and SQL."""
import os
import pathlib
import re
import subprocess

import pytest

from servers import TARGET

pytestmark = pytest.mark.skipif(TARGET == "mlflow", reason="it is Cairn's tutorial")

TUTORIAL = pathlib.Path(__file__).parents[2] / "docs" / "TUTORIAL.md"


def blocks():
    return re.findall(r"^```(\w+)\n(.*?)^```$", TUTORIAL.read_text(), re.M | re.S)


def test_every_block_runs(server, client, tmp_path, monkeypatch):
    psycopg2, _ = pytest.importorskip("psycopg2"), pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    pid_file = next(pathlib.Path(server.data_dir).rglob("postmaster.pid"))
    _, _, _, port, socket, *_ = pid_file.read_text().splitlines()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CAIRN_")}
    environment.update(CAIRN_DATA_DIR=server.data_dir, PATH=os.path.dirname(os.environ["CAIRN_BIN"]) + ":" + os.environ["PATH"])
    names, kinds = {}, []
    for kind, text in blocks():
        kinds.append(kind)
        text = text.replace("http://127.0.0.1:5000", server.url)
        if kind == "python":
            exec(compile(text, f"TUTORIAL.md, block {len(kinds)}", "exec"), names)
        elif kind == "sh":
            done = subprocess.run(["bash", "-e", "-c", text], env=environment, text=True, capture_output=True, timeout=120)
            assert done.returncode == 0 and "iris" in done.stdout + text and len(done.stdout.splitlines()) > 1, done.stderr + done.stdout
        else:
            with psycopg2.connect(f"host={socket} port={port} user=postgres dbname=cairn") as connection, connection.cursor() as cursor:
                cursor.execute(text)
                assert cursor.fetchall(), text
    assert {"python", "sh", "sql"} <= set(kinds)
