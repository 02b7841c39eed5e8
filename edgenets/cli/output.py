"""What every command shares: tables for people, JSON for programs, `KEY=VALUE` arguments."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgenets.progress import printable, say
from edgenets.units import parse_bytes

MOST_SECONDS = 1e6
"""Eleven days: more than anyone waits."""


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


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value instead.")
"""The `--json` option; the command's parameter is `as_json`."""

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


class Seconds(click.FloatRange):
    """A finite number of seconds."""

    name = "seconds"

    def __init__(self, *, min_open: bool = False) -> None:
        super().__init__(min=0, min_open=min_open, max=MOST_SECONDS)

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Return the number, or fail with a sentence."""
        seconds = float(super().convert(value, param, context))
        if math.isnan(seconds):
            self.fail(f"expected a number of seconds, such as 2.5, got {value!r}", param, context)
        return seconds


max_bytes_option = click.option(
    "--max-bytes",
    metavar="SIZE",
    type=Size(),
    expose_value=False,
    callback=lambda context, option, value: _bound_memory(context, value),
    help="Memory that a file may take, such as 2GiB.  [default: a quarter of what is free]",
)
"""The `--max-bytes` option; it holds until the command ends, which has no parameter for it."""

patience_option = click.option(
    "--patience",
    "patience_seconds",
    metavar="SECONDS",
    type=Seconds(min_open=True),
    help="Give a device up that says nothing for so long.  [default: 120, and 30 to a board's "
    "first word]",
)
"""The `--patience` option; the command's parameter is `patience_seconds`."""

log_dir_option = click.option(
    "--log-dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
    callback=lambda context, option, value: _say_how_to_look(value),
    help="Write the epochs of trainings into DIR for TensorBoard.",
)
"""The `--log-dir` option; the command's parameter is `log_dir`."""


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


def _bound_memory(context: click.Context, size_bytes: int | None) -> None:
    if size_bytes is not None:
        from edgenets.memory import at_most

        context.with_resource(at_most(size_bytes))


def echo(*lines: str) -> None:
    """Print lines on stdout, as `printable` shows them: the one way to there but for JSON."""
    for line in lines:
        click.echo(printable(line))


def print_json(value: Any) -> None:
    """Print `value` as JSON on stdout."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str | list[str]]], title: str = ""
) -> None:
    """Print a table on stdout; a column whose name begins with ">" is aligned to the right.

    A cell is a text, or the lines of one. Without a terminal the table is as wide as its content,
    so that no cell is cut.
    """
    if title:
        echo(title)
    table = Table()
    for column in columns:
        right = column.startswith(">")
        table.add_column(
            _cell(column.removeprefix(">")), justify="right" if right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*map(_cell, row))
    width = None if sys.stdout.isatty() else 200
    Console(width=width).print(table)


def _cell(text: str | list[str]) -> Text:
    lines = [text] if isinstance(text, str) else text
    return Text("\n".join(map(printable, lines)))  # no markup, and no names of emoji


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Return the `KEY=VALUE` arguments of a command as a dictionary of strings.

    >>> parse_assignments(["width=0.25", "resolution=96"])
    {'width': '0.25', 'resolution': '96'}
    """
    pairs = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not (key and equals):
            raise click.UsageError(f"expected KEY=VALUE, got {assignment!r}")
        pairs[key] = value
    return pairs


def _say_how_to_look(log_dir: Path | None) -> Path | None:
    """Say how events are looked at, and which optional package that needs if it is missing."""
    if log_dir is not None:
        missing = find_spec("tensorboard") is None
        say(
            f"`tensorboard --logdir {shlex.quote(str(log_dir))}` shows the trainings"
            + ("; TensorBoard is not installed here, run: pip install tensorboard" * missing)
        )
    return log_dir
