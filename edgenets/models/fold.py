"""BatchNorm folding: an equal net in which each convolution holds its BatchNorm and its ReLU.

That is what a converter makes of a net. Whatever depends on the final kernels (8-bit rounding, one
scale per channel, few distinct values) therefore works on the folded net. Hard-swish and
hard-sigmoid stay layers: no runtime computes them inside a convolution.

Source: Jacob et al. 2017, arXiv:1712.05877, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras, tf
from edgenets.models.graph import call_layer, find_readers, walk

KERNEL_AXES: dict[type[keras.layers.Layer], tuple[int, ...]] = {
    keras.layers.Conv2D: (0, 1, 2),
    keras.layers.DepthwiseConv2D: (0, 1),
    keras.layers.Dense: (0, 1),
}
"""The layers that have a kernel, subclasses included, and its axes that share a scale in 8 bits."""
WEIGHTED = tuple(KERNEL_AXES)

Array = NDArray[np.floating[Any]]


def fold(
    kernel: Array,
    bias: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    variance: Array,
    epsilon: float,
) -> tuple[Array, Array]:
    """Fold a BatchNorm into the kernel and bias before it, computing in float64.

    Args:
        kernel: `[..., out]`, convolved without an activation.
        bias, gamma, beta, mean, variance: `[out]`.
        epsilon: what BatchNorm adds to the variance.

    Returns:
        Kernel and bias of the same shapes and dtypes.

    >>> one = np.ones(1)
    >>> fold(np.float64([[3.0]]), 0 * one, 4 * one, one, 0.5 * one, one, epsilon=3.0)
    (array([[6.]]), array([0.]))
    """
    factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    shifted = (bias.astype(np.float64) - mean) * factor + beta
    return (kernel * factor).astype(kernel.dtype), shifted.astype(bias.dtype)


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Return an equal model without BatchNorm, each ReLU inside its convolution or dense layer.

    Layers keep their names; a convolution that had no bias gets one. A ReLU after any other layer
    stays. A model that is folded already is copied.

    Raises:
        EdgenetsError: a BatchNorm does not directly follow a convolution or dense layer that only
            it reads.
    """
    merged = _find_merged(model)
    followed = {part.name: name for name, parts in merged.items() for part in parts}

    def visit(layer: keras.layers.Layer, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        if not inputs:
            return keras.Input(layer.output.shape[1:], name=layer.name)
        if layer.name in followed:
            return inputs[0]
        return call_layer(_copy(layer, merged.get(layer.name, ())), inputs)

    tensors = {layer.name: tensor for layer, tensor in walk(model, visit)}
    image, logits = (
        tf.nest.map_structure(lambda tensor: tensors[tensor.node.layer.name], ends)
        for ends in (model.input, model.output)
    )
    folded = keras.Model(image, logits, name=model.name)
    for layer in folded.layers:
        original = model.get_layer(layer.name)
        layer.set_weights(_fold_weights(original, merged.get(layer.name, ())))
    return folded


def is_folded(model: keras.Model) -> bool:
    """Tell whether `fold_batch_norm` would find nothing to do in `model`."""
    return not any(_find_merged(model).values())


def _find_merged(model: keras.Model) -> dict[str, tuple[keras.layers.Layer, ...]]:
    """Return by the name of each convolution and dense layer what is merged into it, in order."""
    readers = find_readers(model)
    merged = {}
    for layer in model.layers:
        if isinstance(layer, WEIGHTED) and layer.activation is keras.activations.linear:
            merged[layer.name] = parts = list[keras.layers.Layer]()
            for is_mergeable in (_is_batch_norm, _is_relu):
                last = parts[-1] if parts else layer
                match readers[last.name]:
                    case [only] if is_mergeable(only):
                        parts.append(only)
    found = {part.name for parts in merged.values() for part in parts}
    for layer in filter(_is_batch_norm, model.layers):
        if layer.name not in found:
            raise EdgenetsError(
                f"{layer.name} of {model.name} cannot be folded: a BatchNorm must follow a "
                "convolution or dense layer without activation, and be its only reader"
            )
    return {name: tuple(parts) for name, parts in merged.items()}


def _is_batch_norm(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


def _is_relu(layer: keras.layers.Layer) -> bool:
    return (
        isinstance(layer, keras.layers.ReLU)
        and layer.max_value in (None, 6)
        and not layer.negative_slope
        and not layer.threshold
    )


def _copy(layer: keras.layers.Layer, parts: Sequence[keras.layers.Layer]) -> keras.layers.Layer:
    """Return a layer of the same kind and name, its weights still to be set."""
    config = layer.get_config()
    for part in parts:
        if _is_batch_norm(part):
            config["use_bias"] = True
        else:
            config["activation"] = "relu" if part.max_value is None else "relu6"
    return type(layer).from_config(config)


def _fold_weights(layer: keras.layers.Layer, parts: Sequence[keras.layers.Layer]) -> list[Array]:
    """Return the weights of `layer` with those of the BatchNorm among `parts` in them."""
    weights = layer.get_weights()
    for part in filter(_is_batch_norm, parts):
        mean, variance = part.moving_mean.numpy(), part.moving_variance.numpy()
        gamma = part.gamma.numpy() if part.scale else np.ones_like(mean)
        beta = part.beta.numpy() if part.center else np.zeros_like(mean)
        kernel, bias = weights if layer.use_bias else (weights[0], np.zeros_like(mean))
        # A depthwise kernel [height, width, in, multiplier] has in * multiplier output channels.
        by_channel = kernel.reshape(*kernel.shape[:-2], -1, len(mean))
        folded, bias = fold(by_channel, bias, gamma, beta, mean, variance, part.epsilon)
        weights = [folded.reshape(kernel.shape), bias]
    return weights
