"""`edgenets export`: a `.tflite` file from a model folder."""

from __future__ import annotations

from pathlib import Path

import click

from edgenets.cli.output import json_option, print_json
from edgenets.units import format_bytes, format_percent


@click.command()
@click.argument("model_dir", type=click.Path(path_type=Path))
@click.option(
    "--target",
    default="generic",
    show_default=True,
    type=click.Choice(["generic"]),
    help="Device that the file is for.",
)
@click.option(
    "--format",
    "number_format",
    default="int8",
    show_default=True,
    type=click.Choice(["int8", "fp32"]),
    help="Numbers that the file computes with.",
)
@click.option(
    "--data",
    metavar="DATA",
    help="Images to calibrate int8 with (of DATA/train), or the word digits; a folder that "
    "`edgenets compress` made int8 needs none.",
)
@click.option(
    "--calibration-images",
    default=200,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=1),
    help="How many of them.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=0),
    help="Chooses the calibration images.",
)
@click.option(
    "--out",
    required=True,
    metavar="FILE.tflite",
    type=click.Path(path_type=Path),
    help="File to write; one that is there is replaced.",
)
@json_option
def command(
    model_dir: Path,
    target: str,
    number_format: str,
    data: str | None,
    calibration_images: int,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Write a model folder as a .tflite file.

    The file takes `pixel - 128` as int8 (fp32: [-1, 1]), gives logits, and holds its labels and
    image preparation. An int8 file is written only if it passes its checks.
    """
    from edgenets.pipeline.single import export_folder

    result = export_folder(model_dir, out, number_format, data, calibration_images, seed)
    if as_json:
        print_json(result)
        return
    fidelity = result["fidelity"]
    click.echo(f"{out}: {format_bytes(result['size_bytes'])}")
    if fidelity:
        click.echo(
            f"logits at {fidelity['snr_db']:.1f} dB from the Keras model's, same answer on "
            f"{format_percent(fidelity['agreement'])} of {fidelity['samples']} calibration images"
        )
