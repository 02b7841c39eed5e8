"""Int8 codes that take few bits: a kernel's codes chosen by what they cost the net and the package.

A layer's kernel is a set of rows, one for each output channel; rows of a group see the same inputs.
To be small is, for codes of a layer, sum over rows of e H e + price * bits: e is the row's error, H
the layer's curvature (an error's cost in nats of the net's answers, see `curvature`), and the bits
are those of a coder's tables that follow the codes.

Columns are rounded one after the other, and what a rounding breaks is mended by the columns that
are still free, as in Optimal Brain Surgeon; then single codes are changed as long as that pays.

Source: Frantar et al. 2022, arXiv:2210.17323 (GPTQ); Frantar and Alistarh 2022, arXiv:2208.11580
(OBQ); Choi et al. 2016, arXiv:1612.01543 (curvature and entropy in quantization).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.models.codes import LARGEST_CODE, SCALES_PER_OCTAVE
from edgenets.quantize.package.rans import SYMBOLS
from edgenets.quantize.rate.coders import Coder, package_bits, places, sum_bits

BLOCK = 32  # columns whose changes reach the others together
TRIALS, SWEEPS = 2, 4  # of rounding all columns; of changing single codes
STEP_FACTOR = 4.5
"""A step is so many times sqrt(price / curvature): finer ones cost bits, coarser ones accuracy."""
STEPS_PER_OCTAVE = 4  # of steps that differ within a layer; few distinct ones take few bytes

Array = NDArray[np.float32]


class Rows(NamedTuple):
    """The codes of a layer's rows."""

    codes: NDArray[np.int8]  # [groups, rows, inputs]
    step: Array  # [groups, rows, 1], weight units per code
    bits: float  # that the codes take by the coder's tables

    @property
    def values(self) -> Array:
        """The rows in float32."""
        return self.codes * self.step


def code_rows(
    rows: Array,
    curvature: Array,
    price: float,
    *,
    same_step: bool = False,
    code_bits: Coder = package_bits,
) -> Rows:
    """Return codes of `rows` that cost little in accuracy and bits together.

    Args:
        rows: [groups, rows, inputs], every value finite.
        curvature: [groups, inputs, inputs], positive definite.
        price: of a bit, in units of the curvature; 0 asks for the least error at the finest steps.
        same_step: one step for all groups, too.
        code_bits: what codes cost.

    Raises:
        EdgenetsError: a value is not finite, or a curvature is not positive definite.
    """
    if not (np.isfinite(rows).all() and np.isfinite(curvature).all() and price >= 0):
        raise EdgenetsError("a kernel or its curvature holds a NaN or an infinity; train again")
    step = choose_steps(rows, curvature, price, same_step=same_step)
    order = np.argsort(-np.diagonal(curvature, axis1=1, axis2=2), axis=1, kind="stable")
    scaled = _in_order(rows / step, order)
    weight = step[:, :, 0] ** 2
    ordered = _in_order(_in_order(curvature, order).swapaxes(1, 2), order)
    try:
        factor = _inverse_factor(ordered)
    except np.linalg.LinAlgError as error:
        raise EdgenetsError(
            "a layer's curvature is not positive definite; pass more calibration images"
        ) from error
    codes = _nearest(scaled)
    if price:
        for _ in range(TRIALS):
            codes = _round_columns(scaled, weight, factor, price * code_bits(codes))
        for _ in range(SWEEPS):
            codes = _change_codes(codes, scaled, weight, ordered, price * code_bits(codes))
    else:
        free = np.zeros((*rows.shape[:2], SYMBOLS), np.float32)
        both = codes, _round_columns(scaled, weight, factor, free)
        codes = min(both, key=lambda each: _error(each - scaled, weight, ordered))
        codes = _change_codes(codes, scaled, weight, ordered, free)
    keep_one(codes, scaled)
    bits = sum_bits(codes, code_bits)
    restored = np.empty_like(codes)
    np.put_along_axis(restored, order[:, np.newaxis], codes, axis=2)
    return Rows(restored.astype(np.int8), step, bits)


def keep_one(codes: NDArray[Any], wanted: NDArray[Any]) -> None:
    """Let a kernel keep its largest value, in steps, as a code if it would have zeros only.

    A converter does not keep the scale of such a kernel.
    """
    if not codes.any():
        largest = np.unravel_index(np.abs(wanted).argmax(), wanted.shape)
        codes[largest] = np.sign(wanted[largest])


def choose_steps(rows: Array, curvature: Array, price: float, *, same_step: bool = False) -> Array:
    """Return the steps of rows, [groups, rows, 1], all finite and above zero.

    A group's step follows from its curvature; rows whose largest value would have a code above 127
    get the least larger one of `SCALES_PER_OCTAVE`. Arguments are those of `code_rows`.
    """
    largest = np.abs(rows).max(axis=2, keepdims=True).astype(np.float64)
    least = np.where(largest > 0, largest / LARGEST_CODE, np.finfo(np.float32).tiny)
    mean = np.diagonal(curvature, axis1=1, axis2=2).mean(axis=1, dtype=np.float64)
    if same_step:
        least, mean = least.max(keepdims=True), mean.mean(keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.log2(STEP_FACTOR) + (np.log2(price) - np.log2(mean)) / 2
    wanted = np.round(wanted * STEPS_PER_OCTAVE) / STEPS_PER_OCTAVE
    # A step beyond all weights has no code for any of them that is near.
    wanted = np.minimum(wanted, np.log2(max(largest.max(), np.finfo(np.float32).tiny)))
    finest = np.ceil(np.log2(least) * SCALES_PER_OCTAVE) / SCALES_PER_OCTAVE
    steps = np.exp2(np.maximum(wanted[:, np.newaxis, np.newaxis], finest))
    return np.broadcast_to(steps, largest.shape).astype(np.float32)


def _in_order(values: Array, order: NDArray[np.intp]) -> Array:
    return np.take_along_axis(values, order[:, np.newaxis], axis=2)


def _inverse_factor(curvature: Array) -> Array:
    """Return the upper triangular U of each group with U^T U the curvature's inverse."""
    inverse = np.linalg.inv(curvature.astype(np.float64))
    return np.ascontiguousarray(np.linalg.cholesky(inverse).swapaxes(1, 2), np.float32)


def _nearest(values: Array) -> Array:
    return np.clip(np.rint(values), -LARGEST_CODE, LARGEST_CODE)


def _error(error: Array, weight: Array, curvature: Array) -> float:
    return float((weight * ((error @ curvature) * error).sum(axis=2)).sum())


def _choose(wanted: Array, weight: Array, cost: Array) -> Array:
    """Return the codes near `wanted`, [groups, rows], or 0, of the least squared error and cost."""
    near = np.rint(wanted)
    beside = near + np.where(wanted >= near, 1, -1)
    options = np.stack([near, beside, near - np.sign(near), np.zeros_like(near)], axis=-1)
    options = np.clip(options, -LARGEST_CODE, LARGEST_CODE)
    loss = weight[..., np.newaxis] * (options - wanted[..., np.newaxis]) ** 2
    loss += np.take_along_axis(cost, places(options), axis=-1)
    best = loss.argmin(axis=-1)[..., np.newaxis]
    return np.take_along_axis(options, best, axis=-1)[..., 0]


def _round_columns(rows: Array, weight: Array, factor: Array, cost: Array) -> Array:
    """Round column after column, the later ones mending what the earlier ones break.

    Args:
        rows: [groups, rows, inputs], in steps.
        weight: [groups, rows], of a squared error of one step.
        factor: of the curvature's inverse, [groups, inputs, inputs], upper triangular.
        cost: of each code in each row.
    """
    rows, codes = rows.copy(), np.empty_like(rows)
    inputs = rows.shape[2]
    for start in range(0, inputs, BLOCK):
        end = min(inputs, start + BLOCK)
        errors = np.empty((*rows.shape[:2], end - start), np.float32)
        for j in range(start, end):
            pivot = factor[:, j, j, np.newaxis]
            codes[:, :, j] = _choose(rows[:, :, j], weight / pivot**2, cost)
            errors[:, :, j - start] = (rows[:, :, j] - codes[:, :, j]) / pivot
            broken = errors[:, :, j - start, np.newaxis] * factor[:, np.newaxis, j, j + 1 : end]
            rows[:, :, j + 1 : end] -= broken
        rows[:, :, end:] -= errors @ factor[:, start:end, end:]
    return codes


def _change_codes(codes: Array, rows: Array, weight: Array, curvature: Array, cost: Array) -> Array:
    """Set each code, one column after the other, to what is best beside all others.

    The sum of error and cost does not grow. Arguments are those of `_round_columns`.
    """
    codes = codes.copy()
    gradient = (codes - rows) @ curvature
    inputs = rows.shape[2]
    for start in range(0, inputs, BLOCK):
        end = min(inputs, start + BLOCK)
        changes = np.empty((*rows.shape[:2], end - start), np.float32)
        near = gradient[:, :, start:end].copy()
        for j in range(start, end):
            pivot = curvature[:, j, j, np.newaxis]
            wanted = codes[:, :, j] - near[:, :, j - start] / pivot
            chosen = _choose(wanted, weight * pivot, cost)
            changes[:, :, j - start] = change = chosen - codes[:, :, j]
            codes[:, :, j] = chosen
            near += change[..., np.newaxis] * curvature[:, np.newaxis, j, start:end]
        gradient += changes @ curvature[:, start:end]
    return codes
