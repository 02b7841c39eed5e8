"""`edgenets summary`: what a net costs, before it is trained."""

from __future__ import annotations

import click

from edgenets.cli.output import json_option, parse_assignments, print_json, print_table
from edgenets.units import format_bytes, format_count


@click.command()
@click.argument("name")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--per-layer", is_flag=True, help="Show every layer.")
@json_option
def command(name: str, arguments: tuple[str, ...], per_layer: bool, as_json: bool) -> None:
    """Show a net's parameters, MACs and memory.

    NAME is one that `edgenets list` shows, and KEY=VALUE one of its arguments: mobilenet_v1
    width=0.25 resolution=96. All arguments are shown with the result.
    """
    from edgenets.models.registry import complete_arguments, create
    from edgenets.profile import profile

    complete = complete_arguments(name, parse_assignments(arguments))
    cost = profile(create(name, **complete))
    if as_json:
        layers = [layer._asdict() for layer in cost.layers]
        print_json({"name": name, "arguments": complete, **cost._asdict(), "layers": layers})
        return
    if per_layer:
        rows = [
            (
                layer.name,
                layer.kind,
                "x".join(map(str, layer.output_shape)),
                f"{layer.params:,}",
                f"{layer.macs:,}",
                format_bytes(layer.activation_bytes),
            )
            for layer in cost.layers
        ]
        columns = ("layer", "kind", "output", ">params", ">MACs", ">activation")
        print_table(columns, rows)
    totals = [
        ("parameters", f"{cost.params:,} ({cost.trainable_params:,} trainable)"),
        ("MACs", f"{cost.macs:,} ({format_count(cost.macs)})"),
        ("weights", f"{format_bytes(cost.weight_bytes)} in float32"),
        ("activations at their peak", f"{format_bytes(cost.activation_peak_bytes)} in float32"),
    ]
    described = " ".join(f"{key}={value}" for key, value in complete.items())
    print_table(("", ">" + name), totals, title=described)
