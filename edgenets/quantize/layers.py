"""Which layers compression works on, and copies of models to work with."""

from __future__ import annotations

from collections.abc import Callable

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras


def is_compressible(layer: keras.layers.Layer) -> bool:
    """Tell whether pruning and weight sharing treat `layer`: a 1x1 convolution or a dense layer.

    Grouped 1x1 convolutions are among them. They hold nearly all weights of the small nets. The
    first convolution, depthwise and other small kernels stay dense: they have few weights, and each
    one matters.
    """
    if isinstance(layer, keras.layers.Dense):
        return True
    return isinstance(layer, keras.layers.Conv2D) and tuple(layer.kernel_size) == (1, 1)


def clone_with_weights(model: keras.Model) -> keras.Model:
    """Return a copy of `model` with its weights; training it leaves `model` alone."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def copy_model(
    model: keras.Model, wrap: Callable[[keras.layers.Layer], keras.layers.Layer]
) -> keras.Model:
    """Return a copy of `model`, every compressible layer replaced by `wrap(layer)`.

    Raises:
        EdgenetsError: the model has no compressible layer.
    """
    copy = clone_with_weights(model)
    if not any(is_compressible(layer) for layer in copy.layers):
        raise EdgenetsError(
            f"{model.name} has neither a 1x1 convolution nor a dense layer to compress"
        )
    return keras.models.clone_model(
        copy, clone_function=lambda layer: wrap(layer) if is_compressible(layer) else layer
    )


def restore_weights(original: keras.Model, changed: keras.Model) -> keras.Model:
    """Return a copy of `original` with the weights of `changed`, which has the same layers."""
    by_name = {layer.name: layer for layer in changed.layers}
    result = keras.models.clone_model(original)
    for layer in result.layers:
        layer.set_weights(by_name[layer.name].get_weights())
    return result
