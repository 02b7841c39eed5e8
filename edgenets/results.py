"""What the verbs return: frozen dataclasses whose `to_json()` is what a command's `--json` prints.

A field is a key of the JSON value, by the same name. Fields that are marked `SOMETIMES` are None,
and their keys are missing, where they do not apply. In a notebook a result shows itself as a table.
"""

from __future__ import annotations

import html
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from reprlib import Repr
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from edgenets.errors import EdgenetsError
from edgenets.progress import printable
from edgenets.units import (
    format_bytes,
    format_count,
    format_interval,
    format_ms,
    format_percent,
    format_seconds,
)

if TYPE_CHECKING:
    from typing_extensions import Self

BRIEF = Repr()
"""What `repr` leaves out of long values: a report holds pictures."""
BRIEF.maxlevel, BRIEF.maxstring, BRIEF.maxother = 1, 40, 60
BRIEF.maxdict = BRIEF.maxlist = BRIEF.maxtuple = 3
MOST_ROWS = 20
"""Of a table in a notebook."""
SOMETIMES = {"sometimes": True}
"""Metadata of a field whose key is missing where the field is None."""
NO_KEY = {"no_key": True}
"""Metadata of a field that JSON does not have."""
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


SWEEP_CELLS: dict[str, Callable[[str, Mapping[str, Any]], str]] = {
    "front": lambda mark, row: mark,
    "net": lambda mark, row: str(row["net"]),
    "recipe": lambda mark, row: str(row["recipe"]),
    "target": lambda mark, row: str(row["target"]),
    ">top-1": lambda mark, row: format_percent(row["top1"]),
    ">95 % interval": lambda mark, row: format_interval(row["ci95"]),
    ">stored": lambda mark, row: format_bytes(row["stored_bytes"]),
    ">loaded": lambda mark, row: format_bytes(row["size_bytes"]),
    ">MACs": lambda mark, row: _count_or_dash(row["macs"]),
    ">instructions": lambda mark, row: _count_or_dash(row["instructions"]),
    ">cycles": lambda mark, row: _count_or_dash(row["cycles"]),
    ">arena": lambda mark, row: format_bytes(row["arena_bytes"]),
}
"""What a table of a sweep's trials shows in each column, from the front's mark and the JSON."""


VERIFY_CELLS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "runtime": lambda row: str(row["name"]),
    ">bit-equal": lambda row: "-" if row["bit_equal"] is None else str(row["bit_equal"]),
    ">step": lambda row: "-" if row["largest_step"] is None else f"{row['largest_step']:.4g}",
    ">same answers (95 %)": lambda row: (
        format_percent(row["same_answers"])
        + (" ({:.1f}-{:.1f})".format(*(100 * end for end in row["ci95"])) if row["ci95"] else "")
    ),
    ">top-1": lambda row: format_percent(row["top1"]),
}
"""What a table of runtimes shows in each column, from the JSON of a runtime. With an emulated board
it fits 80 columns; what is longer stands below it, `verify_lines`."""


def verify_rows(runtimes: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the rows of a table of runtimes, with the columns of `VERIFY_CELLS`."""
    return [tuple(cell(row) for cell in VERIFY_CELLS.values()) for row in runtimes]


def verify_lines(runtimes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the lines below that table: where each parts, what went wrong, and the versions."""
    lines = []
    versions: dict[str, list[str]] = {}
    for row in runtimes:
        if row["first_difference"]:
            lines.append(f"{row['name']} parts at {_parting(row['first_difference'])}")
        if row["problem"]:
            lines.append(f"{row['name']}: {row['problem']}")
        if row["package"]:
            versions.setdefault(f"{row['package']} {row['version']}", []).append(row["name"])
    return lines + [f"{version}: {', '.join(names)}" for version, names in versions.items()]


def _parting(found: Mapping[str, Any]) -> str:
    """Return where, and how much differs there."""
    where = f"{found['op']} {found['operator']}" + (f" ({found['name']})" * bool(found["name"]))
    if found["values"] is None:
        return f"{where}: the files have different operators there"
    images = "1 image" if found["images"] == 1 else f"{found['images']} images"
    return (
        f"{where}: {found['values']:,} of the {found['of']:,} values that it makes of {images} "
        "differ"
    )


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> str:
    """Return a table for a notebook; texts are escaped, and columns with ">" are set to the right.

    >>> html_table(("class", ">images"), [("cat & dog", "3")])[:38]
    '<table><thead><tr><th style="text-alig'
    """

    def cells(tag: str, texts: Sequence[str]) -> str:
        sides = ("right" if column.startswith(">") else "left" for column in columns)
        return "".join(
            f'<{tag} style="text-align: {side}">{html.escape(printable(text))}</{tag}>'
            for side, text in zip(sides, texts, strict=True)
        )

    head = cells("th", [column.removeprefix(">") for column in columns])
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    caption = f"<p>{html.escape(printable(title))}</p>" if title else ""
    return f"{caption}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True, repr=False)
class Result:
    """What a verb measured or did; the base of the classes below."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any], **more: Any) -> Self:
        """Return the result whose `to_json()` is `content`.

        Args:
            content: a JSON value with exactly the keys of the class.
            more: the fields that JSON does not have.
        """
        kinds = get_type_hints(cls)
        return cls(**{key: _read(value, kinds.get(key)) for key, value in content.items()}, **more)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value that the command prints with `--json`."""
        content = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.metadata.get("no_key") or (each.metadata.get("sometimes") and value is None):
                continue
            content[each.name] = _write(value)
        return content

    def __repr__(self) -> str:
        shown = (f"{each.name}={BRIEF.repr(getattr(self, each.name))}" for each in fields(self))
        return f"{type(self).__name__}({', '.join(shown)})"

    def _repr_html_(self) -> str:
        rows = [(key, _short(value)) for key, value in self.to_json().items()]
        return html_table(("", ""), rows)


@dataclass(frozen=True, repr=False)
class Skipped(Result):
    """A file that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True, repr=False)
class ClassScore(Result):
    """The accuracy on one class; None without images of it."""

    label: str
    samples: int
    top1: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True, repr=False)
class Accuracy(Result):
    """How often a net is right, and what it takes for what.

    Attributes:
        top1: fraction of the images whose class comes first.
        top5: fraction whose class is among the first five; None below six classes.
        ci95: low and high end of the 95 % confidence interval of `top1`.
        samples: number of images.
        per_class: the same for each class.
        confusion: [true class][answer], numbers of images.
        skipped: files that were left out.
        warnings: sentences on what the accuracy does not say.
    """

    top1: float
    top5: float | None
    ci95: tuple[float, float]
    samples: int
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]

    def _repr_html_(self) -> str:
        top5 = "" if self.top5 is None else f", top-5 {format_percent(self.top5)}"
        title = (
            f"top-1 {format_percent(self.top1)} (95 % interval {format_interval(self.ci95)}){top5} "
            f"of {self.samples} images"
        )
        tested = [row for row in self.per_class if row.samples]
        weakest = sorted(tested, key=lambda row: row.top1 or 0)[:MOST_ROWS]
        shown = tested if len(tested) <= MOST_ROWS else weakest
        if len(tested) > MOST_ROWS:
            title += f"; the {MOST_ROWS} weakest classes"
        rows = [
            (row.label, str(row.samples), format_percent(row.top1), format_interval(row.ci95))
            for row in shown
        ]
        return html_table(("class", ">images", ">top-1", ">95 % interval"), rows, title)


@dataclass(frozen=True, repr=False)
class TrainRecord(Accuracy):
    """What a training made: its accuracy on the test images."""


@dataclass(frozen=True, repr=False)
class Evaluation(Accuracy):
    """The accuracy on a dataset, here or on a device.

    Attributes:
        labels: of the classes, in the order of the net's outputs.
        split: which images these are: "test", "own test" or "all".
        device: where the file ran, if not here.
        runtime: its interpreter there.
        here: what came out of this machine on the same inputs.
    """

    labels: tuple[str, ...]
    split: str
    device: dict[str, Any] | None = field(default=None, metadata=SOMETIMES)
    runtime: dict[str, Any] | None = field(default=None, metadata=SOMETIMES)
    here: dict[str, Any] | None = field(default=None, metadata=SOMETIMES)


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
        return _stage_table(self.stages)


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


@dataclass(frozen=True, repr=False)
class Answer(Result):
    """A class that may be in an image; `name` is what an ImageNet class is called."""

    label: str
    name: str | None
    score: float


@dataclass(frozen=True, repr=False)
class Prediction(Result):
    """What is in one image: the likeliest classes, or why it could not be read."""

    path: str
    top: tuple[Answer, ...] | None = field(default=None, metadata=SOMETIMES)
    error: str | None = field(default=None, metadata=SOMETIMES)

    @property
    def label(self) -> str:
        """The likeliest class.

        Raises:
            EdgenetsError: the image could not be read.
        """
        return self._best.label

    @property
    def score(self) -> float:
        """The probability of the likeliest class.

        Raises:
            EdgenetsError: the image could not be read.
        """
        return self._best.score

    @property
    def _best(self) -> Answer:
        if self.top is None:
            raise EdgenetsError(f"{self.path}: {self.error}")
        return self.top[0]

    def _cells(self) -> Iterator[tuple[str, str, str]]:
        if self.top is None:
            yield self.path, self.error or "", ""
        for rank, best in enumerate(self.top or ()):
            named = f"{best.label} {best.name}" if best.name else best.label
            yield "" if rank else self.path, named, format_percent(best.score)

    def _repr_html_(self) -> str:
        return html_table(("image", "class", ">probability"), self._cells())


class Predictions(tuple[Prediction, ...]):
    """What is in each of some images; with one image, `label` and `score` are its own."""

    @property
    def label(self) -> str:
        """The likeliest class of the one image.

        Raises:
            EdgenetsError: there are several images, or it could not be read.
        """
        return self._one.label

    @property
    def score(self) -> float:
        """The probability of that class; errors are those of `label`."""
        return self._one.score

    @property
    def _one(self) -> Prediction:
        if len(self) != 1:
            raise EdgenetsError(
                f"{len(self)} images were classified: each has its own label and score"
            )
        return self[0]

    def to_json(self) -> list[dict[str, Any]]:
        """Return the JSON value that `edgenets predict --json` prints."""
        return [prediction.to_json() for prediction in self]

    def _repr_html_(self) -> str:
        rows = [cells for prediction in self for cells in prediction._cells()]
        return html_table(("image", "class", ">probability"), rows)


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


@dataclass(frozen=True, repr=False)
class VerifiedRuntime(Result):
    """What a file answered in one runtime, compared with the first that runs it.

    Attributes:
        name: reference, optimized, xnnpack, tflm, tosa, a device, or a client.
        package, version: of what ran it; None where it did not run.
        bit_equal: images whose outputs are equal to the last bit.
        largest_step: between two outputs: codes where they are integers, else units.
        same_answers: fraction of the images with the same first answer.
        ci95: low and high end of its 95 % confidence interval.
        top1: fraction of the images whose class comes first; None without classes.
        first_difference: the first operator that makes something else: its `operator`, an index,
            `op`, `name` of the layer, how many of its `values` differ `of` all that it makes of
            so many `images`, the first few that are not equal, and the `largest_step`; None where
            all images are equal.
        problem: a sentence, where it died, or returned what is no number.
    """

    name: str
    package: str | None
    version: str | None
    bit_equal: int | None
    largest_step: float | None
    same_answers: float | None
    ci95: tuple[float, float] | None
    top1: float | None
    first_difference: dict[str, Any] | None
    problem: str | None


@dataclass(frozen=True, repr=False)
class Verification(Result):
    """Whether a file answers alike in several runtimes, on the same images.

    Attributes:
        model: its name and sha256.
        against: the other file that it was compared with.
        data: the dataset; None for images of noise.
        images: how many.
        runtimes: the first that runs is what the others are compared with.
        first_difference: the earliest operator of all `first_difference`, and between which
            `runtimes`; None where none was found.
        missing: runtimes that are not at hand, and what makes each available.
    """

    model: dict[str, Any]
    against: str | None
    data: str | None
    images: int
    runtimes: tuple[VerifiedRuntime, ...]
    first_difference: dict[str, Any] | None
    missing: tuple[dict[str, str], ...]
    warnings: tuple[str, ...]

    def _repr_html_(self) -> str:
        runtimes = [row.to_json() for row in self.runtimes]
        title = f"{self.model['name']}, {self.images} images"
        lines = (f"<p>{html.escape(printable(line))}</p>" for line in verify_lines(runtimes))
        return html_table(tuple(VERIFY_CELLS), verify_rows(runtimes), title) + "".join(lines)


@dataclass(frozen=True, repr=False)
class Inspection(Result):
    """What is in a `.tflite` file, and what limits it on a target.

    The fields are those that `edgenets.export.inspect.inspection.inspect_file` describes.
    """

    size_bytes: int
    subgraphs: int
    ops: dict[str, int]
    op_versions: dict[str, list[int]]
    operators: tuple[dict[str, Any], ...]
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    macs: int
    weights: tuple[dict[str, Any], ...]
    weight_bytes: int
    entropy_bytes: float
    unpacked_bytes: int
    arena_bytes: int
    edge_tpu: dict[str, Any]
    ethos_u: dict[str, Any] | None
    compiled_for: str | None
    metadata: dict[str, int]
    described: dict[str, Any] | None
    files: dict[str, int]
    labels: tuple[str, ...] | None
    labels_from: str | None
    edgenets: dict[str, Any] | None
    xnnpack: dict[str, Any]
    warnings: tuple[str, ...]
    target: dict[str, Any] | None

    def predicted_on(self, accelerator: str) -> dict[str, Any]:
        """Return what is predicted of an accelerator: "edge_tpu", or "ethos_u" where asked for."""
        return dict(getattr(self, accelerator))

    def costs(self, *, entropy: bool = False) -> str:
        """Return what the file costs, in words; a compiled one does not show its MACs."""
        macs = "" if self.compiled_for else f"{format_count(self.macs)} MACs, "
        coded = f" (entropy {format_bytes(self.entropy_bytes)})" if entropy else ""
        return (
            f"{format_bytes(self.size_bytes)}, {macs}{format_bytes(self.weight_bytes)} of "
            f"weights{coded}, {format_bytes(self.arena_bytes)} of activations at once"
        )

    def _repr_html_(self) -> str:
        rows = [(name, str(number)) for name, number in self.ops.items()]
        shown = html_table(("operator", ">count"), rows, self.costs())
        if self.target and self.target["limits"]:
            heading = f"what limits it on {self.target['name']}"
            shown += html_table((heading,), [(limit,) for limit in self.target["limits"]])
        return shown


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
        return _stage_table([stage.to_json() for stage in self.stages], title)


@dataclass(frozen=True, repr=False)
class Release(Result):
    """A release of a model, as signed metadata hold it; docs/reference/releases.md has the fields.

    Attributes:
        number: of the release; of a model they only go up.
        sha256, size_bytes: of the `.tflite`.
        package: the target that holds it: `target`, `sha256`, `size_bytes`.
        deltas: packages that need another file, `base_sha256`; else as `package`.
        device_class: of the devices that it is for; None: of any.
        targets: that the file was exported for.
        runtimes: that may run it: `name`, `oldest` and `before`, None without such a bound; none:
            all may.
        probes: inputs with the answers that are expected: `target`, `sha256`, `size_bytes`, how
            many `images`, the `runtime` whose answers they are, and the `tolerance` of others.
        percent: of the devices that get it.
        yanked: whether no device is to have it.
    """

    model: str
    number: int
    sha256: str
    size_bytes: int
    package: dict[str, Any]
    deltas: tuple[dict[str, Any], ...]
    device_class: str | None
    targets: tuple[str, ...]
    runtimes: tuple[dict[str, Any], ...]
    preparation: dict[str, Any] | None
    top1: float | None
    ci95: tuple[float, float] | None
    samples: int | None
    probes: dict[str, Any] | None
    percent: int
    yanked: bool


@dataclass(frozen=True, repr=False)
class ReleaseListing(Result):
    """The releases of a repository, and when and by which keys its metadata are signed.

    Attributes:
        expires: by role, when its metadata end, such as "2026-12-24T00:00:00Z".
        keys: by role, the ids of its keys.
        threshold: how many of the root's keys must sign.
    """

    releases: tuple[Release, ...]
    expires: dict[str, str]
    keys: dict[str, list[str]]
    threshold: int


@dataclass(frozen=True, repr=False)
class UpdateStatus(Result):
    """The model of a board's folder.

    Attributes:
        path: of the model; None where none is installed yet.
        release: of it.
        pending: what must happen until it is confirmed, None where it is: `starts` of
            `starts_allowed`, `seconds` of `seconds_allowed`.
        previous: the number of the release that `rollback` leads to; None without one.
        left: releases that this board does not install again: `number`, `sha256`, `reason`.
    """

    path: str | None
    release: Release | None
    pending: dict[str, Any] | None
    previous: int | None
    left: tuple[dict[str, Any], ...]


@dataclass(frozen=True, repr=False)
class UpdateRecord(UpdateStatus):
    """What an update did.

    Attributes:
        action: "installed", "current" (there is nothing newer) or "waiting" (the last one is not
            confirmed yet).
        downloaded_bytes: of packages and probes.
        base_sha256: of the file that a delta was applied to; None of a full package.
        notes: sentences.
    """

    action: str
    downloaded_bytes: int
    base_sha256: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class BoardUpdate(Result):
    """What `edgenets update` did on one of several boards: `error`, or the others.

    Attributes:
        action: as of `UpdateRecord`; "" where nothing was to be updated.
        pending: whether the model is not confirmed yet.
    """

    device: str
    action: str | None
    model: str | None
    number: int | None
    pending: bool | None
    downloaded_bytes: int | None
    error: str | None


@dataclass(frozen=True, repr=False)
class SweepTrial(Result):
    """A point of a sweep's space, for one target.

    Attributes:
        trial: number; trials of several targets have it in common.
        arguments: of the net, those that the space names.
        state: "finished"; or "stopped" at a rung of the halving, "outside" the constraints,
            "failed", or "chosen" or "inside" while its work is not done.
        reason: the constraints that it breaks, or the sentence of its failure.
        measured: whether the figures are those of the final file, or of the untrained one.
        top1_drop: points that compression cost, against the float net.
        right: which test images are answered rightly, a bit each in hexadecimal.
        run: the run folder, in that of the sweep.
        alike: indices of trials on the front whose accuracy cannot be told apart from this one's.
        epochs: passes over the training images.
    """

    trial: int
    net: str
    arguments: dict[str, Any]
    recipe: str
    target: str
    state: str
    reason: tuple[str, ...]
    measured: bool
    params: int | None
    macs: int | None
    stored_bytes: int | None
    size_bytes: int | None
    arena_bytes: int | None
    instructions: int | None
    cycles: int | None
    top1: float | None
    ci95: tuple[float, float] | None
    samples: int | None
    top1_drop: float | None
    right: str | None
    run: str | None
    alike: tuple[int, ...]
    epochs: int

    def _repr_html_(self) -> str:
        cells = {name: cell("", self.to_json()) for name, cell in SWEEP_CELLS.items()}
        return html_table((net_words(self.to_json()), ">"), cells.items())


def sweep_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the table of a sweep.json's finished trials, the front marked, by size."""
    rows = result["trials"]
    finished = [i for i, row in enumerate(rows) if row["state"] == "finished"]
    finished.sort(key=lambda i: (rows[i]["target"], rows[i]["stored_bytes"]))
    common = common_arguments(rows)
    return [
        tuple(
            cell(
                "*" if i in result["front"] else "", {**rows[i], "net": net_words(rows[i], common)}
            )
            for cell in SWEEP_CELLS.values()
        )
        for i in finished
    ]


def stage_rows(
    stages: Iterable[Mapping[str, Any]], columns: Sequence[str]
) -> list[tuple[str, ...]]:
    """Return the rows of a table of stages, with some `columns` of `STAGE_CELLS`."""
    return [tuple(STAGE_CELLS[column](stage) for column in columns) for stage in stages]


def net_words(row: Mapping[str, Any], common: Mapping[str, Any] | None = None) -> str:
    """Return a trial's net and its arguments, without those of `common`.

    >>> trial = {"net": "mobilenet_v1", "arguments": {"width": 0.25, "resolution": 32}}
    >>> net_words(trial), net_words(trial, {"resolution": 32})
    ('mobilenet_v1 width=0.25 resolution=32', 'mobilenet_v1 width=0.25')
    """
    return " ".join((row["net"], *argument_words(row["arguments"], common or {})))


def argument_words(arguments: Mapping[str, Any], common: Mapping[str, Any]) -> list[str]:
    """Return KEY=VALUE of each argument that is not in `common`."""
    return [f"{key}={value}" for key, value in arguments.items() if key not in common]


def common_arguments(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the arguments that all trials have alike, if there are several trials."""
    of_first = rows[0]["arguments"] if rows else {}
    return {
        key: value
        for key, value in of_first.items()
        if len({row["trial"] for row in rows}) > 1
        and all(row["arguments"].get(key) == value for row in rows)
    }


def _count_or_dash(count: int | None) -> str:
    return "-" if count is None else format_count(count)


def _stage_table(stages: Iterable[Mapping[str, Any]], title: str = "") -> str:
    columns = [column for column in STAGE_CELLS if column not in (">top-5", ">nonzeros")]
    return html_table(columns, stage_rows(stages, columns), title)


def _read(value: Any, kind: Any) -> Any:
    """Return a JSON value as the type of a field has it."""
    if get_origin(kind) in (Union, types.UnionType):  # with None
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    if value is not None and isinstance(kind, type) and issubclass(kind, Result):
        return kind.from_json(value)
    if value is not None and get_origin(kind) is tuple:
        return tuple(_read(each, get_args(kind)[0]) for each in value)
    return _write(value)


def _write(value: Any) -> Any:
    """Return a value as JSON has it: a tuple, at any depth, is a list."""
    match value:
        case Result():
            return value.to_json()
        case list() | tuple():
            return [_write(each) for each in value]
        case dict():
            return {key: _write(each) for key, each in value.items()}
    return value


def _short(value: Any) -> str:
    match value:
        case list():
            return ", ".join(map(_short, value)) if len(value) <= MOST_ROWS else f"{len(value)}"
        case dict():
            return ", ".join(f"{key} {_short(each)}" for key, each in value.items())
    return "-" if value is None else str(value)
