"""Which channels go: those that carry least for the instructions that they cost.

Numbers of channels stay multiples of 8, in which kernels compute. The net is cut in rounds, each
an equal factor of the way, and what channels carry is measured anew in each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.channels import keep_filters
from edgenets.models.coupling import Channels, Group, channel_groups, filters_of
from edgenets.progress import progress_bar
from edgenets.quantize.slim.cost import estimate, operators_of
from edgenets.quantize.slim.importance import measure_importance

MULTIPLE = 8
LEAST = 8  # channels that stay in each group
STRIDES = (1, 2, 3, 4)  # multiples that go at a time: kernels may compute 16 or 32 channels at once
ROUNDS = 8

Array = NDArray[np.float64]


class Cut(NamedTuple):
    """Channels that could go next."""

    group: int
    dropped: Channels  # places among those that are left
    price: float  # nats per instruction that has to go


def slim_net(
    model: keras.Model, core: str, most: float, images: NDArray[np.uint8], seed: int
) -> keras.Model:
    """Return a copy of `model` without the channels that carry least, and not trained since.

    Args:
        model: of whose layers all stay.
        core: of `operator_costs.CORES`.
        most: instructions that an inference may be estimated to execute.
        images: prepared, of any classes.
        seed: see `measure_importance`.

    Raises:
        EdgenetsError: as `require_possible`.
    """
    now = require_possible(model, core, most)
    goals = [*np.geomspace(now, most, ROUNDS + 1)[1:-1], most]
    with progress_bar("slim", ROUNDS) as advance:
        for goal in goals:
            groups = channel_groups(model)
            importance = measure_importance(model, groups, images, seed)
            operators = operators_of(model, groups)
            kept = choose(groups, importance, partial(estimate, operators, core), goal)
            model = keep_filters(model, kept_filters(model, groups, kept))
            advance()
    return model


def require_possible(model: keras.Model, core: str, most: float) -> float:
    """Return the instructions that `model` is estimated to execute, and can be slimmed to `most`.

    Raises:
        EdgenetsError: it cannot, or needs not, or channels cannot be followed through it.
    """
    now, least = instructions_range(model, core)
    if most >= now:
        raise EdgenetsError(
            f"{model.name} takes an estimated {now:,.0f} instructions as it is; pass fewer than "
            f"that, not {most:,.0f}, or leave slim out"
        )
    if least > most:
        raise EdgenetsError(
            f"{model.name} cannot be slimmed to {most:,.0f} instructions: with as few channels as "
            f"possible it takes {least:,.0f} of {now:,.0f}; pass a larger number, or a speedup of "
            f"at most {np.floor(100 * now / least) / 100:g}"
        )
    return now


def instructions_range(model: keras.Model, core: str) -> tuple[float, float]:
    """Return what an inference is estimated to execute, and with as few channels as possible.

    Raises:
        EdgenetsError: operators were not measured, or channels cannot be followed through the net.
    """
    groups = channel_groups(model)
    operators = operators_of(model, groups)
    fewest = np.array([min(1.0, LEAST / group.size) for group in groups])
    return estimate(operators, core), estimate(operators, core, fewest)


def choose(
    groups: Sequence[Group],
    importance: Sequence[Array],
    cost: Callable[[Array], float],
    most: float,
) -> list[Channels]:
    """Return by group which channels stay, ascending, so that the cost is at most `most`.

    Args:
        groups: of channels.
        importance: of each channel, by group.
        cost: from the part of each group that is there to instructions.
        most: instructions; if it cannot be reached, all is cut that can be.
    """
    left = [np.arange(group.size) for group in groups]
    sizes = np.array([group.size for group in groups], np.float64)

    def parts() -> Array:
        return np.array([len(channels) for channels in left]) / sizes

    now = cost(parts())
    while now > most:
        cuts = []
        for i, group in enumerate(groups):
            for dropped in _possible(left[i], importance[i], group.spread):
                after = parts()
                after[i] -= len(dropped) / sizes[i]
                if (saved := now - cost(after)) > 0:
                    lost = float(importance[i][left[i][dropped]].sum())
                    cuts.append(Cut(i, dropped, lost / min(saved, now - most)))
        if not cuts:
            break
        best = min(cuts, key=lambda cut: (cut.price, cut.group))
        left[best.group] = np.delete(left[best.group], best.dropped)
        now = cost(parts())
    return left


def _possible(left: Channels, importance: Array, spread: bool) -> list[Channels]:
    """Return the least important channels, by places in `left`, that leave a multiple of 8."""
    counts = [(-(-len(left) // MULTIPLE) - stride) * MULTIPLE for stride in STRIDES]
    values = importance[left]
    possible = []
    for count in (count for count in counts if count >= LEAST):
        number = len(left) - count
        if spread:
            chunks = np.array_split(np.arange(len(left)), number)
            dropped = np.array([chunk[np.argmin(values[chunk])] for chunk in chunks])
        else:
            dropped = np.argsort(values, kind="stable")[:number]
        possible.append(dropped)
    return possible


def kept_filters(
    model: keras.Model, groups: Sequence[Group], kept: Sequence[Channels]
) -> dict[str, Channels]:
    """Return by layer which filters stay, ascending; a layer may be in several groups, or none."""
    gone: dict[str, list[Channels]] = {}
    for group, channels in zip(groups, kept, strict=True):
        for name, filters in group.filters.items():
            gone.setdefault(name, []).append(np.delete(filters, channels, axis=0).ravel())
    return {
        name: np.delete(np.arange(filters_of(model.get_layer(name))), np.concatenate(parts))
        for name, parts in gone.items()
    }
