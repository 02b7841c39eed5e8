"""Nets with fewer channels than their builder gives them: a count by layer rebuilds one.

Whatever the net: its layers are built once more, those of the table with so many filters, and the
layers that only pass channels on follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.coupling import Channels, Traced, filters_of, number_filters, trace_channels

L = keras.layers


def with_channels(model: keras.Model, channels: Mapping[str, int]) -> keras.Model:
    """Return `model` with so many filters in the layers of the table and fresh weights.

    Raises:
        EdgenetsError: a layer has no filters or not as many, or the layers do not fit each other.
    """
    if not channels:
        return model
    known = {layer.name: filters_of(layer) for layer in model.layers}
    for name, count in channels.items():
        most = known.get(name, 0)
        if type(count) is not int or not 1 <= count <= most:
            raise EdgenetsError(
                f"channels of {name} must be a whole number from 1 to the {most} filters that it "
                f"has in {model.name}, got {count!r}"
            )

    def build(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name in channels:
            config["units" if isinstance(layer, L.Dense) else "filters"] = channels[layer.name]
        return type(layer).from_config(config)

    try:
        return keras.models.clone_model(model, clone_function=build)
    except ValueError as error:  # of layers that add, or group, what does not fit
        reason = str(error).splitlines()[0]
        raise EdgenetsError(
            f"the channels of {model.name} do not fit each other: {reason}"
        ) from error


def count_channels(model: keras.Model, slimmed: keras.Model) -> dict[str, int]:
    """Return the table that makes `slimmed` of `model`: layers with another number of filters."""
    pairs = (
        (layer.name, filters_of(layer), filters_of(slimmed.get_layer(layer.name)))
        for layer in model.layers
    )
    return {name: count for name, before, count in pairs if count != before}


def keep_filters(model: keras.Model, kept: Mapping[str, Channels]) -> keras.Model:
    """Return a copy of `model` with some filters only, and their weights.

    An input that the full net's layer does not read begins with zeros.

    Args:
        model: of which all layers stay.
        kept: by layer, which filters of it stay, in ascending order; the other layers keep all.

    Raises:
        EdgenetsError: the layers would not fit each other.
    """
    numbers = number_filters(model)
    remaining = {
        name: of_layer[kept[name]] if name in kept else of_layer
        for name, of_layer in numbers.items()
    }
    small = with_channels(model, {name: len(filters) for name, filters in kept.items()})
    small = small if small is not model else keras.models.clone_model(model)
    before, after = trace_channels(model), trace_channels(small, remaining)
    for layer in small.layers:
        if not isinstance(layer, L.Dropout):  # whose state is of no channel
            places = before[layer.name], after[layer.name]
            weights = model.get_layer(layer.name).get_weights()
            layer.set_weights([_slice(layer, weight, *places) for weight in weights])
    return small


def _slice(layer: keras.layers.Layer, weight: Any, before: Traced, after: Traced) -> Any:
    """Return the part of a weight that the small net has, its rows in the order it reads them."""
    outputs = _places(before.output, after.output)
    if weight.ndim == 1:  # a bias, or one of BatchNorm's
        return weight[outputs]
    inputs = [
        channels[: len(channels) // getattr(layer, "groups", 1)]
        for channels in (before.inputs[0], after.inputs[0])
    ]
    rows = _places(*inputs)
    there = (rows >= 0)[:, None].astype(weight.dtype)
    found = weight[..., rows, :] * there
    return found if isinstance(layer, L.DepthwiseConv2D) else found[..., outputs]


def _places(before: Channels, after: Channels) -> Channels:
    """Return where the channels `after` stand in `before`; -1 for one that is not there."""
    place = {int(number): i for i, number in enumerate(before)}
    return np.array([place.get(int(number), -1) for number in after], np.int64)
