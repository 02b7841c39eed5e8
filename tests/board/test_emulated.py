"""A board over SSH whose Python is the emulated aarch64 one: the real runtime, end to end."""

from __future__ import annotations

import shlex

import pytest

from edgenets.export import doctor
from edgenets.export.benchmark import benchmark_file

pytestmark = pytest.mark.board


@pytest.fixture
def arm_board(board, emulated_board):
    """A server on loopback that has no other Python than an ARM board's."""
    command = emulated_board.command("cortex-a72")
    board.add_program("python3", f'exec {shlex.join(command)} "$@"')
    return board


def test_arm_board_is_measured_over_ssh(arm_board, colour_file):
    result = benchmark_file(colour_file, min_seconds=0, min_runs=3, device=arm_board.url)
    assert result["device"]["machine"] == "aarch64"
    assert "cortex-a72" in result["device"]["processor"]
    assert (result["runtime"]["name"], result["runtime"]["version"]) == ("ai-edge-litert", "2.1.6")
    assert len(result["samples_ms"]) >= 3
    assert arm_board.is_clean()


def test_arm_board_is_examined_over_ssh(arm_board):
    report = doctor.examine(arm_board.url)
    versions = {row["name"]: row["version"] for row in report["findings"]}
    assert (versions["numpy"], versions["ai-edge-litert"]) == ("1.26.4", "2.1.6")
    assert report["broken"] == []
