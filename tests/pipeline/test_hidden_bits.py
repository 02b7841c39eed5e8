"""Bits that an NPU reads while it computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgenets.models.fold import fold_batch_norm
from edgenets.pipeline.hidden_bits import SCALE_BITS, SURE, hidden_bits
from edgenets.quantize.rate.coders import vela_bits
from edgenets.quantize.stages.int8 import quantize_kernels


def layer(name: str, npu: int, flash: int, dram: int = 0, sram: int = 0) -> dict[str, object]:
    cycles = {"npu_cycles": npu, "flash_cycles": flash, "dram_cycles": dram, "sram_cycles": sram}
    return {"name": name, **cycles}


def test_a_layer_hides_as_many_bits_as_it_could_read(build_net: Callable):
    net = fold_batch_norm(build_net())
    kernels = quantize_kernels(net)
    first, second, *others = kernels

    def stream(name: str) -> float:
        codes = kernels[name].codes.reshape(1, 1, -1).astype(np.float32)
        places = (codes + 127).astype(int)
        return float(np.take_along_axis(vela_bits(codes), places, axis=2).sum())

    layers = (layer(first, 900, 1800), layer(second, 100, 40, dram=60, sram=150))
    found = hidden_bits(net, kernels, layers, vela_bits)
    scales = [SCALE_BITS * int(net.get_layer(name).output.shape[-1]) for name in (first, second)]
    half, more = (stream(name) + each for name, each in zip((first, second), scales, strict=True))
    assert found == {
        first: pytest.approx(max(0, SURE * (0.5 * half - scales[0])), rel=1e-4),
        second: pytest.approx(SURE * (1.5 * more - scales[1]), rel=1e-4),
    }
    assert others  # they are in no estimate, and hide nothing
