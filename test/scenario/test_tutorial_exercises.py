"""Runs docs/tutorial/exercises.md: its blocks in their order, with the binary, psql and curl, beside a running server."""
import json
import os
import pathlib
import re
import subprocess

import pytest

from servers import TARGET

pytestmark = pytest.mark.skipif(TARGET == "mlflow", reason="it is Cairn's tutorial")

TUTORIAL = pathlib.Path(__file__).parents[2] / "docs" / "tutorial" / "exercises.md"


def test_R37_every_block_runs(server, tmp_path):
    pid_file = next(pathlib.Path(server.data_dir).rglob("postmaster.pid"))
    _, _, _, port, socket, *_ = pid_file.read_text().splitlines()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CAIRN_")}
    environment.update(SERVER=server.url, CAIRN_DATA_DIR=server.data_dir, PGHOST=socket, PGPORT=port, PGUSER="postgres", PGDATABASE="cairn",
                       PATH=os.path.dirname(os.environ["CAIRN_BIN"]) + ":" + os.environ["PATH"])
    said = []
    for number, text in enumerate(re.findall(r"^```sh\n(.*?)^```$", TUTORIAL.read_text(), re.M | re.S), 1):
        done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", text], env=environment, cwd=tmp_path, text=True, capture_output=True,
                              timeout=100, check=False)
        assert done.returncode == 0, f"block {number}: {done.stderr}{done.stdout}"
        said.append(done.stdout)
    _, best, indexes, _, trend, view, declared, _, latest, historical, history = said
    assert best.index("exercise-resnet") < best.index("exercise-bert") and "production" in best and "exercise-trees" not in best
    assert "exercise_accuracy" in indexes and "idx_models_metadata" in indexes
    assert re.search(r"200 \|.*-0\.0", trend), "the loss falls"
    assert re.search(r"sgd +\| loss +\| +200", view)
    assert "exercise_user_stats" in declared
    latest = json.loads(latest)["results"]
    assert [column["values"] for column in latest] == [[7, 99999], [27, None], [0.021, None]]
    assert latest[1]["statuses"] == ["PRESENT", "NOT_FOUND"]
    assert json.loads(historical)["results"][-1]["values"] == [0.014, None]
    assert history.count("2026-01-0") >= 3 and "Index Scan" in history
