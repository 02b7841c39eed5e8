"""8-bit rounding while a net trains: which layers round their kernel and their output, and how.

The scheme is that of the int8 file: kernels symmetric in [-127, 127] with one scale per output
channel (one in all for a dense layer), and if weights are shared, only those codes that are in the
kernel's codebook; activations with one scale and zero point per tensor.

tfmot's own scheme refuses squeeze-and-excite, hard-swish and our grouped layers, gives a depthwise
kernel a single scale, and lets each activation begin at [-6, 6] and move by a thousandth of the way
per step, too slow for short trainings. Hence our own `QuantizeConfig` and quantizers for its
wrapper.

Source: Jacob et al. 2017, arXiv:1712.05877, section 3; TFLite 8-bit quantization specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras, tf, tfmot
from edgenets.models.codes import LARGEST_CODE, SCALES_PER_OCTAVE, KernelCodes
from edgenets.models.fold import KERNEL_AXES
from edgenets.models.graph import find_readers
from edgenets.models.grouped import ChannelHalf, ChannelShuffle
from edgenets.quantize.layers import (
    clone_with_weights,
    kernel_attribute,
    kernel_axes,
    kernel_of,
)

RANGE_MEMORY_STEPS = 100  # an activation's range is the mean of about so many batches' ranges

COMPUTING = (  # each gives new values, which the file holds in 8 bits
    *KERNEL_AXES,
    *(keras.layers.ReLU, keras.layers.Activation, keras.layers.Add, keras.layers.Multiply),
    *(keras.layers.Concatenate, keras.layers.AveragePooling2D),
    *(keras.layers.GlobalAveragePooling2D, keras.layers.Rescaling),
)
MOVING = (  # each passes on values that are rounded already
    *(keras.layers.InputLayer, keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape),
    *(keras.layers.MaxPooling2D, keras.layers.ZeroPadding2D, ChannelShuffle, ChannelHalf),
)


def with_rounding(
    model: keras.Model, codes: Mapping[str, KernelCodes] | None = None
) -> keras.Model:
    """Return a copy of a folded model that computes with 8-bit rounding, and trains through it.

    Kernel values that are zero stay zero in training. An activation's range is known after the
    first training step.

    Args:
        model: without BatchNorm, see `fold_batch_norm`.
        codes: by layer, kernels that keep their scales and take no other codes than they have now,
            as many as they are: which weight has which code is trained, and what the codes are.

    Raises:
        EdgenetsError: the model has a kind of layer of which the int8 form is not known here.
    """
    readers = find_readers(model)
    codes = codes or {}

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, MOVING):
            return layer
        if not isinstance(layer, COMPUTING):
            raise EdgenetsError(
                f"{layer.name} of {model.name} is a {type(layer).__name__}, a kind of layer that "
                "cannot be trained with 8-bit rounding; leave the stage qat out"
            )
        kernel: KernelRounding | None = None
        if layer.name in codes:
            kernel = SharedRounding(codes[layer.name])
        elif axes := kernel_axes(layer):
            kernel = KernelRounding(axes)
        rounded_later = _rounded_by_its_reader(readers[layer.name])
        config = Rounding(kernel, None if rounded_later else OutputRounding())
        return tfmot.quantization.keras.QuantizeWrapperV2(layer, config)

    return keras.models.clone_model(clone_with_weights(model), clone_function=wrap)


def trained_codes(rounding: keras.Model) -> dict[str, KernelCodes]:
    """Return by layer the codes of those kernels of `with_rounding`'s result that have few."""
    return {
        wrapper.layer.name: quantizer.codes(kernel, weights)
        for wrapper in rounding.layers
        if isinstance(wrapper, tfmot.quantization.keras.QuantizeWrapperV2)
        for kernel, quantizer, weights in wrapper._weight_vars
        if isinstance(quantizer, SharedRounding)
    }


def _rounded_by_its_reader(readers: list[keras.layers.Layer]) -> bool:
    """Tell whether a file rounds a layer's output only with its reader's.

    It computes a ReLU within the layer before it, and what is concatenated with the scale that the
    result has.
    """
    match readers:
        case [keras.layers.ReLU() | keras.layers.Concatenate()]:
            return True
    return False


class Rounding(tfmot.quantization.keras.QuantizeConfig):
    """Which of a layer's values are rounded, in tfmot's terms."""

    def __init__(
        self,
        kernel: tfmot.quantization.keras.quantizers.Quantizer | None,
        output: tfmot.quantization.keras.quantizers.Quantizer | None,
    ) -> None:
        self.kernel, self.output = kernel, output

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Return the layer's kernel and how it is rounded."""
        return [] if self.kernel is None else [(kernel_of(layer), self.kernel)]

    def set_quantize_weights(self, layer: Any, quantize_weights: list[tf.Tensor]) -> None:
        """Let the layer compute with the rounded kernel."""
        if self.kernel is not None:
            (rounded,) = quantize_weights
            setattr(layer, kernel_attribute(layer), rounded)

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Return nothing: an activation within the layer is rounded with its output."""
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Leave the layer's activation as it is."""
        return  # AutoGraph cannot take a body without a statement, and warns in notebooks

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """Return how the layer's output is rounded."""
        return [] if self.output is None else [self.output]

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this."""
        return {"kernel": self.kernel, "output": self.output}


class KernelRounding(tfmot.quantization.keras.quantizers.Quantizer):
    """Round a kernel to the codes [-127, 127] at the scale that its largest value asks for."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes  # those that share a scale

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Note which values are zero at the beginning."""
        kernel = kernel_of(layer.layer)
        return {"nonzero": tf.cast(kernel != 0, kernel.dtype)}

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, Any], **kwargs: Any
    ) -> tf.Tensor:
        """Return the rounded kernel; to the gradient, rounding is the identity."""
        kernel = inputs * weights["nonzero"]
        largest = tf.reduce_max(tf.abs(kernel), axis=self.axes, keepdims=True)
        octaves = tf.math.log(largest / LARGEST_CODE) / np.log(2)
        scale = 2.0 ** (tf.math.ceil(octaves * SCALES_PER_OCTAVE) / SCALES_PER_OCTAVE)
        rounded = tf.round(tf.math.divide_no_nan(kernel, scale)) * scale
        return kernel + tf.stop_gradient(rounded - kernel)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this."""
        return {"axes": self.axes}


class SharedRounding(KernelRounding):
    """Round a kernel to the nearest codes of a codebook, at scales that stay as they are.

    The kernel behind the codes is trained, so that a weight may change its code, and so are the
    codes: each is moved by the sum of its members' gradients (arXiv:1510.00149, section 3.3).
    """

    def __init__(self, shared: KernelCodes) -> None:
        self.shared = shared

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Add the codebook, but for its zero, to the variables of `layer`."""
        codebook = np.setdiff1d(self.shared.codes, [0]).astype(np.float32) / LARGEST_CODE
        centroids = layer.add_weight(
            f"{name}_centroids",
            shape=codebook.shape,
            initializer=keras.initializers.Constant(codebook),
            trainable=True,
        )
        return {**super().build(tensor_shape, name, layer), "centroids": centroids}

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, Any], **kwargs: Any
    ) -> tf.Tensor:
        """Return the rounded kernel; the gradient reaches the kernel and the codebook."""
        kernel = inputs * weights["nonzero"]
        rounded = self._nearest(kernel, weights) * self.shared.scale
        return kernel + rounded - tf.stop_gradient(kernel)

    def codes(self, kernel: tf.Tensor, weights: dict[str, Any]) -> KernelCodes:
        """Return what the kernel has become."""
        codes = self._nearest(kernel * weights["nonzero"], weights).numpy()
        return KernelCodes(np.rint(codes).astype(np.int8), self.shared.scale)

    def _nearest(self, kernel: tf.Tensor, weights: dict[str, Any]) -> tf.Tensor:
        centroids = tf.clip_by_value(weights["centroids"], -1.0, 1.0) * LARGEST_CODE
        rounded = centroids + tf.stop_gradient(tf.round(centroids) - centroids)
        codebook = tf.sort(tf.concat([rounded, [0.0]], axis=0))
        middles = (codebook[1:] + codebook[:-1]) / 2
        values = tf.reshape(kernel / self.shared.scale, [-1])
        nearest = tf.gather(codebook, tf.searchsorted(middles, values))
        return tf.reshape(nearest, tf.shape(kernel)) * weights["nonzero"]

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this."""
        return {"shared": self.shared}


class OutputRounding(tfmot.quantization.keras.quantizers.Quantizer):
    """Round an activation to 256 codes over the range that it took in recent training steps.

    The range is the mean over the first `RANGE_MEMORY_STEPS` steps, then a moving average.
    """

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Add the range and the number of steps that it is from to the variables of `layer`."""
        return {
            part: layer.add_weight(f"{name}_{part}", initializer="zeros", trainable=False)
            for part in ("low", "high", "steps")
        }

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, Any], **kwargs: Any
    ) -> tf.Tensor:
        """Return the rounded activation; the gradient is zero where it is clipped."""
        low, high = weights["low"], weights["high"]
        if training:
            steps = tf.minimum(weights["steps"].assign_add(1.0), RANGE_MEMORY_STEPS)
            # Zero is always a code: padding and ReLU need it.
            low = low.assign_add((tf.minimum(tf.reduce_min(inputs), 0.0) - low) / steps)
            high = high.assign_add((tf.maximum(tf.reduce_max(inputs), 0.0) - high) / steps)
        return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high, num_bits=8)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this."""
        return {}
