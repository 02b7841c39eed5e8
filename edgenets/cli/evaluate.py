"""`edgenets evaluate`: how often a network is right, and what it takes for what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgenets.cli.options import (
    DeviceName,
    data_option,
    input_range_option,
    json_option,
    labels_option,
    max_bytes_option,
    patience_option,
)
from edgenets.cli.output import echo, print_json, print_table
from edgenets.export.board.protocol import KERNELS
from edgenets.export.devices.device import LOCAL, Device
from edgenets.progress import say, warn
from edgenets.units import format_interval, format_percent

MAX_TABLE_CLASSES = 20
"""Beyond, the per-class table shows the weakest classes and the confusion matrix is left out."""
MAX_CONFUSIONS = 10


@click.command()
@click.argument("model", metavar="FILE.tflite|MODEL_DIR", type=click.Path(path_type=Path))
@data_option(
    "Folder DATA/test/CLASS/*.jpg, or DATA/CLASS/*.jpg, or the word digits.", required=True
)
@click.option(
    "--device",
    type=DeviceName(),
    default="local",
    show_default=True,
    metavar="DEVICE",
    help="Where the file runs: local, ssh://[user@]host[:port] or emulated:CPU. Images are "
    "prepared here.",
)
@click.option(
    "--kernels",
    type=click.Choice(list(KERNELS)),
    default="xnnpack",
    show_default=True,
    help="Of the interpreter; reference: as microcontrollers answer.",
)
@click.option(
    "--split",
    type=click.Choice(["test", "all"]),
    default="test",
    show_default=True,
    help="all: every image of DATA, those to train with too.",
)
@labels_option
@input_range_option
@patience_option()
@max_bytes_option
@json_option
def command(
    model: Path,
    data: str,
    device: Device,
    kernels: str,
    split: str,
    labels: Path | None,
    input_range: Any,
    patience: float | None,
    max_bytes: int | None,
    as_json: bool,
) -> None:
    """Measure the accuracy on a dataset's test images.

    Top-1, top-5, per class, and what is taken for what. Of a folder without a test folder these are
    the images that the model's own training set aside; of another such folder all. A .tflite file
    runs in LiteRT, a model folder in Keras.
    """
    from edgenets.verbs.file import File
    from edgenets.verbs.model import Model

    if model.is_dir():
        if device != LOCAL:
            raise click.UsageError("a model folder runs here only; export it for a device")
        if patience is not None:
            raise click.UsageError("--patience is for a device; a model folder runs in Keras")
        if kernels != "xnnpack":
            raise click.UsageError("--kernels are of a .tflite; a model folder runs in Keras")
        if labels is not None or input_range is not None:
            raise click.UsageError("--labels and --input-range are for a .tflite of another tool")
        evaluation = Model.load(model).evaluate(data, split=split, max_bytes=max_bytes)
    else:
        evaluation = File(model).evaluate(
            data,
            device=device,
            kernels=kernels,
            split=split,
            labels=labels,
            input_range=input_range,
            patience=patience,
            max_bytes=max_bytes,
        )
    result = evaluation.to_json()
    for skipped in result["skipped"]:
        say(f"skipped {skipped['path']}: {skipped['reason']}")
    warn(result["warnings"])
    if as_json:
        print_json(result)
    else:
        print_evaluation(result)


def print_evaluation(result: dict[str, Any]) -> None:
    """Print the headline, the classes, the confusion matrix and the commonest confusions."""
    from edgenets.data.sources import OWN_TEST
    from edgenets.export.measure.accuracy import commonest_confusions

    top5 = "" if result["top5"] is None else f", top-5 {format_percent(result['top5'])}"
    own = ", the model's own test part of the folder" if result["split"] == OWN_TEST else ""
    echo(
        f"top-1 {format_percent(result['top1'])} (95 % interval {format_interval(result['ci95'])})"
        f"{top5} of {result['samples']} images{own}"
    )
    if "here" in result:
        echo(_there_and_here(result))

    classes = [row for row in result["per_class"] if row["samples"]]
    title = ""
    if len(classes) > MAX_TABLE_CLASSES:
        title = f"the {MAX_TABLE_CLASSES} weakest of {len(classes)} classes"
        classes = sorted(classes, key=lambda row: row["top1"])[:MAX_TABLE_CLASSES]
    print_table(
        ("class", ">images", ">top-1", ">95 % interval"),
        [
            (
                row["label"],
                str(row["samples"]),
                format_percent(row["top1"]),
                format_interval(row["ci95"]),
            )
            for row in classes
        ],
        title,
    )

    labels, confusion = result["labels"], result["confusion"]
    if len(labels) <= MAX_TABLE_CLASSES:
        print_table(
            ("true class", *(f">{label}" for label in labels)),
            [(label, *map(str, row)) for label, row in zip(labels, confusion, strict=True)],
            "images by true class (row) and answer (column)",
        )
    if confusions := commonest_confusions(confusion, MAX_CONFUSIONS):
        print_table(
            ("true class", "taken for", ">images"),
            [(labels[true], labels[taken], str(images)) for images, true, taken in confusions],
            "commonest confusions",
        )


def _there_and_here(result: dict[str, Any]) -> str:
    """Return how the outputs of another device compare with this machine's."""
    here, samples = result["here"], result["samples"]
    there_ran, here_ran = (
        f"{side['runtime']['name']} {side['runtime']['version']}" for side in (result, here)
    )
    where = f"{there_ran} on {result['device']['name']}, {here_ran} here"
    if here["identical"] == samples:
        return f"outputs identical bit for bit ({where})"
    return (
        f"outputs of {samples - here['identical']} images differ, by at most "
        f"{here['largest_difference']:g}; top-1 here {format_percent(here['top1'])} ({where})"
    )
