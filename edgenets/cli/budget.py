"""What `edgenets compress` takes as a budget or a largest loss, and shows of what it chose."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import click

from edgenets.cli.output import echo, print_table
from edgenets.units import format_bytes, format_percent


class Points(click.ParamType):
    """Points of accuracy, such as 1.0."""

    name = "points"

    def convert(
        self, value: str, param: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Return the number, or fail with a sentence."""
        with suppress(ValueError):
            if 0 <= (points := float(value)) <= 100:
                return points
        self.fail(f"expected points from 0 to 100, such as 1.0, got {value!r}", param, context)


def print_choice(result: dict[str, Any]) -> None:
    """Print what was chosen for each layer, what was expected of it, and what came out."""
    rows = [
        (
            layer["layer"],
            f"{layer['weights']:,}",
            format_percent(layer["sparsity"]),
            str(layer["clusters"]),
            format_bytes(layer["size_bytes"]),
            f"{layer['divergence']:.4f}",
        )
        for layer in result["choice"]
    ]
    columns = ("layer", ">weights", ">zeros", ">values", ">entropy", ">divergence")
    print_table(columns, rows, "What was chosen, with the bytes and nats that were expected of it:")
    stored_bytes, tries = result["stages"][-1]["stored_bytes"], result["tries"]
    if "budget_bytes" in result:
        held = f"of {result['budget_bytes']:,}"
    else:
        drop = next(one["drop"] for one in tries if one["stored_bytes"] == stored_bytes)
        held = f"and {drop:.2f} points lost on the held-out images of {result['max_drop']:g}"
    trainings = "1 try" if len(tries) == 1 else f"{len(tries)} tries"
    echo(f"stored: {stored_bytes:,} bytes {held}, in {trainings}")
