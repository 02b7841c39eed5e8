"""The front of a sweep: of what costs more, only what is surely more accurate.

Costs are counted and exact, accuracies are measured on so many images. Two accuracies whose
difference may be chance are alike, and then the cheaper point counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgenets.intervals import difference_interval, paired_interval

Row = Mapping[str, Any]
"""Of a finished trial: its figures, `top1`, `samples` and `right`."""


def is_more_accurate(first: Row, second: Row) -> bool:
    """Return whether the first row's accuracy is surely the higher one, at 95 %.

    Where both say which of the same images they answered rightly, these are compared in pairs.
    """
    return accuracy_difference(first, second)[0] > 0


def accuracy_difference(first: Row, second: Row) -> tuple[float, float]:
    """Return the 95 % confidence interval of the first row's accuracy minus the second one's."""
    samples = first["samples"]
    if first["right"] and second["right"] and samples == second["samples"]:
        one, other = (_bits(row["right"]) for row in (first, second))
        return paired_interval(int((one & ~other).sum()), int((other & ~one).sum()), samples)
    return difference_interval(first["top1"], second["top1"], min(samples, second["samples"]))


def front_of(rows: Sequence[Row], cost: str) -> list[int]:
    """Return which rows are the front, the cheapest first.

    From the cheapest on, a row joins the front if it is surely more accurate than each one there.
    Among equally cheap ones the more accurate comes first.

    Args:
        rows: finished ones.
        cost: a key of a figure; rows that have it as None are passed over.
    """
    known = [i for i, row in enumerate(rows) if row[cost] is not None]
    order = sorted(known, key=lambda i: (rows[i][cost], -rows[i]["top1"], i))
    front: list[int] = []
    for i in order:
        if all(is_more_accurate(rows[i], rows[j]) for j in front):
            front.append(i)
    return front


def ranks(costs: Sequence[Sequence[float]]) -> list[int]:
    """Return in how many layers of better points each point is wrapped: 0 on the outermost.

    A point is better than another that has no less of anything, and more of something.

    >>> ranks([(1, 5), (2, 2), (3, 3), (4, 4)])
    [0, 0, 1, 2]
    """
    values = np.asarray(costs, np.float64)
    found = np.full(len(values), -1)
    for rank in range(len(values)):
        left = np.flatnonzero(found < 0)
        if not left.size:
            break
        for i in left:
            others = values[left]
            better = np.all(others <= values[i], axis=1) & np.any(others < values[i], axis=1)
            if not better.any():
                found[i] = rank
    return [int(rank) for rank in found]


def best(costs: Sequence[Sequence[float]], count: int) -> list[int]:
    """Return the `count` best points, whole layers first; of the last one those far apart.

    How far a point is from its neighbours is the crowding distance of Deb et al. 2002 (NSGA-II).

    >>> best([(1, 5), (2, 2), (3, 3), (5, 1), (1.1, 4.9)], 3)
    [0, 1, 3]
    """
    values = np.asarray(costs, np.float64)
    of_layer = np.array(ranks(costs))
    chosen: list[int] = []
    for rank in range(int(of_layer.max(initial=0)) + 1):
        layer = np.flatnonzero(of_layer == rank)
        if room := count - len(chosen):
            apart = _crowding(values[layer])
            order = sorted(range(len(layer)), key=lambda k: (-apart[k], layer[k]))
            chosen += [int(layer[k]) for k in order[:room]]
    return sorted(chosen)


def _crowding(values: Any) -> Any:
    """Return how far each point's neighbours are apart, summed over the axes; infinite at ends."""
    apart = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        apart[order[[0, -1]]] = np.inf
        if span > 0 and len(order) > 2:
            apart[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return apart


def _bits(text: str) -> Any:
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)).astype(bool)
