"""`edgenets pack`: a `.tflite` as a small package, to send and to keep."""

from __future__ import annotations

from pathlib import Path

import click

from edgenets.cli.options import file_argument, json_option, out_option
from edgenets.cli.output import echo, print_json
from edgenets.units import format_bytes


@click.command()
@file_argument
@out_option("FILE.epk", "The package, replaced if it exists.")
@json_option
def command(model: Path, out: Path, as_json: bool) -> None:
    """Write a .tflite file as a small package, exactly recoverable."""
    from edgenets.verbs.file import File

    record = File(model).pack(out)
    if as_json:
        print_json(record.to_json())
    else:
        ratio = record.in_bytes / record.out_bytes
        echo(f"{out}: {format_bytes(record.out_bytes)}, {ratio:.2f}x smaller than {model}")
