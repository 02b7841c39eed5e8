"""`edgenets sweep`: many runs, and the front of those worth having."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgenets.cli.options import data_option, json_option, usage_errors
from edgenets.cli.output import echo, print_json, print_table
from edgenets.results.sweep import sweep_table


@click.command()
@click.argument("config", metavar="[SWEEP.yaml]", required=False, type=click.Path(path_type=Path))
@data_option("Without SWEEP.yaml: folder of images, or the word digits.")
@click.option("--target", metavar="TARGET", help="Without SWEEP.yaml: device that files are for.")
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True, max=10_000),
    metavar="HOURS",
    help="Begin no more work after so many hours.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Sweep's folder.  [default: runs/ and the config's name, or runs/sweep]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes of this machine.",
)
@click.option("--ray", metavar="ADDRESS", help="Ray cluster that does the work, or the word auto.")
@click.option(
    "--storage", metavar="URL", help="With --ray: what its nodes reach, such as s3://BUCKET/FOLDER."
)
@json_option
def command(
    config: Path | None,
    data: str | None,
    target: str | None,
    hours: float | None,
    out: Path | None,
    workers: int,
    ray: str | None,
    storage: str | None,
    as_json: bool,
) -> None:
    """Try many nets and show the front of the best.

    SWEEP.yaml says which nets, and what bounds them; without one, small nets of several families
    are tried. What a net costs is counted before it is trained. Run again with the same folder, it
    goes on; several processes may share the folder.
    """
    from edgenets.verbs.sweeping import sweep

    with usage_errors():
        trials = sweep(
            config,
            data=data,
            target=target,
            hours=hours,
            out=out,
            workers=workers,
            ray=ray,
            storage=storage,
        )
    if as_json:
        print_json(trials.to_json())
    else:
        print_sweep(trials.to_json(), trials.folder)


def print_sweep(result: dict[str, Any], folder: Path) -> None:
    """Print a sweep's finished trials, the front marked, and the command for each chosen file."""
    from edgenets.pipeline.sweep.summary import command_of

    rows = result["trials"]
    states = [row["state"] for row in rows]
    title = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    columns, cells = sweep_table(result)
    if cells:
        print_table(columns, cells, title)
    else:
        echo(f"{title or 'Nothing is chosen yet'}; the same command goes on where work is left.")
    failed = {row["trial"]: row["reason"][0] for row in rows if row["state"] == "failed"}
    if failed:
        echo(f"points that failed: {len(failed)}, the first because {next(iter(failed.values()))}")
    for words, key in (
        ("points that {} kept from being trained", "removed"),
        ("trained files that do not keep {}", "broken"),
    ):
        for text, count in result[key].items():
            if count:
                echo(f"{words.format(text)}: {count}")
    for target, index in result["chosen"].items():
        echo(f"The one to take for {target}: {command_of(rows[index], str(folder))}")
    echo(str(folder / "sweep.html"))
