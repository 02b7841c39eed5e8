"""The literal table of `edgenets list` against the nets as built, and against what is published."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from edgenets.models.backend import keras
from edgenets.models.registry import NETS, create
from edgenets.models.variants import VARIANTS, Variant
from edgenets.profile import Profile, profile

pytestmark = pytest.mark.usefixtures("weights_not_drawn")


def row(name: str, resolution: int | None = None, **arguments: Any) -> Variant:
    """Return the variant with these arguments, at its first resolution if none is given."""
    return next(
        variant
        for variant in VARIANTS
        if (variant.name, variant.arguments) == (name, arguments)
        and resolution in (None, variant.resolution)
    )


def rows_of(name: str) -> list[Variant]:
    return [variant for variant in VARIANTS if variant.name == name]


@pytest.fixture(scope="module")
def cost(net_of_zeros: Callable[..., keras.Model]) -> Callable[[Variant], Profile]:
    """A function that returns what a variant costs; of other tests' nets the first rows' are."""

    @functools.cache
    def measure(name: str, resolution: int, arguments: tuple[tuple[str, Any], ...]) -> Profile:
        is_first = rows_of(name)[0] == row(name, resolution, **dict(arguments))
        is_kept = is_first and NETS[name].family != "baseline"  # which are large
        build = net_of_zeros if is_kept else create
        result = profile(build(name, resolution=resolution, **dict(arguments)))
        keras.backend.clear_session()
        return result

    return lambda variant: measure(
        variant.name, variant.resolution, tuple(variant.arguments.items())
    )


def is_scaled(variant: Variant) -> bool:
    """Whether the MACs follow from those of the same net at a larger resolution, which is built.

    All resolutions of the two nets are multiples of 32, so that each map shrinks as the image does;
    the last row of each net is built, too.
    """
    first, last = row(variant.name, **variant.arguments), rows_of(variant.name)[-1]
    return variant.name in ("mobilenet_v1", "mobilenet_v2") and variant not in (first, last)


def scaled_macs(variant: Variant, built: Profile) -> int:
    """Return a variant's MACs from what it costs at its first resolution."""
    first = row(variant.name, **variant.arguments)
    assert variant.resolution % 32 == first.resolution % 32 == 0
    (dense,) = (layer.macs for layer in built.layers if layer.name == "logits")
    return (built.macs - dense) * variant.resolution**2 // first.resolution**2 + dense


def identify(variant: Variant) -> str:
    words = [f"{key}={value}" for key, value in variant.arguments.items()]
    return "-".join([variant.name, *words, str(variant.resolution)])


def marks(variant: Variant) -> Any:
    """Mark all rows but the first of each net."""
    return () if variant is rows_of(variant.name)[0] else pytest.mark.slow


# Trainable parameters where these are the published figure: of the MobileNets, Inception v3 and
# Xception as in the Keras builds, of the ShuffleNets by the layer tables (V2: of the half/half down
# unit). GoogLeNet's 6,998,552 include 7,280 biases; BatchNorm has a factor and an offset for each.
TRAINABLE = {
    identify(row("mobilenet_v1", width=1.0)): 4_231_976,
    identify(row("mobilenet_v2", width=1.0)): 3_504_872,
    identify(row("mobilenet_v3_small", width=1.0)): 2_542_856,
    identify(row("inception_v1", batch_norm=True)): 6_998_552 - 7_280 + 2 * 7_280,
    identify(row("inception_v3")): 23_817_352,
    identify(row("xception", width=1.0)): 22_855_952,
    identify(row("shufflenet_v1", groups=1, scale=1.0)): 1_531_936,
    identify(row("shufflenet_v1", groups=2, scale=1.0)): 1_733_848,
    identify(row("shufflenet_v1", groups=3, scale=1.0)): 1_865_728,
    identify(row("shufflenet_v1", groups=4, scale=1.0)): 1_968_344,
    identify(row("shufflenet_v1", groups=8, scale=1.0)): 2_434_768,
    identify(row("shufflenet_v1", groups=3, scale=0.5)): 718_324,
    identify(row("shufflenet_v2", scale=0.5)): 1_366_792,
    identify(row("shufflenet_v2", scale=1.0)): 2_278_604,
    identify(row("shufflenet_v2", scale=1.5)): 3_503_624,
    identify(row("shufflenet_v2", scale=2.0)): 7_393_996,
}


@pytest.mark.parametrize(
    "variant", [pytest.param(v, id=identify(v), marks=marks(v)) for v in VARIANTS]
)
def test_variant_has_the_cost_of_its_row(variant: Variant, cost: Callable[[Variant], Profile]):
    if is_scaled(variant):
        first = cost(row(variant.name, **variant.arguments))
        assert (first.params, scaled_macs(variant, first)) == (variant.params, variant.macs)
        return
    built = cost(variant)
    assert (built.params, built.macs) == (variant.params, variant.macs)
    assert built.trainable_params == TRAINABLE.get(identify(variant), built.trainable_params)


def test_every_net_has_its_rows():
    counts = dict.fromkeys(NETS, 0)
    for variant in VARIANTS:
        counts[variant.name] += 1
    assert counts == {
        "mobilenet_v1": 4 * 4,  # widths and resolutions
        "mobilenet_v2": 2 + 4 * 5,
        "mobilenet_v3_large": 3,
        "mobilenet_v3_small": 3,
        "inception_v1": 3,  # with and without BatchNorm, factorized
        "inception_v3": 1,
        "xception": 1,
        "squeezenet": 2 * 2 + 2 + 4 + 4,  # versions, bypasses, squeeze ratios, shares of 3x3
        "shufflenet_v1": 5 + 5,  # groups and scales
        "shufflenet_v2": 4,
        "alexnet": 1,
        "vgg16": 1,
    }
    assert len({identify(variant) for variant in VARIANTS}) == len(VARIANTS)


def test_mobilenet_v1_has_the_millions_of_macs_of_tables_6_and_7():
    # TF-slim prints 317 for width 0.75 and 34 for width 0.25 at 192; its layers give 325 and 30.
    published = {1.0: (569, 418, 290, 186), 0.75: (325,), 0.5: (149,), 0.25: (41,)}
    for width, millions in published.items():
        for resolution, count in zip((224, 192, 160, 128), millions, strict=False):
            macs = row("mobilenet_v1", resolution, width=width).macs
            assert abs(macs / 1e6 - count) < 1  # some are rounded, some are cut off


def test_mobilenet_v2_has_the_released_table_s_millions_of_macs():
    published = {
        1.4: (582,),
        1.3: (509,),
        1.0: (300, 221, 154, 99, 56),
        0.75: (209, 153, 107, 69, 39),
        0.5: (97, 71, 50, 32, 18),
        0.35: (59, 43, 30, 20, 11),
    }
    for width, millions in published.items():
        for resolution, count in zip((224, 192, 160, 128, 96), millions, strict=False):
            macs = row("mobilenet_v2", resolution, width=width).macs
            assert macs // 10**6 == count  # the table cuts the fraction off


def test_shufflenet_v1_has_the_complexity_of_table_1():
    published = {1: 143, 2: 140, 3: 137, 4: 133, 8: 137}  # without the classifier
    last_channels = {1: 576, 2: 800, 3: 960, 4: 1088, 8: 1536}
    for groups, count in published.items():
        macs = row("shufflenet_v1", groups=groups, scale=1.0).macs - last_channels[groups] * 1000
        assert abs(macs / 1e6 - count) <= 0.5


@pytest.mark.parametrize(
    "arguments, millions",
    [
        ({"groups": 1, "scale": 1.0}, 143.08),
        ({"groups": 2, "scale": 1.0}, 140.84),
        ({"groups": 3, "scale": 1.0}, 137.46),
        ({"groups": 4, "scale": 1.0}, 134.34),
        ({"groups": 8, "scale": 1.0}, 138.37),
        ({"groups": 3, "scale": 0.5}, 37.59),
        ({"groups": 3, "scale": 1.5}, 292.44),
        ({"groups": 3, "scale": 2.0}, 524.05),
    ],
)
def test_shufflenet_v1_has_the_macs_of_its_layer_table(arguments: dict, millions: float):
    assert round(row("shufflenet_v1", **arguments).macs / 1e6, 2) == millions


@pytest.mark.parametrize(
    "scale, millions, published",
    # The paper's MACs are those of a down unit whose left branch keeps its input's channels.
    [(0.5, 40.48, 41), (1.0, 144.9, 146), (1.5, 295.8, 299), (2.0, 583.3, 591)],
)
def test_shufflenet_v2_is_the_half_half_form(scale: float, millions: float, published: int):
    macs = row("shufflenet_v2", scale=scale).macs / 1e6
    assert macs == pytest.approx(millions, abs=0.05)
    assert published - 8 < macs < published


def test_alexnet_is_the_240_megabytes_that_ratios_are_stated_against():
    assert row("alexnet").params * 4 == pytest.approx(240e6, rel=0.02)
