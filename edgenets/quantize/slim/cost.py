"""Instructions of a net's int8 file on a core, estimated operator by operator.

What each group of channels has to do with an operator is kept apart, so that any numbers of kept
channels are priced without building a net.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.coupling import (
    Channels,
    Group,
    filters_of,
    number_filters,
    trace_channels,
)
from edgenets.models.fold import WEIGHTED
from edgenets.models.graph import find_readers, parents_of
from edgenets.models.grouped import ChannelHalf, ChannelShuffle
from edgenets.models.layers import hard_sigmoid, hard_swish
from edgenets.models.operator_costs import COSTS, Cost, instructions

L = keras.layers
KINDS: dict[type[keras.layers.Layer], str] = {
    L.DepthwiseConv2D: "depthwise",
    L.Dense: "dense",
    L.MaxPooling2D: "max_pool",
    L.AveragePooling2D: "average_pool",
    L.GlobalAveragePooling2D: "mean",
    L.Add: "add",
    L.Rescaling: "add",
    L.Multiply: "multiply",
    L.Concatenate: "concatenate",
    ChannelShuffle: "shuffle",
    ChannelHalf: "half",
    L.ReLU: "relu",
}
"""Kinds of `operator_costs.COSTS`, but for convolutions and activations."""
FREE = (L.InputLayer, L.Dropout, L.BatchNormalization)
FUSING = (*WEIGHTED, L.Add)
"""Layers of which the file computes a ReLU together with them, if nobody else reads them."""
Counts = NDArray[np.float64]


class Operator(NamedTuple):
    """An operator of the file: what `operator_costs.instructions` takes, channels by group."""

    kind: str
    positions: int
    window: int
    inputs: Counts  # that each filter reads, of each group and of none
    outputs: Counts
    repeats: int  # of a grouped convolution, once for each group


def operators_of(model: keras.Model, groups: Sequence[Group] = ()) -> list[Operator]:
    """Return the operators of a net's file, with the channels that are of each group."""
    numbers, traced = number_filters(model), trace_channels(model)
    last = max(int(of_layer[-1]) for of_layer in numbers.values())
    group_of = np.full(last + 1, len(groups))
    for i, group in enumerate(groups):
        for name, filters in group.filters.items():
            group_of[numbers[name][filters]] = i
    readers = find_readers(model)

    def count(channels: Channels) -> Counts:
        return np.bincount(group_of[channels], minlength=len(groups) + 1).astype(np.float64)

    one = np.eye(len(groups) + 1)[-1]
    operators = []
    for layer in model.layers:
        (kind, window), (inputs, output) = _kind(layer), traced[layer.name]
        if not kind or _is_fused(layer, readers):
            continue
        positions, repeats = prod(layer.output_shape[1:-1]), getattr(layer, "groups", 1)
        if isinstance(layer, L.GlobalAveragePooling2D):
            positions = 1
        per_filter = count(inputs[0]) / repeats if filters_of(layer) else one
        operators.append(
            Operator(kind, positions, window, per_filter, count(output) / repeats, repeats)
        )
    return operators


def estimate(operators: Sequence[Operator], core: str, kept: Counts | None = None) -> float:
    """Return the instructions of one inference on the core.

    Args:
        operators: of the net.
        core: of `operator_costs.CORES`.
        kept: which part of the channels of each group is there; by default all of them.
    """
    part = np.ones(len(operators[0].outputs))
    if kept is not None:
        part[:-1] = kept
    total = 0.0
    for operator in operators:
        inputs, outputs = (
            round(float(counts @ part), 6) for counts in (operator.inputs, operator.outputs)
        )
        cost = Cost(*COSTS[operator.kind][core])
        total += operator.repeats * instructions(
            cost, operator.positions, operator.window, inputs, outputs
        )
    return total


def estimate_net(model: keras.Model, core: str) -> int:
    """Return the instructions that the net's int8 file is estimated to execute for one image."""
    return round(estimate(operators_of(model), core))


def _is_fused(layer: keras.layers.Layer, readers: Mapping[str, Sequence[object]]) -> bool:
    if not isinstance(layer, L.ReLU):
        return False
    (before,) = parents_of(layer)
    is_alone = len(readers[before.name]) == 1
    if isinstance(before, L.BatchNormalization):
        (before,) = parents_of(before)
    return is_alone and isinstance(before, FUSING)


def _kind(layer: keras.layers.Layer) -> tuple[str, int]:
    """Return a layer's kind and the positions that one of its output is computed from."""
    if isinstance(layer, FREE):
        return "", 0
    if isinstance(layer, L.Conv2D):
        window = prod(layer.kernel_size)
        return ("pointwise" if window == 1 else "convolution"), window
    if isinstance(layer, L.Activation):
        names = {hard_swish: "hard_swish", hard_sigmoid: "hard_sigmoid"}
        if (name := names.get(layer.activation)) is not None:
            return name, 1
    for kind, name in KINDS.items():
        if isinstance(layer, kind):
            if kind is L.GlobalAveragePooling2D:
                return name, prod(layer.input_shape[1:-1])
            sides = getattr(layer, "kernel_size", getattr(layer, "pool_size", (1,)))
            return name, prod(sides)
    raise EdgenetsError(
        f"the instructions of {layer.name}, a {type(layer).__name__}, were not measured; slim a "
        "net of other layers, or leave slim out"
    )
