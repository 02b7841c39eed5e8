"""Bits of weights that an NPU reads while it computes: they cost no cycles, whatever their price.

By Vela's estimate a layer takes as long as the longest of computing and each memory's transfers. So
its stream of weights costs time only as far as reading it takes longer than the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgenets.models.backend import keras
from edgenets.models.codes import KernelCodes
from edgenets.quantize.rate.coders import Coder, sum_bits
from edgenets.quantize.rate.curvature import groups_of, to_rows

SCALE_BITS = 80  # of each channel, beside its weights in the stream: bias, multiplier, shift
SURE = 0.95  # of what is free by the estimate, for a coder's bits are one, too


def hidden_bits(
    net: keras.Model,
    kernels: Mapping[str, KernelCodes],
    layers: tuple[dict[str, Any], ...],
    code_bits: Coder,
) -> dict[str, float]:
    """Return how many bits each layer's codes may take until the NPU waits for them.

    Args:
        net: folded.
        kernels: the codes of the file that was compiled, by layer.
        layers: Vela's estimates of that file's steps, as `Outcome.layers` has them; of layers that
            are not among them no bit is free.
        code_bits: what codes take in Vela's stream.
    """
    reading, other = Counter[str](), Counter[str]()
    for step in layers:
        reading[step["name"]] += step["flash_cycles"] + step["dram_cycles"]
        other[step["name"]] += max(step["npu_cycles"], step["sram_cycles"])
    free = {}
    for name, kernel in kernels.items():
        layer = net.get_layer(name)
        channels = int(layer.output.shape[-1])
        rows = to_rows(kernel.codes, groups_of(layer), channels).astype(np.float32)
        scales = SCALE_BITS * channels
        if reading[name]:
            hidden = (sum_bits(rows, code_bits) + scales) * other[name] / reading[name] - scales
            free[name] = max(0.0, SURE * hidden)
    return free
