"""docs/evidence/architectures.md and its plots say what the code says today."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType

import pytest

from edgenets.models.variants import VARIANTS

PUBLISHED = [variant for variant in VARIANTS if variant.top1_published is not None]


@functools.cache
def generator(name: str) -> ModuleType:
    return importlib.import_module(name)  # from benchmarks, which pytest puts on the path


@pytest.mark.slow
def test_page_is_what_the_generator_writes_today():
    architectures = generator("architectures")
    assert architectures.page() == architectures.PAGE.read_text(), (
        "run python benchmarks/architectures.py"
    )


def test_every_technique_stands_where_the_page_says():
    for technique in generator("architectures").TECHNIQUES:
        assert technique.where
        for place in technique.where.split():
            module, _, name = place.partition(".")
            assert hasattr(importlib.import_module(f"edgenets.models.{module}"), name), place


@pytest.mark.parametrize("cost", ["params", "macs"])
def test_plot_has_a_point_for_every_published_accuracy(cost: str):
    (axes,) = generator("accuracy_plots").draw(cost).axes
    drawn = [tuple(point) for line in axes.lines for point in line.get_xydata()]
    expected = [(getattr(v, cost), 100 * v.top1_published) for v in PUBLISHED]
    assert sorted(drawn) == sorted(expected)
    assert {text.get_text() for text in axes.texts} == {v.name for v in PUBLISHED}


@pytest.mark.parametrize("cost", ["params", "macs"])
def test_plot_s_file_holds_today_s_points(cost: str):
    plots = generator("accuracy_plots")
    assert plots.describe_points(cost) in plots.plot_path(cost).read_text()


@pytest.mark.parametrize("channels", [128, 256, 512, 1024])
def test_separable_convolution_takes_8_to_9_times_fewer_macs(channels: int):
    architectures = generator("architectures")
    full, separable = (
        architectures.layer_cost(7, channels, layers).macs
        for layers in (architectures.convolutions(3), architectures.separable)
    )
    assert 8 < full / separable < 9
    assert full / separable == pytest.approx(1 / (1 / channels + 1 / 9))


def test_two_3x3_take_28_percent_less_than_a_5x5_of_their_width():
    architectures = generator("architectures")
    square, two = (
        architectures.layer_cost(7, 16, architectures.convolutions(*kernels)).macs
        for kernels in ((5,), (3, 3))
    )
    assert two / square == 18 / 25


def test_one_layer_example_is_that_of_the_mobilenet_paper():
    page = generator("architectures").PAGE.read_text()
    for row in (  # table 3: millions of MACs and of parameters
        "462,422,016 | 2,359,296",  # 462, 2.36
        "52,283,392 | 266,752",  # 52.3, 0.27
        "29,578,752 | 150,912",  # 29.6, 0.15
        "15,091,200 | 150,912",  # 15.1, 0.15
    ):
        assert row in page
