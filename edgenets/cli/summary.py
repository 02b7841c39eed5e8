"""`edgenets summary`: what a net costs, before it is trained, and what a smaller one would."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from edgenets.cli.options import json_option
from edgenets.cli.output import echo, parse_assignments, print_json, print_table
from edgenets.errors import EdgenetsError
from edgenets.models.alternatives import alternatives, published_variant
from edgenets.models.registry import complete_arguments, create
from edgenets.progress import progress_bar
from edgenets.units import format_bytes, format_count, format_energy, format_percent, format_shape

if TYPE_CHECKING:
    from edgenets.profile import LayerProfile, Profile


@click.command()
@click.argument("name")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--per-layer", is_flag=True, help="Show every layer.")
@json_option
def command(name: str, arguments: tuple[str, ...], per_layer: bool, as_json: bool) -> None:
    """Show a net's parameters, MACs, memory and energy.

    NAME is one that `edgenets list` shows, and KEY=VALUE one of its arguments: mobilenet_v1
    width=0.25 resolution=96. All arguments are shown with the result, and what the next smaller
    width or resolution, or other groups, would cost.
    """
    from edgenets.profile import ASSUMPTIONS, profile

    complete = complete_arguments(name, parse_assignments(arguments))
    changes = alternatives(name, complete)
    with progress_bar("build", total=1 + len(changes)) as advance:
        cost = profile(create(name, **complete))
        advance()
        steps = []
        for change in changes:
            if step := _build_step(name, complete, change):
                steps.append(step)
            advance()
    top1 = _published_top1(name, complete)
    if as_json:
        summary = {"name": name, "arguments": complete, "top1_published": top1, **cost.to_json()}
        print_json({**summary, "assumptions": ASSUMPTIONS, "alternatives": steps})
        return
    if per_layer:
        _print_layers(cost.layers)
    _print_totals(name, complete, cost, top1)
    echo(*textwrap.wrap(" ".join(ASSUMPTIONS), 80))
    for step in steps:
        echo(*textwrap.wrap(_describe(step, cost), 80, subsequent_indent="  "))


def _published_top1(name: str, arguments: dict[str, Any]) -> float | None:
    variant = published_variant(name, arguments)
    return variant.top1_published if variant else None


def _build_step(
    name: str, arguments: dict[str, Any], change: dict[str, Any]
) -> dict[str, Any] | None:
    """Return what the changed net costs; None if that net cannot be built."""
    from edgenets.profile import profile

    changed = {**arguments, **change}
    try:
        cost = profile(create(name, **changed))
    except EdgenetsError:
        return None
    costs = {"params": cost.params, "macs": cost.macs}
    return {"arguments": change, **costs, "top1_published": _published_top1(name, changed)}


def _print_layers(layers: Iterable[LayerProfile]) -> None:
    rows = [
        (
            layer.name,
            layer.kind,
            format_shape(layer.output_shape),
            f"{layer.params:,}",
            f"{layer.macs:,}",
            format_bytes(layer.activation_bytes),
            format_bytes(layer.weight_bytes),
            format_bytes(layer.int8_weight_bytes),
            format_energy(layer.int8_energy_pj),
        )
        for layer in layers
    ]
    columns = (
        *("layer", "kind", "output", ">params", ">MACs", ">activation"),
        *(">weights", ">int8", ">int8 energy"),
    )
    print_table(columns, rows)


def _print_totals(name: str, arguments: dict[str, Any], cost: Profile, top1: float | None) -> None:
    described = " ".join([name, *(f"{key}={value}" for key, value in arguments.items())])
    echo(*textwrap.wrap(described, 80, subsequent_indent="  "))
    echo(f"{cost.params:,} parameters ({cost.trainable_params:,} trainable)")
    echo(f"{cost.macs:,} MACs ({format_count(cost.macs)})")
    if top1 is not None:
        echo(f"published top-1 {format_percent(top1)}")
    peak_bytes = cost.activation_peak_bytes
    energies = cost.float32_energy, cost.int8_energy
    rows = [
        ("weights", format_bytes(cost.weight_bytes), format_bytes(cost.int8_weight_bytes)),
        ("activations at their peak", format_bytes(peak_bytes), format_bytes(peak_bytes / 4)),
        ("energy of an image", *(format_energy(energy.total_pj) for energy in energies)),
        ("  MACs", *(format_energy(energy.macs_pj) for energy in energies)),
        ("  activations", *(format_energy(energy.activations_pj) for energy in energies)),
        ("  weights", *(format_energy(energy.weights_pj) for energy in energies)),
    ]
    print_table(("", ">float32", ">int8"), rows)


def _describe(step: dict[str, Any], cost: Profile) -> str:
    """Return a line such as "width=0.75: 2.60M parameters (-39 %), 325.4M MACs (-43 %)"."""
    change = " ".join(f"{key}={value}" for key, value in step["arguments"].items())
    params = f"{format_count(step['params'])} parameters ({_change(step['params'], cost.params)})"
    macs = f"{format_count(step['macs'])} MACs ({_change(step['macs'], cost.macs)})"
    top1 = step["top1_published"]
    published = f", published top-1 {format_percent(top1)}" if top1 is not None else ""
    return f"{change}: {params}, {macs}{published}"


def _change(now: int, before: int) -> str:
    return "same" if now == before else f"{100 * (now / before - 1):+.0f} %"
