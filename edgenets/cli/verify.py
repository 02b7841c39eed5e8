"""`edgenets verify`: does a file answer alike in every runtime, and in a client's hands?"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import click

from edgenets.cli.options import (
    DeviceName,
    data_option,
    file_argument,
    input_range_option,
    json_option,
    labels_option,
    max_bytes_option,
    patience_option,
    usage_errors,
)
from edgenets.cli.output import echo, print_json, print_table
from edgenets.export.devices.device import Device
from edgenets.progress import warn
from edgenets.results.verification import VERIFY_CELLS, verify_lines, verify_rows

WIDTH = 80


@click.command()
@file_argument
@data_option(
    "Folder DATA/test/CLASS/*.jpg, or DATA/CLASS/*.jpg, or the word digits.  [default: images of "
    "noise]"
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many, evenly spread over the test images.  [default: 64; for a client all]",
)
@click.option(
    "--runtime",
    multiple=True,
    type=click.Choice(["reference", "optimized", "xnnpack", "tflm", "tosa"]),
    help="Of this machine; may be repeated.  [default: all that are at hand]",
)
@click.option(
    "--device",
    type=DeviceName(),
    multiple=True,
    metavar="DEVICE",
    help="A board, too: emulated:CPU or ssh://[user@]host[:port]; may be repeated.",
)
@click.option(
    "--against",
    metavar="FILE.tflite",
    type=click.Path(path_type=Path),
    help="Compare with this file in the reference kernels, or in the --runtime.",
)
@click.option(
    "--client",
    type=click.Choice(["mediapipe"]),
    help="Let MediaPipe Tasks classify the image files of DATA instead.",
)
@labels_option
@input_range_option
@patience_option()
@max_bytes_option
@json_option
def command(
    model: Path,
    data: str | None,
    images: int | None,
    runtime: tuple[str, ...],
    device: tuple[Device, ...],
    against: Path | None,
    client: str | None,
    labels: Path | None,
    input_range: Any,
    patience: float | None,
    max_bytes: int | None,
    as_json: bool,
) -> None:
    """Compare a file's answers in all runtimes at hand.

    LiteRT's reference, optimized and XNNPACK kernels, microcontrollers' TFLM, TOSA's reference
    model, and boards: how many images are equal to the last bit, the largest step between two
    outputs, the same answers, and the operator at which two runtimes part. A difference is a
    measurement, no failure.
    """
    from edgenets.verbs.file import File

    with usage_errors():
        verification = File(model).verify(
            data,
            images=images,
            runtime=runtime,
            device=device,
            against=against,
            client=client,
            labels=labels,
            input_range=input_range,
            patience=patience,
            max_bytes=max_bytes,
        )
    result = verification.to_json()
    warn(result["warnings"])
    if as_json:
        print_json(result)
    else:
        print_verification(result)
        if not (runtime or device or against or client):
            echo("boards: add --device emulated:cortex-a72 or --device ssh://[user@]host")


def print_verification(result: dict[str, Any]) -> None:
    """Print one table of the runtimes, where they part, and which are not at hand."""
    rows = result["runtimes"]
    ran = [row for row in rows if row["package"]]
    images = "test images" if result["data"] else "images of noise (no --data was given)"
    echo(f"{result['images']} {images}; each runtime compared with the first that runs")
    print_table(tuple(VERIFY_CELLS), verify_rows(rows))
    for line in verify_lines(rows):
        echo(*textwrap.wrap(line, WIDTH, subsequent_indent="  "))
    if len(ran) == 1:
        echo(
            f"nothing is compared: only {ran[0]['name']} ran; add a --runtime, a --device or "
            "--against"
        )
    elif all(row["bit_equal"] == result["images"] for row in rows):
        echo(f"all are equal to the last bit of {ran[0]['name']}")
    for row in result["missing"]:
        echo(f"not run: {row['name']}: {row['reason']}")
