"""`edgenets report`: a run's figures again, and its report.html written anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgenets.cli.options import json_option
from edgenets.cli.output import echo, print_json, print_table
from edgenets.progress import warn
from edgenets.results.models import STAGE_CELLS, stage_rows
from edgenets.units import format_count, format_ms, format_percent


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@json_option
def command(run_dir: Path, as_json: bool) -> None:
    """Print a finished run's report; write its page anew.

    The page is RUN_DIR/report.html, made from RUN_DIR/report.json.
    """
    from edgenets.export.report.page import load_report, write_html

    report = load_report(run_dir)
    write_html(report, run_dir)
    if as_json:
        print_json(report)
    else:
        print_report(report, run_dir)


def print_report(report: dict[str, Any], folder: Path) -> None:
    """Print a run's stages side by side, what was gained, and where the files are."""
    from edgenets.export.measure.accuracy import commonest_class

    columns = [column for column in STAGE_CELLS if column != ">nonzeros"]
    model, data, reduction = report["model"], report["data"], report["reduction"]
    latency, benchmark = report["latency_ms"], report["benchmark"]
    print_table(
        columns,
        stage_rows(report["stages"], columns),
        title=(
            f"{model['name']} ({format_count(model['params'])} parameters, "
            f"{format_count(model['macs'])} MACs) on {report['stages'][0]['samples']} test images "
            f"of {data['name']}, seed {report['seed']}"
        ),
    )
    low, high = latency["ci95"]
    label, share = commonest_class(report["per_class"])
    echo(
        f"Always answering {label!r}, the commonest class, would be right for "
        f"{format_percent(share)}.",
        f"The int8 file is {reduction['vs_float']:.1f}x smaller than the float32 file, and "
        f"{reduction['stored_vs_float']:.1f}x as it travels, packed.",
        f"Latency {format_ms(latency['median'])} (95 % interval {format_ms(low)} to "
        f"{format_ms(high)}, p90 {format_ms(latency['p90'])}), {benchmark['threads']} thread(s), "
        f"{benchmark['runtime']['name']} {benchmark['runtime']['version']} on "
        f"{benchmark['device']['processor'] or benchmark['device']['machine']}.",
        *(str(folder / name) for name in ("model.tflite", "model.epk", "report.html")),
    )
    warn(report["warnings"])
