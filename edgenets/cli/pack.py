"""`edgenets pack`: a `.tflite` as a small package, to send and to keep."""

from __future__ import annotations

from pathlib import Path

import click

from edgenets.cli.output import echo, json_option, print_json
from edgenets.units import format_bytes


@click.command()
@click.argument("model", metavar="FILE.tflite", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    metavar="FILE.epk",
    type=click.Path(path_type=Path),
    help="The package, replaced if it exists.",
)
@json_option
def command(model: Path, out: Path, as_json: bool) -> None:
    """Write a .tflite file as a small package, exactly recoverable."""
    from edgenets.files import check_output, read_bytes, sha256_bytes, write_bytes
    from edgenets.quantize.package.epk import check_size, pack

    check_output(out, [model])
    if model.is_file():
        check_size(model.stat().st_size)
    content = read_bytes(model)
    package = pack(content)
    write_bytes(out, package)
    if as_json:
        sizes = {"in_bytes": len(content), "out_bytes": len(package)}
        print_json({**sizes, "sha256": sha256_bytes(content)})
    else:
        ratio = len(content) / len(package)
        echo(f"{out}: {format_bytes(len(package))}, {ratio:.2f}x smaller than {model}")
