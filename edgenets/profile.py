"""What a net costs before it is trained: parameters, MACs, activation memory, layer by layer.

MACs are those of convolutions and dense layers, for one image. Byte counts are of the float32 net;
int8 takes a quarter.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from edgenets.models.backend import keras

FLOAT32_BYTES = 4

# Layers that a converter merges into the layer before them, or that compute nothing: their output
# is no memory of its own.
MERGED = (
    keras.layers.BatchNormalization,
    keras.layers.ReLU,
    keras.layers.Activation,
    keras.layers.Dropout,
    keras.layers.Reshape,
    keras.layers.Flatten,
)


class LayerProfile(NamedTuple):
    """The cost of one layer for one image."""

    name: str
    kind: str
    output_shape: tuple[int, ...]  # without the batch
    params: int
    macs: int
    activation_bytes: int  # of the output, in float32


class Profile(NamedTuple):
    """The cost of a net for one image."""

    params: int  # with BatchNorm's moving statistics
    trainable_params: int
    macs: int
    activation_peak_bytes: int  # most memory that live activations take at one time, in float32
    weight_bytes: int  # of all parameters, in float32
    layers: tuple[LayerProfile, ...]


def profile(model: keras.Model) -> Profile:
    """Return what `model` costs, layer by layer in execution order.

    >>> from edgenets.models.registry import create
    >>> profile(create("mobilenet_v1", width=0.25, resolution=128)).macs
    13570048
    """
    layers = tuple(_profile_layer(layer) for layer in model.layers)
    params = sum(layer.params for layer in layers)
    return Profile(
        params=params,
        trainable_params=sum(prod(weight.shape) for weight in model.trainable_weights),
        macs=sum(layer.macs for layer in layers),
        activation_peak_bytes=_activation_peak_bytes(model),
        weight_bytes=params * FLOAT32_BYTES,
        layers=layers,
    )


def _profile_layer(layer: keras.layers.Layer) -> LayerProfile:
    shape = _output_shape(layer)
    kernels = sum(prod(w.shape) for w in layer.trainable_weights if "kernel" in w.name)
    return LayerProfile(
        name=layer.name,
        kind=type(layer).__name__,
        output_shape=shape,
        params=layer.count_params(),
        macs=prod(shape[:-1]) * kernels,  # every position of the map uses every weight once
        activation_bytes=prod(shape) * FLOAT32_BYTES,
    )


def _output_shape(layer: keras.layers.Layer) -> tuple[int, ...]:
    shape = layer.output_shape
    return tuple((shape[0] if isinstance(shape, list) else shape)[1:])


def _activation_peak_bytes(model: keras.Model) -> int:
    """Walk the layers in order; an activation lives until the last layer that reads it."""
    owner: dict[str, str] = {}  # layer -> layer whose memory holds its output
    last_use: dict[str, int] = {}
    for i, layer in enumerate(model.layers):
        nodes = layer.inbound_nodes
        parents = [] if not nodes else [tensor.node.layer for tensor in nodes[0].keras_inputs]
        sources = [owner[parent.name] for parent in parents if parent is not layer]
        owner[layer.name] = sources[0] if sources and isinstance(layer, MERGED) else layer.name
        for source in (*sources, owner[layer.name]):
            last_use[source] = i
    size = {layer.name: prod(_output_shape(layer)) * FLOAT32_BYTES for layer in model.layers}
    peak, live = 0, set[str]()
    for i, layer in enumerate(model.layers):
        live.add(owner[layer.name])
        peak = max(peak, sum(size[name] for name in live))
        live = {name for name in live if last_use[name] > i}
    return peak
