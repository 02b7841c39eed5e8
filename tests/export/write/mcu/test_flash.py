"""Kernels as tables and indices: they come back as they were, and TFLM answers the same."""

from __future__ import annotations

import numpy as np
import pytest

from edgenets.data.pixels import to_int8
from edgenets.export.inspect.tflm import DECODE, lacking
from edgenets.export.write.mcu import flash
from edgenets.export.write.mcu.flash import (
    HEADER_BYTES,
    Coded,
    code,
    for_flash,
    with_tables,
    worth_coding,
)
from edgenets.flatbuffer import File, Quantized, set_quantization

KERNELS = [((8, 1, 1, 40), 0), ((1, 3, 3, 24), 3), ((10, 32), None)]


def decoded(coded: Coded, shape: tuple[int, ...], axis: int | None) -> np.ndarray:
    """Decode as the DECODE operator's design says, value by value."""
    header, tables = coded.ancillary[:HEADER_BYTES], np.frombuffer(coded.ancillary, np.int8)[16:]
    bits, stride = header[5] & 15, header[6]
    assert header[5] >> 4 == (15 if axis is None else axis)
    assert not any(header[7:]) and header[:5] == bytes([0, 1, 0, 0, 1])
    stream = "".join(f"{byte:08b}" for byte in coded.indices)
    values = np.empty(shape, np.int8)
    for i, place in enumerate(np.ndindex(shape)):
        channel = 0 if axis is None else place[axis]
        values[place] = tables[channel * stride + int(stream[i * bits : (i + 1) * bits], 2)]
    return values


@pytest.mark.parametrize("shape, axis", KERNELS)
@pytest.mark.parametrize("values", [1, 2, 16, 100])
def test_values_come_back(shape: tuple[int, ...], axis: int | None, values: int):
    random = np.random.default_rng(values)
    kernel = random.choice(random.permutation(255)[:values] - 127, shape).astype(np.int8)
    coded = code(kernel, axis)
    assert coded is not None
    assert np.array_equal(decoded(coded, shape, axis), kernel)
    bits = max(1, (len(np.unique(kernel)) - 1).bit_length())
    assert coded.size_bytes <= HEADER_BYTES + values + -(-kernel.size * bits // 8)


def test_channels_of_their_own_values_have_tables_of_their_own():
    channels = np.arange(64, dtype=np.int8).repeat(100).reshape(64, 1, 1, 100)
    channels[..., ::2] += 64
    coded = code(channels, axis=0)  # 128 values by one table, 2 by one a channel
    assert coded is not None and len(coded.indices) == 64 * 100 // 8
    assert np.array_equal(decoded(coded, channels.shape, 0), channels)


def test_too_many_values_are_not_coded():
    assert code(np.arange(-64, 65, dtype=np.int8), None) is None


@pytest.fixture(scope="module")
def file(tiny_net) -> File:
    """A classifier, each of whose kernels has at most 4 values."""
    made = File(tiny_net.int8)
    kernels = {}
    for operator in made.model.operators:
        for index in operator.inputs[1:2]:
            tensor = made.model.tensors[index]
            if tensor.is_constant and tensor.dtype == "int8":
                few = (np.asarray(tensor.data).reshape(tensor.shape) // 64 * 50).astype(np.int8)
                kernels[index] = Quantized(tensor.scale, tensor.zero_point, few.tobytes())
    made.edit(set_quantization, kernels)
    return File(made.content)


@pytest.mark.slow
def test_what_goes_into_the_flash_answers_the_same(file: File, tiny_net, run_tflm, monkeypatch):
    plain = for_flash(file)
    assert len(plain.content) < len(file.content)
    assert not plain.model.metadata and not any(t.name for t in plain.model.tensors)
    assert not worth_coding(plain.model)  # so small are they
    monkeypatch.setattr(flash, "LEAST_SAVED_BYTES", 1)
    assert len(worth_coding(plain.model)) == 1  # the first layer's, beside the image, costs memory
    monkeypatch.setattr(flash, "MEMORY_WORTH", 0)
    kernels = worth_coding(plain.model)
    assert len(kernels) == 2
    coded = with_tables(plain, kernels)
    assert [operator.name for operator in coded.model.operators].count(DECODE) == 2
    assert not lacking(coded.model)
    images = to_int8(tiny_net.pixels)
    expected = run_tflm(file.content, images)
    assert len(np.unique(expected)) > 5
    for made in (plain, coded):
        assert np.array_equal(run_tflm(made.content, images), expected)
