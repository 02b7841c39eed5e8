"""Rewrites of what XNNPACK has no integer kernels for: average pooling, a ReLU of its own.

Left as they are, these operators run on the interpreter's plain kernels and split the net into
several partitions.

Source: docs/reference/targets.md says of each what it does and what it saves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.export.lower.file_layers import activations
from edgenets.export.lower.rewriting import (
    CONVOLUTIONS,
    CodedModel,
    Draft,
    KerasLayer,
    has_layers,
    padding_before,
    rebuild,
)
from edgenets.flatbuffer import File
from edgenets.models.backend import keras, tf
from edgenets.models.codes import LARGEST_CODE, Grid, KernelCodes
from edgenets.models.graph import find_readers, parents_of

MOST_JOINED = 4  # maps that XNNPACK concatenates at once
QUARTER = 0.25


def average_by_convolution(net: CodedModel) -> CodedModel:
    """Return the net with each average pooling as a depthwise convolution of equal weights.

    All weights are the code 127, so the average is exact. 'same' padding counts only what is in the
    map, and the convolution divides by the whole window: the edges are multiplied by what is
    missing, which `set_exact_shares` makes exact, too.
    """
    if not has_layers(net, keras.layers.AveragePooling2D):
        return net

    def build(draft: Draft, layer: KerasLayer, inputs: list[Any]) -> Any:
        if not isinstance(layer, keras.layers.AveragePooling2D):
            return None
        (x,) = inputs
        shares = _edge_shares(layer)
        whole = bool((shares == 1).all())
        name = layer.name if whole else f"{layer.name}_mean"
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
        return x if whole else draft.add(_EdgeShares(shares, name=layer.name), layer.name)(x)

    return rebuild(net, build)


def _edge_shares(pool: KerasLayer) -> NDArray[np.float32]:
    """Return what each position is multiplied by, `[height, width, 1]`: quarters for 3x3 pools."""
    shares = np.ones((1, 1, 1), np.float32)
    for axis in (0, 1):
        size, stride = pool.pool_size[axis], pool.strides[axis]
        inside, outside = pool.input.shape[1 + axis], pool.output.shape[1 + axis]
        before = 0
        if pool.padding == "same":
            before = padding_before(inside, outside, size, stride)
        first = np.arange(outside) * stride - before
        counted = np.minimum(first + size, inside) - np.maximum(first, 0)
        share = (size / counted).astype(np.float32)
        shares = shares * share.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    return shares


class _EdgeShares(keras.layers.Layer):
    """Multiply each position of a map by a number of its own, `[height, width, 1]`."""

    def __init__(self, shares: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shares = np.float32(shares)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs * self.shares[np.newaxis]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shares": self.shares.tolist()}


def set_exact_shares(converted: File, model: keras.Model) -> None:
    """Give the int8 file of a model what its edges are multiplied by in quarters.

    The converter spreads a constant from 0 to its largest value, 9/4, over 255 steps, of which none
    is 1. Numbers that are no quarters stay as they are.
    """
    if not any(isinstance(layer, _EdgeShares) for layer in model.layers):
        return
    file = converted.model
    layers = dict(activations(file, model))
    replaced = {}
    for operator in file.operators:
        layer = model.get_layer(layers[operator.outputs[0]])
        if isinstance(layer, _EdgeShares) and (layer.shares % QUARTER == 0).all():
            (index,) = (i for i in operator.inputs if file.tensors[i].is_constant)
            codes = (layer.shares / QUARTER).astype(np.int8)
            replaced[index] = flatbuffer.Quantized(
                np.array([QUARTER], np.float32), np.zeros(1, np.int64), codes.tobytes()
            )
    converted.edit(flatbuffer.set_quantization, replaced)


def join_relus(net: CodedModel) -> CodedModel:
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

    def build(draft: Draft, layer: KerasLayer, inputs: list[Any]) -> Any:
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


def nest_concatenations(net: CodedModel) -> CodedModel:
    """Return the net with each concatenation of more maps than XNNPACK joins at once in two."""

    def build(draft: Draft, layer: KerasLayer, inputs: list[Any]) -> Any:
        if not _is_long(layer):
            return None
        first = keras.layers.Concatenate(name=f"{layer.name}_first")
        joined = draft.add(first, layer.name)(inputs[:MOST_JOINED])
        return draft.copy(layer)([joined, *inputs[MOST_JOINED:]])

    return rebuild(net, build) if any(map(_is_long, net.model.layers)) else net


def _is_long(layer: KerasLayer) -> bool:
    return isinstance(layer, keras.layers.Concatenate) and len(parents_of(layer)) > MOST_JOINED
