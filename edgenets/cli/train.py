"""`edgenets train`: a new model folder from images."""

from __future__ import annotations

from pathlib import Path

import click

from edgenets.cli.output import json_option, parse_assignments, print_json
from edgenets.units import format_percent


@click.command()
@click.argument("name")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--data",
    required=True,
    metavar="DATA",
    help="Folder DATA/{train,test}/CLASS/*.jpg, or DATA/CLASS/*.jpg, or the word digits.",
)
@click.option(
    "--out",
    required=True,
    metavar="MODEL_DIR",
    type=click.Path(path_type=Path),
    help="New model folder.",
)
@click.option(
    "--epochs",
    metavar="N",
    type=click.IntRange(min=0),
    help="Passes over the images.  [default: 30]",
)
@click.option(
    "--batch-size", metavar="N", type=click.IntRange(min=1), help="Images per step.  [default: 64]"
)
@click.option(
    "--learning-rate",
    metavar="RATE",
    type=float,
    help="Learning rate at its peak.  [default: 0.004; 0.001 for a net without BatchNorm]",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_bfloat16"]),
    help="mixed_bfloat16 is faster for plain convolutions on CPUs that have it.  "
    "[default: float32]",
)
@click.option("--flip/--no-flip", default=None, help="Mirror images.  [default: as suits the set]")
@click.option("--strict", is_flag=True, help="Fail on a file that is not a readable image.")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=0),
    help="Decides the first weights and the order of the images.",
)
@json_option
def command(
    name: str,
    arguments: tuple[str, ...],
    data: str,
    out: Path,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    precision: str | None,
    flip: bool | None,
    strict: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Train a net on images and write a model folder.

    NAME is one that `edgenets list` shows, and KEY=VALUE one of its arguments: mobilenet_v1
    width=0.25 resolution=96. Stopped at any time, the same command goes on after the last finished
    epoch.
    """
    from edgenets.pipeline.config import check_config
    from edgenets.pipeline.single import train_folder

    given = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "precision": precision,
    }
    config = check_config(
        {
            "model": {"name": name, **parse_assignments(arguments)},
            "data": {"source": data, "strict": strict, "flip": flip},
            "train": {key: value for key, value in given.items() if value is not None},
            "seed": seed,
        },
        lambda place: f"edgenets train {name}",
    )
    result = train_folder(config, out)
    if as_json:
        print_json(result)
    else:
        click.echo(
            f"top-1 {format_percent(result['top1'])} on {result['samples']} test images; "
            f"the model is in {out}"
        )
