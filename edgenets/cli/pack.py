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
@click.option(
    "--base",
    metavar="OLD.tflite",
    type=click.Path(path_type=Path),
    help="Hold only what changed since this file, which unpacking then needs.",
)
@json_option
def command(model: Path, out: Path, base: Path | None, as_json: bool) -> None:
    """Write a .tflite file as a small package, exactly recoverable."""
    from edgenets.verbs.file import File

    record = File(model).pack(out, base=base)
    if as_json:
        print_json(record.to_json())
    else:
        ratio = record.in_bytes / record.out_bytes
        echo(f"{out}: {format_bytes(record.out_bytes)}, {ratio:.2f}x smaller than {model}")
        if record.base_sha256:
            echo(f"to be unpacked with --base {base}, whose SHA-256 is {record.base_sha256}")
