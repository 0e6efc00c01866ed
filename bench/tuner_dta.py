"""DTA: Chaudhuri, Narasayya, "Anytime Algorithm of Database Tuning Advisor for Microsoft SQL Server", 2020. Written from the
report: candidates of each query, merged candidates, then a greedy enumeration that keeps its best set for when time is up."""
from tuner_what_if import Index, TimeUp

MERGED = 20  # the most promising candidates, of which pairs are merged


def of_each_query(what_if, width):
    """Candidate selection: what a query's plan takes when all its indexes are there; the expensive queries first."""
    found = {}
    for i in sorted(range(what_if.count), key=lambda i: -what_if.base[i]):
        for length in range(1, width + 1):  # shorter ones too: with all lengths there the plan takes the widest
            cost, used = what_if.plan(i, what_if.candidates(i, length))
            for index in used:
                found[index] = found.get(index, 0) + what_if.base[i] - cost
    return found


def merged(indexes, width):
    """Merging: the columns of one, then what another of its table has beside them."""
    pairs = {Index(a.table, a.columns + tuple(c for c in b.columns if c not in a.columns))
             for a in indexes for b in indexes if a.table == b.table and a != b}
    return {index for index in pairs if len(index.columns) <= width} - set(indexes)


def grow(what_if, chosen, pool, bytes_max, keep):
    """Greedy enumeration: always the index that lowers the cost most, until none does."""
    cost, size = what_if.total(chosen), what_if.total_size(chosen)
    keep(cost, chosen)
    while True:
        best = cost, None
        for index in pool:
            if index not in chosen and size + what_if.size(index) <= bytes_max:
                larger = what_if.total(chosen | {index})
                keep(larger, chosen | {index})
                best = min(best, (larger, index), key=lambda pair: pair[0])
        if best[1] is None:
            return chosen
        cost, chosen = best[0], chosen | {best[1]}
        size += what_if.size(best[1])


def dta(what_if, bytes_max, width):
    """what_if has the time limit."""
    best = [sum(what_if.base), frozenset()]

    def keep(cost, chosen):
        if cost < best[0]:
            best[:] = cost, chosen

    try:
        benefit = of_each_query(what_if, width)
        seeds = sorted(benefit, key=lambda index: -benefit[index])
        # Without merged ones first, for an answer soon; then with those of the most promising, then from each seed.
        grow(what_if, frozenset(), seeds, bytes_max, keep)
        pool = seeds + sorted(merged(seeds[:MERGED], width))
        grow(what_if, frozenset(), pool, bytes_max, keep)
        for seed in seeds:
            if what_if.size(seed) <= bytes_max:
                grow(what_if, frozenset({seed}), pool, bytes_max, keep)
    except TimeUp:
        pass
    return best[1]
