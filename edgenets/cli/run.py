"""`edgenets run`: from images to a compressed `.tflite` and a report, by one config."""

from __future__ import annotations

from pathlib import Path

import click

from edgenets.cli.options import json_option, log_dir_option
from edgenets.cli.output import print_json


@click.command()
@click.argument("config", metavar="[CONFIG.yaml]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the config, such as train.epochs=5; may be given many times.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Run folder.  [default: runs/ and the config's name, or runs/digits]",
)
@log_dir_option
@json_option
def command(
    config: Path | None,
    assignments: tuple[str, ...],
    out: Path | None,
    log_dir: Path | None,
    as_json: bool,
) -> None:
    """Train, compress, export, benchmark and report.

    CONFIG.yaml says how; without one it is done on the built-in handwritten digits. Run again with
    the same folder, it finishes what is missing and repeats nothing.
    """
    from edgenets.cli.report import print_report
    from edgenets.verbs.others import run

    report = run(config, set=assignments, out=out, log_dir=log_dir)
    if as_json:
        print_json(report.to_json())
    else:
        print_report(report.to_json(), report.folder)
