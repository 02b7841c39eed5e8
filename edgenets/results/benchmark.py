"""What a benchmark returns, by device."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenets.results.result import SOMETIMES, Result, html_table
from edgenets.units import format_bytes, format_count, format_ms

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, repr=False)
class Latency(Result):
    """Of single inferences, in ms; `ci95` is the 95 % confidence interval of the median."""

    median: float
    mean: float
    p90: float
    p99: float
    ci95: tuple[float, float]


@dataclass(frozen=True, repr=False)
class StoredFile(Result):
    """Which file was measured, or made."""

    name: str
    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Describe a file.

        Raises:
            EdgenetsError: it cannot be read.
        """
        from edgenets.files import sha256_file  # and what commands that describe no file do without

        return cls(path.name, sha256_file(path), path.stat().st_size)


@dataclass(frozen=True, repr=False)
class Benchmark(Result):
    """Latency and memory of a file on a device, or on an emulated one its instructions.

    Attributes:
        latency_ms: None on an emulated device, where nothing is timed.
        samples_ms: each timed inference, in order.
        peak_memory_bytes: of activations, copies of weights and the interpreter; None if unknown.
        instructions: per inference, on an emulated device.
        stability: whether the machine was steady.
        ops: what each operator takes, where that was asked for.
        versus: the other file, and how many times as long it takes.

    The others are those of `edgenets.export.measure.benchmark.benchmark_file`.
    """

    model: StoredFile
    device: dict[str, Any]
    runtime: dict[str, Any]
    threads: int
    latency_ms: Latency | None
    samples_ms: tuple[float, ...]
    load_ms: float | None
    first_ms: float | None
    peak_memory_bytes: int | None
    warm_up: dict[str, Any] | None
    stability: dict[str, Any] | None
    instructions: int | None
    energy_mj: float | None
    ops: tuple[dict[str, Any], ...]
    edgenets: str | None = field(default=None, metadata=SOMETIMES)
    estimated_latency_ms: dict[str, Any] | None = field(default=None, metadata=SOMETIMES)
    ops_sum_ms: float | None = field(default=None, metadata=SOMETIMES)
    ops_whole_ms: float | None = field(default=None, metadata=SOMETIMES)
    ops_resolution_ms: float | None = field(default=None, metadata=SOMETIMES)
    versus: dict[str, Any] | None = field(default=None, metadata=SOMETIMES)

    def _repr_html_(self) -> str:
        rows = [("device", str(self.device["name"]))]
        if self.latency_ms is not None:
            low, high = self.latency_ms.ci95
            rows += [
                ("median latency", format_ms(self.latency_ms.median)),
                ("95 % interval of the median", f"{format_ms(low)} to {format_ms(high)}"),
                ("90th percentile", format_ms(self.latency_ms.p90)),
            ]
        if self.peak_memory_bytes is not None:
            rows.append(("peak memory", format_bytes(self.peak_memory_bytes)))
        if self.instructions is not None:
            rows.append(("instructions", format_count(self.instructions)))
        return html_table((self.model.name, ">"), rows)


@dataclass(frozen=True, repr=False)
class FailedBenchmark(Result):
    """A device of several on which a file could not be measured, and why."""

    device: dict[str, Any]
    error: str
