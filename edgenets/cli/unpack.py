"""`edgenets unpack`: the `.tflite` of a package, as it was."""

from __future__ import annotations

from pathlib import Path

import click

from edgenets.cli.output import echo, json_option, max_bytes_option, print_json
from edgenets.errors import EdgenetsError
from edgenets.units import format_bytes


@click.command()
@click.argument("package", metavar="FILE.epk", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    metavar="FILE.tflite",
    type=click.Path(path_type=Path),
    help="The file, replaced if it exists.",
)
@max_bytes_option
@json_option
def command(package: Path, out: Path, as_json: bool) -> None:
    """Write the file that a package holds, byte for byte.

    It appears only if its SHA-256 is the original's.
    """
    from edgenets.files import check_output, sha256_bytes, write_bytes
    from edgenets.memory import read_bounded
    from edgenets.quantize.package.epk import unpack

    check_output(out, [package])
    packed = read_bounded(package)
    try:
        content = unpack(packed)
    except EdgenetsError as error:
        raise EdgenetsError(f"{package}: {error}") from error
    write_bytes(out, content)
    if as_json:
        sizes = {"in_bytes": len(packed), "out_bytes": len(content)}
        print_json({**sizes, "sha256": sha256_bytes(content)})
    else:
        echo(f"{out}: {format_bytes(len(content))}, its SHA-256 is the original's")
