"""A net's kernels as codes that take few bits, layer by layer from the image on.

Each layer is coded for the inputs that it will have, of kernels and activations that are rounded
already: its weights first move to where they give the float net's outputs from these inputs, then
they become codes, and the bias takes up the mean of what is left.

Source: Frantar et al. 2022, arXiv:2210.17323; Nagel et al. 2019, arXiv:1906.04721 (biases).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.models.backend import keras, tf
from edgenets.models.codes import Grid, KernelCodes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.graph import call_layer, parents_of, walk
from edgenets.progress import progress_bar
from edgenets.quantize.layers import kernel_axes, kernel_of
from edgenets.quantize.rate.activation_ranges import round_to
from edgenets.quantize.rate.coders import Coder, package_bits
from edgenets.quantize.rate.curvature import (
    Curvature,
    Curvatures,
    groups_of,
    seen_by,
    to_kernel,
    to_rows,
)
from edgenets.quantize.rate.kernel_codes import Rows, code_rows
from edgenets.quantize.stages.rounding import MOVING

MOST_SAMPLES = 40_000  # positions of all images that a layer's inputs are known by
RIDGE = 0.1  # of the mean square of an input: how much less weights move than inputs alone ask for
BATCH = 20  # images
CHEAPER_TRIES = 3  # of a lower price in layers whose bits are free
LEAST_OCTAVES, MOST_OCTAVES = 0.1, 8.0  # that the price falls in one of them
LAST_PART = 4.0
"""A bit of the last layer may cost so many times less: no layer after it mends what it breaks, and
few images know least of its inputs."""
BIAS_PART = 16  # a bias is rounded to at most this part of an output's step

Array = NDArray[np.float32]
Grids = Mapping[str, tuple[Grid, ...]]


class Coded(NamedTuple):
    """A net in codes."""

    model: keras.Model  # folded, its biases those that go with the codes, its kernels the codes'
    kernels: dict[str, KernelCodes]
    bits: float  # of all codes, by tables of each layer's own


class _Outputs(NamedTuple):
    """A layer's output for the images."""

    exact: Array  # of the float net
    given: Array  # of the coded one


def code_kernels(
    folded: keras.Model,
    images: Array,
    curvatures: Curvatures,
    grids: Grids,
    price: float,
    *,
    code_bits: Coder = package_bits,
    free_bits: Mapping[str, float] | None = None,
) -> Coded:
    """Return a copy of a folded net with codes for kernels.

    Args:
        folded: without BatchNorm; left as it is.
        images: those that positions' importance is known of, `[images, ...]` in [-1, 1].
        curvatures: of its layers.
        grids: of its activations in the file.
        price: nats of KL divergence that a bit may cost.
        code_bits: what codes cost.
        free_bits: by layer, how many of its bits have no price.
    """
    coded = fold_batch_norm(folded)
    *_, last = curvatures
    kernels: dict[str, KernelCodes] = {}
    bits: list[float] = []
    with progress_bar("rate", len(curvatures)) as advance:

        def visit(layer: keras.layers.Layer, inputs: list[_Outputs]) -> _Outputs:
            if not inputs:
                return _Outputs(images, images)
            name, copy = layer.name, coded.get_layer(layer.name)
            if kernel_axes(layer):
                own_price = price / LAST_PART if name == last else price
                kernels[name], used = _code_layer(
                    layer,
                    copy,
                    *inputs[0],
                    curvatures[name],
                    own_price,
                    code_bits,
                    (free_bits or {}).get(name, 0.0),
                )
                bits.append(used)
                advance()
            given = _apply(copy, [each.given for each in inputs])
            if name in grids and not isinstance(layer, MOVING):
                given = round_to(grids[name][-1], given)
            return _Outputs(_apply(layer, [each.exact for each in inputs]), given)

        for _ in walk(folded, visit):
            pass
    round_biases(coded, kernels, grids)
    return Coded(coded, kernels, sum(bits))


def _code_layer(
    layer: keras.layers.Layer,
    copy: keras.layers.Layer,
    exact: Array,
    given: Array,
    curvature: Curvature,
    price: float,
    code_bits: Coder,
    free_bits: float,
) -> tuple[KernelCodes, float]:
    """Code a layer that sees `given` where the float net sees `exact`; set the copy's weights."""
    kernel = kernel_of(layer).numpy()
    groups = groups_of(layer)
    rows = to_rows(kernel, groups, int(layer.output.shape[-1]))
    wanted, seen, weights = _sample(layer, exact, given, curvature.importance)
    mean_wanted, mean_seen = (
        np.einsum("s,sgk->gk", weights, part, dtype=np.float64).astype(np.float32)
        for part in (wanted, seen)
    )
    if not layer.use_bias:
        mean_wanted = mean_seen = np.zeros_like(mean_seen)
    moved = _mend(rows, wanted - mean_wanted, seen - mean_seen, weights)
    axes = kernel_axes(layer)
    same_step = isinstance(layer, keras.layers.Dense)
    code = partial(code_rows, moved, curvature.matrix, same_step=same_step, code_bits=code_bits)
    found = _use_free_bits(code, price, free_bits)
    shape = [1 if axis in axes else size for axis, size in enumerate(kernel.shape)]
    scale = found.step.ravel()[: math.prod(shape)].reshape(shape)
    codes = KernelCodes(to_kernel(found.codes, kernel.shape), scale)
    kernel_of(copy).assign(codes.values)
    if layer.use_bias:
        shift = np.einsum("grk,gk->gr", rows, mean_wanted)
        shift -= np.einsum("grk,gk->gr", found.values, mean_seen)
        copy.bias.assign(layer.bias.numpy() + shift.ravel())
    return codes, found.bits


def _use_free_bits(code: Callable[[float], Rows], price: float, free_bits: float) -> Rows:
    """Return codes at a price, or if they take fewer bits than are free, at one that uses these.

    Half the price is half a bit more of each weight where steps are fine, and less where they are
    not, so that what is free is come to from below.
    """
    found = code(price)
    for _ in range(CHEAPER_TRIES):
        octaves = 2 * (free_bits - found.bits) / found.codes.size
        if octaves < LEAST_OCTAVES:
            break
        price *= 2.0 ** -min(octaves, MOST_OCTAVES)
        cheaper = code(price)
        if cheaper.bits > free_bits:
            break
        found = cheaper
    return found


def _sample(
    layer: keras.layers.Layer, exact: Array, given: Array, importance: Array
) -> tuple[Array, Array, Array]:
    """Return what a layer's rows see at some positions in both nets, and how much these count.

    Returns:
        Both [samples, groups, inputs], and [samples] that add up to 1.
    """
    random = np.random.default_rng(0)
    positions = importance.shape[1]
    per_image = max(1, min(positions, MOST_SAMPLES // len(exact)))
    parts: list[tuple[Array, Array, Array]] = []
    for start in range(0, len(exact), BATCH):
        both = [
            seen_by(layer, tf.constant(x[start : start + BATCH])).numpy() for x in (exact, given)
        ]
        for wanted, seen, weights in zip(*both, importance[start : start + BATCH], strict=True):
            chosen = random.choice(positions, per_image, replace=False)
            parts.append((wanted[chosen], seen[chosen], weights[chosen]))
    wanted, seen, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    total = float(weights.sum(dtype=np.float64))
    even = np.full_like(weights, 1 / len(weights))
    return wanted, seen, (weights / total).astype(np.float32) if total > 0 else even


def _mend(rows: Array, wanted: Array, seen: Array, weights: Array) -> Array:
    """Return rows that give from `seen` about what `rows` give from `wanted`.

    Args:
        rows: [groups, rows, inputs].
        wanted, seen: [samples, groups, inputs].
        weights: [samples].
    """
    seen, missing = seen.transpose(1, 2, 0), (wanted - seen).transpose(1, 2, 0)
    weighted = seen * weights
    square = (weighted @ seen.swapaxes(1, 2)).astype(np.float64)
    ridge = RIDGE * np.diagonal(square, axis1=1, axis2=2).mean(axis=1)
    square += (ridge[:, None, None] + np.finfo(np.float32).tiny) * np.eye(square.shape[1])
    change = np.linalg.solve(square, weighted @ missing.swapaxes(1, 2))
    return (rows + (rows @ change.swapaxes(1, 2))).astype(np.float32)


def _apply(layer: keras.layers.Layer, inputs: list[Array]) -> Array:
    """Return a layer's output, computed in batches."""
    batches = []
    for start in range(0, len(inputs[0]), BATCH):
        parts = [tf.constant(each[start : start + BATCH]) for each in inputs]
        batches.append(np.asarray(call_layer(layer, parts)))
    return np.concatenate(batches)


def round_biases(
    coded: keras.Model,
    kernels: Mapping[str, KernelCodes],
    grids: Grids,
    *,
    base: keras.Model | None = None,
    part: float = BIAS_PART,
) -> None:
    """Round biases to powers of two of their int32 steps: their low bytes become zeros.

    A bias moves by less than 1 / (2 * part) of a step of the layer's output. With a `base`, an
    equal net with other weights, what is rounded is the difference to its biases.
    """
    for name, kernel in kernels.items():
        layer = coded.get_layer(name)
        source = layer
        while source.name == name or (source.name not in grids and parents_of(source)):
            (source,) = parents_of(source)
        if not layer.use_bias or name not in grids or source.name not in grids:
            continue
        step = kernel.scale.astype(np.float64).ravel() * grids[source.name][-1].scale
        largest = grids[name][-1].scale / part
        step = step * np.exp2(np.maximum(0, np.floor(np.log2(largest / step))))
        start = 0.0 if base is None else base.get_layer(name).bias.numpy().astype(np.float64)
        moved = np.rint((layer.bias.numpy() - start) / step) * step
        layer.bias.assign((start + moved).astype(np.float32))
