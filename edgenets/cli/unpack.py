"""`edgenets unpack`: the `.tflite` of a package, as it was."""

from __future__ import annotations

from pathlib import Path

import click

from edgenets.cli.options import json_option, max_bytes_option, out_option
from edgenets.cli.output import echo, print_json
from edgenets.units import format_bytes


@click.command()
@click.argument("package", metavar="FILE.epk", type=click.Path(path_type=Path))
@out_option("FILE.tflite", "The file, replaced if it exists.")
@click.option(
    "--base",
    metavar="OLD.tflite",
    type=click.Path(path_type=Path),
    help="The file that a package of changes was made with.",
)
@max_bytes_option
@json_option
def command(
    package: Path, out: Path, base: Path | None, max_bytes: int | None, as_json: bool
) -> None:
    """Write the file that a package holds, byte for byte.

    It appears only if its SHA-256 is the original's.
    """
    from edgenets.files import read_bytes, sha256_bytes
    from edgenets.results.models import PackRecord
    from edgenets.verbs.file import unpack

    content = unpack(package, out, base=base, max_bytes=max_bytes).content
    if as_json:
        old = None if base is None else sha256_bytes(read_bytes(base))
        sizes = package.stat().st_size, len(content)
        print_json(PackRecord(*sizes, sha256_bytes(content), old).to_json())
    else:
        echo(f"{out}: {format_bytes(len(content))}, its SHA-256 is the original's")
