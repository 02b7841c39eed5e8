"""A board over SSH whose Python is the emulated aarch64 one: the real runtime, end to end."""

from __future__ import annotations

import shlex
from functools import partial

import per_op
import pytest

from edgenets.export.devices import doctor
from edgenets.export.devices.device import Emulated
from edgenets.export.measure.benchmark import benchmark_file
from edgenets.export.measure.instructions import count_contents
from edgenets.export.measure.per_op import profile_instructions
from edgenets.export.measure.promises import random_images
from edgenets.export.measure.verify import verify_file
from edgenets.export.write.tflite import to_int8
from edgenets.flatbuffer.extract import cut
from edgenets.models.folder import Model
from edgenets.models.weights.sources import PRETRAINED

pytestmark = pytest.mark.board


@pytest.fixture
def arm_board(board, emulated_board):
    """A server on loopback that has no other Python than an ARM board's."""
    command = emulated_board.command("cortex-a72")
    board.add_program("python3", f'exec {shlex.join(command)} "$@"')
    return board


def test_arm_board_is_measured_over_ssh(arm_board, colour_file):
    result = benchmark_file(colour_file, min_seconds=0, min_runs=3, device=arm_board.device)
    assert result.device["machine"] == "aarch64"
    assert "cortex-a72" in result.device["processor"]
    assert (result.runtime["name"], result.runtime["version"]) == ("ai-edge-litert", "2.1.6")
    assert len(result.samples_ms) >= 3
    assert arm_board.is_clean()


def test_arm_board_is_examined_over_ssh(arm_board):
    report = doctor.examine(arm_board.device)
    versions = {row["name"]: row["version"] for row in report["findings"]}
    assert (versions["numpy"], versions["ai-edge-litert"]) == ("1.26.4", "2.1.6")
    assert report["broken"] == []


@pytest.mark.slow
def test_emulated_board_answers_as_xnnpack_here(emulated_board, colour_file):
    device = Emulated("cortex-a72")
    result = verify_file(colour_file, images=2, runtimes=["xnnpack"], devices=[device])
    here, there = result["runtimes"]
    assert (there["name"], there["version"], there["problem"]) == (device.name, "2.1.6", None)
    assert (here["bit_equal"], there["bit_equal"]) == (2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v1", "squeezenet", "shufflenet_v2", "xception"])
def test_inserted_convolution_is_attributed_its_instructions_within_5_percent(
    name: str, emulated_board
):
    loaded = Model.load(PRETRAINED / f"cifar10_{name}")
    model, spec = loaded.net, loaded.spec
    content = to_int8(model, spec, random_images(spec.preparation.resolution))
    inserted = per_op.insert_convolution(content, 0.5, 3)
    alone = cut(inserted.content, inserted.operator, inserted.operator + 1)
    count = partial(count_contents, cpu="cortex-a72")
    ops = profile_instructions(inserted.content, count)
    known = count({"alone": alone})["alone"]
    assert ops[inserted.operator]["instructions"] == pytest.approx(known, rel=0.05)


def test_operators_are_counted_on_the_emulated_board(emulated_board, colour_file):
    result = benchmark_file(colour_file, device=Emulated("cortex-a72"), per_op=True)
    counted = sum(op["instructions"] for op in result.ops if op["instructions"] is not None)
    assert counted == pytest.approx(result.instructions, rel=0.05)
    assert result.latency_ms is None
