"""Cycles of an inference on an Ethos-U, as Vela 5.2 estimates them for int8 files.

Of variants whose files fit the flash of a microcontroller, with fresh weights: those of trained
nets stream about as long. A test compiles a sample and compares.

Source: `python benchmarks/ethos_u.py variants`.
"""

from __future__ import annotations

from typing import Any

NPUS = ("ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512")
"""The targets that the columns are of."""
MOST_PARAMS, MOST_MACS = 2_700_000, 360_000_000
"""Of the variants that are estimated: what int8 files for a few MB of flash have."""

CYCLES: tuple[tuple[str, dict[str, Any], tuple[int, ...]], ...] = (
    (
        "mobilenet_v1",
        {"width": 0.75, "resolution": 224},
        (5_397_394, 4_123_286, 2_806_606, 1_993_217),
    ),
    (
        "mobilenet_v1",
        {"width": 0.75, "resolution": 192},
        (4_397_651, 3_621_993, 1_715_497, 1_098_018),
    ),
    (
        "mobilenet_v1",
        {"width": 0.75, "resolution": 160},
        (3_725_935, 3_290_920, 1_276_636, 899_551),
    ),
    ("mobilenet_v1", {"width": 0.75, "resolution": 128}, (3_318_079, 3_029_390, 903_292, 569_957)),
    ("mobilenet_v1", {"width": 0.5, "resolution": 224}, (2_980_789, 2_289_896, 1_398_692, 930_118)),
    ("mobilenet_v1", {"width": 0.5, "resolution": 192}, (2_433_927, 1_980_912, 1_030_610, 694_359)),
    ("mobilenet_v1", {"width": 0.5, "resolution": 160}, (2_039_141, 1_793_366, 765_608, 527_587)),
    ("mobilenet_v1", {"width": 0.5, "resolution": 128}, (1_804_355, 1_618_197, 541_702, 356_193)),
    ("mobilenet_v1", {"width": 0.25, "resolution": 224}, (1_284_105, 1_009_036, 744_582, 558_470)),
    ("mobilenet_v1", {"width": 0.25, "resolution": 192}, (1_044_876, 845_486, 532_212, 390_596)),
    ("mobilenet_v1", {"width": 0.25, "resolution": 160}, (850_924, 738_367, 394_691, 285_599)),
    ("mobilenet_v1", {"width": 0.25, "resolution": 128}, (731_059, 668_440, 298_970, 206_891)),
    (
        "mobilenet_v2",
        {"width": 0.75, "resolution": 224},
        (6_651_295, 5_080_368, 3_066_071, 2_047_339),
    ),
    (
        "mobilenet_v2",
        {"width": 0.75, "resolution": 192},
        (5_503_733, 4_427_732, 2_042_105, 1_328_009),
    ),
    (
        "mobilenet_v2",
        {"width": 0.75, "resolution": 160},
        (4_612_829, 3_967_060, 1_530_018, 989_088),
    ),
    (
        "mobilenet_v2",
        {"width": 0.75, "resolution": 128},
        (3_946_567, 3_535_944, 1_118_681, 723_348),
    ),
    ("mobilenet_v2", {"width": 0.75, "resolution": 96}, (3_476_835, 3_242_530, 796_589, 532_398)),
    (
        "mobilenet_v2",
        {"width": 0.5, "resolution": 224},
        (4_377_971, 3_458_756, 1_806_545, 1_168_529),
    ),
    ("mobilenet_v2", {"width": 0.5, "resolution": 192}, (3_697_077, 3_047_368, 1_348_950, 890_526)),
    ("mobilenet_v2", {"width": 0.5, "resolution": 160}, (3_168_019, 2_743_880, 1_043_071, 700_446)),
    ("mobilenet_v2", {"width": 0.5, "resolution": 128}, (2_733_571, 2_472_187, 764_204, 503_484)),
    ("mobilenet_v2", {"width": 0.5, "resolution": 96}, (2_442_159, 2_301_737, 561_638, 389_961)),
    (
        "mobilenet_v2",
        {"width": 0.35, "resolution": 224},
        (3_668_050, 2_942_100, 1_493_851, 986_402),
    ),
    (
        "mobilenet_v2",
        {"width": 0.35, "resolution": 192},
        (3_127_075, 2_601_202, 1_127_736, 750_674),
    ),
    ("mobilenet_v2", {"width": 0.35, "resolution": 160}, (2_696_255, 2_367_572, 894_010, 604_130)),
    ("mobilenet_v2", {"width": 0.35, "resolution": 128}, (2_349_947, 2_139_595, 668_308, 448_719)),
    ("mobilenet_v2", {"width": 0.35, "resolution": 96}, (2_092_337, 1_978_417, 486_330, 342_128)),
    (
        "mobilenet_v3_small",
        {"width": 1.0, "resolution": 224},
        (4_295_234, 3_863_065, 1_980_212, 1_198_717),
    ),
    (
        "mobilenet_v3_small",
        {"width": 0.75, "resolution": 224},
        (3_746_224, 3_385_113, 1_723_732, 1_067_842),
    ),
    (
        "mobilenet_v3_small",
        {"minimalistic": True, "resolution": 224},
        (2_998_160, 2_672_782, 1_019_103, 726_467),
    ),
    (
        "squeezenet",
        {"version": "1.1", "resolution": 227},
        (4_807_833, 3_040_263, 2_611_955, 1_513_547),
    ),
    (
        "squeezenet",
        {"version": "1.1", "resolution": 224},
        (4_763_343, 3_027_627, 2_600_284, 1_486_064),
    ),
    (
        "shufflenet_v1",
        {"groups": 1, "scale": 1.0, "resolution": 224},
        (4_340_463, 3_099_188, 1_997_656, 1_247_642),
    ),
    (
        "shufflenet_v1",
        {"groups": 2, "scale": 1.0, "resolution": 224},
        (6_165_720, 4_266_808, 2_945_148, 1_749_404),
    ),
    (
        "shufflenet_v1",
        {"groups": 3, "scale": 1.0, "resolution": 224},
        (7_092_897, 5_061_345, 3_451_270, 2_257_314),
    ),
    (
        "shufflenet_v1",
        {"groups": 4, "scale": 1.0, "resolution": 224},
        (7_976_979, 5_778_686, 4_419_249, 2_948_239),
    ),
    (
        "shufflenet_v1",
        {"groups": 8, "scale": 1.0, "resolution": 224},
        (10_552_282, 7_486_392, 5_920_625, 4_124_449),
    ),
    (
        "shufflenet_v1",
        {"groups": 3, "scale": 0.25, "resolution": 224},
        (1_649_626, 1_160_350, 920_957, 621_167),
    ),
    (
        "shufflenet_v1",
        {"groups": 8, "scale": 0.25, "resolution": 224},
        (2_318_937, 1_539_888, 1_237_474, 776_633),
    ),
    (
        "shufflenet_v1",
        {"groups": 3, "scale": 0.5, "resolution": 224},
        (3_125_580, 2_098_198, 1_608_790, 981_627),
    ),
    ("shufflenet_v2", {"scale": 0.5, "resolution": 224}, (2_377_582, 2_067_855, 958_651, 675_938)),
    (
        "shufflenet_v2",
        {"scale": 1.0, "resolution": 224},
        (4_552_395, 3_888_114, 1_831_754, 1_214_699),
    ),
)
