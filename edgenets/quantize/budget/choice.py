"""Choose how far each layer is compressed: the least divergence for a size.

Every layer has options. Bytes and divergences are taken to add up over the layers, so that for each
price of a byte the best choice is the best option of each layer on its own: a corner of the convex
hull of the layer's options. Going from the largest choice down, one takes the hulls' steps in the
order of what a saved byte costs.

Source: Shoham and Gersho 1988, "Efficient bit allocation for an arbitrary set of quantizers".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

MOST_CLUSTERS = 255  # all codes of a kernel, [-127, 127]: nothing is shared


class Option(NamedTuple):
    """One way to compress a layer, with what is expected of it."""

    sparsity: float  # fraction of the weights that are zero, at least
    clusters: int  # shared values, zero included
    size_bytes: float
    divergence: float  # of the net's answers from the unchanged net's: mean KL in nats, at least 0


Options = Mapping[str, Sequence[Option]]
"""By layer, what can be chosen."""
Choice = Mapping[str, Option]
"""By layer, what is chosen."""


def trade_offs(options: Options) -> list[Choice]:
    """Return the choices worth having, the largest first, the smallest last.

    Each takes fewer bytes than the one before it and diverges more. None of them takes as many
    bytes as a uniform choice and diverges more: where a uniform one is between two steps, it is
    among them.

    >>> two = [Option(0.0, 255, 100, 0.0), Option(0.5, 255, 60, 0.1)]
    >>> three = [Option(0.0, 255, 200, 0.0), Option(0.5, 255, 120, 0.1), Option(0.9, 255, 90, 9.0)]
    >>> for choice in trade_offs({"a": two, "b": three}):
    ...     print(choice["a"].sparsity, choice["b"].sparsity, size_of(choice))
    0.0 0.0 300
    0.0 0.5 220
    0.5 0.5 180
    0.5 0.9 150
    """
    candidates = sorted(
        [*_hull_choices(options), *_uniform_choices(options)],
        key=lambda choice: (divergence_of(choice), size_of(choice)),
    )
    kept: list[Choice] = []
    for choice in candidates:
        if not kept or size_of(choice) < size_of(kept[-1]):
            kept.append(choice)
    return kept


def uniform_choice(options: Options, sparsity: float, clusters: int) -> Choice:
    """Return the choice of the same for every layer, or as much of it as its options allow."""
    return {
        name: max(
            (o for o in several if o.sparsity <= sparsity and o.clusters >= clusters),
            key=lambda option: (option.sparsity, -option.clusters),
        )
        for name, several in options.items()
    }


def size_of(choice: Choice) -> float:
    """Return the bytes that all kernels are expected to take."""
    return sum(option.size_bytes for option in choice.values())


def divergence_of(choice: Choice) -> float:
    """Return the divergence that is expected of all layers together."""
    return sum(option.divergence for option in choice.values())


def _hull_choices(options: Options) -> Iterator[Choice]:
    """Yield the best choice at each price of a byte, and each with one layer a step back.

    The latter fill the gaps that a large layer's steps leave.
    """
    hulls = {name: _convex_hull(several) for name, several in options.items()}
    choice = {name: hull[0] for name, hull in hulls.items()}
    yield dict(choice)
    steps = [
        (_price(before, after), name, before, after)
        for name, hull in hulls.items()
        for before, after in pairwise(hull)
    ]
    back: dict[str, Option] = {}
    for _, name, before, after in sorted(steps, key=lambda step: step[0]):  # rising along a hull
        choice[name], back[name] = after, before
        yield dict(choice)
        yield from ({**choice, other: back[other]} for other in back if other != name)


def _uniform_choices(options: Options) -> Iterator[Choice]:
    every = {(o.sparsity, o.clusters) for several in options.values() for o in several}
    for sparsity, clusters in sorted(every):
        yield uniform_choice(options, sparsity, clusters)


def _convex_hull(options: Iterable[Option]) -> list[Option]:
    """Return the options on the lower convex hull, from the least divergence to the fewest bytes.

    Each step costs more divergence per saved byte than the one before it.
    """
    hull: list[Option] = []
    for option in sorted(options, key=lambda option: (option.divergence, option.size_bytes)):
        if hull and option.size_bytes >= hull[-1].size_bytes:
            continue
        while len(hull) > 1 and _price(hull[-2], hull[-1]) >= _price(hull[-1], option):
            hull.pop()
        hull.append(option)
    return hull


def _price(before: Option, after: Option) -> float:
    return (after.divergence - before.divergence) / (before.size_bytes - after.size_bytes)
