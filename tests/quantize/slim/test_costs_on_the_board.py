"""The literal table of what operators cost, held to counts on the emulated board."""

from __future__ import annotations

import numpy as np
import pytest

from edgenets.export.devices.emulator import CPUS
from edgenets.export.measure.instructions import count_contents
from edgenets.export.targets import TARGETS
from edgenets.export.write import tflite
from edgenets.models.folder import Model
from edgenets.models.operator_costs import CORES, COSTS, TARGET_CORES
from edgenets.models.weights.sources import PRETRAINED
from edgenets.quantize.slim.cost import estimate_net

FURTHEST = 0.1  # docs/evidence/slim.md: whole nets are at most 8 % off


def test_cores_are_those_of_the_targets():
    assert tuple(CPUS) == CORES and set(TARGET_CORES.values()) == set(CORES)
    for target, core in TARGET_CORES.items():
        assert TARGETS[target].cpu == core
    assert all(tuple(of_kind) == CORES for of_kind in COSTS.values())


@pytest.mark.slow
@pytest.mark.board
def test_estimate_of_a_net_is_near_its_counts(emulated_board):
    model = Model.load(PRETRAINED / "cifar10_mobilenet_v1")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    content = tflite.to_int8(model.net, model.spec, images)
    for core in ("cortex-a72", "cortex-a76"):
        counted = count_contents({"net": content}, core)["net"]
        assert estimate_net(model.net, core) == pytest.approx(counted, rel=FURTHEST)
