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
@max_bytes_option
@json_option
def command(package: Path, out: Path, max_bytes: int | None, as_json: bool) -> None:
    """Write the file that a package holds, byte for byte.

    It appears only if its SHA-256 is the original's.
    """
    from edgenets.files import sha256_bytes
    from edgenets.verbs.file import unpack

    content = unpack(package, out, max_bytes=max_bytes).content
    if as_json:
        sizes = {"in_bytes": package.stat().st_size, "out_bytes": len(content)}
        print_json({**sizes, "sha256": sha256_bytes(content)})
    else:
        echo(f"{out}: {format_bytes(len(content))}, its SHA-256 is the original's")
