"""What a stage made, measured: accuracy, bytes, zeros and distinct values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.export.measure.accuracy import classify
from edgenets.export.measure.classifier import Classifier
from edgenets.export.metadata import layer_names
from edgenets.export.write.checked_file import Exported
from edgenets.models.backend import keras
from edgenets.models.folder import Model
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.pipeline.stages.inputs import RunImages
from edgenets.pipeline.stages.places import Record
from edgenets.quantize.layers import kernel_axes, kernel_of, prunable_layers
from edgenets.quantize.sizes.counts import count_nonzero, distinct_values, sparsity


def measure_model(images: RunImages, model: Model, content: bytes) -> Record:
    """Measure a float model; zeros and values of kernels that have codes are those of the codes."""
    weights = [weight.numpy() for weight in model.net.weights]
    codes = model.kernels
    kernels = {
        layer.name: codes[layer.name].codes if layer.name in codes else kernel_of(layer).numpy()
        for layer in model.net.layers
        if kernel_axes(layer)
    }
    zeros = sparsity([kernels[layer.name] for layer in prunable_layers(model.net)])
    return {
        **images.score(predict_logits(compile_inference(model.net), images.test)),
        **_sizes(content, None, weights, zeros, list(kernels.values())),
    }


def measure_export(
    images: RunImages,
    exported: Exported,
    model: keras.Model,
    stored: int | None = None,
    logits: NDArray[np.float32] | None = None,
) -> Record:
    """Measure a file.

    Args:
        images: to test it on.
        exported: the file.
        model: that it was made of, before a target's rewrites, which keep the layers' names.
        stored: bytes of its package; None for a float file, which is not packed.
        logits: its answers to the test images, if they are known already.
    """
    content, fidelity = exported.content, exported.fidelity
    assert fidelity is not None  # there are images
    file = exported.file.model
    kernels = [(layer, file.tensors[kernel].content) for kernel, layer in _kernels(file).items()]
    contents = [data for _, data in kernels]
    biases = [bias.content for bias in file.biases]
    # Of the model's sizes: a rewrite may add zeros to a kernel, as between groups.
    prunable = {
        layer.name: kernel_of(layer).shape.num_elements() for layer in prunable_layers(model)
    }
    kept = count_nonzero([data for layer, data in kernels if layer in prunable])
    zeros = 1 - kept / sum(prunable.values()) if prunable else 0.0
    if logits is None:
        logits = classify(Classifier(exported.file), images.test)
    return {
        **images.score(logits),
        **_sizes(content, stored, [*biases, *contents], zeros, contents),
        "fidelity": fidelity._asdict(),
        "kernels": [
            {
                "layer": layer,
                "shape": data.shape,
                "sparsity": sparsity([data]),
                "distinct_values": distinct_values([data]),
            }
            for layer, data in kernels
        ],
    }


def _kernels(file: flatbuffer.Model) -> dict[int, str]:
    """Return the layers of the stored kernels, by the kernels' indices."""
    unpacked = file.unpacked
    return {
        unpacked.get(operator.inputs[1], operator.inputs[1]): layer
        for operator, layer in zip(file.operators, layer_names(file), strict=True)
        if operator.name in flatbuffer.WEIGHTED
    }


def _sizes(
    content: bytes,
    stored: int | None,
    weights: list[NDArray[Any]],
    zeros: float,
    kernels: list[NDArray[Any]],
) -> Record:
    """Return a file's sizes, the zeros of the prunable kernels, the values of all kernels."""
    return {
        "size_bytes": len(content),
        "stored_bytes": stored,
        "params": sum(weight.size for weight in weights),
        "nonzero_params": count_nonzero(weights),
        "sparsity": zeros,
        "distinct_values": distinct_values(kernels),
    }
