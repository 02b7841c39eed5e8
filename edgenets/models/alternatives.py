"""The nets one step beside a net: what its width, resolution or groups could be instead.

Importing this module loads no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgenets.models.registry import NETS, complete_arguments
from edgenets.models.variants import VARIANTS, Variant

RESOLUTION_STEP = 32
SMALLER, LARGER = -1, 1
TOWARDS = {  # argument -> where its next value is; all but groups then make the net smaller
    "width": SMALLER,
    "scale": SMALLER,
    "groups": LARGER,
    "squeeze_ratio": SMALLER,
    "pct_3x3": SMALLER,
    "minimalistic": LARGER,
    "version": LARGER,
}
WIDTHS = (0.25, 0.5, 0.75, 1.0)  # any net with a width has these, published or not


def alternatives(name: str, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the single changes to a net that a person would try next: the argument and its value.

    The values are published ones, and a resolution 32 pixels lower.

    >>> alternatives("mobilenet_v1", complete_arguments("mobilenet_v1", {}))
    [{'width': 0.75}, {'resolution': 192}]

    Args:
        name: of the net.
        arguments: all of them, as `complete_arguments` returns them.
    """
    changes: list[dict[str, Any]] = []
    for argument, direction in TOWARDS.items():
        if argument in arguments:
            now = arguments[argument]
            values = sorted(value for value in _values(name, argument) if value != now)
            beyond = [value for value in values if (value > now) == (direction == LARGER)]
            if beyond:
                changes.append({argument: beyond[0] if direction == LARGER else beyond[-1]})
    resolution = arguments["resolution"] - RESOLUTION_STEP
    if resolution >= arguments.get("output_stride", RESOLUTION_STEP):
        changes.append({"resolution": resolution})
    return changes


def published_variant(name: str, arguments: Mapping[str, Any]) -> Variant | None:
    """Return the variant that was published with exactly these complete arguments, if any."""
    for variant in VARIANTS:
        if variant.name == name:
            own = {**variant.arguments, "resolution": variant.resolution}
            if complete_arguments(name, own) == arguments:
                return variant
    return None


def _values(name: str, argument: str) -> set[Any]:
    """Return the values that a net is published with, its default among them."""
    published = {
        variant.arguments[argument]
        for variant in VARIANTS
        if variant.name == name and argument in variant.arguments
    }
    widths = WIDTHS if argument == "width" else ()
    return {*published, *widths, NETS[name].arguments[argument]}
