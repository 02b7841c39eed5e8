"""Training of a net in codes for a small update: what has a price is each code's way from a base's.

Training begins with all that the base's int8 file holds, and its scales and activation grids stay.
So a code that training leaves alone, and most are, takes next to nothing in the package of changes;
where it would leave the base's, the bits of the difference are in the loss. Afterwards the codes
that went least far can still return, until an update is as small as it must be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.models.backend import keras
from edgenets.models.codes import LARGEST_CODE, KernelCodes
from edgenets.models.folder import History, Model
from edgenets.quantize.layers import assign_kernels, clone_with_weights
from edgenets.quantize.rate.coders import package_bits
from edgenets.quantize.rate.curvature import to_rows
from edgenets.quantize.rate.kernel_codes import keep_one
from edgenets.quantize.rate.layerwise import Grids, round_biases
from edgenets.quantize.rate.priced_training import (
    PricedRounding,
    fit_priced,
    with_prices,
    wrappers_of,
)

MOST_BITS = 8.0  # of a difference: that none is there yet must not forbid the first ones
BIAS_PARTS = (4.0, 1.0, 0.25)
"""A bias moves in at least an output's step divided by the first of these; by the next, and so in
fewer bytes, where an update is too large without a single code."""
LEAST_WAY = 0.5  # steps, from which on a trained number is nearer to another code


class Moved(NamedTuple):
    """Where training led from a base's codes."""

    base: keras.Model  # folded
    start: Mapping[str, KernelCodes]  # the base's kernels
    wanted: Mapping[str, NDArray[np.float32]]  # trained numbers in steps, by layer
    biases: Mapping[str, NDArray[np.float32]]
    history: History

    @property
    def ways(self) -> NDArray[np.float32]:
        """How far each number went that changes its code, in steps, the farthest first."""
        ways = np.concatenate(
            [np.abs(self.wanted[name] - start.codes).ravel() for name, start in self.start.items()]
        )
        return np.sort(ways[ways > LEAST_WAY])[::-1]

    def settled(
        self, grids: Grids, least_way: float, bias_part: float = BIAS_PARTS[0]
    ) -> tuple[keras.Model, dict[str, KernelCodes]]:
        """Return a net and its codes, of which those changed that went farther than `least_way`."""
        model = clone_with_weights(self.base)
        kernels = {}
        for name, start in self.start.items():
            wanted = self.wanted[name]
            went = np.abs(wanted - start.codes) > max(least_way, LEAST_WAY)
            codes = np.where(went, np.rint(wanted), start.codes).astype(np.int8)
            keep_one(codes, wanted)
            kernels[name] = KernelCodes(codes, start.scale)
        assign_kernels(model, kernels)
        for name, bias in self.biases.items():
            model.get_layer(name).bias.assign(bias)
        round_biases(model, kernels, grids, base=self.base, part=bias_part)
        return model, kernels


class NearRounding(PricedRounding):
    """Round trained numbers to codes on the base's scales, each at the price of its difference."""

    trains_steps: ClassVar[bool] = False

    def priced(self, steps: Any) -> Any:
        """Return the differences to the base's codes."""
        return steps - self.start.codes.astype(np.float32)

    def table(self, codes: NDArray[np.int8]) -> NDArray[np.float32]:
        """Return the bits of each difference in each channel, [channels, 256], -127 first."""
        differences = np.clip(self.priced(codes.astype(np.float32)), -LARGEST_CODE, LARGEST_CODE)
        bits = package_bits(to_rows(differences, self.groups, self.channels))
        return np.minimum(bits, MOST_BITS).reshape(self.channels, -1)


def train_near(base: Model, price: float, **training: Any) -> Moved:
    """Train from a base's codes, a bit of the differences to which has its price.

    Args:
        base: its net is folded, its codes settled; left as it is.
        price: of a bit, in nats.
        training: as `fit_priced` takes it.

    Raises:
        EdgenetsError: as `fit`.
    """
    assert base.codes is not None  # as the caller checked
    start = base.codes.kernels
    grids = base.codes.activations
    priced = with_prices(base.net, start, grids.keys(), price, NearRounding, grids)
    history = fit_priced(priced, description="near", **training)
    wanted, biases = {}, {}
    for wrapper in wrappers_of(priced):
        for kernel, rounding, _ in wrapper._weight_vars:
            wanted[wrapper.layer.name] = rounding.wanted(kernel)
            if wrapper.layer.use_bias:
                biases[wrapper.layer.name] = wrapper.layer.bias.numpy()
    return Moved(base.net, start, wanted, biases, history)
