"""`edgenets predict`: what is in these images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgenets.cli.output import (
    echo,
    input_range_option,
    json_option,
    labels_option,
    max_bytes_option,
    patience_option,
    print_json,
    print_table,
)
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
@click.option(
    "--csv",
    "csv_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a row for each image and class there, instead of a table here.",
)
@labels_option
@input_range_option
@patience_option
@max_bytes_option
@json_option
def command(
    model: Path,
    images: tuple[Path, ...],
    top: int,
    csv_path: Path | None,
    labels: Path | None,
    input_range: Any,
    patience_seconds: float | None,
    as_json: bool,
) -> None:
    """Name what is in images, with a .tflite file.

    An IMAGE is a file, a folder for the images in it and below, or a pattern such as
    'photos/**/*.jpg'. One that cannot be read is reported, the others are classified, and the exit
    status is 1. A file of another tool may be asked for its --labels and its --input-range.
    """
    from edgenets.export.measure.predict import find_images, predict_files, write_csv
    from edgenets.files import check_output
    from edgenets.models.weights.labels import read_labels

    found = find_images(images)
    if csv_path is not None:
        check_output(csv_path, [model, *found, *([labels] if labels else [])], option="--csv")
    predictions = predict_files(
        model,
        found,
        top,
        labels=None if labels is None else read_labels(labels, distinct=False),
        input_range=input_range,
        patience_seconds=patience_seconds,
    )
    unread = [prediction for prediction in predictions if "error" in prediction]
    if csv_path is not None:
        write_csv(csv_path, predictions)
    if as_json:
        print_json(predictions)
    elif csv_path is not None:
        echo(f"what is in {len(predictions)} images is in {csv_path}")
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
