"""What `edgenets compress` shows of what a budget or a largest loss chose."""

from __future__ import annotations

from typing import Any

from edgenets.cli.output import echo, print_table
from edgenets.results.models import TRY_CELLS, try_rows
from edgenets.units import format_bytes, format_percent


def print_choice(result: dict[str, Any]) -> None:
    """Print what a budget chose for each layer, what was expected of it, and what came out."""
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
    trainings = "1 try" if len(tries) == 1 else f"{len(tries)} tries"
    echo(f"stored: {stored_bytes:,} bytes{held}, in {trainings}")


def print_tries(result: dict[str, Any]) -> None:
    """Print what was tried within a largest loss, the smallest first, and what was taken."""
    tries, before = result["tries"], result["before"]
    print_table(
        tuple(TRY_CELLS),
        try_rows(result),
        f"What was tried, on {before['samples']:,} held-out images (* the front, < taken):",
    )
    taken = tries[result["chosen"]]
    fast = ""
    if taken["instructions"] is not None:
        fast = (
            f", an estimated {taken['instructions']:,} instructions an image on {result['target']} "
            f"of {before['instructions']:,}"
        )
    for sentence in result["refused"]:
        echo(f"counts as a recipe that loses too much: {sentence}")
    recipes = "1 recipe" if len(tries) == 1 else f"{len(tries)} recipes"
    echo(
        f"taken of {recipes}: {taken['recipe']}, stored: {taken['stored_bytes']:,} bytes{fast}, "
        f"{taken['drop']:.2f} points lost of {result['max_drop']:g}"
    )
