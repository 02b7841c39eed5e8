"""Training of a net in codes, in which each code has its price: the same answers in fewer bits.

What is trained is a number for each weight, in steps of its layer; rounded, it is the weight's
code. To the gradient rounding is the identity. The loss of `fit` is raised by price times bits,
those of the frequency tables that suit the codes at the beginning of the epoch; between two codes
the bits are in proportion, so that each number is drawn to the cheaper one. Each layer's step is
trained too, and the biases. Activations are rounded to 256 steps of ranges that follow them: in
ranges that stay, a net learns to be clipped, and its file is then far from its float weights.

Source: Esser et al. 2020, arXiv:1902.08153 (trained steps, straight through the rounding); Oktay
et al. 2020, arXiv:1906.06624 (a net's coded length as part of its loss).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.models.backend import keras, tf, tfmot
from edgenets.models.codes import LARGEST_CODE, Grid, KernelCodes
from edgenets.models.folder import History
from edgenets.quantize.layers import clone_with_weights, kernel_of
from edgenets.quantize.package.rans import SYMBOLS
from edgenets.quantize.rate.curvature import groups_of, to_kernel, to_rows
from edgenets.quantize.rate.kernel_codes import code_bits, keep_one
from edgenets.quantize.rate.layerwise import Coded, Grids
from edgenets.quantize.stages.rounding import MOVING, OutputRounding, Rounding
from edgenets.training.data import TrainingData
from edgenets.training.fit import fit, pace_of
from edgenets.training.settings import FitSettings

STEPS_PER_UNIT = 32
"""Steps that a trained number of 1.0 stands for: at the learning rates of `fit`, which suit
weights, a code can change within some tens of training steps."""


class Trained(NamedTuple):
    """A net in codes after its training."""

    coded: Coded
    history: History


def train_codes(
    coded: Coded,
    rounded: Collection[str],
    price: float,
    *,
    data: TrainingData,
    settings: FitSettings,
    seed: int,
    checkpoint: Path,
    key: str,
    teacher: keras.Model | None,
    log_dir: Path | None,
) -> Trained:
    """Return a net in codes after a training in which a bit has its price.

    No best epoch is chosen: the last one has the fewest bits.

    Args:
        coded: what training begins with; left as it is.
        rounded: the layers whose outputs the file holds in 8 bits.
        price: of a bit, in nats.
        checkpoint: a file beside it, named after the price, keeps the training's state.
        data, settings, seed, key, teacher, log_dir: as `fit` takes them.

    Raises:
        EdgenetsError: as `fit`.
    """
    priced = with_prices(coded.model, coded.kernels, rounded, price)
    history = fit_priced(
        priced,
        data=data,
        settings=settings,
        seed=seed,
        checkpoint=checkpoint.with_stem(f"{checkpoint.stem}_{price}"),
        key=f"{key} {price}",
        teacher=teacher,
        log_dir=log_dir,
        description="rate",
    )
    return Trained(_finish(priced, coded.model), history)


def fit_priced(
    priced: keras.Model,
    *,
    data: TrainingData,
    settings: FitSettings,
    seed: int,
    checkpoint: Path,
    key: str,
    teacher: keras.Model | None,
    log_dir: Path | None,
    description: str,
) -> History:
    """Train what `with_prices` returned, keep its last epoch and return what it measured.

    Arguments are those of `fit`.
    """
    return fit(
        priced,
        data,
        settings,
        seed=seed,
        checkpoint=checkpoint,
        key=key,
        teacher=teacher,
        description=description,
        callbacks=[Repricing()],
        select_from_epoch=pace_of(settings, priced, len(data.images)).epochs,
        log_dir=log_dir,
    )


def with_prices(
    folded: keras.Model,
    kernels: Mapping[str, KernelCodes],
    rounded: Collection[str],
    price: float,
    rounding: type[PricedRounding] | None = None,
    grids: Grids | None = None,
) -> keras.Model:
    """Return a copy of a folded net that trains through its codes; `Repricing` sets their bits.

    Args:
        folded: without BatchNorm.
        kernels: the codes of all its kernels, by layer, which training begins with.
        rounded: the layers whose outputs the file holds in 8 bits.
        price: of a bit, in nats.
        rounding: what has the price; a code, if it is not said.
        grids: of these outputs, if they stay; else they follow the outputs.
    """
    rounders = {}
    for name, kernel in kernels.items():
        layer = folded.get_layer(name)
        channels = int(layer.output.shape[-1])
        rounders[name] = (rounding or PricedRounding)(kernel, groups_of(layer), channels, price)
    copy = clone_with_weights(folded)
    for name, kernel in kernels.items():
        kernel_of(copy.get_layer(name)).assign(kernel.codes.astype(np.float32) / STEPS_PER_UNIT)

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, MOVING):
            return layer
        output = None
        if layer.name in rounded:
            output = GridRounding(grids[layer.name][-1]) if grids else OutputRounding()
        config = Rounding(rounders.get(layer.name), output)
        return tfmot.quantization.keras.QuantizeWrapperV2(layer, config)

    return keras.models.clone_model(copy, clone_function=wrap)


class Repricing(keras.callbacks.Callback):
    """Sets the bits of each code to what they are among the codes that there are, each epoch."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Count all codes anew."""
        for wrapper in wrappers_of(self.model):
            for kernel, rounding, weights in wrapper._weight_vars:
                weights["bits"].assign(rounding.table(rounding.codes(kernel)))


class PricedRounding(tfmot.quantization.keras.quantizers.Quantizer):
    """Round trained numbers to codes, each at its price.

    Args:
        start: what training begins with; the trained step is a multiple of its scale.
        groups: of the layer's channels, see `groups_of`.
        channels: that its output has.
        price: of a bit, in nats.
    """

    trains_steps: ClassVar[bool] = True

    def __init__(self, start: KernelCodes, groups: int, channels: int, price: float) -> None:
        self.start, self.groups, self.channels, self.price = start, groups, channels, price

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Add the octaves of the layer's step and the bits of its codes to its variables."""
        self.wrapper = layer
        lines = np.arange(self.channels, dtype=np.int32).reshape(self.groups, -1, 1)
        inputs = tensor_shape.num_elements() // self.channels
        rows = np.repeat(lines * SYMBOLS + LARGEST_CODE, inputs, axis=2)
        self.zeros = to_kernel(rows, tuple(tensor_shape))  # the place of each weight's code 0
        shape = (self.channels, SYMBOLS)
        return {
            "octaves": layer.add_weight(
                f"{name}_octaves", initializer="zeros", trainable=self.trains_steps
            ),
            "bits": layer.add_weight(f"{name}_bits", shape, initializer="zeros", trainable=False),
        }

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, Any], **kwargs: Any
    ) -> tf.Tensor:
        """Return the rounded kernel; in training, add what its codes cost to the losses."""
        wanted = _in_steps(inputs)
        if training:
            priced = self.priced(wanted)
            self.wrapper.add_loss(self.price * self._bits(priced, weights["bits"]))
        codes = wanted + tf.stop_gradient(tf.round(wanted) - wanted)
        return codes * self.scale(weights)

    def priced(self, steps: Any) -> Any:
        """Return the numbers that have bits: here, those of the codes themselves."""
        return steps

    def _bits(self, numbers: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
        below = tf.clip_by_value(tf.floor(numbers), -LARGEST_CODE, LARGEST_CODE - 1)
        places = self.zeros + tf.cast(below, tf.int32)
        flat = tf.reshape(table, [-1])
        low, high = tf.gather(flat, places), tf.gather(flat, places + 1)
        return tf.reduce_sum(low + (numbers - tf.stop_gradient(below)) * (high - low))

    def codes(self, kernel: tf.Variable) -> NDArray[np.int8]:
        """Return what the trained numbers have become."""
        wanted = self.wanted(kernel)
        codes = np.rint(wanted).astype(np.int8)
        keep_one(codes, wanted)
        return codes

    def wanted(self, kernel: tf.Variable) -> NDArray[np.float32]:
        """Return the trained numbers in steps."""
        return np.asarray(_in_steps(kernel))

    def table(self, codes: NDArray[np.int8]) -> NDArray[np.float32]:
        """Return the bits of each code in each channel, [channels, 256], code -127 first."""
        rows = to_rows(codes, self.groups, self.channels)
        return code_bits(rows.astype(np.float32)).reshape(self.channels, SYMBOLS)

    def bits(self, codes: NDArray[np.int8]) -> float:
        """Return what a kernel's codes take."""
        return float(self.table(codes).ravel()[self.zeros + codes].sum(dtype=np.float64))

    def scale(self, weights: dict[str, Any]) -> tf.Tensor:
        """Return the scales as they are now."""
        return self.start.scale * 2.0 ** weights["octaves"]

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this."""
        size = {"groups": self.groups, "channels": self.channels}
        return {"start": self.start, **size, "price": self.price}


class GridRounding(tfmot.quantization.keras.quantizers.Quantizer):
    """Round an activation to a grid that stays; the gradient is zero where it is clipped."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Add no variables."""
        return {}

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, Any], **kwargs: Any
    ) -> tf.Tensor:
        """Return the rounded activation."""
        low, high = ((end - self.grid.zero_point) * self.grid.scale for end in (-128, 127))
        return tf.quantization.fake_quant_with_min_max_args(inputs, low, high, num_bits=8)

    def get_config(self) -> dict[str, Any]:
        """Return what rebuilds this."""
        return {"grid": self.grid}


def _finish(priced: keras.Model, folded: keras.Model) -> Coded:
    """Return the codes that training has come to, and a copy of `folded` with them for kernels."""
    model = clone_with_weights(folded)
    kernels, bits = {}, 0.0
    for wrapper in wrappers_of(priced):
        for kernel, rounding, weights in wrapper._weight_vars:
            layer = model.get_layer(wrapper.layer.name)
            found = KernelCodes(rounding.codes(kernel), rounding.scale(weights).numpy())
            kernels[layer.name] = found
            kernel_of(layer).assign(found.values)
            if layer.use_bias:
                layer.bias.assign(wrapper.layer.bias)
            bits += rounding.bits(found.codes)
    return Coded(model, kernels, bits)


def _in_steps(kernel: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(kernel * STEPS_PER_UNIT, -LARGEST_CODE, LARGEST_CODE)


def wrappers_of(priced: keras.Model) -> list[Any]:
    """Return the layers of `with_prices` that round."""
    kind = tfmot.quantization.keras.QuantizeWrapperV2
    return [layer for layer in priced.layers if isinstance(layer, kind)]
