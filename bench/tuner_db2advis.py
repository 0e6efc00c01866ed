"""DB2Advis: Valentin, Zuliani, Zilio, Lohman, Skelley, "DB2 Advisor: An Optimizer Smart Enough to Recommend Its Own Indexes",
ICDE 2000. Written from the paper: section 3.1 (one statement), 3.2 (a workload as a knapsack), 3.3 (random variations)."""
import random
import time


def recommended(what_if, width):
    """Section 3.1: all candidates of a statement are there at once, the plan's are recommended, and the whole saving of the
    statement is each one's (section 3.2)."""
    benefit = {}
    for i in range(what_if.count):
        cost, used = what_if.plan(i, what_if.candidates(i, width))
        for index in used:
            benefit[index] = benefit.get(index, 0) + what_if.base[i] - cost
    return benefit


def without_prefixes(benefit):
    """Section 3.2, step 4: one that begins another goes, and leaves it its benefit."""
    kept = dict(benefit)
    for index in sorted(benefit, key=lambda index: len(index.columns)):
        longer = [other for other in kept if other.table == index.table and other != index
                  and other.columns[:len(index.columns)] == index.columns]
        if longer:
            kept[max(longer, key=kept.get)] += kept.pop(index)
    return kept


def filled(what_if, order, bytes_max):
    chosen, left = set(), bytes_max
    for index in order:
        if what_if.size(index) <= left:
            chosen.add(index)
            left -= what_if.size(index)
    return frozenset(chosen)


def db2advis(what_if, bytes_max, width, seconds=10):
    benefit = without_prefixes(recommended(what_if, width))
    order = sorted((index for index in benefit if benefit[index] > 0), key=lambda index: -benefit[index] / what_if.size(index))
    chosen = filled(what_if, order, bytes_max)
    best, rest = (what_if.total(chosen), chosen), [index for index in order if index not in chosen]
    # Section 3.3, TRY_VARIATION: a few chosen ones in exchange for a few others, for as long as there is time.
    chance, until = random.Random(1), time.monotonic() + seconds
    for _ in range(1000):
        if not rest or not chosen or time.monotonic() > until:
            break
        out = set(chance.sample(sorted(best[1]), chance.randint(0, min(3, len(best[1])))))
        incoming = chance.sample(rest, chance.randint(1, min(3, len(rest))))
        kept = best[1] - out
        variation = kept | filled(what_if, [i for i in incoming if i not in kept], bytes_max - what_if.total_size(kept))
        cost = what_if.total(variation)
        if cost < best[0]:
            best = cost, variation
            rest = [index for index in order if index not in variation]
    return best[1]
