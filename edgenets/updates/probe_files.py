"""The files of a release's probes: their images, and what a model answers to them.

Both are packages (.epk) of arrays as NumPy writes them, one behind the other. The images are those
of a preparation, so that all models that are prepared for alike, of any number format, have the
same file: its name is that of its content, and a board that has it fetches the answers alone.

    inputs     differences of the pixels, modulo 256, along channels, height and width, uint8,
               [channels, images, height, width]
    answers    what the network's input takes for each pixel value, [256] or [256, channels], of
               integers the differences; then its outputs, [images, classes]

In the first format of releases a file `.npz` holds `inputs` and `outputs` as the network has them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.data.pixels import look_up
from edgenets.errors import EdgenetsError
from edgenets.files import sha256_bytes
from edgenets.quantize.package.epk import pack, unpack

LEVELS = 256
"""Values of a pixel."""
SMOOTH_AXES = (0, 2, 3)
"""Along which neighbours of [channels, images, height, width] are alike."""

Pixels = NDArray[np.uint8]


def pack_inputs(pixels: Pixels) -> bytes:
    """Return the file of images, [images, height, width, channels].

    >>> pixels = np.zeros((2, 4, 4, 3), np.uint8)
    >>> len(pack_inputs(pixels)) < pixels.size + 150
    True
    """
    return pack(_stored(_differences(pixels)))


def pack_answers(codes: NDArray[Any], outputs: NDArray[Any]) -> bytes:
    """Return the file of what a model answers.

    Args:
        codes: what its input takes for each value of a pixel, [256] or [256, channels].
        outputs: [images, classes].
    """
    return pack(_stored(_steps(codes), outputs))


def name_of_inputs(pixels: Pixels) -> str:
    """Return what tells these images from others: 64 bits of their SHA-256, in hexadecimal."""
    return sha256_bytes(_stored(pixels))[:16]


def read_probes(contents: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return what a network takes, [images, height, width, channels], and its outputs for it.

    Args:
        contents: of the files of inputs and answers, or the one of the first format.

    Raises:
        EdgenetsError: they are no such files, or do not belong together.
    """
    with _told():
        if len(contents) == 1:
            with np.load(io.BytesIO(contents[0]), allow_pickle=False) as arrays:
                return arrays["inputs"], arrays["outputs"]
        inputs, answers = (io.BytesIO(unpack(content)) for content in contents)
        pixels = _pixels(np.load(inputs, allow_pickle=False))
        codes = _codes(np.load(answers, allow_pickle=False))
        outputs = np.load(answers, allow_pickle=False)
        return look_up(codes, pixels), outputs


def _differences(pixels: Pixels) -> Pixels:
    """Return images as the file has them: neighbours are alike, which lzma does not see."""
    planes = np.moveaxis(pixels, -1, 0)
    for axis in SMOOTH_AXES:
        planes = np.diff(planes, axis=axis, prepend=np.uint8(0))
    return planes


def _pixels(planes: Pixels) -> Pixels:
    if planes.dtype != np.uint8 or planes.ndim != 4:
        raise ValueError("its inputs are no images")
    for axis in SMOOTH_AXES:
        planes = np.cumsum(planes, axis=axis, dtype=np.uint8)
    return np.moveaxis(planes, 0, -1)


def _steps(codes: NDArray[Any]) -> NDArray[Any]:
    """Return what the file has of codes: those of neighbours are as far apart everywhere."""
    if not np.issubdtype(codes.dtype, np.integer):
        return codes
    return np.diff(codes, axis=0, prepend=np.zeros_like(codes[:1]))


def _codes(steps: NDArray[Any]) -> NDArray[Any]:
    if len(steps) != LEVELS:
        raise ValueError("its answers tell no codes of pixels")
    if not np.issubdtype(steps.dtype, np.integer):
        return steps
    return np.cumsum(steps, axis=0, dtype=steps.dtype)


def _stored(*arrays: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    for array in arrays:
        np.save(content, array, allow_pickle=False)
    return content.getvalue()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (
        *(ValueError, TypeError, KeyError, IndexError, OSError, MemoryError, zipfile.BadZipFile),
        EdgenetsError,
    ) as error:
        raise EdgenetsError(f"its probes cannot be read ({error})") from error
