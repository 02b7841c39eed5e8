"""The size accounting of a compressed model: its layers' weights and its files' sizes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgenets.models.backend import keras
from edgenets.models.codes import Codes, KernelCodes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model
from edgenets.pipeline.stages.places import StageRecord
from edgenets.quantize.layers import kernel_axes, kernel_of
from edgenets.quantize.sizes.accounting import LayerWeights, account


def account_model(
    model: keras.Model,
    codes: Codes | None,
    *,
    float_file_bytes: int,
    file_bytes: int,
    stored_bytes: int | None,
) -> dict[str, Any]:
    """Return what `account` says of a model with BatchNorm folded; of its codes, if it has them."""
    kernels = codes.kernels if codes else {}
    folded = fold_batch_norm(model)
    return account(
        [layer_weights(layer, kernels) for layer in folded.layers if kernel_axes(layer)],
        float_file_bytes=float_file_bytes,
        file_bytes=file_bytes,
        stored_bytes=stored_bytes,
    )


def account_folder(folder: Path, records: Sequence[StageRecord]) -> dict[str, Any]:
    """Return the accounting of a model folder, given the records of the stages that made it.

    The first stage's file is the float32 one of the model as it was; the last one's is of `folder`.

    Raises:
        EdgenetsError: the folder cannot be loaded.
    """
    model = Model.load(folder)
    first, last = (records[position].measured for position in (0, -1))
    return account_model(
        model.net,
        model.codes,
        float_file_bytes=first["size_bytes"],
        file_bytes=last["size_bytes"],
        stored_bytes=last["stored_bytes"],
    )


def layer_weights(layer: keras.layers.Layer, kernels: Mapping[str, KernelCodes]) -> LayerWeights:
    """Return the weights of a layer with a kernel; its codes, if `kernels` has them by its name."""
    kernel, scales = kernel_of(layer).numpy(), 0
    if layer.name in kernels:
        codes = kernels[layer.name]
        kernel, scales = codes.codes, codes.scale.size
    biases = layer.bias.shape.num_elements() if layer.use_bias else 0
    return LayerWeights(layer.name, _output_first(layer, kernel), biases, scales)


def _output_first(layer: keras.layers.Layer, kernel: NDArray[Any]) -> NDArray[Any]:
    """Return a kernel of `layer` in the order in which Deep Compression stores it."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return kernel.transpose(2, 3, 0, 1)
    return kernel.T if kernel.ndim == 2 else kernel.transpose(3, 2, 0, 1)
