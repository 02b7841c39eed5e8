"""8-bit rounding while a net trains: which layers round their kernel and their output, and how.

The scheme is that of the int8 file: kernels symmetric in [-127, 127] with one scale per output
channel (one in all for a dense layer); activations with one scale and zero point per tensor.

tfmot's own scheme refuses squeeze-and-excite, hard-swish and our grouped layers, gives a depthwise
kernel a single scale, and lets each activation begin at [-6, 6] and move by a thousandth of the way
per step, too slow for short trainings. Hence our own `QuantizeConfig` and quantizers for its
wrapper.

Source: Jacob et al. 2017, arXiv:1712.05877, section 3; TFLite 8-bit quantization specification.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras, tf, tfmot
from edgenets.models.fold import find_readers
from edgenets.models.grouped import ChannelHalf, ChannelShuffle
from edgenets.quantize.layers import clone_with_weights

LARGEST_CODE = 127  # of a kernel; the smallest is -127
RANGE_MEMORY_STEPS = 100  # an activation's range is the mean of about so many batches' ranges


class Kernel(NamedTuple):
    """Where a kind of layer has its kernel, and the axes of it that one scale is for."""

    attribute: str
    axes: tuple[int, ...]


KERNELS: dict[type[keras.layers.Layer], Kernel] = {  # subclasses are like their class
    keras.layers.Conv2D: Kernel("kernel", (0, 1, 2)),
    keras.layers.DepthwiseConv2D: Kernel("depthwise_kernel", (0, 1)),
    keras.layers.Dense: Kernel("kernel", (0, 1)),
}
COMPUTING = (  # each gives new values, which the file holds in 8 bits
    *KERNELS,
    *(keras.layers.ReLU, keras.layers.Activation, keras.layers.Add, keras.layers.Multiply),
    *(keras.layers.Concatenate, keras.layers.AveragePooling2D),
    *(keras.layers.GlobalAveragePooling2D, keras.layers.Rescaling),
)
MOVING = (  # each passes on values that are rounded already
    *(keras.layers.InputLayer, keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape),
    *(keras.layers.MaxPooling2D, keras.layers.ZeroPadding2D, ChannelShuffle, ChannelHalf),
)


def with_rounding(model: keras.Model) -> keras.Model:
    """Return a copy of a folded model that computes with 8-bit rounding, and trains through it.

    Kernel values that are zero stay zero in training. An activation's range is known after the
    first training step.

    Raises:
        EdgenetsError: the model has a kind of layer of which the int8 form is not known here.
    """
    readers = find_readers(model)

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, MOVING):
            return layer
        if not isinstance(layer, COMPUTING):
            raise EdgenetsError(
                f"{layer.name} of {model.name} is a {type(layer).__name__}, a kind of layer that "
                "cannot be trained with 8-bit rounding; leave the stage qat out"
            )
        kernels = [kernel for kind, kernel in KERNELS.items() if isinstance(layer, kind)]
        config = Rounding(
            kernel=kernels[0] if kernels else None,
            output=not _rounded_by_its_reader(readers[layer.name]),
        )
        return tfmot.quantization.keras.QuantizeWrapperV2(layer, config)

    return keras.models.clone_model(clone_with_weights(model), clone_function=wrap)


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

    def __init__(self, kernel: Kernel | None, output: bool) -> None:
        self.kernel, self.output = kernel, output

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Return the layer's kernel and how it is rounded."""
        if self.kernel is None:
            return []
        return [(getattr(layer, self.kernel.attribute), KernelRounding(self.kernel))]

    def set_quantize_weights(self, layer: Any, quantize_weights: list[tf.Tensor]) -> None:
        """Let the layer compute with the rounded kernel."""
        if self.kernel is not None:
            (rounded,) = quantize_weights
            setattr(layer, self.kernel.attribute, rounded)

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """Return nothing: an activation within the layer is rounded with its output."""
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Leave the layer's activation as it is."""

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """Return how the layer's output is rounded."""
        return [OutputRounding()] if self.output else []

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this."""
        return {"kernel": self.kernel, "output": self.output}


class KernelRounding(tfmot.quantization.keras.quantizers.Quantizer):
    """Round a kernel to the codes [-127, 127] at the scale that its largest value asks for."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Note which values are zero at the beginning."""
        kernel = getattr(layer.layer, self.kernel.attribute)
        return {"nonzero": tf.cast(kernel != 0, kernel.dtype)}

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, Any], **kwargs: Any
    ) -> tf.Tensor:
        """Return the rounded kernel; to the gradient, rounding is the identity."""
        kernel = inputs * weights["nonzero"]
        largest = tf.reduce_max(tf.abs(kernel), axis=self.kernel.axes, keepdims=True)
        scale = largest / LARGEST_CODE
        rounded = tf.round(tf.math.divide_no_nan(kernel, scale)) * scale
        return kernel + tf.stop_gradient(rounded - kernel)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this."""
        return {"kernel": self.kernel}


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
