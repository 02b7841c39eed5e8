"""`edgenets train`: a new model folder from images, or from trained weights alone."""

from __future__ import annotations

from pathlib import Path

import click

from edgenets.cli.output import (
    echo,
    json_option,
    log_dir_option,
    parse_assignments,
    parse_range,
    print_json,
)
from edgenets.progress import warn
from edgenets.units import format_interval, format_percent


@click.command()
@click.argument("name")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--data",
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
    help="Passes over the images; with WEIGHTS, 0 leaves it at a new classifier.  "
    "[default: 30, with WEIGHTS 6; more of few images]",
)
@click.option(
    "--weights",
    metavar="WEIGHTS",
    help="Begin with trained ones: imagenet, cifar10, a .h5, .net or .tflite file, or a model "
    "folder; none for random ones. For a folder of images auto is imagenet, where there are such."
    "  [default: auto]",
)
@click.option(
    "--input-range",
    callback=parse_range,
    metavar="LOW..HIGH",
    help="What the model of a file of WEIGHTS took for black and white.  [default: as a .tflite "
    "says; of a .h5 0..255 if it begins with a Rescaling, else -1..1]",
)
@click.option(
    "--labels",
    metavar="FILE",
    help="The classes of WEIGHTS, one in each line.  [default: as its file says, or 0, 1, ...]",
)
@click.option(
    "--teacher",
    metavar="MODEL_DIR",
    help="Learn from the answers of a trained model of the same classes too, of any net.",
)
@click.option(
    "--batch-size",
    metavar="N",
    type=click.IntRange(min=1),
    help="Images per step.  [default: 8 to 64, as suits the number of images]",
)
@click.option(
    "--learning-rate",
    metavar="RATE",
    type=float,
    help="Learning rate at its peak.  [default: 0.004, with WEIGHTS at most 0.0004; a quarter for "
    "a net without BatchNorm]",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_bfloat16"]),
    help="mixed_bfloat16 is faster for plain convolutions on CPUs that have it.  "
    "[default: float32]",
)
@click.option(
    "--unlabelled",
    metavar="DIR",
    help="More images to learn from, of any classes and in any folders: the teacher labels them.",
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
@log_dir_option
@json_option
def command(
    name: str,
    arguments: tuple[str, ...],
    data: str | None,
    out: Path,
    epochs: int | None,
    weights: str | None,
    input_range: tuple[float, float] | None,
    labels: str | None,
    teacher: str | None,
    batch_size: int | None,
    learning_rate: float | None,
    precision: str | None,
    unlabelled: str | None,
    flip: bool | None,
    strict: bool,
    seed: int,
    log_dir: Path | None,
    as_json: bool,
) -> None:
    """Train a net on images and write a model folder.

    NAME is one that `edgenets list` shows, and KEY=VALUE one of its arguments: mobilenet_v1
    width=0.25 resolution=96. Stopped at any time, the same command goes on after the last finished
    epoch. Trained weights of other classes first get a classifier on their frozen features, then
    the net is fine-tuned, without its first layers where images are few. With --weights, --epochs 0
    and no --data, they are written as they are.
    """
    if data is None and epochs != 0:
        raise click.UsageError(
            "training needs images: pass --data DATA (--weights with --epochs 0 needs none)"
        )
    if data is None and weights is None:
        raise click.UsageError("--epochs 0 without --data only imports weights: pass --weights")
    from edgenets.pipeline.config import check_config, require_sources

    given = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "precision": precision,
        "weights": weights,
        "input_range": input_range,
        "labels": labels,
        "teacher": teacher,
    }
    images = (
        {}
        if data is None
        else {"source": data, "strict": strict, "flip": flip, "unlabelled": unlabelled}
    )
    config = check_config(
        {
            "model": {"name": name, **parse_assignments(arguments)},
            "data": images,
            "train": {key: value for key, value in given.items() if value is not None},
            "seed": seed,
        },
        lambda place: f"edgenets train {name}",
    )
    require_sources(config)
    from edgenets.pipeline.one_step import import_folder, train_folder

    result = import_folder(config, out) if data is None else train_folder(config, out, log_dir)
    if as_json:
        print_json(result)
    elif data is None:
        echo(f"{name} with the {result['classes']} classes of {result['source']} is in {out}")
    else:
        echo(
            f"top-1 {format_percent(result['top1'])} (95 % interval "
            f"{format_interval(result['ci95'])}) on {result['samples']} test images; "
            f"the model is in {out}"
        )
        warn(result["warnings"])
