"""What a run returns: its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgenets.results.accuracy import ClassScore
from edgenets.results.benchmark import Latency
from edgenets.results.models import stage_table
from edgenets.results.result import NO_KEY, Result
from edgenets.results.verification import VerifiedRuntime
from edgenets.units import format_ms


@dataclass(frozen=True, repr=False)
class ReportStage(Result):
    """What one stage of a run made of the model."""

    name: str
    seconds: float
    top1: float
    top5: float | None
    ci95: tuple[float, float]
    samples: int
    size_bytes: int
    stored_bytes: int | None
    nonzero_params: int
    params: int
    sparsity: float
    distinct_values: int
    history: dict[str, list[float]] | None


@dataclass(frozen=True, repr=False)
class Reduction(Result):
    """How much smaller a run made the model; `stored_bytes` is what travels, the package."""

    float_tflite_bytes: int
    tflite_bytes: int
    stored_bytes: int
    vs_float: float
    stored_vs_float: float
    vs_alexnet: float


@dataclass(frozen=True, repr=False)
class BriefVerification(Result):
    """The same of a run's file, on a few test images in the runtimes that are quick to ask."""

    images: int
    runtimes: tuple[VerifiedRuntime, ...]
    first_difference: dict[str, Any] | None


@dataclass(frozen=True, repr=False)
class Report(Result):
    """What a run made and measured: the content of its report.json.

    Attributes:
        folder: the run folder.
        stages: in order; the float model is `train`, the final file `export`.
        artefacts: the files, with their hashes.
        latency_ms: of the final file on this machine.
        verify: whether it answers alike in the runtimes at hand.
        mistakes: the images that it is surest of and wrong about.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    warnings: tuple[str, ...]
    target: str
    seed: int
    seconds: float
    stages: tuple[ReportStage, ...]
    artefacts: tuple[dict[str, Any], ...]
    reduction: Reduction
    accounting: dict[str, Any]
    latency_ms: Latency
    benchmark: dict[str, Any]
    fidelity: dict[str, Any]
    verify: BriefVerification
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    mistakes: tuple[dict[str, Any], ...]
    layers: tuple[dict[str, Any], ...]
    config: dict[str, Any]
    versions: dict[str, str]
    folder: Path = field(metadata=NO_KEY)

    def _repr_html_(self) -> str:
        title = (
            f"{self.model['name']} on {self.stages[0].samples} test images of {self.data['name']}: "
            f"{self.reduction.stored_vs_float:.1f}x smaller as it travels, "
            f"{format_ms(self.latency_ms.median)} an image"
        )
        return stage_table([stage.to_json() for stage in self.stages], title)
