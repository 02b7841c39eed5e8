"""An equal net whose hidden channels reach alike values, which 256 steps of a tensor suit better.

A channel between a layer and those that read it may be multiplied by a factor in the one and
divided by it in the others, if the activation between them is none or ReLU.

Source: Nagel et al. 2019, arXiv:1906.04721, section 4.1, with ranges of activations for kernels'.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgenets.models.backend import keras, tf
from edgenets.models.fold import fold_batch_norm
from edgenets.models.graph import find_readers, walk_outputs
from edgenets.quantize.layers import kernel_attribute, kernel_axes, kernel_of

MOST_FACTOR = (
    8.0  # either way: channels that are nearly silent on few images may be louder on others
)
INPUT_AXIS = -2  # of every kernel: [..., in, out], depthwise [height, width, in, 1]

Array = NDArray[np.float32]


def equalize_activations(folded: keras.Model, images: Array) -> keras.Model:
    """Return an equal folded net whose channels reach alike values on the images, where it can."""
    equal = fold_batch_norm(folded)
    pairs = find_pairs(equal)
    wanted = {layer.name for layer, _ in pairs}
    largest = {
        layer.name: np.abs(output.numpy()).reshape(-1, output.shape[-1]).max(axis=0)
        for layer, output in walk_outputs(folded, images)
        if layer.name in wanted
    }
    for layer, readers in pairs:
        reached = largest[layer.name]
        used = reached[reached > 0]
        if used.size:
            middle = np.exp(np.log(used).mean())
            factor = middle / np.where(reached > 0, reached, middle)
            scale_channels(layer, readers, np.clip(factor, 1 / MOST_FACTOR, MOST_FACTOR))
    return equal


def find_pairs(
    model: keras.Model,
) -> list[tuple[keras.layers.Layer, list[keras.layers.Layer]]]:
    """Return the layers whose output channels may be scaled, each with those that read it."""
    readers = find_readers(model)
    linear = (keras.activations.linear, keras.activations.relu)
    return [
        (layer, readers[layer.name])
        for layer in model.layers
        if _is_plain(layer) and layer.activation in linear and readers[layer.name]
        if all(_is_plain(reader) for reader in readers[layer.name])
    ]


def scale_channels(
    layer: keras.layers.Layer, readers: list[keras.layers.Layer], factor: NDArray[np.floating]
) -> None:
    """Multiply a layer's output channels by factors above zero, [channels], and divide after it."""
    _scale(kernel_of(layer), factor, output_axis(layer))
    if layer.use_bias:
        layer.bias.assign(layer.bias * factor)
    for reader in readers:
        _scale(kernel_of(reader), 1 / factor, INPUT_AXIS)


def output_axis(layer: keras.layers.Layer) -> int:
    """Return the axis of a layer's output channels in its kernel."""
    return -2 if kernel_attribute(layer) == "depthwise_kernel" else -1


def _is_plain(layer: keras.layers.Layer) -> bool:
    """Tell whether a layer has a kernel without groups, depthwise with one output per input."""
    if not kernel_axes(layer):
        return False
    depthwise = kernel_attribute(layer) == "depthwise_kernel"
    return layer.depth_multiplier == 1 if depthwise else getattr(layer, "groups", 1) == 1


def _scale(kernel: tf.Variable, factor: NDArray[np.floating], axis: int) -> None:
    shape = [1] * len(kernel.shape)
    shape[axis] = -1
    kernel.assign(kernel * factor.astype(np.float32).reshape(shape))
