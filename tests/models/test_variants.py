"""The literal table of `edgenets list` against the nets as built, and against the paper."""

from __future__ import annotations

import pytest

from edgenets.models.registry import create
from edgenets.models.variants import VARIANTS, Variant
from edgenets.profile import profile


@pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda v: f"{v.name}-{v.arguments}-{v.resolution}"
)
def test_variant_has_the_cost_of_its_row(variant: Variant):
    cost = profile(create(variant.name, resolution=variant.resolution, **variant.arguments))
    assert (cost.params, cost.macs) == (variant.params, variant.macs)


def test_mobilenet_v1_has_sixteen_rows():
    assert len([variant for variant in VARIANTS if variant.name == "mobilenet_v1"]) == 16
