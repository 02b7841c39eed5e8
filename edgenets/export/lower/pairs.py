"""Rewrites of a net's first convolution, so that it reads two neighbouring pixels as one position.

An image has three channels: kernels that take channels by eight do five eighths of their steps on
nothing, and a quarter where they take two pixels at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgenets.export.lower.rewriting import (
    CONVOLUTIONS,
    Array,
    CodedModel,
    Draft,
    KerasLayer,
    folded,
    padding_before,
    rebuild,
)
from edgenets.models.backend import keras, tf
from edgenets.models.codes import Grid
from edgenets.models.graph import call_layer, find_readers

STRIDE = 2
WIDE = 5
"""Columns of a kernel from which on pairing pays on an Ethos-U."""


def pair_columns(net: CodedModel) -> CodedModel:
    """Return the net with its first convolution over pairs of pixels, six channels at a time.

    A convolution with stride 2 over `[height, width, 3]` is one with strides (2, 1) over
    `[height, width / 2, 6]`, the same values in the same order. Kernels that take channels by eight
    then do two thirds of the steps for a 3x3 kernel, four sevenths for a 7x7 one.
    """
    match net.model.layers:
        case [image, keras.layers.Conv2D() as conv, *_] if _can_be_paired(image, conv):
            pass
        case _:
            return net

    def build(draft: Draft, layer: KerasLayer, inputs: list[Any]) -> Any:
        if layer is not conv:
            return None
        (x,) = inputs
        rows, columns = conv.kernel_size
        offset = _left_padding(conv) % STRIDE
        taps = -(-(offset + columns) // STRIDE)
        pairs = _PixelPairs(name=f"{conv.name}_pairs")
        computed = 3 if x.shape[2] % STRIDE else 1  # tensors in the file
        draft.add(pairs, image.name, _grid(draft, image) * computed)

        def embed(kernel: Array) -> Array:
            wide = np.zeros((rows, STRIDE * taps, *kernel.shape[2:]), kernel.dtype)
            wide[:, offset : offset + columns] = kernel
            return wide.reshape(rows, taps, -1, kernel.shape[3])

        wide = draft.changed(layer, embed, kernel_size=(rows, taps), strides=(STRIDE, 1))
        return wide(pairs(x))

    return rebuild(net, build)


def pair_wide_columns(net: CodedModel) -> CodedModel:
    """Return the net with its first convolution over pairs of pixels, where its kernel is wide.

    An Ethos-U takes 7x7 kernels in a fifth less time so; with 3x3 ones making the pairs costs what
    they save.
    """
    return pair_columns(net) if _is_wide(net.model.layers[1]) else net


def pair_outputs(net: CodedModel) -> CodedModel:
    """Return the net with a first convolution of stride 1 that makes two pixels of a row at a time.

    Over `[height, width / 2, 6]` it has every output channel twice: once for the left pixel of a
    pair, and once for the right one, its kernel moved on by a column. In memory the pairs of its
    output are the map that it was. Kernels that are not wide stay as they are.
    """
    if not _has_paired_outputs(net.model.layers[1]):
        return net
    net = folded(net)
    image, conv, *_ = net.model.layers
    readers = find_readers(net.model)[conv.name]
    # A ReLU stays beside the convolution, in whose operator it is.
    is_rectified = [type(reader) for reader in readers] == [keras.layers.ReLU]
    last = readers[0] if is_rectified else conv

    def build(draft: Draft, layer: KerasLayer, inputs: list[Any]) -> Any:
        if layer not in (conv, last):
            return None
        (x,) = inputs
        if layer is conv:
            pairs = _PixelPairs(name=f"{conv.name}_pairs")
            x = draft.add(pairs, image.name, _grid(draft, image))(x)
            x = _computing_pairs(draft, conv)(x)
        else:
            x = call_layer(draft.copy(layer), [x])
        if layer is not last:
            return x
        apart = keras.layers.Reshape(conv.output.shape[1:], name=f"{conv.name}_columns")
        return draft.add(apart, last.name, _grid(draft, last))(x)

    return rebuild(net, build)


def _is_wide(layer: KerasLayer) -> bool:
    return isinstance(layer, CONVOLUTIONS) and layer.kernel_size[1] >= WIDE


def _has_paired_outputs(conv: KerasLayer) -> bool:
    """Tell whether pairs of pixels become pairs of pixels, without any beside them."""
    return (
        _is_wide(conv)
        and type(conv) is keras.layers.Conv2D
        and (conv.groups, conv.dilation_rate, conv.padding) == (1, (1, 1), "valid")
        and conv.strides == (1, 1)
        and conv.input.shape[2] % STRIDE == 0
        and conv.output.shape[2] % STRIDE == 0
    )


def _computing_pairs(draft: Draft, conv: KerasLayer) -> KerasLayer:
    """Return the convolution of pairs of pixels to pairs of pixels."""
    rows, columns = conv.kernel_size
    taps = (columns + 1) // STRIDE

    def embed(kernel: Array) -> Array:
        *_, inside, outside = kernel.shape
        wide = np.zeros((rows, STRIDE * taps, inside, STRIDE, outside), kernel.dtype)
        for pixel in range(STRIDE):
            wide[:, pixel : pixel + columns, :, pixel] = kernel
        return wide.reshape(rows, taps, STRIDE * inside, STRIDE * outside)

    return draft.changed(
        conv,
        embed,
        lambda vector: np.concatenate([vector] * STRIDE, axis=-1),
        kernel_size=(rows, taps),
        filters=STRIDE * conv.filters,
    )


def _grid(draft: Draft, layer: KerasLayer) -> tuple[Grid, ...]:
    """Return the grid of a layer's output, if it has one: a layer kept float has none."""
    return draft.grids.get(layer.name, ())[-1:]


class _PixelPairs(keras.layers.Layer):
    """Take two pixels of a row as one, of twice the channels; an odd one gets zeros beside it."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        _, height, width, channels = inputs.shape
        if width % STRIDE:  # whole rows: XNNPACK pads them much faster than pixels
            rows = tf.reshape(inputs, (-1, height, width * channels))
            inputs = tf.pad(rows, ((0, 0), (0, 0), (0, channels)))
        return tf.reshape(inputs, (-1, height, -(-width // STRIDE), STRIDE * channels))


def _left_padding(conv: KerasLayer) -> int:
    if conv.padding == "valid":
        return 0
    return padding_before(conv.input.shape[2], conv.output.shape[2], conv.kernel_size[1], STRIDE)


def _can_be_paired(image: KerasLayer, conv: KerasLayer) -> bool:
    """Tell whether the convolution has stride 2, and paddings that the paired one has too."""
    if type(conv) is not keras.layers.Conv2D or conv.groups > 1 or conv.dilation_rate != (1, 1):
        return False
    if conv.strides != (STRIDE, STRIDE) or conv.kernel_size[1] < STRIDE:
        return False
    if conv.padding == "valid":
        return True
    left = _left_padding(conv)
    taps = -(-(left % STRIDE + conv.kernel_size[1]) // STRIDE)
    return image.output.shape[2] % STRIDE == 0 and (taps - 1) // 2 == -(-left // STRIDE)
