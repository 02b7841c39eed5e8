"""1x1 convolutions as matrix products while a net trains: the same numbers but for rounding.

On CPUs the gradient of a 1x1 kernel takes about half as long as a matrix product than as the
gradient of a convolution, and those of the inputs are no slower. The layers stay what they are:
folder, export and inference have convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from edgenets.models.backend import keras, tf


@contextmanager
def pointwise_products(model: keras.Model) -> Iterator[None]:
    """Let a model's 1x1 convolutions be traced as matrix products, those within wrappers too.

    >>> model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(8, 1, strides=2)])
    >>> with pointwise_products(model):
    ...     model(tf.ones([2, 4, 4, 3])).shape
    TensorShape([2, 2, 2, 8])
    """
    layers = [layer for layer in model.submodules if _is_pointwise(layer)]
    for layer in layers:
        layer.convolution_op = partial(_product, layer)  # which Keras calls for the convolution
    try:
        yield
    finally:
        for layer in layers:
            del layer.convolution_op  # the class's own one is back


def _is_pointwise(layer: tf.Module) -> bool:
    return (
        type(layer) is keras.layers.Conv2D  # subclasses compute their own way
        and layer.kernel_size == (1, 1)
        and layer.groups == 1
        and layer.data_format == "channels_last"
    )


def _product(layer: keras.layers.Conv2D, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    down, right = layer.strides
    if (down, right) != (1, 1):
        inputs = inputs[:, ::down, ::right]
    _, height, width, channels = inputs.shape
    matrix = tf.reshape(kernel, (channels, layer.filters))
    product = tf.matmul(tf.reshape(inputs, (-1, channels)), matrix)
    return tf.reshape(product, (-1, height, width, layer.filters))
