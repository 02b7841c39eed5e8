"""The tables of a size accounting, as `edgenets compress` shows them."""

from __future__ import annotations

import textwrap
from typing import Any

from edgenets.cli.output import echo, print_table
from edgenets.quantize.sizes.accounting import LABELS
from edgenets.units import format_bytes, format_percent


def print_accounting(accounting: dict[str, Any], per_layer: bool) -> None:
    """Print how large a net is after each step of Deep Compression and as files.

    Args:
        accounting: as `edgenets.quantize.sizes.accounting.account` returns it.
        per_layer: whether to print the bits per weight of every layer, too.
    """
    rows = [
        (
            LABELS[row["name"]],
            row["kind"],
            format_bytes(row["size_bytes"]),
            f"{row['vs_float']:.1f}x",
            f"{row['vs_alexnet']:.0f}x",
        )
        for row in accounting["rows"]
    ]
    print_table(("size", "kind", ">bytes", ">under float32", ">under AlexNet"), rows)
    biases_bytes = accounting["rows"][0]["parts"]["biases"]
    note = (
        "Theoretical sizes are computed from the weights as Deep Compression stores them, "
        f"{format_bytes(biases_bytes)} of float32 biases in each, and compared with the first; "
        "files are measured and compared with the float32 file. AlexNet is 240,000,000 bytes."
    )
    echo(*textwrap.wrap(note, 80))
    if per_layer:
        _print_layers([*accounting["layers"], accounting["total"]])


def _print_layers(layers: list[dict[str, Any]]) -> None:
    rows = [
        (
            layer["name"],
            f"{layer['weights']:,}",
            format_percent(layer["share"]),
            format_percent(layer["kept"]),
            str(layer["distinct_values"]),
            *(
                f"{layer[f'{column}{suffix}']:.1f}"
                for column in ("weight_bits", "index_bits")
                for suffix in ("", "_huffman")
            ),
            *(format_percent(layer[f"rate{suffix}"]) for suffix in ("", "_huffman")),
        )
        for layer in layers
    ]
    columns = (
        *("layer", ">weights", ">of all", ">kept", ">values"),
        *(">weight bits", ">Huffman", ">index bits", ">Huffman", ">rate", ">Huffman"),
    )
    print_table(columns, rows)
