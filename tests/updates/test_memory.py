"""Peak memory of `edgenets update`, its child included, as the kernel counts it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

BUDGET = 64 * 10**6
# A process's peak begins with that of the one that forked it, which is why a small one starts it.
STARTER = """\
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([status, usage.ru_maxrss * 1024]))
"""


def peak_of_update(source: object, board: object, *options: object) -> int:
    """Update a board in a process of its own; return its peak memory in bytes."""
    line = [sys.executable, "-m", "edgenets", "update", source, "--into", board, *options]
    started = [sys.executable, "-c", STARTER, *map(str, line)]
    status, peak = json.loads(subprocess.run(started, check=True, capture_output=True).stdout)
    assert status == 0
    return peak


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
