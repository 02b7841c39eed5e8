"""Training of a net in codes, in which each code has its price: the same answers in fewer bits.

What is trained is a number for each weight, in steps of its layer; rounded, it is the weight's
code. To the gradient rounding is the identity. The loss of `fit` is raised by price times bits,
those of the frequency tables that suit the codes at the beginning of the epoch; between two codes
the bits are in proportion, so that each number is drawn to the cheaper one. Where all bits together
are to be so many, the price rises and falls with what they are. Each layer's step is
trained too, and the biases. Activations are rounded to 256 steps of ranges that follow them: in
ranges that stay, a net learns to be clipped, and its file is then far from its float weights.

Source: Esser et al. 2020, arXiv:1902.08153 (trained steps, straight through the rounding); Oktay
et al. 2020, arXiv:1906.06624 (a net's coded length as part of its loss).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.models.backend import keras, tf, tfmot
from edgenets.models.codes import LARGEST_CODE, Grid, KernelCodes
from edgenets.models.folder import History
from edgenets.progress import say
from edgenets.quantize.layers import clone_with_weights, kernel_of
from edgenets.quantize.package.rans import SYMBOLS
from edgenets.quantize.rate.coders import package_bits
from edgenets.quantize.rate.curvature import groups_of, to_kernel, to_rows
from edgenets.quantize.rate.kernel_codes import keep_one
from edgenets.quantize.rate.layerwise import Coded, Grids
from edgenets.quantize.stages.rounding import MOVING, OutputRounding, Rounding
from edgenets.training.data import TrainingData
from edgenets.training.fit import fit, pace_of
from edgenets.training.settings import FitSettings

STEPS_PER_UNIT = 32
"""Steps that a trained number of 1.0 stands for: at the learning rates of `fit`, which suit
weights, a code can change within some tens of training steps."""


SETTLED, GAIN = 0.7, 2.0
"""In which part of its epochs a training comes down to its budget, and how strongly a price answers
to bits that are off that way: of codes that went no lower price gives many back."""


class Trained(NamedTuple):
    """A net in codes after its training."""

    coded: Coded
    history: History
    price: float  # of a bit at the end, in nats


class Goal(NamedTuple):
    """What a training in codes is to come to."""

    price: float  # of a bit, in nats: what it begins with, and keeps unless it has a budget
    budget_bits: float | None = None  # of all codes

    def bits_by_epoch(self, first: float, epochs: int) -> list[float]:
        """Return how many bits each epoch of a training should begin with, if it has a budget.

        >>> Goal(1e-6, budget_bits=1e5).bits_by_epoch(1.2e5, epochs=5)
        [120000.0, 113333.33333333333, 106666.66666666667, 100000.0, 100000.0]
        """
        if self.budget_bits is None:
            return []
        way = np.minimum(np.arange(epochs) / max(1, int(SETTLED * epochs)), 1.0)
        return [float(bits) for bits in first + way * (self.budget_bits - first)]

    def __str__(self) -> str:
        return f"{self.price}" + (f"_{self.budget_bits:.0f}" if self.budget_bits else "")


def train_codes(
    coded: Coded,
    rounded: Collection[str],
    goal: Goal,
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
        goal: the price of a bit, or a budget that the price follows.
        checkpoint: a file beside it, named after the goal, keeps the training's state.
        data, settings, seed, key, teacher, log_dir: as `fit` takes them.

    Raises:
        EdgenetsError: as `fit`.
    """
    priced = with_prices(coded.model, coded.kernels, rounded, goal.price)
    epochs = pace_of(settings, priced, len(data.images)).epochs
    history = fit_priced(
        priced,
        data=data,
        settings=settings,
        seed=seed,
        checkpoint=checkpoint.with_stem(f"{checkpoint.stem}_{goal}"),
        key=f"{key} {goal}",
        teacher=teacher,
        log_dir=log_dir,
        description="rate",
        bits_by_epoch=goal.bits_by_epoch(coded.bits, epochs),
    )
    return _finish(priced, coded.model, history)


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
    bits_by_epoch: Sequence[float] = (),
) -> History:
    """Train what `with_prices` returned, keep its last epoch and return what it measured.

    Arguments are those of `fit` and `Repricing`.
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
        callbacks=[Repricing(bits_by_epoch)],
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
    """Sets the bits of each code to what they are among the codes that there are, each epoch.

    Args:
        bits_by_epoch: how many bits all codes should have; none: the price stays. From the second
            epoch on the price of a bit is multiplied by how many times as many there are, `GAIN`
            times over.
    """

    def __init__(self, bits_by_epoch: Sequence[float] = ()) -> None:
        super().__init__()
        self.bits_by_epoch = bits_by_epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Count all codes anew."""
        bits, prices = 0.0, []
        for wrapper in wrappers_of(self.model):
            for kernel, rounding, weights in wrapper._weight_vars:
                codes = rounding.codes(kernel)
                table = rounding.table(codes)
                weights["bits"].assign(table)
                bits += rounding.sum_bits(codes, table)
                prices.append(weights["price"])
        if epoch and self.bits_by_epoch:
            factor = (bits / self.bits_by_epoch[epoch]) ** GAIN
            for price in prices:
                price.assign(price * factor)
            say(f"rate: {bits / 8:,.0f} bytes of codes, {float(prices[0]):.2g} nats a bit from now")


class PricedRounding(tfmot.quantization.keras.quantizers.Quantizer):
    """Round trained numbers to codes, each at its price.

    Args:
        start: what training begins with; the trained step is a multiple of its scale.
        groups: of the layer's channels, see `groups_of`.
        channels: that its output has.
        price: of a bit, in nats, that training begins with.
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
            "price": layer.add_weight(
                f"{name}_price",
                initializer=keras.initializers.Constant(self.price),
                trainable=False,
            ),
        }

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, Any], **kwargs: Any
    ) -> tf.Tensor:
        """Return the rounded kernel; in training, add what its codes cost to the losses."""
        wanted = _in_steps(inputs)
        if training:
            priced = self.priced(wanted)
            self.wrapper.add_loss(weights["price"] * self._bits(priced, weights["bits"]))
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
        return package_bits(rows.astype(np.float32)).reshape(self.channels, SYMBOLS)

    def sum_bits(self, codes: NDArray[np.int8], table: NDArray[np.float32]) -> float:
        """Return what a kernel's codes take."""
        return float(table.ravel()[self.zeros + codes].sum(dtype=np.float64))

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


def _finish(priced: keras.Model, folded: keras.Model, history: History) -> Trained:
    """Return the codes that training has come to, and a copy of `folded` with them for kernels."""
    model = clone_with_weights(folded)
    kernels, bits, price = {}, 0.0, 0.0
    for wrapper in wrappers_of(priced):
        for kernel, rounding, weights in wrapper._weight_vars:
            layer = model.get_layer(wrapper.layer.name)
            codes = rounding.codes(kernel)
            found = KernelCodes(codes, rounding.scale(weights).numpy())
            kernels[layer.name] = found
            kernel_of(layer).assign(found.values)
            if layer.use_bias:
                layer.bias.assign(wrapper.layer.bias)
            bits += rounding.sum_bits(codes, rounding.table(codes))
            price = float(str(weights["price"].numpy()))  # as a user writes it, not its next double
    return Trained(Coded(model, kernels, bits), history, price)


def _in_steps(kernel: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(kernel * STEPS_PER_UNIT, -LARGEST_CODE, LARGEST_CODE)


def wrappers_of(priced: keras.Model) -> list[Any]:
    """Return the layers of `with_prices` that round."""
    kind = tfmot.quantization.keras.QuantizeWrapperV2
    return [layer for layer in priced.layers if isinstance(layer, kind)]
