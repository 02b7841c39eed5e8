from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgenets.quantize.sizes import count_nonzero, distinct_values, sparsity, stored_bytes


@pytest.mark.skipif(not shutil.which("xz"), reason="xz is not installed")
def test_stored_bytes_is_what_xz_9e_makes(tmp_path: Path):
    content = np.random.default_rng(0).integers(0, 40, 50_000, dtype=np.uint8).tobytes()
    (tmp_path / "file").write_bytes(content)
    xz = subprocess.run(["xz", "-9e", "-c", tmp_path / "file"], capture_output=True, check=True)
    assert stored_bytes(content) == pytest.approx(len(xz.stdout), abs=16)  # container fields


def test_counts_over_several_arrays():
    arrays = [np.float32([0, 1, 2]), np.float32([[0, 0, 3]])]
    assert count_nonzero(arrays) == 3
    assert sparsity(arrays) == 0.5
    assert distinct_values(arrays) == 3


def test_nothing_has_no_zeros_and_no_values():
    assert (count_nonzero([]), sparsity([]), distinct_values([])) == (0, 0.0, 0)
