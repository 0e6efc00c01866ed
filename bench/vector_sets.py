"""The data sets of `./dev bench vectors`, made by script: base vectors, queries that are not among them, exact neighbours.

Each set is a folder of .npy files (base, queries, neighbours) and of the same as raw files for programs in C++: int32 rows, int32
columns, then the values row by row (float32; neighbours int32). A set is made once in a cache folder; nothing of it is committed.

The synthetic sets are mixtures of Gaussians: cluster sizes spread as a log-normal, and each cluster is a low-dimensional blob in
an orientation of its own, whose spectrum falls as a power law, plus a little noise in all directions. That gives what embeddings
have and uniform noise has not: a low local dimension, near neighbours, and points between clusters. The spread is chosen so
that hnswlib (16, 64) needs an ef of about 40 and 160 for a recall@10 of 0.95 and 0.99; the local dimension of b768 is 23.
"""
import gzip
import pathlib
import sys

import numpy

FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist
NEIGHBOURS = 100


class Spec:
    """How a set is made. `local` is the dimension of a cluster, `spread` its radius over that of the centres."""

    def __init__(self, rows, dims, metric, clusters=0, local=0, spread=0.0, noise=0.0, queries=1000):
        self.rows, self.dims, self.metric, self.clusters, self.local = rows, dims, metric, clusters, local
        self.spread, self.noise, self.queries = spread, noise, queries


SETS = {
    "a128": Spec(100_000, 128, "l2", 1000, 24, 0.9, 0.10),
    "b768": Spec(50_000, 768, "cosine", 500, 64, 2.5, 0.10),
    "fm784": Spec(60_000, 784, "l2"),
    "c1536": Spec(20_000, 1536, "cosine", 200, 64, 4.0, 0.10, 500),
    "d3072": Spec(20_000, 3072, "cosine", 200, 64, 4.0, 0.10, 500),
}


def mixture(spec, seed):
    """rows + queries vectors. Centres lie in a space of 4 * local dimensions, as topics do; so do the clusters' own axes."""
    rng = numpy.random.default_rng(seed)
    total, latent = spec.rows + spec.queries, min(4 * spec.local, spec.dims)
    axes = numpy.linalg.qr(rng.standard_normal((spec.dims, latent), dtype=numpy.float32))[0].T
    falling = (1 + numpy.arange(spec.local, dtype=numpy.float32)) ** -0.5
    falling /= numpy.linalg.norm(falling)
    centres = rng.standard_normal((spec.clusters, latent), dtype=numpy.float32) / numpy.float32(latent ** 0.5)
    weights = rng.lognormal(0, 0.7, spec.clusters)
    members = rng.choice(spec.clusters, total, p=weights / weights.sum())
    points = numpy.empty((total, latent), dtype=numpy.float32)
    for cluster in range(spec.clusters):
        rows = numpy.flatnonzero(members == cluster)
        turn = numpy.linalg.qr(rng.standard_normal((latent, spec.local), dtype=numpy.float32))[0].T
        radius = spec.spread * rng.lognormal(0, 0.25)
        points[rows] = centres[cluster] + radius * (rng.standard_normal((len(rows), spec.local), dtype=numpy.float32) * falling) @ turn
    points = points @ axes
    points += spec.noise / spec.dims ** 0.5 * rng.standard_normal(points.shape, dtype=numpy.float32)
    if spec.metric == "cosine":
        points /= numpy.linalg.norm(points, axis=1, keepdims=True)
    return points[:spec.rows], points[spec.rows:]


def fashion(spec):
    def images(name):
        with gzip.open(FASHION / name) as file:
            return numpy.frombuffer(file.read(), numpy.uint8, offset=16).reshape(-1, 784).astype(numpy.float32)

    return images("train-images-idx3-ubyte.gz"), images("t10k-images-idx3-ubyte.gz")[:spec.queries]


def exact(base, queries, metric, k, allowed=None):
    """The k nearest rows of base to each query, nearest first, among those that `allowed` (a mask) lets through."""
    ids = numpy.arange(len(base)) if allowed is None else numpy.flatnonzero(allowed)
    base = base if allowed is None else base[ids]
    norms = numpy.einsum("ij,ij->i", base, base) if metric == "l2" else None
    found = numpy.empty((len(queries), k), dtype=numpy.int32)
    for first in range(0, len(queries), 200):
        products = queries[first:first + 200] @ base.T
        distances = norms - 2 * products if metric == "l2" else -products
        nearest = numpy.argpartition(distances, k, axis=1)[:, :k] if k < len(ids) else numpy.tile(numpy.arange(len(ids)), (len(products), 1))
        order = numpy.argsort(numpy.take_along_axis(distances, nearest, 1), axis=1, kind="stable")
        found[first:first + 200] = ids[numpy.take_along_axis(nearest, order, 1)[:, :k]]
    return found


def write_raw(path, array):
    with open(path, "wb") as file:
        numpy.array(array.shape, dtype="<i4").tofile(file)
        numpy.ascontiguousarray(array).tofile(file)


class Set:
    """base, queries and neighbours of a set, made in the folder `cache` when they are not there yet."""

    def __init__(self, name, cache):
        self.name, self.spec, self.folder = name, SETS[name], pathlib.Path(cache) / name
        if not (self.folder / "done").exists():
            self.make()
        self.base, self.queries, self.neighbours = (numpy.load(self.folder / f"{part}.npy") for part in ("base", "queries", "neighbours"))

    def make(self):
        print(f"making the set {self.name}", file=sys.stderr, flush=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        base, queries = mixture(self.spec, seed=len(self.name) + self.spec.dims) if self.spec.clusters else fashion(self.spec)
        for part, array in (("base", base), ("queries", queries), ("neighbours", exact(base, queries, self.spec.metric, NEIGHBOURS))):
            numpy.save(self.folder / f"{part}.npy", array)
            write_raw(self.folder / f"{part}.{'i32' if array.dtype == numpy.int32 else 'f32'}", array)
        (self.folder / "done").touch()

    @property
    def operator(self):
        return "<->" if self.spec.metric == "l2" else "<=>"

    def opclass(self, kind="vector"):
        return f"{kind}_{self.spec.metric}_ops"


def recall(found, neighbours, k=10):
    """found: a list of ids for each query; a row that is missing counts as a wrong one."""
    return sum(len(set(ids[:k]) & set(row[:k].tolist())) for ids, row in zip(found, neighbours)) / (k * len(neighbours))


if __name__ == "__main__":
    for wanted in sys.argv[2:] or SETS:
        Set(wanted, sys.argv[1])
