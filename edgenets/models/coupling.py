"""Coupled channels: which filters of which layers can only be removed together.

A channel is followed from the filter that computes it through the graph. Additions and products tie
the channels that they combine, grouped convolutions and a shuffle of one layer's output those at
the same place of each group. What reaches the output, the logits, stays whole.

ShuffleNet V2 halves and shuffles channels of several layers until each is tied to each. There the
filters of equal number are removed together, in all layers whose channels are dealt out together,
and as many in each part of them (`spread`): channels then go nearly the ways that they went before,
and training does the rest.

Source: Fang et al. 2023, arXiv:2301.12900 (dependency graphs); Liu et al. 2021, arXiv:2108.00708
(coupled channels).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.graph import walk
from edgenets.models.grouped import ChannelHalf, ChannelShuffle

L = keras.layers
TYING = (L.Add, L.Multiply)
PASSING = (
    *(L.BatchNormalization, L.ReLU, L.Activation, L.Dropout, L.Rescaling),
    *(L.MaxPooling2D, L.AveragePooling2D, L.GlobalAveragePooling2D),
)
Channels = NDArray[np.int64]


class Traced(NamedTuple):
    """Where the channels of a layer come from: numbers of filters, counted through the net."""

    inputs: tuple[Channels, ...]  # by tensor that it reads
    output: Channels


class Group(NamedTuple):
    """Channels of the same layers, each of which can be removed on its own.

    Attributes:
        filters: by layer, `[channels, filters]`: which filters of it compute each channel.
        spread: whether as many are to be removed in each part of them.
    """

    filters: Mapping[str, Channels]
    spread: bool = False

    @property
    def size(self) -> int:
        """How many channels there are."""
        return len(next(iter(self.filters.values())))


def filters_of(layer: keras.layers.Layer) -> int:
    """Return how many filters a layer has; 0 if its channels are those of others."""
    if isinstance(layer, L.Dense):
        return int(layer.units)
    return int(layer.filters) if isinstance(layer, L.Conv2D) else 0


def trace_channels(
    model: keras.Model, kept: Mapping[str, Channels] | None = None
) -> dict[str, Traced]:
    """Return for each layer from which filters its channels come.

    Args:
        model: whose layers have as many filters as `kept` says.
        kept: by layer, the numbers that its filters have; by default they are counted through the
            model, the image's channels first.

    Raises:
        EdgenetsError: the model has a layer through which channels cannot be followed.
    """
    numbers = kept or number_filters(model)

    def visit(layer: keras.layers.Layer, inputs: list[Traced]) -> Traced:
        return _trace(layer, tuple(traced.output for traced in inputs), numbers)

    return {layer.name: traced for layer, traced in walk(model, visit)}


def number_filters(model: keras.Model) -> dict[str, Channels]:
    """Return the numbers of each layer's filters and of the image's channels, layer by layer."""
    numbers, start = {}, 0
    for layer in model.layers:
        is_image = isinstance(layer, L.InputLayer)
        if count := layer.output_shape[0][-1] if is_image else filters_of(layer):
            numbers[layer.name] = np.arange(start, start + count)
            start += count
    return numbers


def channel_groups(model: keras.Model) -> list[Group]:
    """Return the groups of channels that can be removed, in the model's order.

    >>> from edgenets.models.registry import create
    >>> first, *_ = channel_groups(create("mobilenet_v1", width=0.25, resolution=32))
    >>> {layer: filters.shape for layer, filters in first.filters.items()}
    {'stem_conv': (8, 1)}

    Raises:
        EdgenetsError: the model has a layer through which channels cannot be followed.
    """
    numbers, traced = number_filters(model), trace_channels(model)
    owner = {int(n): name for name, of_layer in numbers.items() for n in of_layer}
    ties = _Ties(len(owner))
    together = _Ties(len(model.layers))  # layers whose channels are dealt out together
    index = {layer.name: i for i, layer in enumerate(model.layers)}
    dealt: set[str] = set()
    for layer in model.layers:
        inputs, output = traced[layer.name]
        sources = sorted({owner[int(n)] for n in output}, key=index.__getitem__)
        if isinstance(layer, TYING):
            for other in inputs[1:]:
                ties.tie(inputs[0], other)
        elif isinstance(layer, ChannelHalf) or (
            isinstance(layer, ChannelShuffle) and len(sources) > 1
        ):
            dealt.update(sources)
            for source in sources[1:]:
                together.tie([index[sources[0]]], [index[source]])
        elif (groups := getattr(layer, "groups", 1)) > 1:
            for channels in (*inputs, output):
                first, *others = np.split(channels, groups)
                for part in others:
                    ties.tie(first, part)
    fixed = {int(n) for name in _ends(model) for n in traced[name].output}
    families = defaultdict(list)
    for name in sorted(dealt, key=index.__getitem__):
        families[together.root(index[name])].append(numbers[name])
    for family in families.values():
        if len({len(of_layer) for of_layer in family}) > 1:
            fixed.update(int(n) for of_layer in family for n in of_layer)
        else:
            for of_layer in family[1:]:
                ties.tie(family[0], of_layer)
    return _groups(numbers, owner, ties, fixed, dealt)


def _groups(
    numbers: Mapping[str, Channels],
    owner: Mapping[int, str],
    ties: _Ties,
    fixed: set[int],
    dealt: set[str],
) -> list[Group]:
    units: dict[int, list[int]] = defaultdict(list)
    for number in owner:
        units[ties.root(number)].append(number)
    alike: dict[tuple[str, ...], list[list[int]]] = defaultdict(list)
    for unit in units.values():
        if fixed.isdisjoint(unit):
            alike[tuple(owner[number] for number in unit)].append(unit)
    groups = []
    for layers, members in alike.items():
        table = np.array(members)
        filters = {
            name: table[:, [i for i, other in enumerate(layers) if other == name]]
            - numbers[name][0]
            for name in dict.fromkeys(layers)
        }
        groups.append(Group(filters, spread=not dealt.isdisjoint(layers)))
    return groups


def _ends(model: keras.Model) -> list[str]:
    """Return the layers that read the image or give the logits."""
    inputs = [layer.name for layer in model.layers if isinstance(layer, L.InputLayer)]
    return [*inputs, *model.output_names]


def _trace(
    layer: keras.layers.Layer, inputs: tuple[Channels, ...], numbers: Mapping[str, Channels]
) -> Traced:
    if layer.name in numbers:
        return Traced(inputs, numbers[layer.name])
    is_depthwise = isinstance(layer, L.DepthwiseConv2D) and layer.depth_multiplier == 1
    if is_depthwise or isinstance(layer, (*PASSING, *TYING)):
        return Traced(inputs, inputs[0])
    if isinstance(layer, L.Concatenate):
        return Traced(inputs, np.concatenate(inputs))
    if isinstance(layer, ChannelHalf):
        return Traced(inputs, np.split(inputs[0], 2)[layer.half])
    if isinstance(layer, ChannelShuffle):
        return Traced(inputs, inputs[0].reshape(layer.groups, -1).T.ravel())
    raise EdgenetsError(
        f"channels cannot be followed through {layer.name}, a {type(layer).__name__}; slim a net "
        "of convolutions, or leave slim out"
    )


class _Ties:
    """Sets of numbers that are tied, each with its smallest member as root."""

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))

    def root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def tie(self, some: Channels | list[int], others: Channels | list[int]) -> None:
        for one, other in zip(map(int, some), map(int, others), strict=True):
            first, second = sorted((self.root(one), self.root(other)))
            self._parents[second] = first
