"""What `edgenets compress` shows of what a budget or a largest loss chose."""

from __future__ import annotations

from typing import Any

from edgenets.cli.output import echo, print_table
from edgenets.units import format_bytes, format_percent


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
    for figure, key in (("cycles", "budget_cycles"), ("flash_bytes", "budget_flash_bytes")):
        if key in result:
            unit = "cycles" if figure == "cycles" else "bytes of flash"
            echo(
                f"{tries[-1][figure]:,} {unit} of {result[key]:,}, as Vela estimates for "
                f"{result['target']}"
            )
    held = ""
    if "budget_bytes" in result:
        held = f" of {result['budget_bytes']:,}"
    elif "max_drop" in result:
        drop = next(one["drop"] for one in tries if one["stored_bytes"] == stored_bytes)
        held = f" and {drop:.2f} points lost on the held-out images of {result['max_drop']:g}"
    trainings = "1 try" if len(tries) == 1 else f"{len(tries)} tries"
    echo(f"stored: {stored_bytes:,} bytes{held}, in {trainings}")
