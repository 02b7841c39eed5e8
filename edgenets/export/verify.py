"""Prove that an int8 `.tflite` is what was promised: from the file itself, run in LiteRT."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.runtime import Classifier

INPUT_SCALE = 2 / 255
INPUT_ZERO_POINT = -1
INTEGER_DTYPES = ("int8", "int32")
MINIMUM_SNR_DB = 10.0
MINIMUM_AGREEMENT = 0.9
MAXIMUM_SNR_DB = 200.0
"""What equal logits count as: far above what float32 can tell apart, and a number."""


class Fidelity(NamedTuple):
    """How well a file's logits follow those of the Keras model."""

    snr_db: float  # 10 log10(sum of squared logits / sum of squared errors)
    agreement: float  # fraction of the images with the same first answer
    samples: int


def check_structure(content: bytes) -> None:
    """Check that the file is all-integer, static, one subgraph, with the input `pixel - 128`.

    Raises:
        EdgenetsError: it is not; the message names the first thing that differs.
    """
    model = flatbuffer.read(content)
    _require(model.subgraphs == 1, f"has {model.subgraphs} subgraphs instead of 1")
    for tensor in model.tensors:
        _require(
            tensor.dtype in INTEGER_DTYPES, f"computes {tensor.name} in {tensor.dtype}, not int8"
        )
        _require(min(tensor.shape_signature, default=1) > 0, f"leaves a size of {tensor.name} open")
    _require(len(model.inputs) == len(model.outputs) == 1, "must have one input and one output")
    image, logits = model.inputs[0], model.outputs[0]
    _require(image.dtype == logits.dtype == "int8", "does not take and give int8")
    _require(
        image.scale.size == 1
        and abs(float(image.scale[0]) / INPUT_SCALE - 1) < 1e-3
        and int(image.zero_point[0]) == INPUT_ZERO_POINT,
        f"has the input scale {image.scale} and zero point {image.zero_point} "
        f"instead of {INPUT_SCALE:.6f} and {INPUT_ZERO_POINT}",
    )


def measure_fidelity(
    content: bytes, images: NDArray[np.uint8], reference: NDArray[np.float32]
) -> Fidelity:
    """Run the file on prepared images and compare with the Keras model's logits.

    Args:
        images: `[images, resolution, resolution, 3]`.
        reference: `[images, classes]`.

    Raises:
        EdgenetsError: the Keras model's logits are all zero.
    """
    logits = Classifier(content).logits(images)
    signal, error = float(np.sum(reference**2)), float(np.sum((logits - reference) ** 2))
    _require(signal > 0, "has nothing to follow (the Keras model's logits are all zero)")
    agreement = float(np.mean(logits.argmax(axis=1) == reference.argmax(axis=1)))
    return Fidelity(to_snr_db(signal, error), agreement, len(images))


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


def check_fidelity(fidelity: Fidelity, *, trained: bool) -> None:
    """Check the fidelity against what int8 must reach.

    An untrained net's answers hang on noise, so that only its logits are held to account.

    Raises:
        EdgenetsError: the error is too large or too few answers agree.
    """
    _require(
        fidelity.snr_db >= MINIMUM_SNR_DB,
        f"gives logits at {fidelity.snr_db:.1f} dB from the Keras model's, "
        f"at least {MINIMUM_SNR_DB:.0f} dB are needed",
    )
    _require(
        not trained or fidelity.agreement >= MINIMUM_AGREEMENT,
        f"agrees with the Keras model on {fidelity.agreement:.1%} of {fidelity.samples} images, "
        f"at least {MINIMUM_AGREEMENT:.0%} are needed",
    )


def _require(holds: bool, failure: str) -> None:
    if not holds:
        raise EdgenetsError(f"the int8 file {failure}; it was not kept")
