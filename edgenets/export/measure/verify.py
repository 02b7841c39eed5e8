"""Does a `.tflite` file answer alike in every runtime? The same images through each, compared.

The first runtime is what the others are compared with: LiteRT's reference kernels where they run,
whose rounding is the specification's and which microcontrollers follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.images import Preparation
from edgenets.data.input_range import Range
from edgenets.data.loading import UNLABELLED, Split
from edgenets.data.sources import open_for_evaluation
from edgenets.errors import EdgenetsError
from edgenets.export.board.protocol import KERNELS, TFLM
from edgenets.export.devices.device import Device
from edgenets.export.measure.accuracy import unprepared_warnings
from edgenets.export.measure.classifier import ClassifierFile
from edgenets.export.measure.parting import Parting, Run, find_parting, largest_step, same_bits
from edgenets.export.measure.predict import usual_preparation
from edgenets.export.measure.remote_classifier import COPIES
from edgenets.export.measure.runtimes import RUNTIMES, images_within, open_runtimes
from edgenets.files import sha256_bytes
from edgenets.flatbuffer.sizes import tensor_bytes
from edgenets.intervals import wilson_interval
from edgenets.memory import read_bounded, require
from edgenets.progress import progress_bar

IMAGES = 64
"""Compared, if not told otherwise."""
IMAGES_AT_ONCE = 256
SEED = 0
BRIEF_IMAGES = 8
BRIEF_MACS = 200_000_000
"""In a run's report, what each runtime computes at most, unless one image is more: the reference
kernels take half a second for it."""
BRIEF_RUNTIMES = (*KERNELS, TFLM)


class Inputs(NamedTuple):
    """What is run: `codes` as the file takes them, and the classes, where they are known."""

    codes: NDArray[Any]  # [images, height, width, 3]
    labels: NDArray[np.int64] | None  # [images]


class Ran(NamedTuple):
    """A run and what came of it: `outputs`, or the `problem` in one sentence."""

    run: Run
    name: str
    package: str | None = None
    version: str | None = None
    outputs: NDArray[Any] | None = None  # [images, classes]
    problem: str | None = None


def verify_file(
    path: Path,
    source: str | None = None,
    images: int = IMAGES,
    *,
    runtimes: Sequence[str] = (),
    devices: Sequence[Device] = (),
    against: Path | None = None,
    labels: Sequence[str] | None = None,
    input_range: Range | None = None,
    patience_seconds: float | None = None,
) -> dict[str, Any]:
    """Run the same images through several runtimes and compare what they return.

    Args:
        path: of the file, an image classifier.
        source: the dataset whose test images are taken, evenly spread; None: images of noise.
        images: how many.
        runtimes: of `RUNTIMES`; none: all that are at hand.
        devices: where the file runs, too.
        against: another file with the same input and output, compared with this one in the first
            runtime alone.
        labels, input_range: what the file does not say, as for `ClassifierFile`.
        patience_seconds: as for `open_device`.

    Returns:
        As `edgenets.results.verification.Verification` describes it.

    Raises:
        EdgenetsError: the file or the dataset cannot be read, a runtime that was asked for is not
            at hand, or none runs the file.
    """
    content = read_bounded(path)
    classifier = ClassifierFile(path, labels=labels, input_range=input_range)
    other = None if against is None else _other_file(against, classifier, labels, input_range)
    with ExitStack() as stack:
        names = runtimes or (RUNTIMES[:1] if other else RUNTIMES)
        opened, missing = open_runtimes(
            stack, names, devices, path.name, patience_seconds=patience_seconds
        )
        if runtimes and missing:
            raise EdgenetsError(missing[0]["reason"])
        warnings: list[str] = []
        if source is None:
            inputs = _noise(classifier, images)
        else:
            inputs = _test_images(classifier, path, source, images, warnings)
        candidates = [(Run(runtime, content), runtime.name) for runtime in opened]
        if against is not None and other is not None:
            first, name = candidates[0]
            candidates = [(first, name), (first._replace(content=other), f"{name}, {against.name}")]
        return {
            "model": {"name": path.name, "sha256": sha256_bytes(content)},
            "against": None if against is None else against.name,
            "data": source,
            "images": len(inputs.codes),
            **compare(classifier, candidates, inputs),
            "missing": missing,
            "warnings": warnings,
        }


def verify_briefly(
    content: bytes, name: str, pixels: NDArray[np.uint8], labels: NDArray[np.int64]
) -> dict[str, Any]:
    """Compare LiteRT's kernels, and TFLM where it is installed, on a few images for a report.

    Args:
        content: of the file.
        name: of the file.
        pixels: prepared images, [images, height, width, 3]; those are taken that `BRIEF_MACS` has
            room for, and at least one.
        labels: [images], the index of each one's class.

    Returns:
        The `images` that were taken, and what `compare` returns.

    Raises:
        EdgenetsError: no runtime runs the file.
    """
    classifier = ClassifierFile(content)
    taken = images_within(BRIEF_MACS, flatbuffer.read(content), len(pixels))
    inputs = Inputs(classifier.inputs(pixels[:taken]), labels[:taken])
    with ExitStack() as stack:
        runtimes, _ = open_runtimes(stack, BRIEF_RUNTIMES, file_name=name)
        candidates = [(Run(runtime, content), runtime.name) for runtime in runtimes]
        return {"images": taken, **compare(classifier, candidates, inputs)}


def compare(
    classifier: ClassifierFile, candidates: Sequence[tuple[Run, str]], inputs: Inputs
) -> dict[str, Any]:
    """Run all candidates on the same inputs and compare each with the first that runs.

    Returns:
        `runtimes` and `first_difference`, as those of
        `edgenets.results.verification.Verification`.

    Raises:
        EdgenetsError: none runs the file.
    """
    with progress_bar("verify", total=2 * len(candidates)) as advance:
        ran = []
        for run, name in candidates:
            ran.append(_ran(run, name, inputs.codes))
            advance(1, name)
        first = next((one for one in ran if one.outputs is not None), None)
        if first is None:
            raise EdgenetsError(f"no runtime runs the file: {ran[0].name} says: {ran[0].problem}")
        rows = []
        for one in ran:
            rows.append(_row(classifier, first, one, inputs))
            advance(1, one.name)
    partings = [row for row in rows if row["first_difference"]]
    earliest = min(partings, key=lambda row: row["first_difference"]["operator"], default=None)
    return {
        "runtimes": rows,
        "first_difference": earliest
        and {**earliest["first_difference"], "runtimes": [first.name, earliest["name"]]},
    }


def runtime_row(name: str, package: str | None, version: str | None) -> dict[str, Any]:
    """Return what is told of a runtime before anything is known of its answers."""
    found = ("bit_equal", "largest_step", "same_answers", "ci95", "top1")
    row = {"name": name, "package": package, "version": version, **dict.fromkeys(found)}
    return {**row, "first_difference": None, "problem": None}


def _ran(run: Run, name: str, codes: NDArray[Any]) -> Ran:
    try:
        answers = run.runtime.run(run.content, codes)
    except EdgenetsError as error:
        return Ran(run, name, problem=str(error))
    return Ran(run, name, answers.package, answers.version, answers.outputs[0])


def _row(classifier: ClassifierFile, first: Ran, one: Ran, inputs: Inputs) -> dict[str, Any]:
    """Return what is told of one runtime, compared with the first."""
    row = runtime_row(one.name, one.package, one.version)
    row["problem"] = one.problem
    if one.outputs is None or first.outputs is None:
        return row
    equal = np.asarray(same_bits(one.outputs, first.outputs).all(axis=1))
    row["bit_equal"] = int(equal.sum())
    row["largest_step"] = largest_step(one.outputs, first.outputs)
    row["problem"] = _not_finite(one.outputs)
    if row["problem"] is None:
        answers = _answers(classifier, one.outputs)
        if inputs.labels is not None:
            row["top1"] = float(np.mean(answers == inputs.labels))
        if _not_finite(first.outputs) is None:
            row["same_answers"] = float(np.mean(answers == _answers(classifier, first.outputs)))
            row["ci95"] = list(wilson_interval(row["same_answers"], len(equal)))
    if not equal.all():
        parting = _parting(first, one, inputs.codes[~equal])
        if isinstance(parting, Parting):
            row["first_difference"] = parting.to_json()
        else:
            row["problem"] = row["problem"] or parting
    return row


def _parting(first: Ran, one: Ran, codes: NDArray[Any]) -> Parting | str:
    """Return where two runs part, or why that cannot be told."""
    try:
        parting = find_parting(first.run, one.run, codes)
    except EdgenetsError as error:
        return f"its operators cannot be compared: {error}"
    return parting or (
        "its operators cannot be compared: with all that they make as outputs, the answers are "
        f"those of {first.name}"
    )


def _answers(classifier: ClassifierFile, outputs: NDArray[Any]) -> NDArray[np.int64]:
    return classifier.logits_of(outputs).argmax(axis=1)


def _not_finite(outputs: NDArray[Any]) -> str | None:
    images = int((~np.isfinite(outputs.astype(np.float64))).any(axis=1).sum())
    return f"it returned a NaN or an infinity for {images} images" if images else None


def _require_room(classifier: ClassifierFile, images: int) -> None:
    """Check that so many inputs may be held in memory; errors are those of `require`."""
    require(COPIES * images * tensor_bytes(classifier.input), f"{images} images are too many")


def _noise(classifier: ClassifierFile, images: int) -> Inputs:
    _require_room(classifier, images)
    shape = (images, *classifier.input.shape[1:])
    pixels = np.random.default_rng(SEED).integers(0, 256, shape, dtype=np.uint8)
    return Inputs(classifier.inputs(pixels), None)


def _test_images(
    classifier: ClassifierFile, path: Path, source: str, images: int, warnings: list[str]
) -> Inputs:
    """Return test images, evenly spread; add to `warnings` what there is to say of them."""
    split, preparation, more = spread_split(classifier, path, source, images)
    _require_room(classifier, len(split))
    loaded = split.load(preparation, once=True)
    parts = [
        classifier.inputs(loaded.take(np.arange(start, min(start + IMAGES_AT_ONCE, len(split)))))
        for start in range(0, len(split), IMAGES_AT_ONCE)
    ]
    warnings += [*unprepared_warnings(classifier, preparation), *more]
    return Inputs(np.concatenate(parts), None if UNLABELLED in split.labels else split.labels)


def spread_split(
    classifier: ClassifierFile, path: Path, source: str, images: int | None
) -> tuple[Split, Preparation, tuple[str, ...]]:
    """Return so many test images of a dataset (None: all), how the file prepares them, warnings.

    The images are `UNLABELLED` where their classes are not the file's: answers are compared alike.

    Raises:
        EdgenetsError: the dataset cannot be used, or the file does not say how to prepare it.
    """
    preparation = classifier.preparation or usual_preparation(classifier, path)
    labels = classifier.labels or ()
    opened = open_for_evaluation(source, labels, classifier.seeded_split, of_any_class=True)
    chosen = opened.split.subset(evenly_spread(len(opened.split), images))
    return chosen, preparation, opened.warnings


def evenly_spread(available: int, wanted: int | None) -> NDArray[np.int64]:
    """Return so many different indices of those that there are; None: all.

    >>> evenly_spread(10, 4)
    array([0, 3, 6, 9])
    """
    number = available if wanted is None else min(wanted, available)
    return np.linspace(0, available - 1, number).round().astype(np.int64)


def _other_file(
    path: Path,
    classifier: ClassifierFile,
    labels: Sequence[str] | None,
    input_range: Range | None,
) -> bytes:
    """Return the content of a file that is compared with another.

    Raises:
        EdgenetsError: it takes or returns something else.
    """
    content = read_bounded(path)
    other = ClassifierFile(path, labels=labels, input_range=input_range)
    for what, ours, theirs in (
        ("takes", classifier.input, other.input),
        ("returns", classifier.output, other.output),
    ):
        if _kind(ours) != _kind(theirs):
            raise EdgenetsError(
                f"{path} {what} {_in_words(theirs)} where the other file has {_in_words(ours)}; "
                "compare files of one net and one format"
            )
    return content


def _kind(tensor: flatbuffer.Tensor) -> Any:
    return tensor.shape, tensor.dtype, tensor.scale.tolist(), tensor.zero_point.tolist()


def _in_words(tensor: flatbuffer.Tensor) -> str:
    steps = ", ".join(f"{scale:.6g}" for scale in tensor.scale)
    return f"{tensor.dtype} of {tensor.shape}" + (f" in steps of {steps}" if steps else "")
