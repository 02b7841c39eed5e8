"""Estimated latencies: exact where they were calibrated, and honest about the rest."""

from __future__ import annotations

import pytest

from edgenets import flatbuffer
from edgenets.export.measure.estimate import (
    PUBLISHED,
    error_of,
    estimate_latency,
    estimate_ms,
    format_of,
)

CALIBRATING = [row for row in PUBLISHED if row.calibrates]
TESTING = [row for row in PUBLISHED if not row.calibrates]


@pytest.mark.parametrize("row", CALIBRATING, ids=lambda row: f"{row.net} {row.number_format}")
def test_estimate_meets_what_calibrated_it(row):
    assert error_of(row) == pytest.approx(0, abs=1e-9)


def test_each_constant_is_positive():
    """A net of more instructions or more operators is never estimated to be faster."""
    for number_format in ("int8", "fp32"):
        base = estimate_ms(number_format, 10**8, 50)
        assert estimate_ms(number_format, 2 * 10**8, 50) > base
        assert estimate_ms(number_format, 10**8, 100) > base


def test_error_of_an_estimate_is_the_largest_of_those_that_test_it(tiny_net):
    model = flatbuffer.read(tiny_net.int8)
    result = estimate_latency(model, "cortex-a72", 10**7)
    assert result["error"] == max(abs(error_of(row)) for row in TESTING)
    assert result["estimate"] == estimate_ms("int8", 10**7, len(model.operators))
    assert (result["board"], result["threads"]) == ("Raspberry Pi 4", 4)


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a76"])
def test_core_without_published_latencies_gets_no_estimate(tiny_net, cpu):
    assert estimate_latency(flatbuffer.read(tiny_net.int8), cpu, 10**7) is None


def test_format_is_read_off_the_file(tiny_net, shared_file):
    assert format_of(flatbuffer.read(tiny_net.int8)) == "int8"
    assert format_of(flatbuffer.read(tiny_net.float32)) == "fp32"
    uint8 = shared_file("coral/mobilenet_v1_0.25_128_quant.tflite")
    assert format_of(flatbuffer.read(uint8)) is None
    assert estimate_latency(flatbuffer.read(uint8), "cortex-a72", 10**7) is None
