"""Number formats of `.tflite` files: one row each, which conversion, checks and commands follow."""

from __future__ import annotations

from typing import NamedTuple

from edgenets.errors import unknown_name

SMALL_KERNEL = 1024
"""Values below which the converter leaves a kernel of `dynamic` in float32, and says nothing.

Found with TensorFlow 2.21, which has no setting for it: of convolutions, depthwise ones and dense
layers alike, kernels of 1,023 values stayed float32 and kernels of 1,024 became int8.
"""


class Format(NamedTuple):
    """What a format promises of a file, and how closely the file must follow the Keras model."""

    name: str
    meaning: str  # in a few words, for the command line
    activation: str  # dtype of the input, the output and everything computed between them
    kernel: str  # dtype of the stored kernels of SMALL_KERNEL values and more
    small_kernel: str  # dtype of the others
    bias: str  # dtype of the stored biases
    minimum_snr_db: float  # of the logits
    minimum_agreement: float  # fraction of calibration images with the model's answer, if trained
    codes: str  # what the file holds of a folder's codes.safetensors
    input_step: float | None = None  # scale of a quantized input
    input_zero_point: int | None = None
    names: bool = False  # whether files keep the names of their tensors, if not told otherwise

    @property
    def needs_calibration(self) -> bool:
        """Whether images must tell the ranges of activations."""
        return self.input_step is not None


# The least dB and agreement catch files that went wrong, not files that lose a little: untrained
# nets of few channels must pass them too. docs/evidence/formats.md has what a trained net reaches.
INT8 = Format(
    name="int8",
    meaning="8-bit integers",
    activation="int8",
    kernel="int8",
    small_kernel="int8",
    bias="int32",
    minimum_snr_db=10.0,
    minimum_agreement=0.9,
    codes="kernels hold exactly the integers of codes.safetensors",
    input_step=2 / 255,
    input_zero_point=-1,  # so that the code is pixel - 128
)
INT16X8 = Format(
    name="int16x8",
    meaning="16-bit activations, 8-bit kernels",
    activation="int16",
    kernel="int8",
    small_kernel="int8",
    bias="int64",
    minimum_snr_db=15.0,
    minimum_agreement=0.9,
    codes="kernels hold exactly the integers of codes.safetensors; activations are calibrated anew "
    "in 16 bits",
    input_step=1 / 32767,
    input_zero_point=0,
)
FP16 = Format(
    name="fp16",
    meaning="float16 weights, computed in float32",
    activation="float32",
    kernel="float16",
    small_kernel="float16",
    bias="float16",
    minimum_snr_db=25.0,
    minimum_agreement=0.95,
    codes="kernels hold the codes of codes.safetensors times their scales, rounded to float16",
)
DYNAMIC = Format(
    name="dynamic",
    meaning="8-bit kernels, the rest float32",
    activation="float32",
    kernel="int8",
    small_kernel="float32",
    bias="float32",
    minimum_snr_db=15.0,
    minimum_agreement=0.9,
    codes=f"kernels of at least {SMALL_KERNEL} values hold exactly the integers of "
    "codes.safetensors, smaller ones the codes times their scales in float32",
)
FP32 = Format(
    name="fp32",
    meaning="float32",
    activation="float32",
    kernel="float32",
    small_kernel="float32",
    bias="float32",
    minimum_snr_db=80.0,
    minimum_agreement=0.99,
    codes="kernels hold the codes of codes.safetensors times their scales in float32",
    names=True,
)
FORMATS = {row.name: row for row in (INT8, INT16X8, FP16, DYNAMIC, FP32)}


def find_format(name: str) -> Format:
    """Return the format `name`.

    Raises:
        EdgenetsError: there is none.
    """
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    return FORMATS[name]
