"""The page in a real Chromium, driven by npm/page.mjs: every page works, says nothing in the console, has names for its controls and
readable text, fits a phone; and what each does. Screenshots are left in build/page."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import pytest
import servers

psycopg2 = pytest.importorskip("psycopg2")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import page_data  # noqa: E402
import tune_apply  # noqa: E402

FULL = bool(os.environ.get("CAIRN_FULL"))
TOTAL = 10_000 if FULL else 2_000
PAGES = ["overview", "experiments", "runs", "charts", "parallel", "run", "compare", "models", "model", "features", "search", "load", "plan", "advice", "relations", "activity",
         "operations"]
DARK = PAGES if FULL else ["runs", "charts", "model", "plan", "advice", "operations"]  # all share one set of colours
BROWSER_SECONDS = 280


@pytest.fixture(scope="module")
def browser():
    found = shutil.which("chromium")
    assert found, "chromium is not installed: ./dev setup"
    return found


def drive(npm_modules, browser, program="page.mjs", **given):
    shots = npm_modules.parent / "page"
    done = subprocess.run(["node", str(npm_modules / program), json.dumps({**given, "browser": browser, "shots": str(shots)})], capture_output=True, text=True,
                          timeout=BROWSER_SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def make_runs(api, unique):
    """A long experiment, and one with three runs that differ in a parameter and have a history."""
    few, many = (api.post("experiments/create", {"name": unique(name)})["experiment_id"] for name in ("few", "many"))
    runs = []
    for i, kind in enumerate(("odd", "even", "odd")):
        run = api.create_run(few, run_name=f"<img src=x> {i}", start_time=1_700_000_000_000 + i)
        metrics = [{"key": key, "value": scale / (1 + step + i), "timestamp": 1_700_000_000_000 + step, "step": step} for key, scale in (("loss", 3), ("accuracy", 1)) for step in range(30)]
        api.post("runs/log-batch", {"run_id": run, "metrics": metrics, "params": [{"key": "kind", "value": kind}, {"key": "depth", "value": str(2 + i)}, {"key": "same", "value": "1"}]})
        api.post("runs/update", {"run_id": run, "status": "FINISHED", "end_time": 1_700_000_060_000})
        runs.append(run)
    first = api.create_run(many, run_name="run 00000", start_time=1_700_000_000_000)
    api.post("runs/log-batch", {"run_id": first, "metrics": [{"key": "loss", "value": 2.5, "timestamp": 1, "step": 0}], "params": [{"key": "kind", "value": "odd"}]})
    api.session.put(f"{api.url}/api/2.0/mlflow-artifacts/artifacts/{few}/{runs[0]}/artifacts/notes.txt", data=b"from the artifact")
    return few, many, runs, first


def make_rest(api, unique, runs):
    """A model that waits for an approval, a feature view, and a collection."""
    model, view, collection = unique("model"), unique("view").replace("-", "_"), unique("collection").replace("-", "_")
    api.post("registered-models/create", {"name": model, "description": "Tells odd from even"})
    api.post("model-versions/create", {"name": model, "source": f"runs:/{runs[0]}/model", "run_id": runs[0]})
    api.post("/api/v1/approvals", {"model": model, "version": "1", "target": "Production"})
    api.post("/api/v1/features/apply", {"entities": [{"name": f"{view}_entity", "join_key": f"{view}_id", "value_type": "int64"}],
                                        "feature_views": [{"name": view, "entities": [f"{view}_entity"], "features": [{"name": "height", "value_type": "double"}]}]})
    api.post("/write-to-online-store", {"feature_view_name": view, "df": {f"{view}_id": list(range(100)), "height": [i * i / 100 for i in range(100)]}})
    api.post("/api/v1/collections", {"name": collection})
    api.post(f"/api/v1/collections/{collection}/documents", {"documents": [{"source": f"{i}.txt", "content": f"A cairn is a heap of stones, number {i}"} for i in range(3)]})
    return {"model": model, "view": view, "collection": collection}


@contextlib.contextmanager
def blocked_session(dsn):
    """A table with rows, and a session that waits for another one's lock on it."""
    holder, waiter = psycopg2.connect(dsn, application_name="page holder"), psycopg2.connect(dsn)
    with holder, holder.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS public.page_rows AS SELECT i AS id, 'name ' || i AS name FROM generate_series(1, 20000) i")
        cursor.execute("CREATE INDEX IF NOT EXISTS idx_page_rows_name ON public.page_rows (name)")
        cursor.execute("GRANT SELECT ON public.page_rows TO cairn, cairn_reader")
        cursor.execute("SELECT concat('row ', name) FROM public.page_rows, pg_sleep(3) WHERE id < 5")  # among the first by its time
    holder.cursor().execute("LOCK TABLE page_rows IN SHARE ROW EXCLUSIVE MODE")

    def wait():
        with contextlib.suppress(psycopg2.Error):
            waiter.cursor().execute("LOCK TABLE page_rows IN SHARE ROW EXCLUSIVE MODE")
        waiter.close()

    waiting = threading.Thread(target=wait)
    waiting.start()
    try:
        with contextlib.closing(psycopg2.connect(dsn)) as other:
            other.autocommit = True
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                with other.cursor() as cursor:
                    cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0")
                    if cursor.fetchone()[0]:
                        break
        yield
    finally:
        holder.rollback()
        waiting.join()
        with holder, holder.cursor() as cursor:
            cursor.execute("DROP TABLE public.page_rows")
        holder.close()


@contextlib.contextmanager
def idle_session(dsn):
    """Of a role that is no superuser, in a transaction: in the way, and to be ended."""
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE ROLE page_victim LOGIN PASSWORD 'of victim' IN ROLE cairn_reader")
    victim = psycopg2.connect(psycopg2.extensions.make_dsn(dsn, user="page_victim", password="of victim", application_name="page victim"))
    victim.cursor().execute("SELECT 1")
    try:
        yield
    finally:
        victim.close()
        with contextlib.closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("DROP ROLE page_victim")


def leave_advice(data_dir, dsn):
    """For a table of the server's own role."""
    with contextlib.closing(psycopg2.connect(psycopg2.extensions.make_dsn(dsn, user="cairn"))) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE public.advised (id serial PRIMARY KEY, kind text); INSERT INTO public.advised (kind) SELECT 'kind ' || i % 50 FROM generate_series(1, 5000) i")
    folder = pathlib.Path(data_dir) / "tuner"
    tune_apply.write_advice(folder, "20261122T000001.000Z", "cairn", [tune_apply.index("advised", "kind")])


@pytest.fixture(scope="module")
def data(server):
    api = servers.Api(server.url)

    def unique(stem):
        return f"{stem}-{uuid.uuid4().hex[:8]}"

    few, many, runs, first = make_runs(api, unique)
    name = api.get("experiments/get", experiment_id=few)["experiment"]["name"]
    return {"few": few, "fewName": name, "experiment": many, "run": runs[0], "pair": runs[:2], "copied": first, **make_rest(api, unique, runs)}


@pytest.fixture(scope="module")
def outcomes(server, data, npm_modules, browser):
    dsn = page_data.embedded_dsn(server.data_dir)
    with contextlib.closing(psycopg2.connect(dsn)) as connection:
        page_data.copy_runs(connection, data["copied"], TOTAL - 1)
    leave_advice(server.data_dir, dsn)
    with blocked_session(dsn), idle_session(dsn):
        found = drive(npm_modules, browser, url=server.url, name="<img src=x> 0", first="run 00000", total=TOTAL, dark=DARK, **data)
    return {**found, **drive(npm_modules, browser, url=server.url, quiet=True, **data)}


@pytest.mark.parametrize("page", PAGES)
def test_page_works_is_accessible_and_fits_a_phone(outcomes, page):
    for scheme in ("light", "dark") if page in DARK else ("light",):
        assert outcomes.get(f"{page} {scheme}", "was not looked at") is None


@pytest.mark.parametrize("check", [
    "first view: what is asked for ahead is what the page needs, once", "runs: any number of rows, few of them in the document", "runs: by keyboard", "runs: filter in MLflow's grammar", "runs: order and columns", "compare: what differs is marked",
    "charts: smoothing and zoom", "parallel coordinates: a drag keeps what passes", "run: what others have named is text", "models: an approval by a button",
    "features: distribution and drift", "search: each part's score and rank", "database: statements, and the plan of one with its findings", "database: who waits for whom",
    "database: advice and relations", "theme: chosen by hand, and kept", "database: a session is ended, by who was asked",
    "database: advice is applied, measured and undone by buttons", "live: what the server tells is shown without being asked for", "live: it asks where it cannot be told",
    "nothing is asked, and no stream is open, while the tab is hidden", "an address that leads nowhere says so"])
def test_page_does(outcomes, check):
    assert outcomes.get(check, "was not tried") is None


def test_mlflow_s_own_page(server, data, npm_modules, browser):
    """From the wheel, in front of Cairn's API."""
    mlflow = pytest.importorskip("mlflow")
    build = pathlib.Path(mlflow.__file__).parent / "server" / "js" / "build"
    outcomes = drive(npm_modules, browser, "mlflow_page.mjs", url=server.url, build=str(build), experiment=data["few"], experimentName=data["fewName"], run=data["run"],
                     runNames=[f"<img src=x> {i}" for i in range(3)], model=data["model"])
    assert outcomes == dict.fromkeys(["experiments", "runs", "run", "model metrics", "models", "model"])


@pytest.fixture
def folder():
    """That PostgreSQL's own user can enter."""
    with tempfile.TemporaryDirectory(prefix="cairn-test-") as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


def test_page_asks_for_credentials(folder, npm_modules, browser):
    entries = [subprocess.run([os.environ["CAIRN_BIN"], "credentials", "user", name, "--role", role], input="right horse\n", capture_output=True,
                              text=True, check=True).stdout for name, role in (("ann", "writer"), ("rob", "reader"))]
    file = folder / "credentials.toml"
    file.write_text("".join(entries))
    file.chmod(0o600)
    running = servers.start_cairn(folder, "--credentials", str(file))
    try:
        with idle_session(page_data.embedded_dsn(running.data_dir)):
            assert drive(npm_modules, browser, url=running.url, pair=[], password="right horse") == {
                "sign in: asked for, refused, taken, forgotten": None, "a reader is told of sessions, and why none is ended": None}
    finally:
        running.stop()


def test_page_is_cached_until_it_changes(api):
    for path in ("/", "/ui/app.js", "/ui/style.css", "/ui/icon.svg"):
        answer = api.session.get(api.url + path)
        assert answer.status_code == 200 and "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert api.session.get(api.url + path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    # What the first file names is never asked for again, and is short on its way.
    first = api.session.get(api.url + "/").text
    script = re.search(r'src="(ui/[0-9a-f]{16}/app\.js)"', first)[1]
    answer = api.session.get(f"{api.url}/{script}", headers={"Accept-Encoding": "gzip"})
    assert "immutable" in answer.headers["Cache-Control"] and answer.headers["Content-Encoding"] == "gzip"
    plain = api.session.get(f"{api.url}/{script}", headers={"Accept-Encoding": "identity"})
    assert plain.text == answer.text and "Content-Encoding" not in plain.headers
    old = api.session.get(api.url + "/ui/0123456789abcdef/app.js")
    assert old.text == answer.text and old.headers["Cache-Control"] == "no-cache"
    assert api.session.get(api.url + "/ui/nothing.js").status_code == 404
    assert api.session.get(api.url + "/ui/..%2findex.html").status_code == 404


def test_database_routes_read_and_do_no_more(api):
    database = api.get("/api/v1/database")
    assert database["database"] == "cairn" and {one["name"] for one in database["databases"]} >= {"cairn", "postgres"}
    statements = api.get("/api/v1/database/statements", top=3)["statements"]
    assert len(statements) == 3 and statements[0]["total_ms"] >= statements[1]["total_ms"]
    assert api.get("/api/v1/database/statements/history")["interval_s"] > 0
    assert "training_runs" in {one["name"] for one in api.get("/api/v1/database/relations")["tables"]}
    assert api.get("/api/v1/database/relations", database="postgres")["tables"] == []
    assert api.get("/api/v1/database/advice", database="postgres")["journal"] == []

    def refused(path, **query):
        answer = api.call("GET", "/api/v1/database/" + path, params=query)
        return answer.status_code, answer.json()["message"]

    for path in ("statements", "relations", "advice"):
        status, message = refused(path, database="host=127.0.0.1 dbname=cairn")
        assert status == 400 and "'host=127.0.0.1 dbname=cairn' cannot be looked at" in message
    assert refused("statements", top=0)[0] == 400

    def explain(statement, **more):
        return api.call("POST", "/api/v1/database/explain", json={"statement": statement, **more})

    plan = explain("SELECT * FROM tracking.training_runs WHERE run_id = $1", analyze=True, parameters=["x"]).json()
    assert plan["analyzed"] and plan["nodes"][0]["path"] == "0"
    for statement in ("DELETE FROM tracking.training_runs", "SELECT 1; SELECT 2", "SELECT pg_read_file('/etc/passwd')", "SELECT pg_sleep(60) FROM nothing"):
        answer = explain(statement, analyze=True)
        assert 400 <= answer.status_code < 500 and answer.json()["message"], statement
