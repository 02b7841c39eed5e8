"""Keras model -> `.tflite` file that was run in LiteRT and held against the model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.export.ends import LOGITS, Ends
from edgenets.export.formats import FP32, INT8, Format
from edgenets.export.inspect.inspection import inspect_file
from edgenets.export.inspect.output_kind import PROBABILITIES, ends_in
from edgenets.export.inspect.placement import Compiled
from edgenets.export.lower.file_layers import layers_kept_float, operators_of
from edgenets.export.lower.lower import lower, runs_sparsely
from edgenets.export.lower.rewriting import CodedModel
from edgenets.export.measure import promises
from edgenets.export.metadata import with_description
from edgenets.export.targets import GENERIC, Target, require_format
from edgenets.export.write import tflite
from edgenets.export.write.inputs_outputs import remove_softmax, set_ends
from edgenets.export.write.mcu import firmware
from edgenets.export.write.mcu.sources import EXAMPLE, SOURCES, write_sources
from edgenets.files import json_bytes, replacing, sha256_bytes
from edgenets.flatbuffer import File
from edgenets.folders import replacing_folder
from edgenets.models.backend import keras
from edgenets.models.codes import Codes
from edgenets.models.folder import Spec, weights_sha256
from edgenets.models.inference import Inference, direct_inference, predict_logits

REPORT = ".json"
"""What is added to a file's name for that of its report."""
MODEL = "model.tflite"
FIRMWARE = (MODEL, MODEL + REPORT, *SOURCES)
"""What is in the folder for a microcontroller."""
INTEGERS = ("int8", "int16", "int32", "uint8")
Compile = Callable[[bytes, Path], Compiled]
"""What compiles a file of such bytes, to be written there, for the target's accelerator."""


@dataclass(frozen=True)
class Exported:
    """A file that passed its checks."""

    file: File
    named: File
    """The same bytes, each tensor named after the layer that computes it, as the converter did."""
    fidelity: promises.Fidelity | None
    """None where codes told the ranges of activations: noise would leave them."""
    is_sparse: bool = False  # whether kernels are stored, and on ARM computed, sparsely

    @property
    def content(self) -> bytes:
        """The bytes of the file."""
        return self.file.content


def float_file(model: keras.Model, spec: Spec) -> bytes:
    """Return the float32 `.tflite` of `model`, described, but not run."""
    converted = tflite.to_format(FP32, model, spec)
    return with_description(converted, spec, weights_sha256(model)).content


def write_checked(
    out: Path,
    number_format: Format,
    model: keras.Model,
    spec: Spec,
    images: NDArray[np.uint8] | None = None,
    codes: Codes | None = None,
    target: Target = GENERIC,
    ends: Ends = LOGITS,
    *,
    names: bool | None = None,
    tables: bool = True,
    answers: Inference | None = None,
    compile_for: Compile | None = None,
) -> dict[str, Any]:
    """Write `model` to the `.tflite` file `out`, and what was verified to a JSON file beside it.

    Arguments and errors are those of `export_checked`; `out` is replaced if it exists. For a
    microcontroller it is a folder, in which they stand with C++ sources (`mcu.firmware`), and
    `tables` says whether kernels may be stored there by lookup tables. With `compile_for` the
    compiled file is written, too; where the compiler fails, what was there stays as it was.

    Returns:
        `size_bytes`, `sha256`, `format`, `target`; `client`, the program that it is for (null
        without one); `names`, whether tensors keep theirs; `sparse`, whether kernels are stored
        without their zeros; `fidelity` (null where nothing was compared) on `fidelity_images`,
        "calibration" or "random"; `codes`, what the file holds of the codes (null without such);
        `kept_float`, the layers computed in float32 between integers; `inputs` and `outputs`, as in
        `inspect`; `integer_only`, whether every operator computes with integers; `runtimes`, the
        installed interpreters that ran it, or the reason why not; `xnnpack`, as in `inspect`;
        `edge_tpu` and, for such a target, `ethos_u` (else null), the mapped and the CPU's operators
        as predicted; `notes`, sentences about the file on the target; of a microcontroller `mcu`,
        as `mcu.firmware.Firmware.to_json` has it; where it was compiled `compiled`, as the
        `Outcome.to_json` of the compiler has it.
    """
    names = _keeps_names(names, number_format, target)
    exported = export_checked(
        number_format, model, spec, images, codes, target, ends, names=names, answers=answers
    )
    if target.micro:
        firmware.require_operators(exported.file.model)
    fidelity = exported.fidelity
    compared_on = "random" if images is None else "calibration"
    result = {
        "size_bytes": len(exported.content),
        "sha256": sha256_bytes(exported.content),
        "format": number_format.name,
        "target": target.name,
        "client": ends.client.name if ends.client else None,
        "sparse": exported.is_sparse,
        "names": names,
        "fidelity": fidelity._asdict() if fidelity else None,
        "fidelity_images": compared_on if fidelity else None,
        "codes": number_format.codes if codes else None,
        "kept_float": layers_kept_float(model, spec) if number_format is INT8 else [],
        **_observe(out, exported.file, target, ends, compiled=compile_for is not None),
    }
    if note := ends.note(spec.preparation):
        result["notes"].append(note)
    if target.micro:
        return _write_firmware(out, exported.file, spec, images, result, tables=tables)
    compiled = compile_for(exported.content, out) if compile_for else None
    if compiled is not None:
        result["compiled"] = compiled.to_json()
    _write(out, exported.content, result, compiled)
    return result


def _observe(
    out: Path, file: File, target: Target, ends: Ends, *, compiled: bool
) -> dict[str, Any]:
    """Return what is in a file and how it runs: that part of the result of `write_checked`.

    Of one that is `compiled` for the target it is not said that this is to be done.
    """
    runtimes = promises.run_everywhere(file.content)
    inspection = inspect_file(out, target.name, file=file, ends=ends)
    about = inspection.target
    assert about is not None  # one was asked for
    note = "" if compiled else about["note"]
    notes = [note, *about["limits"], *(run["reason"] for run in runtimes)]
    return {
        "inputs": inspection.inputs,
        "outputs": inspection.outputs,
        "integer_only": all(op["dtype"] in INTEGERS for op in inspection.operators),
        "runtimes": runtimes,
        "xnnpack": inspection.xnnpack,
        "edge_tpu": _counts(inspection.edge_tpu),
        "ethos_u": inspection.ethos_u and _counts(inspection.ethos_u),
        "notes": [sentence for sentence in notes if sentence],
    }


def _write_firmware(
    out: Path,
    file: File,
    spec: Spec,
    images: NDArray[np.uint8] | None,
    result: dict[str, Any],
    *,
    tables: bool,
) -> dict[str, Any]:
    """Write the file with its C++ sources to the folder `out`; return what was verified of both."""
    if images is None:
        images = promises.random_images(spec.preparation.resolution, firmware.MOST_IMAGES)
    made = firmware.measure(file, images, tables=tables)
    told = {**result, "notes": [*result["notes"], *made.notes], "mcu": made.to_json()}
    with replacing_folder(out, FIRMWARE) as folder:
        if (out / EXAMPLE).exists():  # perhaps changed
            (folder / EXAMPLE).write_bytes((out / EXAMPLE).read_bytes())
        write_sources(folder, made.flash, spec, made.arena, made.tables)
        _write(folder / MODEL, file.content, told)
    return told


def _write(
    out: Path, content: bytes, result: dict[str, Any], compiled: Compiled | None = None
) -> None:
    """Write a file, its report and what was compiled of it: all of them, or none."""
    parts = {out: content, out.with_name(out.name + REPORT): json_bytes(result)}
    if compiled is not None:
        parts[compiled.path] = compiled.content
    with ExitStack() as stack:  # `out` gets its name last: where it is, the others are
        for path, part in parts.items():
            stack.enter_context(replacing(path)).write_bytes(part)


def export_checked(
    number_format: Format,
    model: keras.Model,
    spec: Spec,
    images: NDArray[np.uint8] | None,
    codes: Codes | None,
    target: Target = GENERIC,
    ends: Ends = LOGITS,
    *,
    names: bool | None = None,
    answers: Inference | None = None,
) -> Exported:
    """Return `model` as a `.tflite` that keeps the promises of its format.

    Args:
        number_format: of the file.
        model: of which `spec` is.
        spec: what the file says of itself.
        images: prepared ones, `[images, resolution, resolution, 3]`, to calibrate with where the
            format needs it, and to compare on: logits and, if the model is trained, first answers.
            Without any, logits are compared on a few images of noise.
        codes: of a folded model.
        target: device that the file is for, in whose form the net is written.
        ends: what the file takes and gives.
        names: whether tensors keep the names that the converter gave them; by default as the target
            and the format say.
        answers: what the file is held against, from images in [-1, 1] to logits or, where `model`
            ends in a softmax, to probabilities; by default `model` itself.

    Raises:
        EdgenetsError: the target does not run the format, images are missing, the converter cannot
            write the model, or the file is not what was promised or follows the model too badly.
    """
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise EdgenetsError(f"{spec.name} has weights that are NaN or infinite; train it again")
    require_format(target, number_format.name)
    end_dtype = ends.dtype(number_format)
    is_sparse = number_format is FP32 and target.sparse and runs_sparsely(model)
    net = lower(CodedModel(model, codes), target, number_format, sparse=is_sparse)
    converted = tflite.to_format(number_format, net.model, spec, images, net.codes)
    gave_probabilities = remove_softmax(converted)
    gives_them = ends_in(converted.model) in PROBABILITIES
    if ends.softmax and gives_them:
        raise EdgenetsError(f"{spec.name} gives probabilities already; leave --softmax out")
    softmax = ends.probabilities and not gives_them
    kept = layers_kept_float(net.model, spec) if number_format is INT8 else []
    floats = operators_of(converted.model, net.model, kept) if kept else ()
    promises.check_structure(converted, number_format, floats)
    if is_sparse:  # the same kernels, stored sparsely
        converted = tflite.to_sparse(net.model)
    of_logits = File(converted.content) if softmax else None
    set_ends(converted, end_dtype, softmax=softmax)
    tensors = converted.model.tensors
    names = _keeps_names(names, number_format, target)
    file = with_description(converted, spec, weights_sha256(model), names=names)
    named = File(file.content, file.model.named([tensor.name for tensor in tensors]))
    is_noise = images is None
    if images is None:
        if number_format.needs_calibration:
            return Exported(file, named, None, is_sparse)
        images = promises.random_images(spec.preparation.resolution)
    reference = predict_logits(answers or direct_inference(model), images)
    fidelity = promises.measure_fidelity(
        of_logits or file, images, reference, probabilities=gave_probabilities
    )
    trained = spec.is_trained and not is_noise
    promises.check_fidelity(fidelity, number_format, trained=trained)
    return Exported(file, named, fidelity, is_sparse)


def _counts(placed: dict[str, Any]) -> dict[str, int]:
    return {key: placed[key] for key in ("mapped_ops", "cpu_ops")}


def _keeps_names(names: bool | None, number_format: Format, target: Target) -> bool:
    return number_format.names or target.names if names is None else names
