"""What is said of a recipe before anything is trained for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgenets.models.folder import Model
from edgenets.models.registry import create
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.stages.compress import check_recipe
from edgenets.quantize.settings import PruneSettings


@pytest.mark.parametrize("output_stride, warned", [(8, True), (32, False)])
def test_pruning_for_xnnpack_warns_of_a_net_without_sparse_forms(
    output_stride: int, warned: bool, capsys: pytest.CaptureFixture
):
    net = create("mobilenet_v1", width=0.25, resolution=32, output_stride=output_stride)
    model = replace(Model.load(PRETRAINED / "cifar10_mobilenet_v1"), net=net)
    check_recipe(model, (PruneSettings(policy="xnnpack", sparsity=0.8),))
    sentence = "WARNING: XNNPACK has no sparse forms for all operators of mobilenet_v1: "
    assert (sentence in capsys.readouterr().err) == warned
