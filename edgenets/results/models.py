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
class CompressTry(Result):
    """A recipe that was tried within a largest loss, on held-out training images.

    Attributes:
        recipe: in words.
        stages: of each its name, and the settings that are not the defaults.
        drop: points of top-1 lost against the model as it was; `drop_ci95`, their interval, of the
            same images in pairs.
        stored_bytes: of the file as it travels.
        instructions: of an inference on the target, by estimate; None where there is none.
        seconds: of the stages that no earlier try had done.
    """

    recipe: str
    stages: tuple[dict[str, Any], ...]
    top1: float
    ci95: tuple[float, float]
    samples: int
    drop: float
    drop_ci95: tuple[float, float]
    stored_bytes: int
    size_bytes: int
    instructions: int | None
    seconds: float


TRY_CELLS: dict[str, Callable[[str, Mapping[str, Any]], str]] = {
    "front": lambda mark, row: mark,
    "recipe": lambda mark, row: str(row["recipe"]),
    ">top-1": lambda mark, row: format_percent(row["top1"]),
    ">loses": lambda mark, row: f"{row['drop']:.2f}",
    ">95 % interval": lambda mark, row: "{:.2f} to {:.2f}".format(*row["drop_ci95"]),
    ">stored": lambda mark, row: f"{row['stored_bytes']:,}",
    ">instructions": lambda mark, row: "-" if (n := row["instructions"]) is None else f"{n:,}",
    ">time": lambda mark, row: format_seconds(row["seconds"]),
}
"""What a table of tries shows in each column, from the front's mark and the JSON of a try."""


@dataclass(frozen=True, repr=False)
class CompressRecord(Result):
    """What each stage of a compression made of a model.

    Attributes:
        stages: of each its name, accuracy, sizes and time; the first one is the model as it was.
        accounting: the size after each step of Deep Compression, in theory and as files.
        choice: what a budget chose for each layer.
        tries: of a budget its figure for each try; of a largest loss as `CompressTry`.
        front, chosen: indices of tries: those than which no other is as small, as fast and as
            accurate; and the one that was taken.
        refused: sentences on recipes of a search whose files answer too unlike the net.
        budget_bytes, budget_cycles, budget_flash_bytes, max_drop, objective: what was asked for.
        target: whose cycles, flash or instructions are estimated.
        before: accuracy of the model as it was on the images that a largest loss is judged by, and
            its instructions.
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
    objective: str | None = field(default=None, metadata=SOMETIMES)
    front: tuple[int, ...] | None = field(default=None, metadata=SOMETIMES)
    chosen: int | None = field(default=None, metadata=SOMETIMES)
    refused: tuple[str, ...] | None = field(default=None, metadata=SOMETIMES)
    before: dict[str, Any] | None = field(default=None, metadata=SOMETIMES)

    def _repr_html_(self) -> str:
        table = stage_table(self.stages)
        return table if self.chosen is None else table + try_table(self.to_json())


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


def try_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the table of a largest loss's tries, the smallest first.

    The front is marked by `*`, what was chosen by `<`.
    """
    tries = result["tries"]
    marks = [
        "*" * (i in result["front"]) + "<" * (i == result["chosen"]) for i in range(len(tries))
    ]
    order = sorted(range(len(tries)), key=lambda i: (tries[i]["stored_bytes"], i))
    return [tuple(cell(marks[i], tries[i]) for cell in TRY_CELLS.values()) for i in order]


def try_table(result: Mapping[str, Any]) -> str:
    """Return the table of a largest loss's tries for a notebook."""
    return html_table(tuple(TRY_CELLS), try_rows(result), "Tries, on held-out images")
