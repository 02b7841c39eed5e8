"""Helpers of post-training int8 that `int8_helpers.py` measures: bias correction and equalization.

Neither trains. They give other biases, or an equal net that bears rounding better; the int8 file
then holds them as it holds plain int8's.

Source: Nagel et al. 2019, arXiv:1906.04721.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgenets.models.backend import keras, tf
from edgenets.models.codes import Codes, KernelCodes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.graph import walk
from edgenets.quantize.layers import kernel_axes, kernel_of
from edgenets.quantize.rate.activation_ranges import ActivationRange, ChooseRange, round_to
from edgenets.quantize.rate.equalize import INPUT_AXIS, find_pairs, output_axis, scale_channels
from edgenets.quantize.stages.rounding import MOVING

SWEEPS = 40  # of equalization through the net

Array = NDArray[np.float32]


def percentile_range(percent: float) -> ChooseRange:
    """Return the function that leaves out 100 - `percent` % of the values at either end."""

    def choose(values: Array) -> ActivationRange:
        low, high = np.percentile(values, (100 - percent, percent))
        return float(low), float(high)

    return choose


def correct_biases(model: keras.Model, codes: Codes, images: Array) -> keras.Model:
    """Return a copy of the folded model whose biases make up for rounding's mean error.

    Layer by layer, the mean that rounding adds to each output channel before its activation, by the
    kernel and by all layers before, is taken off the bias. Layers without a bias are left alone.
    """
    rounded = with_kernels(model, codes.kernels)

    def visit(layer: keras.layers.Layer, inputs: list[tuple[Array, Array]]) -> tuple[Array, Array]:
        if not inputs:
            return images, images
        copy, (exact, given) = rounded.get_layer(layer.name), zip(*inputs, strict=True)
        before, after = _linear(layer, list(exact)), _linear(copy, list(given))
        if getattr(copy, "use_bias", False):
            shift = tf.reduce_mean(after - before, axis=range(len(after.shape) - 1))
            copy.bias.assign_sub(shift)
            after = after - shift
        output = _activate(copy, after)
        if layer.name in codes.activations and not isinstance(layer, MOVING):
            output = round_to(codes.activations[layer.name][-1], output.numpy())
        return _activate(layer, before), output

    for _ in walk(model, visit):
        pass
    for layer in model.layers:
        if kernel_axes(layer):
            kernel_of(rounded.get_layer(layer.name)).assign(kernel_of(layer))
    return rounded


def _linear(layer: keras.layers.Layer, inputs: list[tf.Tensor]) -> tf.Tensor:
    """Return a layer's output; of one with a kernel, before its activation."""
    values = inputs if len(inputs) > 1 else inputs[0]
    if not kernel_axes(layer):
        return layer(values)
    activation, layer.activation = layer.activation, keras.activations.linear
    try:
        return layer(values)
    finally:
        layer.activation = activation


def _activate(layer: keras.layers.Layer, output: tf.Tensor) -> tf.Tensor:
    return layer.activation(output) if kernel_axes(layer) else output


def with_kernels(model: keras.Model, kernels: Mapping[str, KernelCodes]) -> keras.Model:
    """Return a copy of the folded model with the kernels that the codes say."""
    copy = fold_batch_norm(model)
    for name, kernel in kernels.items():
        kernel_of(copy.get_layer(name)).assign(kernel.values)
    return copy


def without_relu6(model: keras.Model) -> keras.Model:
    """Return a copy of the folded model with ReLU for ReLU6, through which factors pass."""

    def unlimited(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if config.get("activation") == "relu6":
            config["activation"] = "relu"
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=unlimited)
    copy.set_weights(model.get_weights())
    return copy


def equalize(model: keras.Model) -> keras.Model:
    """Return an equal folded model in which neighbouring kernels use alike ranges per channel."""
    copy = fold_batch_norm(model)
    pairs = find_pairs(copy)
    for _ in range(SWEEPS):
        for layer, readers in pairs:
            kernels = [kernel_of(reader).numpy() for reader in readers]
            gives = _largest(kernel_of(layer).numpy(), output_axis(layer))
            takes = np.max([_largest(kernel, INPUT_AXIS) for kernel in kernels], axis=0)
            usable = (gives > 0) & (takes > 0)
            factor = np.sqrt(np.divide(takes, gives, out=np.ones_like(gives), where=usable))
            factor[~usable] = 1
            scale_channels(layer, readers, factor)
    return copy


def _largest(kernel: Array, axis: int) -> Array:
    others = tuple(i for i in range(kernel.ndim) if i != kernel.ndim + axis)
    return np.abs(kernel).max(axis=others)
