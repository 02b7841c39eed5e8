"""What codes cost, against the coders themselves."""

from __future__ import annotations

import numpy as np
import pytest
from ethosu import mlw_codec
from safetensors.numpy import load_file

from edgenets.models.folder import WEIGHTS
from edgenets.models.weights.sources import PRETRAINED
from edgenets.quantize.rate.coders import PALETTE, package_bits, vela_bits

KERNELS = ("block8_pointwise_conv", "block12_pointwise_conv")  # 16,384 and 32,768 weights
HEADER_BYTES = 64  # of a palette and of padding


def places(codes: np.ndarray) -> np.ndarray:
    return (codes + 127).astype(np.int64)


def told_bytes(codes: np.ndarray) -> float:
    """Return what `vela_bits` says of a kernel, [rows, inputs]."""
    rows = codes[np.newaxis].astype(np.float32)
    bits = np.take_along_axis(vela_bits(rows), places(rows), axis=2)
    return float(bits.sum(dtype=np.float64)) / 8


@pytest.fixture(scope="module")
def kernels() -> list[np.ndarray]:
    """Of the MobileNet in the package, [rows, inputs], in units of their standard deviation."""
    tensors = load_file(PRETRAINED / "cifar10_mobilenet_v1" / WEIGHTS)
    found = [tensors[f"{name}/kernel"] for name in KERNELS]
    return [
        kernel.reshape(-1, kernel.shape[-1]).T.astype(np.float32) / np.float32(kernel.std())
        for kernel in found
    ]


@pytest.mark.parametrize("step", [0.05, 0.15, 0.5, 1, 2, 3])
def test_bits_are_those_of_vela_s_encoder(kernels: list[np.ndarray], step: float):
    for kernel in kernels:
        codes = np.clip(np.rint(kernel / step), -127, 127).astype(np.int64)
        encoded = len(mlw_codec.encode(codes.ravel().tolist()))
        assert 0.94 * encoded - HEADER_BYTES <= told_bytes(codes) <= 1.03 * encoded


def test_zeros_in_runs_take_less_than_a_bit(kernels: list[np.ndarray]):
    codes = np.rint(kernels[0] / 3)[np.newaxis].astype(np.float32)
    table = vela_bits(codes)[0, 0]
    assert table[127] < 1 < table[126] and table[126] > 3


def test_a_seldom_value_costs_more_than_those_of_the_palette():
    codes = np.repeat(np.arange(-16, 17), 50)[np.newaxis, np.newaxis].astype(np.float32)
    table = vela_bits(codes[..., :-50])[0, 0]  # 32 values
    assert table[places(codes[..., :-50])].max() == np.log2(PALETTE) < table[127 + 16]


@pytest.mark.parametrize("code_bits", [package_bits, vela_bits])
@pytest.mark.parametrize("value", [0, 5, -127])
def test_kernels_of_one_value_have_bits_for_all(code_bits, value: int):
    table = code_bits(np.full((2, 3, 4), value, np.float32))
    assert table.shape == (2, 3, 256) and np.isfinite(table).all() and table.min() >= 0
