"""Which values a `.tflite` network takes for black and for white, and what its input is fed.

The one place that decides it, for whatever runs a file or reads its weights. In this order:

1. what the user says;
2. an 8-bit input whose codes span [0, 1], [0, 255] or [-1, 1] takes the byte, int8 less 128;
3. a file of edgenets takes [-1, 1];
4. NormalizationOptions of the standard metadata: (pixel - mean) / std, for all channels or each.

Where none of them tells, nothing is guessed. An input that is quantized otherwise takes the codes
nearest to the values.

Source: TFLite metadata schema (metadata_schema.fbs, identifier M001).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.pixels import to_network
from edgenets.errors import EdgenetsError

End = float | Sequence[float]
Range = tuple[End, End]
"""The values of black and of white: a number for all channels, or one each for R, G and B."""
CENTRED = (-1.0, 1.0)
"""What every network of edgenets takes."""
SPANNED = ((0.0, 1.0), (0.0, 255.0), CENTRED)
"""The ranges whose codes are the bytes of the pixels, as converters write them."""
TOLERANCE = 0.02
"""Of a span, that either end of a grid may be off: 2/256 for 2/255, a zero point half a code off,
images without a quite white pixel in a calibration."""
LEAST_CODES = 32
"""Of pixels' 256 values, that a quantized input tells apart: fewer, and a range is none of its."""
BYTES = {"uint8": 0, "int8": -128}  # the lowest code
ENTRY = "edgenets"
"""The metadata entry that edgenets writes."""
TFLITE_METADATA = "TFLITE_METADATA"
"""The standard metadata entry."""
NORMALIZATION = 1  # NormalizationOptions in the schema's union ProcessUnitOptions


class InputRange(NamedTuple):
    """What a network takes for black and for white."""

    black: NDArray[np.float64]  # [1], or [channels]
    white: NDArray[np.float64]  # as `black`


def input_range_of(
    model: flatbuffer.Model, name: str = "the model", given: Range | None = None
) -> InputRange:
    """Return what the image input of a file, its first, takes for black and for white.

    Args:
        model: what the file holds.
        name: of the file, for errors.
        given: what the user says; it goes before what the file says.

    Raises:
        EdgenetsError: neither of them says it, or what is said is no range.
    """
    image = model.inputs[0]
    if given is not None:
        return _checked(given)
    grid = _grid(image)
    if grid is not None and any(_spans(grid, _checked(known)) for known in SPANNED):
        return grid
    if ENTRY in model.metadata:
        return _checked(CENTRED)
    described = _described(model, name)
    if described is not None:
        return described
    codes = f" (its codes stand for {_text(grid)})" if grid is not None else ""
    raise EdgenetsError(
        f"{name} does not say which values its {image.dtype} input takes for black and for "
        f"white{codes}; pass those of its training as --input-range, such as 0..1 or -1..1 (in "
        "Python: input_range=(0, 1))"
    )


def input_codes(tensor: flatbuffer.Tensor, values: InputRange) -> NDArray[Any]:
    """Return what each pixel value becomes at a network's input: [256], or [256, channels].

    A float32 input takes the value. A quantized one takes the nearest code, of two equally near
    ones the upper; where its 8-bit codes span the range, the byte, less 128 if signed.

    Raises:
        EdgenetsError: a quantized input tells fewer than `LEAST_CODES` values of a pixel apart.
    """
    levels = np.arange(256)
    grid = _grid(tensor)
    if grid is not None and _spans(grid, values):
        return (levels + BYTES[tensor.dtype]).astype(tensor.dtype)
    black, white = values
    steps = black + levels[:, np.newaxis] / 255 * (white - black)
    if len(black) == 1:
        steps = steps[:, 0]
    if (black == CENTRED[0]).all() and (white == CENTRED[1]).all():
        steps = to_network(levels.astype(np.uint8)).astype(np.float64)  # rounded as in training
    if tensor.dtype == "float32":
        return steps.astype(np.float32)
    steps = np.floor(steps / float(tensor.scale[0]) + float(tensor.zero_point[0]) + 0.5)
    limits = np.iinfo(tensor.dtype)
    codes = np.clip(steps, limits.min, limits.max).astype(tensor.dtype)
    used = min(len(np.unique(channel)) for channel in codes.reshape(256, -1).T)
    if used < LEAST_CODES:
        stands = "" if grid is None else f", whose codes stand for {_text(grid)}"
        raise EdgenetsError(
            f"pixels from {black[0]:g} to {white[0]:g} are {used} of the values that the input "
            f"takes{stands}; pass the --input-range of its training"
        )
    return codes


def _checked(values: Any) -> InputRange:
    try:
        black, white = values
        ends = [np.atleast_1d(np.asarray(end, np.float64)) for end in (black, white)]
        low, high = np.broadcast_arrays(*ends)
        holds = low.ndim == 1 and low.size in (1, 3) and bool(np.isfinite([low, high]).all())
    except (TypeError, ValueError):
        holds = False
    if not holds or (low == high).any():
        raise EdgenetsError(
            "an input range is the values of black and of white, two numbers that differ or three "
            f"of each for R, G and B, got {values!r}; pass for example (0, 1)"
        )
    return InputRange(low, high)


def _grid(tensor: flatbuffer.Tensor) -> InputRange | None:
    """Return what the lowest and the highest code of an 8-bit tensor stand for."""
    if tensor.dtype not in BYTES or not tensor.scale.size == tensor.zero_point.size == 1:
        return None
    scale = np.float64(tensor.scale[:1])
    black = scale * (BYTES[tensor.dtype] - tensor.zero_point[:1])
    return InputRange(black, black + 255 * scale)


def _spans(grid: InputRange, values: InputRange) -> bool:
    room = TOLERANCE * np.abs(values.white - values.black)
    off = np.abs(np.subtract(grid, values))
    return bool((off <= room).all())


def _described(model: flatbuffer.Model, name: str) -> InputRange | None:
    """Return what the standard metadata say of the first input; None where they do not."""
    entry = model.metadata.get(TFLITE_METADATA)
    try:
        found = None if entry is None else _normalization(entry)
    except (ValueError, IndexError, struct.error) as error:
        raise EdgenetsError(
            f"{name}: its {TFLITE_METADATA} is damaged ({error}); pass --input-range LOW..HIGH"
        ) from error
    if found is None:
        return None
    mean, std = found
    if not std.all():
        raise EdgenetsError(
            f"{name}: its {TFLITE_METADATA} divides pixels by 0; pass --input-range LOW..HIGH"
        )
    return _checked(((0 - mean) / std, (255 - mean) / std))


def _normalization(entry: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return mean and std of the first input of the first subgraph."""
    inputs = [i for graph in flatbuffer.root_table(entry).tables(3)[:1] for i in graph.tables(2)]
    for unit in inputs[0].tables(4) if inputs else ():
        options = unit.table(1)
        if unit.scalar(0, "<B") == NORMALIZATION and options is not None:
            mean, std = (options.vector(field, "<f4").astype(np.float64) for field in (0, 1))
            if mean.size and std.size:
                return mean, std
    return None


def _text(values: InputRange) -> str:
    return f"{values.black[0]:.4g} to {values.white[0]:.4g}"
