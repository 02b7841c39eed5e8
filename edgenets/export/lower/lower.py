"""Rewrites of a net for a target: each computes what the net computed, in operators that run fast.

A rewrite takes a net and returns a new one; layers keep their names, and where a kernel's channels
are moved, padded with zeros or embedded in a larger kernel, its codes are changed alike. So the
integers of a compressed net stay exactly what they are. A rewrite that finds nothing to do returns
the net itself.

Source: docs/reference/targets.md says of each rewrite what it does and what it saves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgenets.export.formats import FORMATS, FP32, INT8, Format
from edgenets.export.lower.channels import make_dense, pack_shuffles
from edgenets.export.lower.integer_forms import (
    average_by_convolution,
    join_relus,
    nest_concatenations,
)
from edgenets.export.lower.pairs import pair_columns, pair_outputs, pair_wide_columns
from edgenets.export.lower.rewriting import (
    CONVOLUTIONS,
    Array,
    CodedModel,
    Draft,
    KerasLayer,
    rebuild,
)
from edgenets.export.targets import Target
from edgenets.models.backend import keras, tf
from edgenets.models.codes import Grid
from edgenets.models.graph import parents_of
from edgenets.models.grouped import ChannelShuffle, GroupedPointwise
from edgenets.models.layers import HARD_SIGMOID_SHIFT, hard_swish
from edgenets.models.sparsity import SPARSE_FROM

RELU6_GRID = Grid(6 / 255, -128)
STRIDE = 2
NARROW = 200
"""Channels of a shuffled map up to which `make_narrow_dense` makes a net dense."""


def runs_sparsely(model: keras.Model) -> bool:
    """Tell whether XNNPACK on ARM computes the float32 net sparsely, once its paddings fit.

    It does so where the net `has_sparse_forms`, and of the values of all 1x1 kernels the part
    `SPARSE_FROM` is zero.
    """
    kernels = [layer.kernel.numpy() for layer in _pointwise_of_sparse(model)]
    zeros = sum(kernel.size - np.count_nonzero(kernel) for kernel in kernels)
    size = sum(kernel.size for kernel in kernels)
    return bool(0 < size * SPARSE_FROM <= zeros)


def has_sparse_forms(model: keras.Model) -> bool:
    """Tell whether XNNPACK on ARM would compute the float32 net sparsely if it had enough zeros.

    All operators from the first convolution to the global pooling have to have sparse forms.
    """
    return bool(_pointwise_of_sparse(model))


def _pointwise_of_sparse(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the 1x1 convolutions before the global pooling; none if an operator has no form."""
    found: list[keras.layers.Layer] = []
    for position, layer in enumerate(model.layers):
        match layer:
            case keras.layers.GlobalAveragePooling2D(keepdims=False):
                return found
            case keras.layers.InputLayer() if position == 0:
                pass
            case keras.layers.Conv2D(strides=(2, 2), kernel_size=(3, 3)) if position == 1:
                pass
            case keras.layers.Conv2D(strides=(1, 1), kernel_size=(1, 1), groups=1) if position > 1:
                found.append(layer)
            case keras.layers.DepthwiseConv2D(padding="same", kernel_size=(3, 3) | (5, 5)):
                pass
            case (
                keras.layers.ReLU()
                | keras.layers.BatchNormalization()
                | keras.layers.Dropout()
                | keras.layers.Add()
            ):
                pass
            case _:
                return []
    return []


def preferred_format(model: keras.Model, target: Target) -> Format:
    """Return the format in which the net runs fastest on the target."""
    if target.prefers_sparse and runs_sparsely(model):
        return FP32
    return FORMATS[target.formats[0]]


def lower(
    net: CodedModel, target: Target, number_format: Format, *, sparse: bool = False
) -> CodedModel:
    """Return an equal net in the form that the target runs fastest.

    Args:
        net: untouched; its codes, if any, are of a folded model.
        target: which rewrites are for it.
        number_format: of the file.
        sparse: whether the file stores kernels sparsely.

    Raises:
        EdgenetsError: the net does not fit a rewrite.
    """
    if not isinstance(net.model, keras.Model):
        return net  # a Keras 3 model, which is not of edgenets
    of_integers = target.integer_rewrites if number_format.needs_calibration else ()
    of_int8 = target.int8_rewrites if number_format is INT8 else ()
    for name in (*of_int8, *target.rewrites, *of_integers, *(["turned"] if sparse else [])):
        net = REWRITES[name](net)
    return net


def spell_hard_swish(net: CodedModel) -> CodedModel:
    """Return the net with each hard-swish as two multiplications and an addition with ReLU6.

    x * relu6(x + 3) / 6 is written (x / 6) * relu6(x + 3), which the converter does not join: it
    makes MUL, ADD and MUL of it. In int8, x / 6 has the codes of x, and relu6 those of its range.
    """

    def build(draft: Draft, layer: KerasLayer, inputs: list[Any]) -> Any:
        if not _is_hard_swish(layer):
            return None
        (x,) = inputs
        (parent,) = parents_of(layer)
        of_x = draft.grids.get(parent.name, ())[-1:]
        sixth = keras.layers.Activation(_sixth, name=f"{layer.name}_sixth")
        draft.add(sixth, parent.name, [Grid(grid.scale / 6, grid.zero_point) for grid in of_x])
        gate = draft.add(
            keras.layers.Activation(_relu6_gate, name=f"{layer.name}_gate"),
            parent.name,
            [RELU6_GRID],
        )
        return keras.layers.Multiply(name=layer.name)([sixth(x), gate(x)])

    return rebuild(net, build) if any(map(_is_hard_swish, net.model.layers)) else net


def _is_hard_swish(layer: KerasLayer) -> bool:
    return isinstance(layer, keras.layers.Activation) and layer.activation is hard_swish


def _sixth(x: tf.Tensor) -> tf.Tensor:
    return x * (1 / 6)


def _relu6_gate(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu6(x + HARD_SIGMOID_SHIFT)


def make_narrow_dense(net: CodedModel) -> CodedModel:
    """Return the net as `make_dense` does where no shuffled map has over `NARROW` channels.

    An Ethos-U then saves more by moving no channels than multiplying zeros costs it.
    """
    shuffles = [layer for layer in net.model.layers if isinstance(layer, ChannelShuffle)]
    widest = max((layer.output.shape[-1] for layer in shuffles), default=0)
    return make_dense(net) if 0 < widest <= NARROW else net


def make_ungrouped_dense(net: CodedModel) -> CodedModel:
    """Return the net as `make_narrow_dense` does where no 1x1 convolution is grouped.

    A core with dot products of int8 (Cortex-A76) then saves more by moving no channels than
    multiplying zeros costs it. Grouped convolutions would have to multiply many more.
    """
    grouped = any(isinstance(layer, GroupedPointwise) for layer in net.model.layers)
    return net if grouped else make_narrow_dense(net)


def turn_paddings(net: CodedModel) -> CodedModel:
    """Return the net with each stride-2 convolution padded alike all round, for sparse kernels.

    'same' pads a map of even size at its far sides only. A net that sees its image turned by half a
    turn, with every kernel turned too, pads the near sides, and one more line at the far sides is
    never read: a 3x3 kernel then has a padding of 1 all round. So the image is turned once. Where
    nothing is padded on one side only, nothing is turned.
    """
    strided = {layer.name for layer in net.model.layers if _is_strided(layer)}
    if not strided:
        return net
    turned = any(
        size % 2 == 0
        for layer in net.model.layers
        if layer.name in strided
        for size in layer.input.shape[1:3]
    )

    def build(draft: Draft, layer: KerasLayer, inputs: list[Any]) -> Any:
        if not isinstance(layer, CONVOLUTIONS):
            return None
        (x,) = inputs
        if turned and parents_of(layer)[0] is net.model.layers[0]:
            x = draft.add(_HalfTurn(name=f"{layer.name}_turn"), net.model.layers[0].name)(x)
        padding = layer.padding
        if layer.name in strided:
            sides = layer.kernel_size[0] // 2
            pad = keras.layers.ZeroPadding2D(sides, name=f"{layer.name}_pad")
            x = draft.add(pad, parents_of(layer)[0].name)(x)
            padding = "valid"
        turn = _turn if turned else np.array
        return draft.changed(layer, turn, padding=padding)(x)

    return rebuild(net, build)


def _turn(kernel: Array) -> Array:
    return kernel[::-1, ::-1].copy()


class _HalfTurn(keras.layers.Layer):
    """Turn images by half a turn: their pixels in reverse order."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # One axis at a time, which every runtime can, and no reshape: as XNNPACK has no such
        # operator, it would be a partition of its own.
        return tf.reverse(tf.reverse(inputs, (1,)), (2,))


def _is_strided(layer: KerasLayer) -> bool:
    return (
        isinstance(layer, CONVOLUTIONS)
        and layer.kernel_size in ((3, 3), (5, 5))
        and layer.strides == (STRIDE, STRIDE)
        and layer.padding == "same"
    )


REWRITES: dict[str, Callable[[CodedModel], CodedModel]] = {
    "dense": make_dense,
    "dense_narrow": make_narrow_dense,
    "dense_ungrouped": make_ungrouped_dense,
    "packed": pack_shuffles,
    "spelled": spell_hard_swish,
    "paired": pair_columns,
    "paired_wide": pair_wide_columns,
    "paired_outputs": pair_outputs,
    "turned": turn_paddings,
    "averaged": average_by_convolution,
    "joined": join_relus,
    "nested": nest_concatenations,
}
