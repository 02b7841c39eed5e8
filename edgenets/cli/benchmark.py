"""`edgenets benchmark`: how long an inference takes, and how much memory, here or on boards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import click

from edgenets.cli.options import (
    DeviceName,
    Seconds,
    file_argument,
    json_option,
    patience_option,
    usage_errors,
)
from edgenets.cli.output import echo, print_json, print_table
from edgenets.export.board.protocol import DELEGATES, MAX_RUNS
from edgenets.export.devices.device import Device
from edgenets.export.devices.emulator import CPUS
from edgenets.export.measure.defaults import MIN_RUNS, MIN_SECONDS, MOST_THREADS, THREADS
from edgenets.progress import say
from edgenets.results.benchmark import Benchmark, FailedBenchmark
from edgenets.units import format_bytes, format_count, format_ms, format_percent

Known = TypeVar("Known")


@click.command()
@file_argument
@click.option(
    "--device",
    "devices",
    multiple=True,
    type=DeviceName(),
    default=["local"],
    show_default=True,
    metavar="DEVICE",
    help="Where to measure: local, ssh://[user@]host[:port], or emulated:CPU, which counts the "
    f"instructions of a CPU ({', '.join(CPUS)}). Again for several at once.",
)
@click.option("--setup", is_flag=True, help="Install NumPy and an interpreter on the board first.")
@click.option(
    "--threads",
    default=THREADS,
    show_default=True,
    metavar="N",
    type=click.IntRange(1, MOST_THREADS),
    help="Threads of the interpreter.",
)
@click.option(
    "--min-seconds",
    default=MIN_SECONDS,
    show_default=True,
    metavar="SECONDS",
    type=Seconds(),
    help="Time inferences for at least so long.",
)
@click.option(
    "--min-runs",
    default=MIN_RUNS,
    show_default=True,
    metavar="N",
    type=click.IntRange(1, MAX_RUNS),
    help="Time at least so many inferences.",
)
@click.option(
    "--vs",
    metavar="OTHER.tflite",
    type=click.Path(path_type=Path),
    help="Compare with this file, in turn.",
)
@click.option("--delegate", type=click.Choice(list(DELEGATES)), help="Run on a Coral device.")
@click.option("--per-op", is_flag=True, help="Measure what each operator takes, too.")
@patience_option()
@json_option
def command(
    model: Path,
    devices: tuple[Device, ...],
    setup: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Measure the latency and peak memory of a .tflite file.

    Inferences are timed after a warm-up: median with its 95 % interval, 90th and 99th percentile.
    """
    from edgenets.verbs.arguments import measured_devices
    from edgenets.verbs.file import File

    with usage_errors():
        measured_devices(devices, setup=setup)
    several = len(devices) > 1
    results: list[Benchmark | FailedBenchmark]
    if several:
        results = File(model).benchmark(device=devices, setup=setup, **settings)
    else:
        results = [File(model).benchmark(device=devices[0], setup=setup, **settings)]
    for result in results:
        if isinstance(result, FailedBenchmark):
            say(f"edgenets: {result.error}")
        elif result.stability and result.stability["verdict"] == "unstable":
            reasons = "; ".join(result.stability["reasons"])
            say(f"{result.device['name']} was unstable: {reasons}; measure again when it rests")
    good = [result for result in results if isinstance(result, Benchmark)]
    if as_json:
        printed = [result.to_json() for result in results]
        print_json(printed if several else printed[0])
    else:
        print_benchmarks(good, several=several)
    if len(good) < len(results):
        raise SystemExit(1)


def print_benchmarks(results: Sequence[Benchmark], *, several: bool = False) -> None:
    """Print one result in full, those of `several` devices side by side, and what was compared."""
    timed = [result for result in results if result.latency_ms]
    counted = [result for result in results if not result.latency_ms]
    if timed and several:
        print_devices(timed)
    elif timed:
        print_benchmark(timed[0])
    if counted:
        print_instructions(counted)
    for result in results:
        before = f"{result.device['name']}: " * several
        if result.ops:
            (print_operators if result.latency_ms else print_counted_operators)(result, before)
        if result.versus is not None:
            echo(_comparison(result, result.versus, before))


def print_benchmark(result: Benchmark) -> None:
    """Print what was measured, and under it where and with what."""
    latency, stability = _known(result.latency_ms), _known(result.stability)
    low, high = latency.ci95
    rows = [
        ("median latency", format_ms(latency.median)),
        ("95 % interval of the median", f"{format_ms(low)} to {format_ms(high)}"),
        ("90th percentile", format_ms(latency.p90)),
        ("99th percentile", format_ms(latency.p99)),
        ("timed inferences", str(len(result.samples_ms))),
        ("machine", "; ".join([stability["verdict"], *stability["reasons"]])),
        ("first inference", format_ms(_known(result.first_ms))),
        ("load", format_ms(_known(result.load_ms))),
        ("peak memory", _memory(result)),
        ("file", format_bytes(result.model.size_bytes)),
    ]
    print_table((result.model.name, ">"), rows)
    echo(_where(result))


def print_devices(results: Sequence[Benchmark]) -> None:
    """Print a row for each device; results of different ones are never merged."""
    columns = ("device", ">median", ">95 % interval", ">p90", ">p99", ">peak memory", "machine")
    print_table(columns, [(result.device["name"], *_cells(result)) for result in results])
    for result in results:
        echo(f"{result.device['name']}: {_where(result)}")


def print_operators(result: Benchmark, before: str = "") -> None:
    """Print the operators, the costliest first, and what their sum leaves of the whole.

    Args:
        result: of a benchmark with operators.
        before: whose they are, where it is not clear.
    """
    resolved = [op for op in result.ops if op["resolved"]]
    rows = [
        (
            str(op["index"]),
            op["op"],
            op["name"],
            format_ms(op["ms"]),
            "{} to {}".format(*map(format_ms, op["ms_ci95"])),
            format_percent(op["share"]),
            format_count(op["macs"]) if op["macs"] else "-",
            f"{op['gmacs_per_s']:.1f}" if op["gmacs_per_s"] else "-",
        )
        for op in sorted(resolved, key=itemgetter("ms"), reverse=True)
    ]
    columns = (">", "operator", "layer", ">time", ">95 % interval", ">share", ">MACs", ">GMAC/s")
    print_table(columns, rows, title=f"{before}operators of {result.model.name}")
    untold = (op["op"] for op in result.ops if op["ms"] is not None and not op["resolved"])
    if names := ", ".join(f"{count} {name}" for name, count in Counter(untold).most_common()):
        resolution = format_ms(_known(result.ops_resolution_ms))
        echo(f"Not told from nothing, with a resolution of {resolution}: {names}")
    sum_ms, whole_ms = _known(result.ops_sum_ms), _known(result.ops_whole_ms)
    difference_ms = abs(whole_ms - sum_ms)
    echo(
        f"Sum of the operators {format_ms(sum_ms)}; the whole file in the same rounds "
        f"{format_ms(whole_ms)}, {format_ms(difference_ms)} "
        f"({format_percent(difference_ms / whole_ms)}) {'more' if whole_ms > sum_ms else 'less'}"
    )


def print_counted_operators(result: Benchmark, before: str = "") -> None:
    """Print the operators of an emulated board, those of most instructions first.

    Args:
        result: of a benchmark with operators.
        before: whose they are, where it is not clear.
    """
    counted = [op for op in result.ops if op["instructions"] is not None]
    total = sum(op["instructions"] for op in counted)
    rows = [
        (
            str(op["index"]),
            op["op"],
            op["name"],
            format_count(op["instructions"]),
            format_percent(op["instructions"] / total),
            format_count(op["macs"]) if op["macs"] else "-",
            f"{op['instructions'] / op['macs']:.2f}" if op["macs"] else "-",
        )
        for op in sorted(counted, key=itemgetter("instructions"), reverse=True)
    ]
    columns = (">", "operator", "layer", ">instructions", ">share", ">MACs", ">a MAC")
    print_table(columns, rows, title=f"{before}operators of {result.model.name}")
    echo(
        f"Sum of the operators {format_count(total)} instructions; the whole file "
        f"{format_count(_known(result.instructions))}"
    )


def print_instructions(results: Sequence[Benchmark]) -> None:
    """Print what was counted on emulated boards, and what a real one is estimated to take."""
    rows = []
    for result in results:
        estimate = result.estimated_latency_ms
        latency = (
            f"{format_ms(estimate['estimate'])} (+-{format_percent(estimate['error'])}) on a "
            f"{estimate['board']}, {estimate['threads']} threads"
            if estimate
            else "none: no published latencies to calibrate it"
        )
        count = format_count(_known(result.instructions))
        rows.append((result.device["name"], count, latency))
    columns = ("device", ">instructions per inference", "ESTIMATED latency, not measured")
    print_table(columns, rows, results[0].model.name)
    runtime = results[0].runtime
    echo(f"{runtime['name']} {runtime['version']}, 1 thread, emulated: nothing was timed")


def _cells(result: Benchmark) -> tuple[str, ...]:
    latency, stability = _known(result.latency_ms), _known(result.stability)
    low, high = latency.ci95
    return (
        format_ms(latency.median),
        f"{format_ms(low)} to {format_ms(high)}",
        format_ms(latency.p90),
        format_ms(latency.p99),
        _memory(result),
        stability["verdict"],
    )


def _known(value: Known | None) -> Known:
    """Return what a benchmark of its kind has: times where inferences are timed, or a count."""
    assert value is not None
    return value


def _comparison(result: Benchmark, other: dict[str, Any], before: str) -> str:
    ratio, (low, high) = other["ratio"]["median"], other["ratio"]["ci99"]
    names = (result.model.name, other["model"]["name"])
    if names[0] == names[1]:
        names = ("the first file", "the second file")
    verdict = {
        "this": f"{names[0]} is faster",
        "other": f"{names[1]} is faster",
        None: "no difference is shown",
    }[other["faster"]]
    return (
        f"{before}{names[1]} takes {format_percent(ratio)} of the time of {names[0]} "
        f"(99 % interval {format_percent(low)} to {format_percent(high)}): {verdict}"
    )


def _where(result: Benchmark) -> str:
    runtime, device = result.runtime, result.device
    threads = "1 thread" if result.threads == 1 else f"{result.threads} threads"
    delegate = f" with {runtime['delegate']}" if runtime["delegate"] else ""
    return (
        f"{runtime['name']} {runtime['version']}{delegate}, {threads} of {device['cores']} cores, "
        f"{device['processor'] or 'unknown processor'} ({device['machine']})"
    )


def _memory(result: Benchmark) -> str:
    memory = result.peak_memory_bytes
    return "unknown" if memory is None else format_bytes(memory)
