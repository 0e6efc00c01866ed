"""hnswlib and faiss in memory on a set of vector_sets: `vector_limits.py FOLDER l2|cosine QUERIES`, with Debian's Python.

Prints an object for each: {"name", "points": [{"value", "recall", "qps"}]}. One thread searches, one query a call, as the server does.
"""
import json
import pathlib
import sys
import time

import faiss
import hnswlib
import numpy

EF_SEARCH = (10, 20, 40, 80, 160, 320, 640)


def sweep(name, set_ef, search, queries, neighbours):
    points = []
    for ef in EF_SEARCH:
        set_ef(ef)
        for _ in range(2):  # the first pass warms
            began = time.perf_counter()
            found = [search(query[None]) for query in queries]
            seconds = time.perf_counter() - began
        hits = sum(len(set(ids.ravel().tolist()) & set(row[:10].tolist())) for ids, row in zip(found, neighbours))
        points.append({"value": ef, "recall": hits / (10 * len(queries)), "qps": len(queries) / seconds})
        if points[-1]["recall"] >= 0.993:
            break
    print(json.dumps({"name": name, "points": points}), flush=True)


def main():
    folder, metric, count = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    base, queries, neighbours = (numpy.load(folder / f"{part}.npy") for part in ("base", "queries", "neighbours"))
    queries, neighbours = queries[:count], neighbours[:count]
    index = hnswlib.Index(space="l2" if metric == "l2" else "ip", dim=base.shape[1])
    index.init_index(len(base), M=16, ef_construction=64)
    index.add_items(base)
    index.set_num_threads(1)
    sweep("hnswlib (16, 64)", index.set_ef, lambda query: index.knn_query(query, k=10)[0], queries, neighbours)
    # On unit vectors L2 orders as cosine does.
    graph = faiss.IndexHNSWFlat(base.shape[1], 16)
    graph.hnsw.efConstruction = 64
    graph.add(base)
    faiss.omp_set_num_threads(1)
    sweep("faiss HNSW (16, 64)", lambda ef: setattr(graph.hnsw, "efSearch", ef), lambda query: graph.search(query, 10)[1], queries, neighbours)


main()
