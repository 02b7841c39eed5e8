"""Options that several commands have, each in one place; a verb's argument has the same name."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgenets.errors import ArgumentError, EdgenetsError
from edgenets.progress import say
from edgenets.units import parse_bytes

if TYPE_CHECKING:
    from edgenets.export.devices.device import Device

Command = TypeVar("Command", bound=Callable[..., Any])

MOST_SECONDS = 1e6
"""Eleven days: more than anyone waits."""
FOLDERS = "Folder DATA/{train,test}/CLASS/*.jpg, or DATA/CLASS/*.jpg, or the word digits."


@contextmanager
def usage_errors() -> Iterator[None]:
    """Let arguments that do not go together be wrong usage of the command."""
    try:
        yield
    except ArgumentError as error:
        raise click.UsageError(str(error)) from error


class Size(click.ParamType):
    """A number of bytes, such as 300KB."""

    name = "size"

    def convert(
        self, value: str, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        """Return the number, or fail with a sentence."""
        try:
            return parse_bytes(value)
        except ValueError:
            self.fail(
                f"expected a size of at least one byte, such as 300KB or 1.5MiB, got {value!r}",
                param,
                context,
            )


class DeviceName(click.ParamType):
    """A device: local, ssh://[user@]host[:port] or emulated:CPU."""

    name = "device"

    def convert(
        self, value: str | Device, param: click.Parameter | None, context: click.Context | None
    ) -> Device:
        """Return the device, or fail with a sentence."""
        from edgenets.export.devices.device import parse_device  # which few commands need

        try:
            return parse_device(value)
        except EdgenetsError as error:
            self.fail(str(error), param, context)


class Points(click.ParamType):
    """Points of accuracy, such as 1.0."""

    name = "points"

    def convert(
        self, value: str, param: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Return the number, or fail with a sentence."""
        with suppress(ValueError):
            if 0 <= (points := float(value)) <= 100:
                return points
        self.fail(f"expected points from 0 to 100, such as 1.0, got {value!r}", param, context)


class NumberRange(click.FloatRange):
    """A range of numbers, in which nan is not."""

    expected = "a number"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Return the number, or fail with a sentence."""
        number = float(super().convert(value, param, context))
        if math.isnan(number):
            self.fail(f"expected {self.expected}, got {value!r}", param, context)
        return number


class Seconds(NumberRange):
    """A finite number of seconds."""

    name = "seconds"
    expected = "a number of seconds, such as 2.5"

    def __init__(self, *, min_open: bool = False) -> None:
        super().__init__(min=0, min_open=min_open, max=MOST_SECONDS)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value instead.")
"""The `--json` option; the command's parameter is `as_json`."""

file_argument = click.argument("model", metavar="FILE.tflite", type=click.Path(path_type=Path))
"""The `.tflite` that a command works on; the command's parameter is `model`."""

labels_option = click.option(
    "--labels",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The classes of FILE.tflite, one a line.  [default: those in the file]",
)
"""The `--labels` option for files of other tools; the command's parameter is `labels`."""

input_range_option = click.option(
    "--input-range",
    metavar="LOW..HIGH",
    callback=lambda context, option, value: _channel_ranges(context, option, value),
    help="What FILE.tflite takes for black and for white: two numbers, or three of each for red, "
    "green and blue (-2.1,-2,-1.8..2.2,2.4,2.6).  [default: as the file says]",
)
"""The `--input-range` option for files of other tools; the parameter is `input_range`."""

max_bytes_option = click.option(
    "--max-bytes",
    metavar="SIZE",
    type=Size(),
    help="Memory that a file may take, such as 2GiB.  [default: a quarter of what is free]",
)
"""The `--max-bytes` option; the command's parameter is `max_bytes`."""

update_budget_option = click.option(
    "--update-budget",
    metavar="SIZE",
    type=Size(),
    help="With --near: let the package of changes take at most SIZE, such as 10KB.",
)
"""The `--update-budget` option; the command's parameter is `update_budget`."""

log_dir_option = click.option(
    "--log-dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
    callback=lambda context, option, value: _say_how_to_look(value),
    help="Write the epochs of trainings into DIR for TensorBoard.",
)
"""The `--log-dir` option; the command's parameter is `log_dir`."""


def data_option(
    help: str = FOLDERS, *, name: str = "--data", required: bool = False
) -> Callable[[Command], Command]:
    """Return the `--data` option; the command's parameter is `data`, or as `name` says."""
    return click.option(name, required=required, metavar="DATA", help=help)


def out_option(metavar: str, help: str) -> Callable[[Command], Command]:
    """Return the `--out` option of a command that must be told it; the parameter is `out`."""
    return click.option(
        "--out", required=True, metavar=metavar, type=click.Path(path_type=Path), help=help
    )


def seed_option(help: str, default: int | None = 0) -> Callable[[Command], Command]:
    """Return the `--seed` option; the command's parameter is `seed`."""
    return click.option(
        "--seed",
        default=default,
        show_default=default is not None,
        metavar="N",
        type=click.IntRange(min=0),
        help=help,
    )


def patience_option(
    help: str = "Give a device up that sends nothing for so long.  [default: 120, and 30 to a "
    "board's first word]",
) -> Callable[[Command], Command]:
    """Return the `--patience` option; the command's parameter is `patience`."""
    return click.option("--patience", metavar="SECONDS", type=Seconds(min_open=True), help=help)


def near_option(help: str) -> Callable[[Command], Command]:
    """Return the `--near` option; the command's parameter is `near`."""
    path = click.Path(path_type=Path)
    return click.option("--near", metavar="BASE_DIR", type=path, help=help)


def training_images_options(command: Command) -> Command:
    """Add `--unlabelled`, `--flip` and `--strict`: what is learned from beside DATA, and how."""
    for option in (
        click.option("--strict", is_flag=True, help="Fail on a file that is not a readable image."),
        click.option(
            "--flip/--no-flip", default=None, help="Mirror images.  [default: as suits the set]"
        ),
        click.option(
            "--unlabelled",
            metavar="DIR",
            help="More images to learn from, of any classes and in any folders: the teacher labels "
            "them.",
        ),
    ):
        command = option(command)
    return command


def parse_range(
    context: click.Context, option: click.Parameter, value: str | None
) -> tuple[float, float] | None:
    """Return the numbers of a range such as 0..1."""
    if value is None:
        return None
    match = re.fullmatch(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)", value)
    if not match:
        raise click.BadParameter(f"expected two numbers such as 0..1 or -1..1, got {value!r}")
    return float(match[1]), float(match[2])


def _channel_ranges(
    context: click.Context, option: click.Parameter, value: str | None
) -> tuple[Any, Any] | None:
    """Return black's and white's values: numbers, or lists of three."""
    lows, _, highs = (value or "").partition("..")
    low_of, high_of = lows.split(","), highs.split(",")
    if value is None or len(low_of) == len(high_of) == 1:
        return parse_range(context, option, value)
    if not len(low_of) == len(high_of) == 3:
        raise click.BadParameter(f"expected two numbers, or three of each, got {value!r}")
    ranges = [
        parse_range(context, option, f"{low}..{high}")
        for low, high in zip(low_of, high_of, strict=True)
    ]
    black, white = zip(*filter(None, ranges), strict=True)
    return list(black), list(white)


def _say_how_to_look(log_dir: Path | None) -> Path | None:
    """Say how events are looked at, and which optional package that needs if it is missing."""
    if log_dir is not None:
        missing = find_spec("tensorboard") is None
        say(
            f"`tensorboard --logdir {shlex.quote(str(log_dir))}` shows the trainings"
            + ("; TensorBoard is not installed here, run: pip install tensorboard" * missing)
        )
    return log_dir
