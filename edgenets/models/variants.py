"""The published variants in numbers: what `edgenets list` shows without loading TensorFlow.

`params` counts BatchNorm's moving statistics, as Keras does; `macs` counts convolutions and dense
layers at the variant's resolution with 1,000 classes. A test builds every net and compares.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from edgenets.models.npu_cycles import CYCLES, NPUS
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
    cycles: dict[str, int]  # of an inference by target, as Vela estimates it; {} where it was not

    @property
    def family(self) -> str:
        """The family of nets that it belongs to."""
        return NETS[self.name].family


Row = tuple[dict[str, Any], int, int, int, float | None]

# Of each net: its name, the source, and rows of arguments, resolution, params, macs, top-1.
_TABLES: tuple[tuple[str, str, tuple[Row, ...]], ...] = (
    (
        "mobilenet_v1",
        "arXiv:1704.04861; accuracy: TF-slim's released weights",
        (
            ({"width": 1.0}, 224, 4_253_864, 568_740_352, 0.709),
            ({"width": 1.0}, 192, 4_253_864, 418_121_728, 0.700),
            ({"width": 1.0}, 160, 4_253_864, 290_675_200, 0.680),
            ({"width": 1.0}, 128, 4_253_864, 186_400_768, 0.652),
            ({"width": 0.75}, 224, 2_601_976, 325_400_448, 0.684),
            ({"width": 0.75}, 192, 2_601_976, 239_273_472, 0.672),
            ({"width": 0.75}, 160, 2_601_976, 166_396_800, 0.653),
            ({"width": 0.75}, 128, 2_601_976, 106_770_432, 0.621),
            ({"width": 0.5}, 224, 1_342_536, 149_497_088, 0.633),
            ({"width": 0.5}, 192, 1_342_536, 109_970_432, 0.617),
            ({"width": 0.5}, 160, 1_342_536, 76_524_800, 0.591),
            ({"width": 0.5}, 128, 1_342_536, 49_160_192, 0.563),
            ({"width": 0.25}, 224, 475_544, 41_030_272, 0.498),
            ({"width": 0.25}, 192, 475_544, 30_212_608, 0.477),
            ({"width": 0.25}, 160, 475_544, 21_059_200, 0.455),
            ({"width": 0.25}, 128, 475_544, 13_570_048, 0.415),
        ),
    ),
    (
        "mobilenet_v2",
        "arXiv:1801.04381; accuracy: TF-slim's released weights",
        (
            ({"width": 1.4}, 224, 6_156_712, 582_195_824, 0.750),
            ({"width": 1.3}, 224, 5_431_048, 509_374_560, 0.744),
            ({"width": 1.0}, 224, 3_538_984, 300_774_272, 0.718),
            ({"width": 1.0}, 192, 3_538_984, 221_316_608, 0.707),
            ({"width": 1.0}, 160, 3_538_984, 154_083_200, 0.688),
            ({"width": 1.0}, 128, 3_538_984, 99_074_048, 0.653),
            ({"width": 1.0}, 96, 3_538_984, 56_289_152, 0.603),
            ({"width": 0.75}, 224, 2_663_064, 209_069_792, 0.698),
            ({"width": 0.75}, 192, 2_663_064, 153_941_888, 0.687),
            ({"width": 0.75}, 160, 2_663_064, 107_295_200, 0.664),
            ({"width": 0.75}, 128, 2_663_064, 69_129_728, 0.632),
            ({"width": 0.75}, 96, 2_663_064, 39_445_472, 0.588),
            ({"width": 0.5}, 224, 1_987_224, 97_131_840, 0.654),
            ({"width": 0.5}, 192, 1_987_224, 71_701_760, 0.639),
            ({"width": 0.5}, 160, 1_987_224, 50_184_000, 0.610),
            ({"width": 0.5}, 128, 1_987_224, 32_578_560, 0.577),
            ({"width": 0.5}, 96, 1_987_224, 18_885_440, 0.512),
            ({"width": 0.35}, 224, 1_691_208, 59_285_808, 0.603),
            ({"width": 0.35}, 192, 1_691_208, 43_896_512, 0.582),
            ({"width": 0.35}, 160, 1_691_208, 30_874_800, 0.557),
            ({"width": 0.35}, 128, 1_691_208, 20_220_672, 0.508),
            ({"width": 0.35}, 96, 1_691_208, 11_934_128, 0.455),
        ),
    ),
    (
        "mobilenet_v3_large",
        "arXiv:1905.02244; accuracy: TF-slim's released weights",
        (
            ({"width": 1.0}, 224, 5_507_432, 216_589_760, 0.752),
            ({"width": 0.75}, 224, 4_012_616, 154_560_624, 0.733),
            ({"minimalistic": True}, 224, 3_948_688, 209_136_704, 0.723),
        ),
    ),
    (
        "mobilenet_v3_small",
        "arXiv:1905.02244; accuracy: TF-slim's released weights",
        (
            ({"width": 1.0}, 224, 2_554_968, 56_510_400, 0.675),
            ({"width": 0.75}, 224, 2_051_552, 43_399_344, 0.654),
            ({"minimalistic": True}, 224, 2_056_848, 52_288_448, 0.619),
        ),
    ),
    (
        "inception_v1",
        "arXiv:1409.4842, BatchNorm: arXiv:1502.03167; accuracy: TF-slim's released weights",
        (
            ({"batch_norm": True}, 224, 7_020_392, 1_582_671_872, 0.698),
            ({"batch_norm": False}, 224, 6_998_552, 1_582_671_872, None),
            ({"factorized": True}, 224, 7_308_328, 1_639_721_984, None),
        ),
    ),
    (
        "inception_v3",
        "arXiv:1512.00567; accuracy: Keras's released weights",
        (({}, 299, 23_851_784, 5_713_216_096, 0.779),),
    ),
    (
        "xception",
        "arXiv:1610.02357",
        (({"width": 1.0}, 299, 22_910_480, 8_357_403_496, 0.790),),
    ),
    (
        "squeezenet",
        "arXiv:1602.07360; version 1.1: github.com/forresti/SqueezeNet",
        (
            ({"version": "1.0"}, 227, 1_248_424, 832_667_936, 0.575),
            ({"version": "1.0"}, 224, 1_248_424, 777_221_152, None),
            ({"version": "1.1"}, 227, 1_235_496, 352_540_352, None),
            ({"version": "1.1"}, 224, 1_235_496, 349_151_936, None),
            ({"bypass": "simple"}, 227, 1_248_424, 832_667_936, 0.604),
            ({"bypass": "complex"}, 227, 1_589_672, 1_183_953_184, 0.588),
            ({"squeeze_ratio": 0.25}, 227, 1_967_080, 1_404_933_920, None),
            ({"squeeze_ratio": 0.5}, 227, 3_404_392, 2_549_465_888, None),
            ({"squeeze_ratio": 0.75}, 227, 4_841_704, 3_693_997_856, None),
            ({"squeeze_ratio": 1.0}, 227, 6_279_016, 4_838_529_824, None),
            ({"squeeze_ratio": 0.5, "pct_3x3": 0.01}, 227, 1_478_248, 991_166_240, None),
            ({"squeeze_ratio": 0.5, "pct_3x3": 0.25}, 227, 2_421_352, 1_753_924_384, None),
            ({"squeeze_ratio": 0.5, "pct_3x3": 0.75}, 227, 4_387_432, 3_345_007_392, None),
            ({"squeeze_ratio": 0.5, "pct_3x3": 0.99}, 227, 5_330_536, 4_107_765_536, None),
        ),
    ),
    (
        "shufflenet_v1",
        "arXiv:1707.01083",
        (
            ({"groups": 1, "scale": 1.0}, 224, 1_546_624, 143_078_976, 0.664),
            ({"groups": 2, "scale": 1.0}, 224, 1_754_248, 140_836_512, 0.673),
            ({"groups": 3, "scale": 1.0}, 224, 1_890_208, 137_460_672, 0.674),
            ({"groups": 4, "scale": 1.0}, 224, 1_996_088, 134_339_776, 0.672),
            ({"groups": 8, "scale": 1.0}, 224, 2_473_936, 138_365_952, 0.676),
            ({"groups": 3, "scale": 0.25}, 224, 312_022, 11_009_808, None),
            ({"groups": 8, "scale": 0.25}, 224, 464_296, 12_426_240, 0.473),
            ({"groups": 3, "scale": 0.5}, 224, 730_564, 37_589_856, None),
            ({"groups": 3, "scale": 1.5}, 224, 3_478_888, 292_443_552, None),
            ({"groups": 3, "scale": 2.0}, 224, 5_499_736, 524_045_184, None),
        ),
    ),
    (
        "shufflenet_v2",
        "arXiv:1807.11164; accuracy: torchvision's released weights",
        (
            ({"scale": 0.5}, 224, 1_374_744, 40_476_448, 0.606),
            ({"scale": 1.0}, 224, 2_294_784, 144_907_992, 0.694),
            ({"scale": 1.5}, 224, 3_527_064, 295_759_392, 0.730),
            ({"scale": 2.0}, 224, 7_427_712, 583_253_464, 0.762),
        ),
    ),
    (
        "alexnet",
        "Krizhevsky et al. 2012; accuracy: Caffe's reference model",
        (({}, 227, 60_965_224, 724_406_816, 0.572),),
    ),
    (
        "vgg16",
        "arXiv:1409.1556",
        (({}, 224, 138_357_544, 15_470_264_320, 0.715),),
    ),
)


def _cycles(name: str, arguments: dict[str, Any], resolution: int) -> dict[str, int]:
    net = (name, {**arguments, "resolution": resolution})
    estimated = next((cycles for *other, cycles in CYCLES if tuple(other) == net), ())
    return dict(zip(NPUS, estimated, strict=False))


VARIANTS = tuple(
    Variant(name, *row, source, _cycles(name, *row[:2]))
    for name, source, rows in _TABLES
    for row in rows
)
