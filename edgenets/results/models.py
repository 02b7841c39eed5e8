"""What making a model or a file returns: training, import, compression, export, packing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgenets.results.accuracy import Accuracy
from edgenets.results.result import SOMETIMES, Result, Skipped, html_table
from edgenets.units import format_bytes, format_interval, format_percent, format_seconds

STAGE_CELLS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "stage": lambda stage: str(stage["name"]),
    ">top-1": lambda stage: format_percent(stage["top1"]),
    ">95 % interval": lambda stage: format_interval(stage["ci95"]),
    ">top-5": lambda stage: format_percent(stage["top5"]),
    ">nonzeros": lambda stage: f"{stage['nonzero_params']:,}",
    ">.tflite": lambda stage: format_bytes(stage["size_bytes"]),
    ">stored": lambda stage: format_bytes(stage["stored_bytes"]),
    ">zeros": lambda stage: format_percent(stage["sparsity"]),
    ">values": lambda stage: str(stage["distinct_values"]),
    ">time": lambda stage: format_seconds(stage["seconds"]),
}
"""What a table of stages shows in each column, from the JSON of a stage."""


@dataclass(frozen=True, repr=False)
class TrainRecord(Accuracy):
    """What a training made: its accuracy on the test images."""


@dataclass(frozen=True, repr=False)
class ImportRecord(Result):
    """Trained weights that were written as a model folder without any training."""

    source: str
    sha256: str
    classes: int
    input_range: tuple[float, float] | None = field(default=None, metadata=SOMETIMES)


@dataclass(frozen=True, repr=False)
class CompressRecord(Result):
    """What each stage of a compression made of a model.

    Attributes:
        stages: of each its name, accuracy, sizes and time; the first one is the model as it was.
        accounting: the size after each step of Deep Compression, in theory and as files.
        choice: what a budget or a largest loss chose for each layer.
        tries: the size of each try, and its loss in points.
        budget_bytes, budget_cycles, budget_flash_bytes, max_drop: what was asked for.
        target: of a budget of cycles or flash, whose estimates they are.
        validation: accuracy of the model as it was on the images that a largest loss is judged by.
    """

    stages: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    accounting: dict[str, Any]
    choice: tuple[dict[str, Any], ...] | None = field(default=None, metadata=SOMETIMES)
    tries: tuple[dict[str, Any], ...] | None = field(default=None, metadata=SOMETIMES)
    budget_bytes: int | None = field(default=None, metadata=SOMETIMES)
    budget_cycles: int | None = field(default=None, metadata=SOMETIMES)
    budget_flash_bytes: int | None = field(default=None, metadata=SOMETIMES)
    target: str | None = field(default=None, metadata=SOMETIMES)
    max_drop: float | None = field(default=None, metadata=SOMETIMES)
    validation: dict[str, Any] | None = field(default=None, metadata=SOMETIMES)

    def _repr_html_(self) -> str:
        return stage_table(self.stages)


@dataclass(frozen=True, repr=False)
class ExportRecord(Result):
    """What was verified of a file that was written; also beside it, as FILE.tflite.json.

    Attributes:
        fidelity: how far the file follows the Keras model; None where nothing was compared.
        notes: sentences about the file on its target.
        compiled: what the target's compiler made of it.
        mcu: flash, arena and operators, and how TFLM answers.

    The others are those of `edgenets.export.write.checked_file.write_checked`.
    """

    size_bytes: int
    sha256: str
    format: str
    target: str
    client: str | None
    sparse: bool
    names: bool
    fidelity: dict[str, Any] | None
    fidelity_images: str | None
    codes: str | None
    kept_float: tuple[str, ...]
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    integer_only: bool
    runtimes: tuple[dict[str, Any], ...]
    xnnpack: dict[str, Any]
    edge_tpu: dict[str, Any]
    ethos_u: dict[str, Any] | None
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...] | None = field(default=None, metadata=SOMETIMES)
    compiled: dict[str, Any] | None = field(default=None, metadata=SOMETIMES)
    mcu: dict[str, Any] | None = field(default=None, metadata=SOMETIMES)


@dataclass(frozen=True, repr=False)
class PackRecord(Result):
    """A `.tflite` and its package: their sizes, and the SHA-256 of the `.tflite`.

    `base_sha256` is that of the base file, which a package of changes needs; None without one.
    """

    in_bytes: int
    out_bytes: int
    sha256: str
    base_sha256: str | None


def stage_rows(
    stages: Iterable[Mapping[str, Any]], columns: Sequence[str]
) -> list[tuple[str, ...]]:
    """Return the rows of a table of stages, with some `columns` of `STAGE_CELLS`."""
    return [tuple(STAGE_CELLS[column](stage) for column in columns) for stage in stages]


def stage_table(stages: Iterable[Mapping[str, Any]], title: str = "") -> str:
    """Return a table of stages for a notebook."""
    columns = [column for column in STAGE_CELLS if column not in (">top-5", ">nonzeros")]
    return html_table(columns, stage_rows(stages, columns), title)
