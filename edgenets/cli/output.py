"""What every command shares: tables for people, JSON for programs, `KEY=VALUE` arguments."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from edgenets.progress import printable

if TYPE_CHECKING:
    from rich.text import Text


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
    # A board has better uses for the memory that it takes.
    from rich.console import Console
    from rich.table import Table

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
    from rich.text import Text

    lines = [text] if isinstance(text, str) else text
    return Text("\n".join(map(printable, lines)))  # no markup, and no names of emoji


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Return the `KEY=VALUE` arguments of a command as a dictionary of strings.

    >>> parse_assignments(["width=0.25", "resolution=96"])
    {'width': '0.25', 'resolution': '96'}
    """
    pairs: dict[str, str] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not (key and equals):
            raise click.UsageError(f"expected KEY=VALUE, got {assignment!r}")
        if pairs.setdefault(key, value) != value:
            raise click.UsageError(
                f"{key} is given twice, as {pairs[key]!r} and {value!r}; pass one"
            )
    return pairs
