"""Pixels as networks take them. Nothing here needs Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MIDDLE = 127.5
"""Of the bytes of pixels: a network takes (pixel - MIDDLE) / MIDDLE."""


def to_network(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pixels of any shape as the networks take them, in [-1, 1].

    >>> to_network(np.uint8([0, 255]))
    array([-1.,  1.], dtype=float32)
    """
    # First float32, then scale: NumPy 1 would make float16 of uint8 and a scalar.
    return pixels.astype(np.float32) / MIDDLE - 1


def to_int8(pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return pixels of any shape as int8 networks take them: pixel - 128.

    >>> to_int8(np.uint8([0, 128, 255]))
    array([-128,    0,  127], dtype=int8)
    """
    return (pixels.astype(np.int16) - 128).astype(np.int8)


def look_up(codes: NDArray[Any], pixels: NDArray[np.uint8]) -> NDArray[Any]:
    """Return what an input takes for pixels, [images, height, width, channels].

    >>> look_up(np.arange(256), np.full((1, 1, 1, 3), 7, np.uint8)).tolist()
    [[[[7, 7, 7]]]]

    Args:
        codes: what it takes for each value, [256], or [256, channels].
        pixels: of images, [images, height, width, channels].
    """
    return codes[pixels] if codes.ndim == 1 else codes[pixels, np.arange(pixels.shape[3])]
