"""The sweep that is done without a file: small nets of three families, for photographs or digits.

Loads no TensorFlow.
"""

from __future__ import annotations

from typing import Any

from edgenets.export.targets import GENERIC
from edgenets.pipeline.sweep.config import check_sweep
from edgenets.pipeline.sweep.space import SweepConfig

SMALL_IMAGES: list[dict[str, Any]] = [
    {"net": "mobilenet_v1", "width": [0.125, 0.25, 0.5]},
    {"net": "mobilenet_v2", "width": [0.25, 0.5]},
    {"net": "shufflenet_v1", "groups": [1, 2, 4], "scale": 0.25},
    {"net": "squeezenet", "base_expand": [16, 32, 64], "expand_increment": [16, 32, 64]},
]
PHOTOGRAPHS: list[dict[str, Any]] = [
    {"net": "mobilenet_v1", "width": [0.25, 0.5, 0.75], "resolution": [96, 128, 160, 192]},
    {"net": "mobilenet_v2", "width": [0.35, 0.5, 0.75], "resolution": [96, 128, 160, 192]},
    {"net": "shufflenet_v2", "scale": [0.5, 1.0], "resolution": [96, 128, 160]},
    {"net": "squeezenet", "version": ["1.1"], "resolution": [96, 128, 160]},
]
TRIALS = 36
GENERATION = 4
"""Few are chosen together, so that the first is at its end soon."""


def usual_sweep(data: str | None, target: str | None) -> SweepConfig:
    """Return the sweep for some images and a target.

    Args:
        data: a folder, or by default the digits.
        target: by default any CPU.

    Raises:
        EdgenetsError: there is no such folder or target.
    """
    source = data or "digits"
    small = {"resolution": 32, "output_stride": 8}
    nets = [{**net, **small} for net in SMALL_IMAGES] if source == "digits" else PHOTOGRAPHS
    values = {
        "nets": nets,
        "recipes": ["deep-compression", "int8"],
        "targets": [target or GENERIC.name],
        "search": "tpe",
        "trials": TRIALS,
        "generation": GENERATION,
        "halving": {"factor": 2, "rungs": 2},
        "minimise": ["stored", "macs"],
        "run": {"data": {"source": source}},
    }
    return check_sweep(values, "sweep")
