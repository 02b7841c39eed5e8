"""`edgenets train`: a new model folder from images, or from trained weights alone."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import click

from edgenets.cli.options import (
    data_option,
    json_option,
    log_dir_option,
    near_option,
    out_option,
    parse_range,
    seed_option,
    training_images_options,
    update_budget_option,
    usage_errors,
)
from edgenets.cli.output import echo, parse_assignments, print_json
from edgenets.data.images import FITS
from edgenets.progress import warn
from edgenets.units import format_interval, format_percent


@click.command()
@click.argument("name")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@data_option()
@out_option("MODEL_DIR", "New model folder.")
@click.option(
    "--epochs",
    metavar="N",
    type=click.IntRange(min=0),
    help="Passes over the images; with WEIGHTS, 0 leaves it at a new classifier.  "
    "[default: 30, with WEIGHTS 9, or with a teacher, too, 23; more of few images]",
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
    help="The classes of WEIGHTS, one in each line.  [default: a model folder's own, of 1000 "
    "ImageNet's, else 0, 1, ...]",
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
    help="Learning rate at its peak.  [default: 0.004, with WEIGHTS at most 0.0004, or with a "
    "teacher, too, 0.001; a quarter for a net without BatchNorm]",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_bfloat16"]),
    help="mixed_bfloat16 is faster for plain convolutions on CPUs that have it.  "
    "[default: float32]",
)
@click.option(
    "--fit",
    type=click.Choice(FITS),
    help="How pictures become square, in training and wherever the model is used: the centre cut "
    "out, the whole squeezed, or the whole with a border; as the program does that will run it.  "
    "[default: as WEIGHTS', or crop]",
)
@training_images_options
@seed_option("Decides the first weights and the order of the images.")
@log_dir_option
@near_option(
    "Begin with this compressed model folder, or with --weights, and settle what was trained near "
    "to its codes, so that an update of its file is small."
)
@update_budget_option
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes of this machine that train it together, each with a part of every batch.",
)
@click.option(
    "--cluster",
    metavar="HOSTS.json",
    type=click.Path(path_type=Path),
    help='Workers of several machines, {"worker": ["host:port", ...]}: the same command runs on '
    "each, with its --worker.",
)
@click.option(
    "--worker",
    metavar="I",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Which of the cluster's workers this machine is, from 0.",
)
@json_option
def command(
    name: str,
    arguments: tuple[str, ...],
    data: str | None,
    out: Path,
    epochs: int | None,
    weights: str | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a net on images and write a model folder.

    NAME is one that `edgenets list` shows, and KEY=VALUE one of its arguments: mobilenet_v1
    width=0.25 resolution=96. Stopped at any time, the same command goes on after the last finished
    epoch. Trained weights of other classes first get a classifier on their frozen features, then
    the net is fine-tuned, without its first layers where images are few. With --weights, --epochs 0
    and no --data, they are written as they are.
    """
    from edgenets.models.registry import complete_arguments
    from edgenets.results.models import CompressRecord, ImportRecord, TrainRecord
    from edgenets.verbs.training import train

    given = parse_assignments(arguments)
    if given.keys() & signature(train).parameters:  # an option's name is no net's argument
        complete_arguments(name, given)
    settings |= {"epochs": epochs, "weights": weights, **given}
    with usage_errors():
        record = train(name, data, out=out, **settings).record
    if as_json:
        assert record is not None
        print_json(record.to_json())
    elif isinstance(record, TrainRecord):
        echo(
            f"top-1 {format_percent(record.top1)} (95 % interval {format_interval(record.ci95)}) "
            f"on {record.samples} test images; the model is in {out}"
        )
        warn(record.warnings)
    elif isinstance(record, ImportRecord):
        echo(f"{name} with the {record.classes} classes of {record.source} is in {out}")
    elif isinstance(record, CompressRecord):
        from edgenets.cli.compress import print_compressed

        print_compressed(record)
        echo(f"the model is in {out}")
        warn(record.warnings)
