"""The integers of an int8 net: what `codes.safetensors` in a model folder holds, by layer name.

A folder with codes says exactly which integers its `.tflite` will hold: its float weights are
codes times scale. Kernels come from weight sharing and 8-bit rounding; the grids of activations
join them when they have been measured on calibration images.

Source: TFLite 8-bit quantization specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import starmap
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError

INT8 = np.iinfo(np.int8)
LARGEST_CODE = 127  # of a kernel; the smallest is -127
LARGEST_SCALE = np.finfo(np.float32).max / LARGEST_CODE  # so that values are finite
SCALES_PER_OCTAVE = 16
"""Scales are powers of 2^(1/16): at most 4.4 % coarser than a kernel asks for, and so few distinct
ones that a compressor stores them in a quarter of the bytes."""
KERNEL, KERNEL_SCALE = "kernel", "kernel_scale"
OUTPUT_SCALE, OUTPUT_ZERO_POINT = "output_scale", "output_zero_point"


class KernelCodes(NamedTuple):
    """A kernel in 8 bits: `codes * scale` is its float value."""

    codes: NDArray[np.int8]  # of the Keras kernel's shape, in [-127, 127]
    scale: NDArray[np.float32]  # broadcasts with codes: one per output channel, or one in all

    @property
    def values(self) -> NDArray[np.float32]:
        """The kernel in float32."""
        return self.codes * self.scale


class Grid(NamedTuple):
    """The 256 values that an activation can take: (code - zero_point) * scale."""

    scale: float
    zero_point: int


class Codes(NamedTuple):
    """All integers of a net."""

    kernels: Mapping[str, KernelCodes]  # by layer
    activations: Mapping[str, tuple[Grid, ...]]
    """By layer: the grid of each tensor that the file computes for it, in execution order."""


def quantize_kernel(kernel: NDArray[np.float32], axes: tuple[int, ...]) -> KernelCodes:
    """Quantize a kernel symmetrically to [-127, 127]: 0.0 becomes code 0.

    Args:
        kernel: of any shape, every value finite.
        axes: those that share a scale; there is one scale for each index of the others.

    Returns:
        Codes of the kernel's shape, and the least scales of `SCALES_PER_OCTAVE` that are not less
        than the largest value / 127; the scale of a channel of zeros is 1.0.
        |kernel - codes * scale| <= scale / 2, up to float32 rounding.

    Raises:
        EdgenetsError: the kernel holds a NaN or an infinity.

    >>> quantize_kernel(np.float32([[127, 15.875], [-1, 0]]), axes=(0,)).scale
    array([[1.   , 0.125]], dtype=float32)
    """
    if not np.isfinite(kernel).all():
        raise EdgenetsError("a kernel holds a NaN or an infinity; train the net again")
    largest = np.abs(kernel).max(axis=axes, keepdims=True, initial=0).astype(np.float64)
    exponent = np.log2(np.where(largest > 0, largest / LARGEST_CODE, 1))
    scale = np.exp2(np.ceil(exponent * SCALES_PER_OCTAVE) / SCALES_PER_OCTAVE)
    scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
    codes = np.clip(np.rint(kernel / scale), -LARGEST_CODE, LARGEST_CODE)
    return KernelCodes(codes.astype(np.int8), scale)


def to_tensors(codes: Codes) -> dict[str, NDArray[Any]]:
    """Return the arrays of `codes.safetensors`, by names such as `stem_conv/kernel`."""
    tensors: dict[str, NDArray[Any]] = {}
    for layer, kernel in codes.kernels.items():
        tensors[f"{layer}/{KERNEL}"] = kernel.codes
        tensors[f"{layer}/{KERNEL_SCALE}"] = kernel.scale
    for layer, grids in codes.activations.items():
        tensors[f"{layer}/{OUTPUT_SCALE}"] = np.array([grid.scale for grid in grids], np.float32)
        tensors[f"{layer}/{OUTPUT_ZERO_POINT}"] = np.array(
            [grid.zero_point for grid in grids], np.int32
        )
    return tensors


def from_tensors(tensors: Mapping[str, NDArray[Any]], source: str) -> Codes:
    """Return the codes that `to_tensors` gave.

    Raises:
        EdgenetsError: an array is missing, or its name, type, shape or values are not as there.
    """
    kernels: dict[str, KernelCodes] = {}
    grids: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}  # scales and zero points
    left = dict(tensors)
    try:
        for name in tensors:
            layer, _, part = name.rpartition("/")
            if part == KERNEL:
                kernels[layer] = KernelCodes(left.pop(name), left.pop(f"{layer}/{KERNEL_SCALE}"))
            elif part == OUTPUT_SCALE:
                grids[layer] = left.pop(name), left.pop(f"{layer}/{OUTPUT_ZERO_POINT}")
    except KeyError as error:
        raise EdgenetsError(f"{source} lacks the other half of {error}; compress again") from error
    sound = (*map(_is_sound, kernels.values()), *starmap(_are_grids, grids.values()))
    if left or not all(sound):
        raise EdgenetsError(f"{source} is damaged; restore it or compress again")
    activations = {
        layer: tuple(map(Grid, scales.tolist(), points.tolist()))
        for layer, (scales, points) in grids.items()
    }
    return Codes(kernels, activations)


def _are_grids(scales: NDArray[Any], points: NDArray[Any]) -> bool:
    return (
        scales.dtype == np.float32
        and points.dtype == np.int32
        and scales.ndim == points.ndim == 1
        and scales.size == points.size
        and bool(np.isfinite(scales).all() and (scales > 0).all())
        and bool(((points >= INT8.min) & (points <= INT8.max)).all())
    )


def _is_sound(kernel: KernelCodes) -> bool:
    codes, scale = kernel
    return (
        codes.dtype == np.int8
        and scale.dtype == np.float32
        and codes.ndim == scale.ndim
        and all(part in (1, whole) for part, whole in zip(scale.shape, codes.shape, strict=True))
        and bool(((scale > 0) & (scale <= LARGEST_SCALE)).all())
        and not (codes == -LARGEST_CODE - 1).any()
    )
