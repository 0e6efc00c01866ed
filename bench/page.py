#!/usr/bin/env python3
"""The page in Chromium: bytes and time of a first view, and frames while a table of 10,000 runs is scrolled through.

    ./dev bench page [--json] [--runs 10000] [--rounds 5] [--before BINARY]

First view: in a tab that stands open, with nothing in the browser's cache, until all that was asked for is drawn; medians over the rounds.
Bytes are counted in a view of their own. Scrolling: 240 pixels a frame, from the first run to the last, rows loaded as they come near; a frame's time is from one
requestAnimationFrame to the next. Beside them, in the same browser, the first paint of a page of one word and the scrolling of one of mere stripes: what the machine and Chromium
take for any page. With --before another build of the
server is measured too, in turn, and the medians of the rounds' ratios are shown: on a machine that others use, these say more than the times.
"""
import argparse
import contextlib
import json
import operator
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import psycopg2

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "test" / "scenario"), str(ROOT / "test")]
import page_data  # noqa: E402
import servers  # noqa: E402


def node_modules():
    folder = ROOT / "build" / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    for file in (ROOT / "test" / "scenario" / "npm").iterdir():
        shutil.copy(file, folder)
    if not (folder / "node_modules" / "playwright-core").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, check=True, stdout=sys.stderr)
    return folder


@contextlib.contextmanager
def server_with_runs(folder, binary, runs):
    os.environ["CAIRN_BIN"] = str(binary)
    folder.mkdir()
    folder.chmod(0o755)
    server = servers.start_cairn(folder)
    try:
        api = servers.Api(server.url)
        experiment = api.post("experiments/create", {"name": "sweep"})["experiment_id"]
        first = api.create_run(experiment, run_name="run 00000", start_time=1_700_000_000_000)
        api.post("runs/log-batch", {"run_id": first, "metrics": [{"key": key, "value": 2.5, "timestamp": 1, "step": 0} for key in ("loss", "accuracy", "val_loss")],
                                    "params": [{"key": key, "value": "odd"} for key in ("kind", "optimizer", "depth", "width")]})
        connection = psycopg2.connect(page_data.embedded_dsn(server.data_dir))
        page_data.copy_runs(connection, first, runs - 1)
        connection.close()
        yield {"url": server.url, "experiment": experiment}
    finally:
        server.stop()


def measure(browser, binaries, runs, rounds):
    modules = node_modules()
    with tempfile.TemporaryDirectory(prefix="cairn-bench-") as folder, contextlib.ExitStack() as stack:
        os.chmod(folder, 0o755)
        running = [stack.enter_context(server_with_runs(pathlib.Path(folder) / str(index), binary, runs)) for index, binary in enumerate(binaries)]
        given = {"servers": running, "browser": browser, "rounds": rounds}
        return json.loads(subprocess.run(["node", modules / "page_times.mjs", json.dumps(given)], check=True, stdout=subprocess.PIPE, text=True).stdout)


def show(found):
    for name, view in found["views"].items():
        print(f"first view of {name}: {view['bytes'] / 1024:.0f} kB in {view['requests']} requests, {view['ms']:.0f} ms ({view['ms_min']:.0f} to {view['ms_max']:.0f})")
    show_scroll(f"{found['scroll']['rows']:,} runs", found["scroll"])


def show_scroll(what, scroll):
    print(f"scrolling {what}, {scroll['frames']:,} frames: {scroll['cpu_ms_mean']:.1f} ms of processor time each, median {scroll['ms_median']:.1f} ms, P99 {scroll['ms_p99']:.1f}, longest {scroll['ms_max']:.1f}; "
          f"{scroll['over_50_ms']} over 50 ms, {scroll['long_tasks']} tasks over 50 ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", help="another build of the server, to be measured beside this one")
    options = parser.parse_args()
    browser = shutil.which("chromium") or sys.exit("bench: chromium is not installed: ./dev setup")
    found = measure(browser, [os.environ["CAIRN_BIN"], *([options.before] if options.before else [])], options.runs, options.rounds)
    now, *before = found["servers"]
    if options.json:
        print(json.dumps({**now, "empty": found["empty"], "tall": found["tall"], **({"before": before[0]} if before else {})}))
        return
    show(now)
    print("an empty page: {ms:.0f} ms ({ms_min:.0f} to {ms_max:.0f})".format(**found["empty"]))
    show_scroll("a page of stripes", found["tall"])
    for other in before:
        print("before:")
        show(other)
        ratios = {f"first view of {name}": statistics.median(map(operator.truediv, view["ms_by_round"], other["views"][name]["ms_by_round"]))
                  for name, view in now["views"].items()}
        ratios["processor time of a frame"] = now["scroll"]["cpu_ms_mean"] / other["scroll"]["cpu_ms_mean"]
        print("ratios:", ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))


main()
