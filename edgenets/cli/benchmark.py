"""`edgenets benchmark`: how long an inference takes, and how much memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgenets.cli.output import json_option, print_json, print_table
from edgenets.progress import say
from edgenets.units import format_bytes, format_ms


@click.command()
@click.argument("model", metavar="FILE.tflite", type=click.Path(path_type=Path))
@click.option(
    "--device",
    default="local",
    show_default=True,
    metavar="DEVICE",
    help="Where to measure: local is this machine.",
)
@click.option(
    "--threads",
    default=1,
    show_default=True,
    metavar="N",
    type=click.IntRange(1, 256),
    help="Threads of the interpreter.",
)
@click.option(
    "--min-seconds",
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help="Time inferences for at least so long, and at least 100 of them.",
)
@json_option
def command(model: Path, device: str, threads: int, min_seconds: float, as_json: bool) -> None:
    """Measure the latency and peak memory of a .tflite file.

    Inferences are timed after a warm-up: median with its 95 % interval, 90th percentile.
    """
    from edgenets.export.benchmark import benchmark_file

    if device != "local":
        raise click.UsageError(f"unknown device {device!r}; this version measures on 'local' only")
    result = benchmark_file(model, threads, min_seconds)
    if not result["warm_up"]["stable"]:
        say("latency was still changing after the warm-up: close other programs and measure again")
    if as_json:
        print_json(result)
    else:
        print_benchmark(result)


def print_benchmark(result: dict[str, Any]) -> None:
    """Print what was measured, and under it where and with what."""
    latency = result["latency_ms"]
    low, high = latency["ci95"]
    memory = result["peak_memory_bytes"]
    rows = [
        ("median latency", format_ms(latency["median"])),
        ("95 % interval of the median", f"{format_ms(low)} to {format_ms(high)}"),
        ("90th percentile", format_ms(latency["p90"])),
        ("timed inferences", str(len(result["samples_ms"]))),
        ("first inference", format_ms(result["first_ms"])),
        ("load", format_ms(result["load_ms"])),
        ("peak memory", "unknown" if memory is None else format_bytes(memory)),
        ("file", format_bytes(result["model"]["size_bytes"])),
    ]
    print_table((result["model"]["name"], ">"), rows)
    runtime, device = result["runtime"], result["device"]
    threads = "1 thread" if result["threads"] == 1 else f"{result['threads']} threads"
    click.echo(
        f"{runtime['name']} {runtime['version']}, {threads} of {device['cores']} cores, "
        f"{device['processor'] or 'unknown processor'} ({device['machine']})"
    )
