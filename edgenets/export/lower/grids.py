"""Grids for the activations of an int8 file by other ranges than the converter's."""

from __future__ import annotations

import numpy as np

from edgenets import flatbuffer
from edgenets.export.lower.file_layers import activations
from edgenets.flatbuffer import File
from edgenets.models.backend import keras
from edgenets.models.codes import Grid
from edgenets.models.graph import walk_outputs
from edgenets.quantize.rate.activation_ranges import (
    MOST_VALUES,
    Array,
    ChooseRange,
    sample,
    to_grid,
)
from edgenets.quantize.stages.rounding import MOVING

# Operators that LiteRT computes with one grid for their inputs and outputs.
ONE_GRID = (
    *("CONCATENATION", "RESHAPE", "TRANSPOSE", "SPLIT", "PAD", "MAX_POOL_2D"),
    *("AVERAGE_POOL_2D", "STRIDED_SLICE"),
)


def choose_grids(
    source: File | bytes, model: keras.Model, images: Array, choose: ChooseRange
) -> dict[str, tuple[Grid, ...]]:
    """Return the file's grids by layer, those of hidden layers replaced by chosen ranges.

    Input and logits keep theirs. Tensors that must share a grid get that of all their values.

    Args:
        source: the int8 file of the folded `model`.
        images: for calibration, `[images, resolution, resolution, 3]` in [-1, 1].
    """
    file = flatbuffer.model_of(source)
    order = list(activations(file, model))
    group = _groups(file)
    layer_group = {layer: group[index] for index, layer in order}  # of a layer's last tensor
    values: dict[int, list[Array]] = {}
    for layer, output in walk_outputs(model, images):
        if layer.name in layer_group and not isinstance(layer, MOVING):
            flat = output.numpy().ravel()
            values.setdefault(layer_group[layer.name], []).append(sample(flat, MOST_VALUES))
    fixed = {group[index] for index in (*file.input_indices, *file.output_indices)}
    chosen = {
        root: to_grid(*choose(np.concatenate(parts)))
        for root, parts in values.items()
        if root not in fixed
    }
    grids: dict[str, tuple[Grid, ...]] = {}
    for index, layer in order:
        tensor = file.tensors[index]
        own = Grid(float(tensor.scale[0]), int(tensor.zero_point[0]))
        grids[layer] = (*grids.get(layer, ()), chosen.get(group[index], own))
    return grids


def _groups(file: flatbuffer.Model) -> dict[int, int]:
    """Return for each tensor the first one of those that share its grid."""
    group = {index: index for index in range(len(file.tensors))}
    for operator in file.operators:
        if operator.name in ONE_GRID:
            tied = [i for i in (*operator.inputs, *operator.outputs) if _is_activation(file, i)]
            roots = {group[index] for index in tied}
            group = {i: min(roots) if root in roots else root for i, root in group.items()}
    return group


def _is_activation(file: flatbuffer.Model, index: int) -> bool:
    return (
        index >= 0 and file.tensors[index].dtype == "int8" and not file.tensors[index].is_constant
    )
