"""Rewrites of what XNNPACK has no integer kernels for: average pooling, a ReLU of its own.

Left as they are, these operators run on the interpreter's plain kernels and split the net into
several partitions.

Source: docs/targets.md says of each what it does and what it saves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.export.net import Draft, Layer, Net, has_layers, rebuild
from edgenets.models.backend import keras, tf
from edgenets.models.codes import LARGEST_CODE, Grid, KernelCodes
from edgenets.models.fold import find_readers, parents_of

MOST_JOINED = 4  # maps that XNNPACK concatenates at once
CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


def average_by_convolution(net: Net) -> Net:
    """Return the net with each average pooling as a depthwise convolution of equal weights.

    All weights are the code 127, so the average is exact. 'same' padding counts only what is in the
    map, and the convolution divides by the whole window: the rows and columns at the edges are
    multiplied by what is missing.
    """
    if not has_layers(net, keras.layers.AveragePooling2D):
        return net

    def build(draft: Draft, layer: Layer, inputs: list[Any]) -> Any:
        if not isinstance(layer, keras.layers.AveragePooling2D):
            return None
        (x,) = inputs
        shares = _edge_shares(layer)
        name = f"{layer.name}_mean" if shares else layer.name
        mean = keras.layers.DepthwiseConv2D(
            layer.pool_size,
            strides=layer.strides,
            padding=layer.padding,
            use_bias=False,
            name=name,
        )
        size = (*layer.pool_size, x.shape[-1], 1)
        weight = 1 / np.prod(layer.pool_size)
        draft.weights[name] = [np.full(size, weight, np.float32)]
        if net.codes:
            draft.kernels[name] = KernelCodes(
                np.full(size, LARGEST_CODE, np.int8),
                np.full((1, 1, size[2], 1), weight / LARGEST_CODE, np.float32),
            )
            draft.weights[name] = [draft.kernels[name].values]
        x = draft.add(mean, layer.name)(x)
        if not shares:
            return x
        grids = draft.grids.get(layer.name, ())[-1:] * len(shares)
        return draft.add(_Multiply(shares, name=layer.name), layer.name, grids)(x)

    return rebuild(net, build)


def _edge_shares(pool: Layer) -> list[NDArray[np.float32]]:
    """Return what rows, `[height, 1, 1]`, and columns, `[1, width, 1]`, are multiplied by."""
    shares = []
    for axis in (0, 1):
        size, stride = pool.pool_size[axis], pool.strides[axis]
        inside, outside = pool.input.shape[1 + axis], pool.output.shape[1 + axis]
        before = 0
        if pool.padding == "same":
            before = max((outside - 1) * stride + size - inside, 0) // 2
        first = np.arange(outside) * stride - before
        counted = np.minimum(first + size, inside) - np.maximum(first, 0)
        if (counted < size).any():
            share = (size / counted).astype(np.float32)
            shares.append(share.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1)))
    return shares


class _Multiply(keras.layers.Layer):
    """Multiply by constants, one after the other."""

    def __init__(self, factors: list[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factors = [np.float32(factor) for factor in factors]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        for factor in self.factors:
            inputs = inputs * factor[np.newaxis]
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factors": [factor.tolist() for factor in self.factors]}


def join_relus(net: Net) -> Net:
    """Return the net with each ReLU that nothing can be fused with as that of a sum.

    A ReLU of a map that others read too stays an operator. As ReLU(x + x) it is fused with the
    addition, and the kernels of its readers are halved: in integers both change scales alone.
    """
    readers = find_readers(net.model)
    lone = {
        layer.name
        for layer in net.model.layers
        if isinstance(layer, keras.layers.ReLU)
        and layer.max_value is None
        and len(readers[parents_of(layer)[0].name]) > 1
        and all(isinstance(reader, CONVOLUTIONS) for reader in readers[layer.name])
    }
    halved = {reader.name for name in lone for reader in readers[name]}
    if not lone:
        return net

    def build(draft: Draft, layer: Layer, inputs: list[Any]) -> Any:
        (x, *_) = inputs
        if layer.name in halved:
            kernel, *bias = layer.get_weights()
            copy = draft.copy(layer)
            draft.weights[layer.name] = [kernel / 2, *bias]
            if codes := draft.kernels.get(layer.name):
                draft.kernels[layer.name] = codes._replace(scale=codes.scale / np.float32(2))
            return copy(x)
        if layer.name not in lone:
            return None
        twice = keras.layers.Add(name=f"{layer.name}_twice")([x, x])
        grids = [Grid(2 * scale, zero) for scale, zero in draft.grids.get(layer.name, ())]
        return draft.add(draft.copy(layer), layer.name, grids)(twice)

    return rebuild(net, build)


def nest_concatenations(net: Net) -> Net:
    """Return the net with each concatenation of more maps than XNNPACK joins at once in two."""

    def build(draft: Draft, layer: Layer, inputs: list[Any]) -> Any:
        if not _is_long(layer):
            return None
        first = keras.layers.Concatenate(name=f"{layer.name}_first")
        joined = draft.add(first, layer.name)(inputs[:MOST_JOINED])
        return draft.copy(layer)([joined, *inputs[MOST_JOINED:]])

    return rebuild(net, build) if any(map(_is_long, net.model.layers)) else net


def _is_long(layer: Layer) -> bool:
    return isinstance(layer, keras.layers.Concatenate) and len(parents_of(layer)) > MOST_JOINED
