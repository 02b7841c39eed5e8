"""Prove that a `.tflite` is what its format promises: from the file itself, run in LiteRT."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.input_range import CENTRED
from edgenets.errors import EdgenetsError, UnfaithfulError
from edgenets.export.board import interpreter
from edgenets.export.devices.interpreter import load_runtime
from edgenets.export.formats import INT8, SMALL_KERNEL, Format
from edgenets.export.measure.classifier import Classifier
from edgenets.export.metadata import layer_name
from edgenets.flatbuffer import File
from edgenets.progress import quiet_stderr

INDEX_DTYPE = "int32"  # of shapes and axes
SYMMETRIC_DTYPES = ("int16",)  # whose zero point LiteRT takes to be 0
FLOAT16 = np.finfo(np.float16)
RANDOM_IMAGES = 8
MAXIMUM_SNR_DB = 200.0
"""What equal logits count as: far above what float32 can tell apart, and a number."""


class Fidelity(NamedTuple):
    """How well a file's logits, or the probabilities of them, follow those of the Keras model."""

    snr_db: float  # 10 log10(sum of squared logits / sum of squared errors)
    agreement: float  # fraction of the images with the same first answer
    samples: int
    compared: str = "logits"  # or "probabilities"


def check_structure(
    source: File | bytes,
    number_format: Format = INT8,
    floats: Collection[flatbuffer.Operator] = (),
) -> None:
    """Check that the file is one static subgraph that computes and stores what its format says.

    Args:
        source: the file.
        number_format: of all but `floats`, and of input and output.
        floats: operators with a kernel that compute in float32 all the same, with everything that
            they read and write.

    Raises:
        EdgenetsError: it is not; the message names the first thing that differs.
    """
    model = flatbuffer.model_of(source)
    _require(model.subgraphs == 1, number_format, f"has {model.subgraphs} subgraphs instead of 1")
    one_each = len(model.inputs) == len(model.outputs) == 1
    _require(one_each, number_format, "must have one input and one output")
    promised = (number_format.kernel, number_format.small_kernel, number_format.bias)
    constants = {INDEX_DTYPE, number_format.activation, *promised}
    for tensor in (*model.inputs, *model.outputs):
        _require_dtype(tensor, {number_format.activation}, number_format, "has")
    _check_integers(model, number_format, floats)
    kept = {index for operator in floats for index in (*operator.inputs, *operator.outputs)}
    for operator in floats:
        kernel = model.tensors[operator.inputs[1]]
        _require(kernel.is_constant, number_format, f"does not store {kernel.name} as it is")
    for index, tensor in enumerate(model.tensors):
        is_static = min(tensor.shape_signature, default=1) > 0
        _require(is_static, number_format, f"leaves a size of {tensor.name} open")
        shifted = tensor.dtype in SYMMETRIC_DTYPES and tensor.zero_point.any()
        _require(not shifted, number_format, f"has another zero point than 0 for {tensor.name}")
        if index in kept:
            _require_dtype(tensor, {"float32"}, number_format, "keeps")
        elif tensor.is_constant:
            _require_dtype(tensor, constants, number_format, "stores")
            _require(
                tensor.dtype != "float16" or np.abs(tensor.content).max(initial=0) < FLOAT16.max,
                number_format,
                f"cuts off values of {tensor.name} at {FLOAT16.max}, the largest of float16",
            )
        else:
            _require_dtype(tensor, {number_format.activation}, number_format, "computes")
    others = model._replace(operators=tuple(o for o in model.operators if o not in floats))
    for kernel in others.weights:
        _require_dtype(kernel, {kernel_dtype(kernel, number_format)}, number_format, "stores")
        if kernel.dtype == "int8":
            _require(
                kernel.scale.size > 0 and not kernel.zero_point.any(),
                number_format,
                f"has no scale, or another zero point than 0, for {kernel.name}",
            )
    for bias in others.biases:
        _require_dtype(bias, {number_format.bias}, number_format, "stores")
    _check_input(model.inputs[0], number_format)


def run_everywhere(content: bytes) -> list[dict[str, str | None]]:
    """Run the file once, on zeros, in each interpreter that is installed.

    Returns:
        name and version of each, and `reason`, why it does not run it; None where it does.

    Raises:
        EdgenetsError: the preferred interpreter does not run it.
    """
    preferred = load_runtime()
    _run_once(preferred, content)
    rows = [{"name": preferred.name, "version": preferred.version, "reason": None}]
    for runtime in interpreter.load_other_runtimes(preferred.name):
        reason = None
        try:
            _run_once(runtime, content)
        except EdgenetsError as error:
            reason = str(error)
        rows.append({"name": runtime.name, "version": runtime.version, "reason": reason})
    return rows


def _run_once(runtime: interpreter.Runtime, content: bytes) -> None:
    try:
        with quiet_stderr():
            opened = runtime.interpreter(model_content=content)
            opened.allocate_tensors()
            opened.invoke()
    except (ValueError, RuntimeError, MemoryError) as error:
        raise EdgenetsError(interpreter.refusal(runtime, "the file", error)) from error


def kernel_dtype(kernel: flatbuffer.Tensor, number_format: Format) -> str:
    """Return the type that a format promises of a kernel."""
    is_small = math.prod(kernel.shape) < SMALL_KERNEL
    return number_format.small_kernel if is_small else number_format.kernel


def random_images(resolution: int, count: int = RANDOM_IMAGES) -> NDArray[np.uint8]:
    """Return images of uniform noise, `[count, resolution, resolution, 3]`, always the same."""
    shape = (count, resolution, resolution, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def measure_fidelity(
    source: File | bytes,
    images: NDArray[np.uint8],
    reference: NDArray[np.float32],
    *,
    probabilities: bool = False,
) -> Fidelity:
    """Run the file on prepared images and compare with what the Keras model makes of them.

    Args:
        source: a file that gives logits.
        images: `[images, resolution, resolution, 3]`.
        reference: the Keras model's logits or probabilities, `[images, classes]`.
        probabilities: whether it gives those; then the softmax of the file's logits is compared.

    Raises:
        EdgenetsError: what the Keras model gives is all zero, or not finite.
    """
    classifier = Classifier(source, input_range=CENTRED)  # it may not be described yet
    outputs = classifier.outputs(images)
    compared = "probabilities" if probabilities or classifier.gives_probabilities else "logits"
    answers = classifier.values_of(outputs)
    if probabilities:  # as `predict` shows them
        answers = classifier.probabilities_of(outputs).astype(np.float32)
    signal, error = float(np.sum(reference**2)), float(np.sum((answers - reference) ** 2))
    if not math.isfinite(signal):
        raise EdgenetsError(f"the Keras model's {compared} are not finite; train it again")
    if not signal > 0:
        raise EdgenetsError(
            f"the Keras model's {compared} are all zero, so that no file can be compared with it; "
            "train it first"
        )
    first, wanted = (classifier.of_classes(each).argmax(axis=1) for each in (answers, reference))
    agreement = float(np.mean(first == wanted))
    return Fidelity(to_snr_db(signal, error), agreement, len(images), compared)


def to_snr_db(signal: float, error: float) -> float:
    """Return the signal-to-noise ratio in dB of two sums of squares.

    It stays within `MAXIMUM_SNR_DB` on either side; no error at all counts as that.

    >>> to_snr_db(signal=1000.0, error=1.0)
    30.0
    """
    most = 10 ** (MAXIMUM_SNR_DB / 10)
    if error * most <= signal:
        return MAXIMUM_SNR_DB
    return float(10 * np.log10(max(signal / error, 1 / most)))


def check_fidelity(fidelity: Fidelity, number_format: Format = INT8, *, trained: bool) -> None:
    """Check the fidelity against what the format must reach.

    Args:
        fidelity: of the file.
        number_format: of the file.
        trained: whether answers are held to account, not only logits: those of an untrained net,
            or to images of noise, hang on next to nothing.

    Raises:
        UnfaithfulError: the error is too large or too few answers agree.
    """
    _require(
        fidelity.snr_db >= number_format.minimum_snr_db,
        number_format,
        f"gives {fidelity.compared} at {fidelity.snr_db:.1f} dB from the Keras model's, "
        f"at least {number_format.minimum_snr_db:.0f} dB are needed",
        UnfaithfulError,
        _way_out(number_format),
    )
    _require(
        not trained or fidelity.agreement >= number_format.minimum_agreement,
        number_format,
        f"agrees with the Keras model on {fidelity.agreement:.1%} of {fidelity.samples} images, "
        f"at least {number_format.minimum_agreement:.0%} are needed",
        UnfaithfulError,
        _way_out(number_format),
    )


def _way_out(number_format: Format) -> str:
    """Return what to do about integers that follow the model too badly."""
    if not number_format.needs_calibration:
        return ""
    float_layers = "keep layers float (`keep_float`), " if number_format is INT8 else ""
    return (
        "; a net that has learned little answers near ties: train it longer or begin with trained "
        f"weights, {float_layers}or export in another --format"
    )


def _check_integers(
    model: flatbuffer.Model, number_format: Format, floats: Collection[flatbuffer.Operator]
) -> None:
    """Check that no operator is left in float32 for which the converter has no integer form."""
    if not number_format.needs_calibration:
        return
    for operator in model.operators:
        outputs = [model.tensors[index] for index in operator.outputs]
        if operator.name in ("DEQUANTIZE", *flatbuffer.WEIGHTED) or operator in floats:
            continue  # all that have a kernel have an integer form
        _require(
            all(tensor.dtype != "float32" for tensor in outputs),
            number_format,
            f"computes {operator.name} in float32 (layer {layer_name(outputs[0].name)}), of which "
            "the converter knows no integer form: replace the layer or export in another format",
        )


def _check_input(image: flatbuffer.Tensor, number_format: Format) -> None:
    step, zero_point = number_format.input_step, number_format.input_zero_point
    if step is None:
        return
    _require(
        image.scale.size == 1
        and abs(float(image.scale[0]) / step - 1) < 1e-3
        and int(image.zero_point[0]) == zero_point,
        number_format,
        f"has the input scale {image.scale} and zero point {image.zero_point} "
        f"instead of {step:.6g} and {zero_point}",
    )


def _require_dtype(
    tensor: flatbuffer.Tensor, dtypes: set[str], number_format: Format, verb: str
) -> None:
    promised = " or ".join(sorted(dtypes))
    failure = f"{verb} {tensor.name} in {tensor.dtype}, not {promised}"
    _require(tensor.dtype in dtypes, number_format, failure)


def _require(
    holds: bool,
    number_format: Format,
    failure: str,
    error: type[EdgenetsError] = EdgenetsError,
    way_out: str = "",
) -> None:
    if not holds:
        raise error(f"the {number_format.name} file {failure}; it was not kept{way_out}")
