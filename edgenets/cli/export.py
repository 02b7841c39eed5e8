"""`edgenets export`: a `.tflite` file from a model folder."""

from __future__ import annotations

from pathlib import Path

import click

from edgenets.cli.output import json_option, print_json
from edgenets.export.formats import FORMATS
from edgenets.export.targets import TARGETS, find_target
from edgenets.units import format_bytes, format_percent


@click.command()
@click.argument("model_dir", type=click.Path(path_type=Path))
@click.option(
    "--target",
    default="generic",
    show_default=True,
    type=click.Choice(list(TARGETS)),
    help="Device that the file is for: "
    + "; ".join(f"{row.name}: {row.device}" for row in TARGETS.values())
    + ".",
)
@click.option(
    "--format",
    "number_format",
    type=click.Choice(list(FORMATS)),
    help="Numbers of the file: "
    + "; ".join(f"{row.name}: {row.meaning}" for row in FORMATS.values())
    + ". By default int8, or fp32 where a pruned net runs faster so (rpi3, rpi4).",
)
@click.option(
    "--data",
    metavar="DATA",
    help="Images (of DATA/train), or the word digits, to calibrate "
    + " and ".join(row.name for row in FORMATS.values() if row.needs_calibration)
    + " with and to compare any file with its model on; int8 of a folder that `edgenets compress` "
    "made needs none.",
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
    "--keep-float",
    multiple=True,
    metavar="PATTERN",
    help="Compute layers of such names, as 'stage4_*', in float32 in an int8 file; repeatable.",
)
@click.option(
    "--float-ends",
    is_flag=True,
    help="Take and give float32, whatever the file computes with.",
)
@click.option("--softmax", is_flag=True, help="Give probabilities instead of logits.")
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
    number_format: str | None,
    data: str | None,
    calibration_images: int,
    seed: int,
    keep_float: tuple[str, ...],
    float_ends: bool,
    softmax: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Write a model folder as a .tflite file.

    The file takes images as its format says (int8: `pixel - 128`; int16x8: [-1, 1] in steps of
    1/32767; the others: [-1, 1] in float32), gives logits, and holds its labels and image
    preparation. For a target the net is written in the operators that run fastest there. The file
    is written only if it passes its checks.
    """
    from edgenets.export.checked import Ends
    from edgenets.pipeline.single import export_folder

    result = export_folder(
        model_dir,
        out,
        number_format,
        data,
        calibration_images,
        seed,
        keep_float,
        find_target(target),
        Ends(float_ends, softmax),
    )
    if as_json:
        print_json(result)
        return
    fidelity, images = result["fidelity"], result["fidelity_images"]
    stored = ", kernels stored sparsely" if result["sparse"] else ""
    click.echo(f"{out}: {result['format']}{stored}, {format_bytes(result['size_bytes'])}")
    if result["codes"]:
        click.echo(result["codes"])
    if result["kept_float"]:
        click.echo(f"kept float: {', '.join(result['kept_float'])}")
    for note in result["notes"]:
        click.echo(f"note: {note}")
    if fidelity:
        compared = f"{fidelity['samples']} {images} images"
        if images == "calibration":
            compared = f"same answer on {format_percent(fidelity['agreement'])} of {compared}"
        else:
            compared = f"on {compared}"
        click.echo(f"logits at {fidelity['snr_db']:.1f} dB from the Keras model's, {compared}")
