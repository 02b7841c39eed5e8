"""One step alone: train to a model folder, or import weights; export or evaluate a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.data.dataset import Skipped
from edgenets.data.images import Fit
from edgenets.data.sources import open_dataset, open_for_evaluation
from edgenets.data.splits import balanced_sample
from edgenets.errors import EdgenetsError
from edgenets.export.ends import LOGITS, Ends
from edgenets.export.formats import INT8, find_format
from edgenets.export.lower.lower import preferred_format
from edgenets.export.measure.accuracy import score_dataset, warnings_of_score
from edgenets.export.metadata import all_labels
from edgenets.export.targets import GENERIC, Target
from edgenets.export.write.checked_file import FIRMWARE, REPORT, Compile, write_checked
from edgenets.export.write.foreign import adopt, checked_images, load_trusted
from edgenets.files import check_output, locked_folder
from edgenets.folders import check_folder
from edgenets.models.folder import SPEC, Model, Spec, require_no_model
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.keys import key_of
from edgenets.pipeline.output import MODEL_FILES, check_outputs, files_of
from edgenets.pipeline.stages.inputs import (
    load_initial,
    open_training,
    say_left_out,
    training_settings,
)
from edgenets.pipeline.stages.places import CHECKPOINT, HISTORY
from edgenets.pipeline.stages.train import train_model, write_history
from edgenets.progress import warn
from edgenets.training.checkpoint import checkpoint_names, remove_checkpoint
from edgenets.training.workers import ALONE, Workers


def train_folder(
    config: RunConfig, out: Path, log_dir: Path | None = None, workers: Workers = ALONE
) -> dict[str, Any]:
    """Train the config's net into the model folder `out`; return its accuracy on the test images.

    Args:
        config: the net, the images and how it is trained.
        out: the model folder.
        log_dir: the training writes events for TensorBoard into it; it changes no result.
        workers: the processes that train it together, each in a folder of its own.

    Returns:
        What `edgenets.export.measure.accuracy.score` returns; `warnings`, sentences about images
        that are too few or uneven, and about an accuracy that says nothing; `skipped`.

    Raises:
        EdgenetsError: `out` already holds a model or another training's checkpoint, or the images
            or settings do not fit.
    """
    train = config.train
    read = (train.weights, train.labels, train.teacher)
    with locked_folder(out):
        if (out / SPEC).exists():  # a process was killed after its end, before its tidying up
            remove_checkpoint(out / CHECKPOINT)
        require_no_model(out)
        check_outputs(out, (*checkpoint_names(CHECKPOINT), HISTORY, *MODEL_FILES), read)
        images, initial = open_training(config)
        config = images.config
        dataset = images.dataset
        settings = training_settings(config, initial)
        del settings["data"]["source"]  # the images count, not where they are
        if workers.count > 1:  # whose steps are rounded otherwise
            settings["workers"] = workers.count
        key = key_of(dataset.fingerprint, settings=settings)
        model = train_model(images, initial, out / CHECKPOINT, key, log_dir, workers=workers)
        measured = images.score(predict_logits(compile_inference(model.net), images.test))
        write_history(out, model.spec.history.get("train"))
        model.save(out)
        remove_checkpoint(out / CHECKPOINT)
        return {
            **measured,
            "warnings": [*images.warnings, *warnings_of_score(measured)],
            "skipped": [skipped.to_json() for skipped in dataset.skipped],
        }


def import_folder(config: RunConfig, out: Path) -> dict[str, Any]:
    """Write the config's net with its first weights, as they are, to the model folder `out`.

    Returns:
        source and SHA-256 of the weights, and the number of their classes.

    Raises:
        EdgenetsError: `out` already holds a model, or the config names no weights, or such that
            cannot be used.
    """
    with locked_folder(out):
        require_no_model(out)
        _, initial = load_initial(config)
        if initial is None:
            raise EdgenetsError("there is nothing to import; name weights, or images to train on")
        initial.save(out)
        return {**initial.spec.initial_weights, "classes": len(initial.spec.labels)}


def export(
    model: Model,
    out: Path,
    number_format: str | None,
    data: str | None,
    calibration_images: int,
    seed: int,
    keep_float: tuple[str, ...] = (),
    target: Target = GENERIC,
    ends: Ends = LOGITS,
    names: bool | None = None,
    tables: bool = True,
    *,
    compile_for: Compile | None = None,
) -> dict[str, Any]:
    """Write `model` to the `.tflite` file `out`; return its size, hash and fidelity.

    Args:
        model: a trained or compressed one.
        out: the file, replaced if it exists.
        number_format: a name of `edgenets.export.formats.FORMATS`; by default the one in which the
            model runs fastest on the target.
        data: where images come from, of its training split. Integer formats are calibrated with
            them, and every file is compared with the model on them. int8 of a model that says how
            activations are rounded and formats with float activations need none.
        calibration_images: how many.
        seed: chooses them.
        keep_float: patterns of layers that an int8 file computes in float32; a model that says how
            activations are rounded has its own.
        target: device that the file is for.
        ends: what the file takes and gives.
        names: whether tensors keep their names; by default as the target and the format say.
        tables: of a microcontroller, whether kernels may be stored by lookup tables.
        compile_for: what compiles the file for the target's accelerator, if that is asked for.

    Returns:
        What `edgenets.export.write.checked_file.write_checked` returns, and `skipped`, the files
        left out with their reasons.

    Raises:
        EdgenetsError: the model or images cannot be used, or the file failed its checks.
    """
    named = find_format(number_format) if number_format else None
    _check_files(out, target, files_of(model.folder) if model.folder else ())
    net, spec, codes = model.net, model.spec, model.codes
    row = named or preferred_format(net, target)
    if keep_float:
        if row is not INT8:
            raise EdgenetsError(f"{row.name} cannot keep some layers float; export as int8")
        if codes and codes.activations:
            raise EdgenetsError(
                f"{model} says which layers are kept float, as its int8 file was calibrated with; "
                "compress again with other keep_float in the stage int8"
            )
        spec = replace(spec, keep_float=keep_float)
    if data is None and row.needs_calibration and not (row is INT8 and codes and codes.activations):
        reason = f"{model} does not say how activations are rounded, so " if row is INT8 else ""
        raise EdgenetsError(f"{reason}{row.name} needs images to calibrate with; pass --data DATA")
    images, skipped = _comparison_images(out, target, data, spec, calibration_images, seed)
    result = write_checked(
        *(out, row, net, spec, images, codes, target, ends),
        names=names,
        tables=tables,
        compile_for=compile_for,
    )
    return {**result, "skipped": [file.to_json() for file in skipped]}


def export_foreign(
    model: Any,
    out: Path,
    labels: Sequence[str],
    number_format: str | None,
    data: str | None,
    calibration_images: int,
    seed: int,
    input_range: tuple[float, float],
    target: Target = GENERIC,
    ends: Ends = LOGITS,
    names: bool | None = None,
    tables: bool = True,
    *,
    images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | None = None,
    resize: int | None = None,
    fit: Fit = "crop",
    inputs: Sequence[Path] = (),
    compile_for: Compile | None = None,
) -> dict[str, Any]:
    """Write a Keras model of any origin as a `.tflite` file.

    Args:
        model: as for `edgenets.export.write.foreign.export_model`, or the `.keras` or `.h5` file of
            one, from a source that is trusted: its code is run.
        labels, input_range, resize, fit: as there.
        images: prepared ones, in place of `data`.
        inputs: files that were read, which `out` must not replace.

    The other arguments, results and errors are those of `export`.
    """
    row = find_format(number_format or target.formats[0])
    _check_files(out, target, [*inputs, *([model] if isinstance(model, Path) else [])])
    if data is None and images is None and row.needs_calibration:
        raise EdgenetsError(f"{row.name} needs images to calibrate with; pass --data DATA")
    given = load_trusted(model) if isinstance(model, Path) else model
    adopted, spec, answers = adopt(given, labels, input_range, resize, fit)
    skipped: tuple[Skipped, ...] = ()
    if images is None:
        images, skipped = _comparison_images(out, target, data, spec, calibration_images, seed)
    else:
        images = checked_images(images, spec)
    result = write_checked(
        *(out, row, adopted, spec, images, None, target, ends),
        names=names,
        tables=tables,
        answers=answers,
        compile_for=compile_for,
    )
    return {**result, "skipped": [file.to_json() for file in skipped]}


def _check_files(out: Path, target: Target, inputs: Sequence[Path]) -> None:
    """Check that a `.tflite` and the report beside it can be written and are no inputs."""
    if target.micro:  # a folder, which is replaced only where it holds an export alone
        check_folder(out, FIRMWARE)
        return
    check_output(out, inputs)
    check_output(out.with_name(out.name + REPORT), inputs)


def _comparison_images(
    out: Path, target: Target, data: str | None, spec: Spec, count: int, seed: int
) -> tuple[NDArray[np.uint8] | None, tuple[Skipped, ...]]:
    """Return prepared training images, and the files that were left out; None without data."""
    if data is None:
        return None, ()
    split = spec.seeded_split
    dataset = (
        open_dataset(data, seed=split.seed, test_fraction=split.test_fraction)
        if split
        else open_dataset(data, seed=spec.seed)
    )
    say_left_out(dataset.skipped)
    if not set(dataset.classes) <= set(all_labels(spec)):
        warn(
            [
                f"not all classes of {data} are labels of the model, and the file is fitted to and "
                "checked on these images; pass such as it is to see"
            ]
        )
    _check_files(out, target, [s for s in dataset.train.sources if isinstance(s, Path)])
    chosen = balanced_sample(dataset.train.labels, count, seed)
    images = dataset.train.subset(chosen).load(spec.preparation, once=True)
    return images.take(range(len(chosen))), dataset.skipped


def evaluate(model: Model, data: str, *, everything: bool = False) -> dict[str, Any]:
    """Return the accuracy of a model on `data`, as `evaluate_file` does.

    Raises:
        EdgenetsError: the images cannot be used, or their classes differ from the model's.
    """
    spec = model.spec
    dataset = open_for_evaluation(data, spec.labels, spec.seeded_split, everything=everything)
    images = dataset.split.load(spec.preparation, once=True)
    logits = predict_logits(compile_inference(model.net), images)
    return score_dataset(logits, dataset, spec.labels)
