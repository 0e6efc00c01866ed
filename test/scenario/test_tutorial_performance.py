"""Runs docs/tutorial/performance.md: its blocks in their order, with the binary and psql."""
import os
import pathlib
import re
import subprocess

TUTORIAL = pathlib.Path(__file__).parents[2] / "docs" / "tutorial" / "performance.md"


def test_R21_R27_every_block_runs(new_database, tmp_path):
    with new_database() as dsn:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CAIRN_")}
        environment.update(CAIRN_DATABASE_URL=dsn, XDG_STATE_HOME=str(tmp_path / "state"),
                           PATH=os.path.dirname(os.environ["CAIRN_BIN"]) + ":" + os.environ["PATH"])
        blocks = re.findall(r"^```sh\n(.*?)^```$", TUTORIAL.read_text(), re.M | re.S)
        said = []
        for number, text in enumerate(blocks, 1):
            done = subprocess.run(["bash", "-e", "-c", text], env=environment, cwd=tmp_path, text=True, capture_output=True,
                                  timeout=200, check=False)
            assert done.returncode == 0, f"block {number}: {done.stderr}{done.stdout}"
            said.append(done.stdout)
    assert "training-runs" in said[0] and "saved as snapshot" in said[1] and "Seq Scan" in said[2]
    assert "CREATE INDEX CONCURRENTLY" in said[3] and "kept" in said[4] and "applied" in said[5]
    assert "Performance Optimization Results" in said[7]
