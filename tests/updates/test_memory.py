"""Peak memory of `edgenets update`, its child included, as the kernel counts it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

BUDGET = 64 * 2**20
# A process's peak begins with that of the one that forked it, which is why a small one starts it.
STARTER = """\
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([status, usage.ru_maxrss * 1024]))
"""


@pytest.mark.slow
def test_an_update_takes_less_than_64_megabytes_and_the_model(world):
    line = [sys.executable, "-m", "edgenets", "update", world.repository, "--into", world.board]
    started = [sys.executable, "-c", STARTER, *map(str, line)]
    status, peak = json.loads(subprocess.run(started, check=True, capture_output=True).stdout)
    assert status == 0
    assert world.answers() == world.file(2).read_bytes()
    assert peak < BUDGET + world.file(2).stat().st_size
