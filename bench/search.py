#!/usr/bin/env python3
"""Ingest and search at size, through Cairn's HTTP API, and the same searches as bare SQL from one client.

    ./dev bench search [--json] [--chunks 100000] [--searches 1000] [--rounds 3]

Documents are sentences of PostgreSQL's manual (Debian's postgresql-doc-15), eight at random, about a chunk each; searches are the
terms of its index and the questions of search_questions.tsv, or the vectors of chunks. Ingest is one request of JSON lines: without
embeddings, with the embedder `local` (its training and the second embedding are in the figure), and with an endpoint that answers at
once, so that what remains is Cairn's part. Searches go to the collection of `local`, after its index was built, over HTTP and as SQL in
turn: text and both by `search.query`, vectors by ORDER BY; ten results, one connection, warm.
"""
import argparse
import contextlib
import hashlib
import html
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import statistics
import sys
import tempfile
import threading
import time

import psycopg
import requests

import search_sets
from search_server import Server, say

DIMENSION = 384


def sentences(documents):
    texts = (re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", document["content"]))) for document in documents)
    return [sentence for text in texts for sentence in re.findall(r"[A-Z][^.!?]{40,300}[.!?]", text)]


def made_documents(count, of):
    generator = random.Random(1)
    for number in range(count):
        yield {"source": str(number), "title": generator.choice(of)[:60], "content": " ".join(generator.choices(of, k=8))[:1000],
               "metadata": {"part": number % 100}}


class Instant(http.server.BaseHTTPRequestHandler):
    """An endpoint whose vectors are a hash of the text."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        rows = []
        for text in texts:
            digest = hashlib.sha256(text.encode()).digest() * (DIMENSION // 32)
            rows.append('{"embedding":[' + ",".join(str(byte - 127.5) for byte in digest) + "]}")
        body = ('{"data":[' + ",".join(rows) + "]}").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Searches:
    """The same searches on both sides. A case gives, for each search, the HTTP body and the SQL with its values."""

    def __init__(self, server, collection, texts, count):
        self.http = http.client.HTTPConnection(server.url.split("//")[1])
        self.path = f"/api/v1/collections/{collection}/search"
        self.sql = psycopg.connect(server.database, autocommit=True, prepare_threshold=1)
        table = self.sql.execute("SELECT search.chunks_table(search.collection_id(%s))", [collection]).fetchone()[0]
        vectors = [row[0] for row in self.sql.execute(f"SELECT embedding::text FROM {table} ORDER BY hash LIMIT %s", [count])]
        texts = random.Random(2).choices(texts, k=count)
        nearest = f"SELECT c.chunk_id, d.source, c.title, c.content, c.metadata FROM {table} c JOIN search.documents d USING (document_id) ORDER BY embedding <=> %s::vector LIMIT 10"
        both = "SELECT * FROM search.query(%s, %s, 10, %s)"
        self.cases = {
            "vector": [({"vector": json.loads(v)}, nearest, [v]) for v in vectors],
            "text": [({"query": t, "mode": "text"}, both, [collection, t, None]) for t in texts],
            "hybrid": [({"query": t, "vector": json.loads(v)}, both, [collection, t, v]) for t, v in zip(texts, vectors)],
            "hybrid, embedded": [({"query": t}, None, None) for t in texts],
        }

    def over_http(self, body):
        text = json.dumps(body)
        begin = time.perf_counter()
        self.http.request("POST", self.path, text, {"Content-Type": "application/json"})
        answer = self.http.getresponse()
        payload = answer.read()
        taken = time.perf_counter() - begin
        if answer.status != 200:
            raise RuntimeError(payload.decode())
        return taken * 1000

    def over_sql(self, statement, values):
        begin = time.perf_counter()
        self.sql.execute(statement, values).fetchall()
        return (time.perf_counter() - begin) * 1000

    def run(self, case):
        searches = self.cases[case]
        served = [self.over_http(body) for body, _, _ in searches]
        bare = [self.over_sql(statement, values) for _, statement, values in searches if statement]
        return served, bare


def ingest_rates(server, args, of):
    endpoint = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Instant)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{endpoint.server_port}/v1"
    embedders = {"none": {"kind": "none"}, "endpoint": {"kind": "openai", "model": "instant", "base_url": url}, "local": {"kind": "local"}}
    for name, embedder in embedders.items():
        server.post("/api/v1/collections", {"name": name, "embedder": embedder})
        begin = time.perf_counter()
        counts = server.ingest(name, made_documents(args.chunks, of))
        taken = time.perf_counter() - begin
        say(f"ingest, embedder {name}: {counts['chunks']} chunks in {taken:.1f} s")
        yield {"case": f"ingest, embedder {name}", "cairn": counts["chunks"] / taken, "unit": "chunks/s"}
        if name != "local":
            server.session.delete(f"{server.url}/api/v1/collections/{name}").raise_for_status()
    endpoint.shutdown()


def search_times(server, args, texts):
    begin = time.perf_counter()
    index = server.post("/api/v1/collections/local/index")
    say(f"index: {index} in {time.perf_counter() - begin:.1f} s")
    searches = Searches(server, "local", texts, args.searches)
    rounds = {case: [] for case in searches.cases}
    for case in rounds:
        searches.run(case)  # warm
    for _ in range(args.rounds):
        for case, measured in rounds.items():
            measured.append(searches.run(case))
    for case, measured in rounds.items():
        for name, share in (("P50", 0.5), ("P99", 0.99)):
            served, bare = (statistics.median(percentile(side, share) for side in sides) if all(sides) else None for sides in zip(*measured))
            yield {"case": f"{case} {name}", "cairn": served, "sql": bare, "unit": "ms"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--searches", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    index, questions = search_sets.manual()
    texts = [query for one in (index, questions) for query, _ in one.queries]
    of = sentences(index.documents)
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cairn-bench-", dir="/tmp")))
        os.chmod(folder, 0o755)
        server = Server(folder, stack)
        rows = [*ingest_rates(server, args, of), *search_times(server, args, texts)]
        version = "cairn " + requests.get(server.url + "/version", timeout=5).text
    version += f", {args.chunks} chunks"
    if args.json:
        for row in rows:
            print(json.dumps({"benchmark": "search", "version": version, **row}))
        return 0
    print(version)
    print(f"{'case':28} {'Cairn':>10} {'bare SQL':>10} {'ratio':>6}")
    for row in rows:
        sql = f"{row['sql']:10.2f} {row['cairn'] / row['sql']:6.2f}" if row.get("sql") else " " * 17
        print(f"{row['case']:28} {row['cairn']:10.{0 if row['unit'] == 'chunks/s' else 2}f} {sql} {row['unit']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
