"""`edgenets predict`: what is in these images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgenets.cli.options import (
    file_argument,
    input_range_option,
    json_option,
    labels_option,
    max_bytes_option,
    patience_option,
)
from edgenets.cli.output import echo, print_json, print_table
from edgenets.errors import EdgenetsError
from edgenets.progress import say
from edgenets.units import format_percent


@click.command()
@file_argument
@click.argument(
    "images", metavar="IMAGE ...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--top",
    default=5,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=1),
    help="How many classes to show for each image, likeliest first.",
)
@click.option(
    "--csv",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a row for each image and class there, instead of a table here.",
)
@labels_option
@input_range_option
@patience_option("Give the interpreter up that sends nothing for so long.  [default: 120]")
@max_bytes_option
@json_option
def command(
    model: Path,
    images: tuple[Path, ...],
    csv: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Name what is in images, with a .tflite file.

    An IMAGE is a file, a folder for the images in it and below, or a pattern such as
    'photos/**/*.jpg'. One that cannot be read is reported, the others are classified, and the exit
    status is 1. A file of another tool may be asked for its --labels and its --input-range.
    """
    from edgenets.verbs.file import File

    predictions = File(model).predict(*images, csv=csv, **settings).to_json()
    unread = [prediction for prediction in predictions if "error" in prediction]
    if as_json:
        print_json(predictions)
    elif csv is not None:
        named = len(predictions) - len(unread)
        echo(f"what is in {named} image{'s' if named != 1 else ''} is in {csv}")
    elif len(unread) < len(predictions):
        rows = [
            ("" if rank else prediction["path"], _shown(best), format_percent(best["score"]))
            for prediction in predictions
            for rank, best in enumerate(prediction.get("top", ()))
        ]
        print_table(("image", "class", ">probability"), rows)
    for prediction in unread:
        say(f"{prediction['path']}: {prediction['error']}")
    if unread:
        raise EdgenetsError(f"{len(unread)} of {len(predictions)} images could not be read")


def _shown(best: dict[str, Any]) -> str:
    """Return a class as `n01440764 tench`, or its label where that is all."""
    return f"{best['label']} {best['name']}" if best["name"] else best["label"]
