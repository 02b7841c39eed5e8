"""Peak memory of `edgenets update`, its child included, as the kernel counts it."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest

BUDGET = 64 * 10**6


def peak_of_update(*arguments: object) -> int:
    peak: int = importlib.import_module("update_cost").peak_of_update(*arguments)
    return peak  # of benchmarks, which pytest puts on the path


@pytest.mark.slow
def test_an_update_takes_less_than_64_megabytes_and_the_model(world):
    peak = peak_of_update(world.repository, world.board)
    assert world.answers() == world.file(2).read_bytes()
    assert peak < BUDGET + world.file(2).stat().st_size


@pytest.mark.slow
def test_so_does_the_update_to_a_file_of_three_megabytes(world, shared_file: Callable):
    content = shared_file("coral/mobilenet_v2_1.0_224_quant.tflite").read_bytes()
    world.file(3).write_bytes(content)
    world.publish(3)
    new = ("--model", world.name, "--root", world.root)
    peak = peak_of_update(world.repository, world.empty, *new)
    assert (world.empty / "current" / "model.tflite").read_bytes() == content
    assert peak < BUDGET + len(content)
