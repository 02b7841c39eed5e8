"""Which layers compression works on, their kernels, and copies of models to work with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from edgenets.errors import EdgenetsError, unknown_name
from edgenets.models.backend import keras, tf
from edgenets.models.codes import KernelCodes
from edgenets.models.fold import KERNEL_AXES

IMAGE_CHANNELS = 3

T = TypeVar("T")


def kernel_axes(layer: keras.layers.Layer) -> tuple[int, ...]:
    """Return the axes of the layer's kernel that share a scale; () if it has no kernel."""
    return next((axes for kind, axes in KERNEL_AXES.items() if isinstance(layer, kind)), ())


def kernel_attribute(layer: keras.layers.Layer) -> str:
    """Return the name under which a layer with a kernel has it."""
    is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return "depthwise_kernel" if is_depthwise else "kernel"


def kernel_of(layer: keras.layers.Layer) -> tf.Variable:
    """Return the kernel of a layer that has one."""
    return getattr(layer, kernel_attribute(layer))


def assign_kernels(model: keras.Model, kernels: Mapping[str, KernelCodes]) -> None:
    """Let the kernels of a model be what their codes say."""
    for name, kernel in kernels.items():
        kernel_of(model.get_layer(name)).assign(kernel.values)


def is_prunable(layer: keras.layers.Layer) -> bool:
    """Tell whether a layer is one that pruning treats: a dense layer or a convolution.

    Not among them are the first convolution, which sees the image, and depthwise ones: they have
    few weights, and each one matters (arXiv:1710.01878, section 4.1).
    """
    if isinstance(layer, keras.layers.Dense):
        return True
    return isinstance(layer, keras.layers.Conv2D) and layer.input_shape[-1] > IMAGE_CHANNELS


def prunable_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers that pruning treats, in the model's order."""
    return [layer for layer in model.layers if is_prunable(layer)]


def override_for(name: str, overrides: Mapping[str, T]) -> T | None:
    """Return what `overrides` says of a layer, by patterns such as `stage4_*`; the last counts.

    >>> override_for("stage4_block1_conv", {"stage*": 1, "*_conv": 2})
    2
    """
    matching = [value for pattern, value in overrides.items() if fnmatchcase(name, pattern)]
    return matching[-1] if matching else None


def check_patterns(
    model: keras.Model, patterns: Iterable[str], layers: Sequence[keras.layers.Layer] | None = None
) -> None:
    """Check that each pattern matches a layer, by default of those with a kernel.

    Raises:
        EdgenetsError: one does not.
    """
    if layers is None:
        layers = [layer for layer in model.layers if kernel_axes(layer)]
    names = [layer.name for layer in layers]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise unknown_name(f"layer of {model.name}", pattern, names)


def clone_with_weights(model: keras.Model) -> keras.Model:
    """Return a copy of `model` with its weights; training it leaves `model` alone."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def copy_model(
    model: keras.Model, wrap: Callable[[keras.layers.Layer], keras.layers.Layer]
) -> keras.Model:
    """Return a copy of `model`, every prunable layer replaced by `wrap(layer)`.

    Raises:
        EdgenetsError: the model has no prunable layer.
    """
    copy = clone_with_weights(model)
    if not prunable_layers(copy):
        raise EdgenetsError(
            f"{model.name} has neither a dense layer nor a convolution after the first one to prune"
        )
    return keras.models.clone_model(
        copy, clone_function=lambda layer: wrap(layer) if is_prunable(layer) else layer
    )


def restore_weights(original: keras.Model, changed: keras.Model) -> keras.Model:
    """Return a copy of `original` with the weights of `changed`, which has the same layers."""
    by_name = {layer.name: layer for layer in changed.layers}
    result = keras.models.clone_model(original)
    for layer in result.layers:
        layer.set_weights(by_name[layer.name].get_weights())
    return result
