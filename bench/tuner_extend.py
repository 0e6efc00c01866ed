"""Extend: Schlosser, Kossmann, Boissier, "Efficient Scalable Multi-Attribute Index Selection Using Recursive Strategies",
ICDE 2019, algorithm 1 of section IV. Written from the paper."""
MINIMAL_GAIN = 0.003  # of the cost: a step that gains less is not taken


def steps(chosen, attributes, width):
    """(index taken out or None, index put in): section IV-A, steps (3a) and (3b)."""
    for attribute in attributes:
        if not any(index.table == attribute.table and index.columns[0] == attribute.columns[0] for index in chosen):
            yield None, attribute
    for index in chosen:
        for attribute in attributes:
            column = attribute.columns[0]
            if attribute.table == index.table and column not in index.columns and len(index.columns) < width:
                yield index, type(index)(index.table, index.columns + (column,))


def extend(what_if, bytes_max, width):
    chosen, cost, size = frozenset(), sum(what_if.base), 0
    attributes = what_if.attributes()
    while True:
        best = None
        for out, new in steps(chosen, attributes, width):
            more = what_if.size(new) - (what_if.size(out) if out else 0)
            if size + more > bytes_max:
                continue
            larger = (chosen - {out}) | {new}
            gain = cost - what_if.total(larger)
            # The greatest gain a byte of what is added (equation 7); what adds nothing and gains comes first.
            ratio = gain / max(more, 1)
            if gain > MINIMAL_GAIN * cost and (best is None or ratio > best[0]):
                best = ratio, larger, gain, more
        if best is None:
            return chosen
        _, chosen, gain, more = best
        cost, size = cost - gain, size + more
