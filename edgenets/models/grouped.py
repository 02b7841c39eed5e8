"""Grouped pointwise convolution and the channel layers around it, in a form that trains fast.

tf_keras compiles the native grouped convolution anew for the CPU, which trains several times slower
than a matrix product per group. `GroupedPointwise` is that product with the native kernel's layout;
`with_native_groups` turns it back for export, where one grouped CONV_2D is best.

Source: ShuffleNet V1, arXiv:1707.01083; the half of the channels: ShuffleNet V2, arXiv:1807.11164.
"""

from __future__ import annotations

from typing import Any

from edgenets.models.backend import keras, tf, tfmot

_register = keras.utils.register_keras_serializable(package="edgenets")


@_register
class GroupedPointwise(
    keras.layers.Conv2D, tfmot.sparsity.keras.PrunableLayer, tfmot.clustering.keras.ClusterableLayer
):
    """A 1x1 `Conv2D(groups=...)` computed as a batched matrix product, one matrix per group.

    The kernel `[1, 1, in / groups, out]` and the result are those of the native layer.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Convolve `[batch, height, width, in]` to `[batch, height, width, out]`."""
        _, height, width, channels = inputs.shape
        group_in, group_out = channels // self.groups, self.filters // self.groups
        positions = tf.reshape(inputs, (-1, self.groups, group_in))
        matrices = tf.reshape(self.kernel, (group_in, self.groups, group_out))
        # Transposing to groups first beats tf.einsum, which transposes more, two to three times.
        products = tf.matmul(tf.transpose(positions, (1, 0, 2)), tf.transpose(matrices, (1, 0, 2)))
        outputs = tf.reshape(tf.transpose(products, (1, 0, 2)), (-1, height, width, self.filters))
        return self.activation(tf.nn.bias_add(outputs, self.bias) if self.use_bias else outputs)

    def get_prunable_weights(self) -> list[tf.Variable]:
        """Return what pruning may set to zero."""
        return [self.kernel]

    def get_clusterable_weights(self) -> list[tuple[str, tf.Variable]]:
        """Return what tfmot may cluster."""
        return [("kernel", self.kernel)]


@_register
class ChannelShuffle(keras.layers.Layer):
    """Deal the channels of `groups` groups out in turn: `[a b | c d]` becomes `[a c | b d]`.

    The next grouped convolution then sees channels of every group.
    """

    def __init__(self, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Permute the last axis: channel g * size + i goes to i * groups + g."""
        _, height, width, channels = inputs.shape
        # Three axes, not five: accelerators such as the Edge TPU know no 5-D tensor.
        grouped = tf.reshape(inputs, (-1, self.groups, channels // self.groups))
        return tf.reshape(tf.transpose(grouped, (0, 2, 1)), (-1, height, width, channels))

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), "groups": self.groups}


@_register
class ChannelHalf(keras.layers.Layer):
    """Pass on the first half of the channels (`half=0`) or the second (`half=1`)."""

    def __init__(self, half: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.half = half

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return `[batch, height, width, in / 2]`."""
        return tf.split(inputs, 2, axis=-1)[self.half]

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), "half": self.half}


def with_native_groups(model: keras.Model) -> keras.Model:
    """Return `model` with every `GroupedPointwise` as one native grouped convolution, for export.

    The result is a copy, or `model` itself if there is none.
    """
    if not any(isinstance(layer, GroupedPointwise) for layer in model.layers):
        return model

    def native(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = _NativeGroups if isinstance(layer, GroupedPointwise) else type(layer)
        return kind.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=native)
    copy.set_weights(model.get_weights())
    return copy


class _NativeGroups(keras.layers.Conv2D):
    """`Conv2D(groups=...)` uncompiled: compiled, its kernel in the file would lose its name."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = self.convolution_op(inputs, self.kernel)
        return self.activation(tf.nn.bias_add(outputs, self.bias) if self.use_bias else outputs)
