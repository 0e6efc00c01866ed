#!/usr/bin/env python3
"""Runs tests of every kind and sums them up; the last line is `N passed, M failed, K skipped`.

Kinds: GoogleTest programs (<module>_test, <module>_pgtest, core_test), the extension's pg_regress tests
(extension/test/sql/x.sql beside expected/x.out), pytest files under test/ and extension/test/t/, libFuzzer programs.
With a NAME it runs what has that name: a program or fuzzer (with or without the suffix), a pg_regress test or `regress` for
all of them, or a pytest file; failing those, every GoogleTest case and pytest test whose name contains it. With neither a NAME nor
CAIRN_FULL, pytest tests marked `full` are left out. With CI set, a skipped test is a failure.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import xml.etree.ElementTree

PROGRAM_SECONDS = 1200 if os.environ.get("CAIRN_FULL") else 300  # a GoogleTest program or fuzzer that takes longer hangs
PYTEST_SECONDS = 7200  # a single test of it has its own limit
PYTEST_WORKERS = 2
# They take longest: begun last, each would be waited for alone.
LONG_FILES = ("test_page.py", "test_transfer.py", "test_demo.py", "test_partitions_kill.py", "test_tutorial.py", "test_vector_moving_in.py", "test_crash.py",
              "test_churn.py", "test_concurrency.py", "test_versions.py", "test_R31_replicas.py", "test_R30_monitor.py")
# They judge by times that they measure, and share pg_stat_statements, which is the whole server's.
TUNER_PROGRAM = "tuner_pgtest"
TUNER_FILES = re.compile(r"test_(tune_|workload|tutorial_performance)")
ROOT = pathlib.Path(__file__).resolve().parent.parent


running = set()  # processes that have been started and not waited for


class Tally:
    def __init__(self):
        self.passed, self.failed, self.skipped = [], [], []

    def add(self, name, outcome, reason=""):
        getattr(self, outcome).append(f"{name}: {reason}" if reason else name)


def run(command, seconds=PROGRAM_SECONDS, **options):
    """Exit code, or None when the time is up. Nothing that the program started in its session outlives it then."""
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **options)
    running.add(process)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        end(process)


def end(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    running.discard(process)


def side_by_side(function, items):
    """Calls function with each item, as many at a time as there are processors."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for _ in pool.map(function, items):
                pass
        except BaseException:  # Ctrl-C and SIGTERM too, which the programs' own sessions do not see
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                end(process)
            raise


def run_gtest(program, case_filter, tally):
    with tempfile.TemporaryDirectory() as folder:
        report, output = pathlib.Path(folder, "report.json"), pathlib.Path(folder, "output")
        started = time.monotonic()
        with output.open("w") as stream:
            code = run([program, f"--gtest_output=json:{report}", f"--gtest_filter={case_filter}"],
                       stdout=stream, stderr=subprocess.STDOUT)
        suites = json.loads(report.read_text())["testsuites"] if report.exists() else []
        text = output.read_text(errors="replace")
    if code != 0:
        # What the cases printed, less the frame around those that passed.
        print(re.sub(r"^\[( +OK|-+|=+).*\n|^\[ RUN .*\n(?=\[ +OK)", "", text, flags=re.M), flush=True)
    said = False
    for suite in suites:
        for case in suite["testsuite"]:
            name = f"{program.name} {suite['name']}.{case['name']}"
            if case.get("failures"):
                said = True
                tally.add(name, "failed", case["failures"][0]["failure"].splitlines()[0])
            elif case["result"] == "SKIPPED" or case["status"] == "NOTRUN":
                tally.add(name, "skipped", "skipped by itself or disabled")
            else:
                tally.add(name, "passed")
    if code != 0 and not said:
        last = (re.findall(r"^\[ RUN +\] (.*)", text, re.M) or ["start"])[-1]
        tally.add(f"{program.name} {last}", "failed", "ran out of time" if code is None else f"ended with {code}")
    print(f"-- {program.name}: {time.monotonic() - started:.1f} s", flush=True)


def run_regress(names, output, tally):
    """PostgreSQL's own comparison of what psql prints with expected/x.out, in a new database of with_cluster's server."""
    binaries = pathlib.Path(os.environ["CAIRN_POSTGRES_BIN"])
    tool = binaries.parent / "lib/pgxs/src/test/regress/pg_regress"
    host = urllib.parse.parse_qs(urllib.parse.urlparse(os.environ["CAIRN_TEST_DATABASE_URL"]).query)["host"][0]
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    started, log = time.monotonic(), output / "log"
    with log.open("w") as stream:
        code = run([tool, f"--bindir={binaries}", f"--inputdir={ROOT / 'extension/test'}", f"--outputdir={output}",
                    f"--host={host}", "--user=postgres", f"--dbname=cairn_regress_{os.getpid()}", "--load-extension=vector", *names],
                   stdout=stream, stderr=subprocess.STDOUT)
    outcomes = dict(re.findall(r"^test (\S+) +\.\.\. (ok|FAILED)", log.read_text(), re.M))
    for name in names:
        failure = f"its output in {output.relative_to(ROOT)}/results/{name}.out is not extension/test/expected/{name}.out"
        tally.add(f"regress {name}", "passed" if outcomes.get(name) == "ok" else "failed",
                  "" if outcomes.get(name) == "ok" else failure if name in outcomes else f"was not run: pg_regress ended with {code}")
    if code != 0:
        diffs = output / "regression.diffs"
        print((diffs if diffs.exists() else log).read_text(errors="replace"), flush=True)
    print(f"-- regress: {time.monotonic() - started:.1f} s", flush=True)


def run_pytest(python, options, files, workers, tally):
    """As many files at a time as there are workers, each whole in one process: most tests wait for a server more than they work."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "report.xml")
        code = run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--numprocesses={workers}", "--dist=loadfile", "--no-loadscope-reorder",
                    "--timeout=300", "--durations=10", f"--junitxml={report}", *options, *files],
                   PYTEST_SECONDS, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        add_pytest_report(code, report, tally)


def add_pytest_report(code, report, tally):
    cases = list(xml.etree.ElementTree.parse(report).iter("testcase")) if report.exists() else []
    failed_before = len(tally.failed)
    for case in cases:
        name = f"{case.get('classname')} {case.get('name')}".strip()
        problem = next((child for child in case if child.tag in ("failure", "error")), None)
        skip = case.find("skipped")
        if problem is not None:
            tally.add(name, "failed", (problem.get("message") or "").split("\n")[0][:200])
        elif skip is not None:
            # A module that is skipped as a whole has its reason in the text only.
            reason = re.search(r"Skipped: (.*)'\)", skip.text or "")
            tally.add(name, "skipped", reason[1] if reason else skip.get("message") or "")
        else:
            tally.add(name, "passed")
    if code not in (0, 5) and len(tally.failed) == failed_before:  # 5: no test of that name
        tally.add("pytest", "failed", "ran out of time" if code is None else f"ended with {code}")


def run_fuzzer(program, tally):
    seconds = os.environ.get("CAIRN_FUZZ_SECONDS", "10")
    seeds = ROOT / "test" / "corpus" / program.name
    with tempfile.TemporaryDirectory() as folder:
        corpus = [folder] + ([seeds] if seeds.is_dir() else [])
        code = run([program, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-verbosity=0",
                    f"-artifact_prefix={program.parent}/{program.name}-", *corpus])
    failure = f"ended with {code}; the input is {program.parent}/{program.name}-*"
    tally.add(program.name, "passed" if code == 0 else "failed", "" if code == 0 else failure)
    print(f"-- {program.name}: {seconds} s", flush=True)


def gtest_cases(program, part):
    """Names of a program's cases that contain part."""
    listing = subprocess.run([program, "--gtest_list_tests"], capture_output=True, text=True, timeout=60).stdout
    suite, found = "", []
    for line in listing.splitlines():
        if not line.startswith(" "):
            suite = line.split("#")[0].strip()
        elif part.lower() in (suite + line.split("#")[0].strip()).lower():
            found.append(suite + line.split("#")[0].strip())
    return found


def programs(folder, suffixes):
    found = sorted(folder.glob("*")) if folder.is_dir() else []
    # A program whose sources are gone may still lie in the build folder.
    sources = {f.stem for part in ("server", "core") for f in ROOT.glob(f"{part}/**/*_fuzz.cpp")}
    server = ROOT / "server"
    sources |= {f"{f.relative_to(server).parts[0]}_{kind}" for kind in ("test", "pgtest") for f in server.glob(f"**/*_{kind}.cpp")}
    sources |= {"core_test" for _ in ROOT.glob("core/*/*_test.cpp")}
    built = [p for p in found if p.name.endswith(suffixes) and os.access(p, os.X_OK)]
    unknown = [p.name for p in built if p.name not in sources]
    if unknown and os.environ.get("CI"):
        sys.exit(f"run_tests: no sources were found of {', '.join(unknown)}, which would not be run")
    return [p for p in built if p.name in sources]


def main():
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--asan-bin", type=pathlib.Path, help="where core_test lies with the sanitizers, to run it there too")
    parser.add_argument("--fuzz-bin", type=pathlib.Path, help="where the fuzzers lie, to run them too")
    parser.add_argument("--python", default="python3")
    parser.add_argument("name", nargs="?", default="")
    args = parser.parse_args()
    gtests = programs(args.bin.resolve(), ("_test", "_pgtest"))
    if args.asan_bin and args.asan_bin.resolve() != args.bin.resolve():
        gtests += programs(args.asan_bin.resolve(), ("core_test",))
    fuzzers = programs(args.fuzz_bin.resolve(), ("_fuzz",)) if args.fuzz_bin else []
    python = str(ROOT / args.python) if "/" in args.python else args.python
    files = sorted([*ROOT.glob("test/**/test_*.py"), *ROOT.glob("extension/test/t/test_*.py")], key=lambda f: (f.name not in LONG_FILES, f))
    regress = sorted(file.stem for file in ROOT.glob("extension/test/sql/*.sql"))
    tally = Tally()

    def named(program):
        return args.name in (program.name, program.name.rsplit("_", 1)[0])

    filters, pytest_options = {program: "*" for program in gtests}, [] if args.name or os.environ.get("CAIRN_FULL") else ["-m", "not full"]
    if args.name:
        chosen = [p for p in gtests if named(p)], [t for t in regress if args.name in ("regress", t)], \
            [f for f in files if args.name in (f.name, f.stem, f.stem[5:], str(f.relative_to(ROOT)))], [p for p in fuzzers if named(p)]
        if any(chosen):
            gtests, regress, files, fuzzers = chosen
            filters = {program: "*" for program in gtests}
        else:
            filters = {p: ":".join(cases) for p in gtests if (cases := gtest_cases(p, args.name))}
            pytest_options = ["-k", args.name]
            regress, fuzzers = [], []

    quick = sorted((p for p in filters if p.name != TUNER_PROGRAM), key=lambda p: not p.name.endswith("_pgtest"))
    side_by_side(lambda program: run_gtest(program, filters[program], tally), quick)

    def run_tuner():
        for program in filters.keys() - set(quick):
            run_gtest(program, filters[program], tally)

    def run_beside_tuner():  # one process at a time, so that a processor is the tuner's
        if regress:
            run_regress(regress, args.bin.resolve().parent / "regress", tally)
        for program in fuzzers:
            run_fuzzer(program, tally)

    side_by_side(lambda work: work(), [run_tuner, run_beside_tuner])
    of_tuner = [f for f in files if TUNER_FILES.match(f.name)]
    groups = [(of_tuner, 1), ([f for f in files if f not in of_tuner], PYTEST_WORKERS)]
    side_by_side(lambda group: run_pytest(python, pytest_options, *group, tally), [group for group in groups if group[0]])

    for kind in ("skipped", "failed"):
        for line in getattr(tally, kind):
            print(f"{kind}: {line}")
    if not (tally.passed or tally.failed or tally.skipped):
        print(f"no test is called {args.name!r}" if args.name else "there are no tests")
        tally.failed.append("no test")
    if tally.skipped and os.environ.get("CI"):
        print("in CI a skipped test is a failure")
    print(f"{len(tally.passed)} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
    sys.exit(1 if tally.failed or (tally.skipped and os.environ.get("CI")) else 0)


main()
