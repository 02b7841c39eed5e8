from __future__ import annotations

from typing import Any

import pytest

from edgenets.models.alternatives import alternatives, published_variant
from edgenets.models.registry import NETS, complete_arguments


def steps(name: str, **arguments: Any) -> list[dict[str, Any]]:
    return alternatives(name, complete_arguments(name, arguments))


@pytest.mark.parametrize(
    "name, arguments, changes",
    [
        ("mobilenet_v1", {}, [{"width": 0.75}, {"resolution": 192}]),
        ("mobilenet_v2", {"width": 0.6}, [{"width": 0.5}, {"resolution": 192}]),
        ("mobilenet_v2", {"width": 0.35, "resolution": 96}, [{"width": 0.25}, {"resolution": 64}]),
        ("mobilenet_v1", {"width": 0.25, "resolution": 32, "output_stride": 8}, []),
        (
            "mobilenet_v3_large",
            {},
            [{"width": 0.75}, {"minimalistic": True}, {"resolution": 192}],
        ),
        ("xception", {}, [{"width": 0.75}, {"resolution": 267}]),
        ("shufflenet_v1", {}, [{"scale": 0.5}, {"groups": 4}, {"resolution": 192}]),
        ("shufflenet_v1", {"groups": 8, "scale": 0.25}, [{"resolution": 192}]),
        ("shufflenet_v2", {"scale": 0.5}, [{"resolution": 192}]),
        ("squeezenet", {}, [{"pct_3x3": 0.25}, {"version": "1.1"}, {"resolution": 195}]),
        (
            "squeezenet",
            {"squeeze_ratio": 0.5, "pct_3x3": 0.01},
            [{"squeeze_ratio": 0.25}, {"version": "1.1"}, {"resolution": 195}],
        ),
        ("vgg16", {}, [{"resolution": 192}]),
    ],
)
def test_alternatives_are_the_published_values_next_to_a_net_s_own(
    name: str, arguments: dict, changes: list
):
    assert steps(name, **arguments) == changes


@pytest.mark.parametrize("name", NETS)
def test_alternatives_are_arguments_of_the_net(name: str):
    for change in steps(name):
        (argument,) = change
        assert complete_arguments(name, change)[argument] != NETS[name].arguments[argument]


def test_published_variant_has_exactly_the_arguments():
    published = published_variant("mobilenet_v1", complete_arguments("mobilenet_v1", {"width": 1}))
    assert published is not None and published.top1_published == 0.709
    for other in ({"width": 0.6}, {"classes": 10}, {"output_stride": 16}, {"resolution": 200}):
        assert published_variant("mobilenet_v1", complete_arguments("mobilenet_v1", other)) is None
