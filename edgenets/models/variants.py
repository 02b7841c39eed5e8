"""The published variants in numbers: what `edgenets list` shows without loading TensorFlow.

`params` counts BatchNorm's moving statistics, as Keras does; `macs` counts convolutions and dense
layers at the variant's resolution with 1,000 classes. A test builds every net and compares.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from edgenets.models.registry import NETS


class Variant(NamedTuple):
    """A net with the arguments, cost and accuracy under which it was published."""

    name: str
    arguments: dict[str, Any]
    resolution: int
    params: int
    macs: int
    top1_published: float | None  # fraction of the ImageNet validation images
    source: str

    @property
    def family(self) -> str:
        """The family of nets that it belongs to."""
        return NETS[self.name].family


_SLIM = "arXiv:1704.04861; accuracy: TF-slim's released weights"

#   width  resolution   params        macs   top-1
_MOBILENET_V1 = (
    (1.00, 224, 4_253_864, 568_740_352, 0.709),
    (1.00, 192, 4_253_864, 418_121_728, 0.700),
    (1.00, 160, 4_253_864, 290_675_200, 0.680),
    (1.00, 128, 4_253_864, 186_400_768, 0.652),
    (0.75, 224, 2_601_976, 325_400_448, 0.684),
    (0.75, 192, 2_601_976, 239_273_472, 0.672),
    (0.75, 160, 2_601_976, 166_396_800, 0.653),
    (0.75, 128, 2_601_976, 106_770_432, 0.621),
    (0.50, 224, 1_342_536, 149_497_088, 0.633),
    (0.50, 192, 1_342_536, 109_970_432, 0.617),
    (0.50, 160, 1_342_536, 76_524_800, 0.591),
    (0.50, 128, 1_342_536, 49_160_192, 0.563),
    (0.25, 224, 475_544, 41_030_272, 0.498),
    (0.25, 192, 475_544, 30_212_608, 0.477),
    (0.25, 160, 475_544, 21_059_200, 0.455),
    (0.25, 128, 475_544, 13_570_048, 0.415),
)

VARIANTS = tuple(
    Variant("mobilenet_v1", {"width": width}, resolution, params, macs, top1, _SLIM)
    for width, resolution, params, macs, top1 in _MOBILENET_V1
)
