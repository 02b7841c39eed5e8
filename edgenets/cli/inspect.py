"""`edgenets inspect`: what is in a `.tflite` file, and what limits it on a target."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import click

from edgenets.cli.options import file_argument, json_option
from edgenets.cli.output import echo, print_json, print_table
from edgenets.errors import EdgenetsError
from edgenets.export.targets import ACCELERATORS, TARGETS, find_target
from edgenets.progress import warn
from edgenets.results.inspection import Inspection
from edgenets.units import format_bytes, format_count, format_percent, format_shape

HEAVIEST = 10
"""Weights that the table shows without `--all`."""
LABELS = 3
"""That are shown."""
WIDTH = 100
LONGEST_NAME = 40


@click.command()
@file_argument
@click.option(
    "--target",
    type=click.Choice(list(TARGETS)),
    help="Say what limits the file there.",
)
@click.option(
    "--svg",
    metavar="FILE.svg",
    type=click.Path(path_type=Path),
    help="Draw the graph; what does not run in XNNPACK, or on the Edge TPU, has its own colour.",
)
@click.option("--all", "show_all", is_flag=True, help="Show all weights, not the heaviest only.")
@json_option
def command(
    model: Path, target: str | None, svg: Path | None, show_all: bool, as_json: bool
) -> None:
    """Show what is in a .tflite file, edgenets' or not.

    Operators, inputs and outputs, MACs, weights, the memory of activations, XNNPACK's partitions,
    metadata and labels; with --target also what limits it there, and what to do about it.
    """
    from edgenets.verbs.file import File

    inspection = File(model).inspect(target=target, svg=svg)
    warn(inspection.warnings)
    if as_json:
        print_json(inspection.to_json())
        return
    _print_head(model, inspection)
    _print_ends(inspection)
    _print_operators(inspection)
    _print_weights(inspection, show_all)
    _print_accelerators(inspection)
    if svg is not None:
        echo(str(svg))


def _print_head(path: Path, inspection: Inspection) -> None:
    echo(f"{path}: {inspection.costs(entropy=True)}")
    if inspection.subgraphs > 1:
        echo(f"the first of {inspection.subgraphs} subgraphs is shown")
    if inspection.labels:
        labels = inspection.labels
        shown = ", ".join(labels[:LABELS]) + (", ..." if len(labels) > LABELS else "")
        echo(f"{len(labels)} labels ({inspection.labels_from}): {shown}")
    elif inspection.described and inspection.described["label_files"]:
        names = ", ".join(inspection.described["label_files"])
        echo(f"labels: none; its metadata name {names}, which it does not hold")
    if ours := inspection.edgenets:
        arguments = " ".join(f"{key}={value}" for key, value in _pairs(ours.get("arguments")))
        stages = [str(stage.get("stage", stage)) for stage in _recipe(ours)]
        made = [f"made by edgenets: {ours.get('name')} {arguments}".rstrip(), *stages]
        echo(*textwrap.wrap(", ".join(made), WIDTH, subsequent_indent="  "))
        if "preparation" in ours:
            echo(f"images: {_prepared(ours['preparation'])}")
    described = inspection.described
    if described and not inspection.edgenets:  # which says the same and more
        words = [described[key] for key in ("name", "description", "author", "license")]
        echo(*textwrap.wrap(": ".join(filter(None, words)), WIDTH, subsequent_indent="  "))


def _prepared(preparation: Any) -> str:
    """Return what a picture becomes before the file takes it, as its metadata say."""
    from edgenets.data.images import Preparation

    try:
        return str(Preparation.from_json(preparation))
    except EdgenetsError as error:
        return f"not known, {error}"


def _pairs(arguments: Any) -> Any:
    return arguments.items() if isinstance(arguments, dict) else ()


def _recipe(ours: dict[str, Any]) -> list[dict[str, Any]]:
    recipe = ours.get("recipe")
    return [row for row in recipe if isinstance(row, dict)] if isinstance(recipe, list) else []


def _print_ends(inspection: Inspection) -> None:
    rows = [
        (
            kind,
            end["name"],
            format_shape(end["shape"]),
            end["dtype"],
            "-" if end["scale"] is None else f"{end['scale']:.6g}",
            "-" if end["zero_point"] is None else str(end["zero_point"]),
        )
        for kind, ends in (("input", inspection.inputs), ("output", inspection.outputs))
        for end in ends
    ]
    print_table(("", "name", "shape", "type", ">scale", ">zero point"), rows)


def _print_operators(inspection: Inspection) -> None:
    rows = []
    for name, count in inspection.ops.items():
        operators = [op for op in inspection.operators if op["op"] == name]
        macs = sum(op["macs"] for op in operators)
        share = macs / inspection.macs if inspection.macs else None
        rows.append(
            (
                name,
                str(count),
                ", ".join(map(str, inspection.op_versions[name])),
                format_count(macs) if macs else "",
                format_percent(share) if macs else "",
                format_bytes(weights)
                if (weights := sum(o["weight_bytes"] for o in operators))
                else "",
            )
        )
    print_table(("operator", ">count", ">version", ">MACs", ">share", ">weights"), rows)


def _print_weights(inspection: Inspection, show_all: bool) -> None:
    weights = inspection.weights
    layers = {op["index"]: op["name"] for op in inspection.operators}
    shown = sorted(weights, key=lambda row: -row["bytes"])[: None if show_all else HEAVIEST]
    if not shown:
        return
    rows = [
        (
            str(row["op"]),
            _short(layers[row["op"]]),
            format_shape(row["shape"]),
            row["dtype"],
            format_bytes(row["bytes"]),
            format_percent(row["sparsity"]),
            str(row["distinct"]),
            format_bytes(row["entropy_bytes"]),
        )
        for row in shown
    ]
    title = (
        "" if len(shown) == len(weights) else f"the {len(shown)} heaviest of {len(weights)} weights"
    )
    columns = (
        ">operator",
        "weights of",
        "shape",
        "type",
        ">stored",
        ">zeros",
        ">values",
        ">entropy",
    )
    print_table(columns, rows, title)


def _print_accelerators(inspection: Inspection) -> None:
    found = inspection.xnnpack
    if found["reason"]:
        echo(f"XNNPACK: not known, {found['reason']}")
    else:
        runtime = "{name} {version}".format(**found["runtime"])
        echo(
            f"XNNPACK: {found['partitions']} partition(s), {found['ops_outside']} of "
            f"{len(inspection.operators)} operators outside ({runtime})"
        )
    target = inspection.target
    if target is None:
        return
    accelerator = find_target(target["name"]).accelerator
    if accelerator is not None and not inspection.compiled_for:
        placed = inspection.predicted_on(accelerator)
        echo(
            f"{placed['mapped_ops']} of {len(placed['ops'])} operators are predicted to run on the "
            f"{ACCELERATORS[accelerator]}"
        )
    if target["note"]:
        echo(f"{target['name']}: {target['note']}")
    if not target["limits"]:
        echo(f"nothing that is known limits it on {target['name']} ({target['device']})")
        return
    echo(f"what limits it on {target['name']} ({target['device']}):")
    for sentence in target["limits"]:
        echo(*textwrap.wrap(sentence, WIDTH, initial_indent="- ", subsequent_indent="  "))


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else "..." + name[3 - LONGEST_NAME :]
