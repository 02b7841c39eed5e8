"""`edgenets predict`: what is in these images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgenets.cli.output import json_option, print_json, print_table
from edgenets.errors import EdgenetsError
from edgenets.progress import say
from edgenets.units import format_percent


@click.command()
@click.argument("model", metavar="FILE.tflite", type=click.Path(path_type=Path))
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
@json_option
def command(model: Path, images: tuple[Path, ...], top: int, as_json: bool) -> None:
    """Name what is in images, with a .tflite file.

    An image that cannot be read is reported, the others are classified, and the exit status is 1.
    """
    from edgenets.export.predict import predict_files

    predictions = predict_files(model, images, top)
    unread = [prediction for prediction in predictions if "error" in prediction]
    if as_json:
        print_json(predictions)
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
        raise EdgenetsError(f"{len(unread)} of {len(images)} images could not be read")


def _shown(best: dict[str, Any]) -> str:
    """Return a class as `n01440764 tench`, or its label where that is all."""
    return f"{best['label']} {best['name']}" if best["name"] else best["label"]
