"""Keras models that edgenets did not build: Keras 3 and tf_keras models of an image classifier.

They are converted as they are, without the rewrites of a target, which know edgenets' own layers,
and go through the same checks, which hold the file against the model as it was given. A softmax at
the end is left out of the file, because 8-bit probabilities cannot rank the classes behind the
first, and the input is mapped from [-1, 1], which every edgenets file takes, to what the model
takes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.data.images import Fit, Preparation
from edgenets.data.input_range import CENTRED
from edgenets.errors import EdgenetsError
from edgenets.export.formats import find_format
from edgenets.export.metadata import BOTH
from edgenets.export.targets import find_target
from edgenets.export.write.checked_file import write_checked
from edgenets.export.write.converter import in_short, valid_name, valid_scopes
from edgenets.memory import require
from edgenets.models.backend import keras, tf
from edgenets.models.folder import Spec
from edgenets.models.inference import Inference
from edgenets.progress import quiet_stderr
from edgenets.units import format_shape

LOAD_ERRORS = (
    *(OSError, ValueError, TypeError, KeyError, AttributeError),
    *(ImportError, RuntimeError, IndexError, SyntaxError, zipfile.BadZipFile),
)
"""What Keras raises for files that it cannot make a model of."""
CALL_ERRORS = (
    *(ValueError, TypeError, AttributeError, KeyError, IndexError, AssertionError),
    *(RuntimeError, NotImplementedError, ZeroDivisionError, tf.errors.OpError),
)
"""What a layer raises when it is called."""
COMPUTED_IN = ("float32", "int32", "int64", "bool")  # by layers that can be converted
STRIP = {  # wrappers of tfmot, and what takes them off
    "PruneLowMagnitude": "pass tfmot.sparsity.keras.strip_pruning(model)",
    "ClusterWeights": "pass tfmot.clustering.keras.strip_clustering(model)",
}
QUANTIZED = (
    "its ranges are not those of a file that takes pixel - 128; pass the model as it was before "
    "quantize_model, with the trained weights, or convert it with tf.lite.TFLiteConverter, whose "
    "files every command but export takes"
)


class Foreign(NamedTuple):
    """A model of others, as it is converted and as it was given."""

    model: Any
    """From [-1, 1] to what the given model returns."""
    spec: Spec
    answers: Inference
    """The given model itself, from images in [-1, 1]: what a file is held against."""


def export_model(
    model: Any,
    out: Path | str,
    labels: Sequence[str],
    *,
    images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | None = None,
    target: str = "generic",
    number_format: str | None = None,
    input_range: tuple[float, float] = CENTRED,
    resize: int | None = None,
    fit: Fit = "crop",
    names: bool | None = None,
) -> dict[str, Any]:
    """Write a Keras model as a checked `.tflite` file, and what was verified to a JSON beside it.

    Args:
        model: a Keras 3 or tf_keras model, functional or sequential, from float32 RGB images
            `[batch, size, size, 3]` to logits or probabilities `[batch, classes]`. A softmax at the
            end, in whatever form, is left out of the file.
        out: the file, replaced if it exists.
        labels: of the classes, in the order of the outputs. Of a model that gives one sigmoid, two:
            the second is what it is the probability of.
        images: prepared ones, `[images, size, size, 3]` or a list of such, to calibrate integers
            with and to compare file and model on; without any, float files are compared on noise.
        target: a name of `edgenets.export.targets.TARGETS`.
        number_format: a name of `edgenets.export.formats.FORMATS`; by default the target's first.
        input_range: what the model takes for black and for white.
        resize: short side that an image is scaled to before its centre is cut out; the default of
            its size if not given.
        fit: how the model's pictures became square, as `edgenets.data.images.Preparation` says.
        names: whether tensors keep their names; by default in fp32 and where the target says so.

    Returns:
        As `edgenets.export.write.checked_file.write_checked`.

    Raises:
        EdgenetsError: the model is none of the above, or the file failed its checks.
    """
    row = find_target(target)
    adopted, spec, answers = adopt(model, labels, input_range, resize, fit)
    images = None if images is None else checked_images(images, spec)
    chosen = find_format(number_format or row.formats[0])
    return write_checked(
        Path(out), chosen, adopted, spec, images, target=row, names=names, answers=answers
    )


def adopt(
    model: Any,
    labels: Sequence[str],
    input_range: tuple[float, float],
    resize: int | None = None,
    fit: Fit = "crop",
) -> Foreign:
    """Return a model from [-1, 1] to what `model` returns, its spec, and `model` as a function.

    Arguments and errors are those of `export_model`.
    """
    library = _library(model)
    batch, size, classes = _shapes(model)
    _check_layers(model)
    origin = {"source": f"{library.__name__} {library.__version__} model {model.name}"}
    both = {}
    if classes == 1 and len(labels) == 2:  # of which the file's one score has the second
        both, labels = {BOTH: list(labels)}, labels[1:]
    if len(labels) != classes:
        raise EdgenetsError(f"{model.name} has {classes} classes, and {len(labels)} labels came")
    low, high = _checked_range(input_range)
    # Within another model, so that no rewrite takes its layers for edgenets' own.
    image = library.Input((size, size, 3), batch_size=1 if batch == 1 else None, name="image")
    x = image
    if (low, high) != CENTRED:
        x = library.layers.Rescaling((high - low) / 2, (high + low) / 2, name="input_range")(x)
    with valid_scopes(model):
        adopted = library.Model(image, model(x), name=valid_name(model.name))
    preparation = Preparation.default(model.name, size, fit)
    if resize is not None:
        preparation = Preparation(size, resize, fit)
    spec = Spec(
        name=model.name,
        arguments={"classes": classes, "resolution": size},
        labels=tuple(labels),
        preparation=preparation,
        seed=0,
        initial_weights={**origin, **both, "input_range": [low, high]},
    )
    return Foreign(adopted, spec, _answers(model, low, high, batch))


def checked_images(images: Any, spec: Spec) -> NDArray[np.uint8]:
    """Return prepared images of the model of `spec` as one array, also those of a list.

    Raises:
        EdgenetsError: they are none.
    """
    size = spec.preparation.resolution
    try:
        taken = np.asarray(images)
        came = f"{taken.dtype} of {format_shape(taken.shape)}"
    except ValueError:  # arrays of several shapes
        taken, came = np.empty(0), "arrays of several shapes"
    if taken.dtype != np.uint8 or taken.shape[1:] != (size, size, 3) or not len(taken):
        raise EdgenetsError(
            f"images must be one or more, uint8 of [images, {size}, {size}, 3], as {spec.name} "
            f"takes them, got {came}"
        )
    return taken


def _checked_range(given: Any) -> tuple[float, float]:
    """Return what a model takes for black and for white.

    Raises:
        EdgenetsError: it is no range.
    """
    try:
        low, high = map(float, given)
    except (TypeError, ValueError, OverflowError) as error:
        raise EdgenetsError(
            "the input range must be two numbers, for black and for white in all channels, got "
            f"{given!r}; put a Normalization layer into a model that takes others for each"
        ) from error
    if not -inf < low < high < inf:
        raise EdgenetsError(
            f"the input range must rise from black to white, got {low} to {high}; pass two finite "
            "numbers, such as 0 and 255"
        )
    return low, high


def _shapes(model: Any) -> tuple[int | None, int, int]:
    """Return batch (None if it is open), side of the images and number of classes of a model.

    Raises:
        EdgenetsError: it is not one from square float32 RGB images to scores.
    """
    inputs, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    if not inputs:
        raise EdgenetsError(
            f"a functional or sequential model is needed, and {model.name} has no input shape; "
            "call it with an image, or build a functional model around it"
        )
    match [[tuple(tensor.shape) for tensor in side] for side in (inputs, outputs)]:
        case [[(batch, int(height), int(width), 3)], [(_, int(classes))]] if height == width:
            pass
        case shapes:
            raise EdgenetsError(
                "a functional or sequential model is needed that takes square RGB images [batch, "
                f"size, size, 3] and returns [batch, classes]; {model.name} takes {shapes[0]} and "
                f"returns {shapes[1]}"
            )
    if (dtype := _name_of(inputs[0].dtype)) != "float32":
        raise EdgenetsError(
            f"a model with a float32 input is needed, and that of {model.name} is {dtype}; build "
            "it again with Input(..., dtype='float32') and the same weights"
        )
    return batch, height, classes


def _check_layers(model: Any) -> None:
    """Refuse layers that the converter fails on, with what to do about them.

    Raises:
        EdgenetsError: one computes in half precision, was quantized by Keras or wrapped by tfmot.
    """
    for layer in model._flatten_layers():
        kind = type(layer)
        if kind.__module__.startswith("tensorflow_model_optimization"):
            raise EdgenetsError(
                f"{model.name} holds {kind.__name__} of tensorflow_model_optimization (layer "
                f"{layer.name}); {STRIP.get(kind.__name__, QUANTIZED)}"
            )
        if mode := getattr(layer, "quantization_mode", None):
            raise EdgenetsError(
                f"{model.name}'s layer {layer.name} was quantized by model.quantize ({mode}), "
                "which TFLite has no operators for; pass the model as it was before, the file is "
                "quantized here"
            )
        if (dtype := _name_of(layer.compute_dtype)) not in COMPUTED_IN:
            raise EdgenetsError(
                f"{model.name}'s layer {layer.name} computes in {dtype}, and float32 is needed; "
                "build the model again under the policy float32 (mixed_precision."
                "set_global_policy('float32')), and set_weights(model.get_weights())"
            )


def _name_of(dtype: Any) -> str:
    return str(getattr(dtype, "name", dtype))  # tf_keras has TensorFlow's, Keras 3 strings


def _answers(model: Any, low: float, high: float, batch: int | None) -> Inference:
    """Return the given model as a function of images in [-1, 1], as many as its batch at a time."""

    def answer(images: NDArray[np.float32]) -> tf.Tensor:
        pixels = images * np.float32((high - low) / 2) + np.float32((high + low) / 2)
        size = batch or len(pixels)
        count = -(-len(pixels) // size)
        parts = np.split(np.resize(pixels, (count * size, *pixels.shape[1:])), count)
        try:
            scores = [tf.cast(model(part, training=False), tf.float32) for part in parts]
        except CALL_ERRORS as error:
            raise EdgenetsError(
                f"{model.name} cannot be called with images ({in_short(error)}); export a model "
                "that predicts"
            ) from error
        return tf.concat(scores, axis=0)[: len(pixels)]

    return answer


def load_trusted(path: Path) -> Any:
    """Load a `.keras` or `.h5` file with the Keras that wrote it. **This runs code in the file.**

    Raises:
        EdgenetsError: it is no such file, or Keras cannot load it.
    """
    try:
        library = keras if _keras_version(path).startswith("2.") else _keras3()
        with quiet_stderr():
            load = library.models.load_model
            return load(str(path), compile=False, safe_mode=False)
    except LOAD_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise EdgenetsError(
            f"Keras cannot load {path} ({type(error).__name__}: {reason}); pass a whole model that "
            "Keras saved, and pass one that needs more than Keras to edgenets.export_model"
        ) from error


def _keras_version(path: Path) -> str:
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            unpacked_bytes = sum(entry.file_size for entry in archive.infolist())
            require(unpacked_bytes, f"{path} unpacks to too much")
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    import h5py

    with h5py.File(path) as file:
        return str(file.attrs["keras_version"])


def _library(model: Any) -> Any:
    if isinstance(model, keras.Model):
        return keras
    keras3 = _keras3()
    if isinstance(model, keras3.Model):
        if keras3.backend.backend() != "tensorflow":
            raise EdgenetsError(
                f"the Keras model runs on {keras3.backend.backend()}; set KERAS_BACKEND=tensorflow "
                "before Keras is imported"
            )
        return keras3
    raise EdgenetsError(f"a Keras model is needed, not {type(model).__name__}")


def _keras3() -> Any:
    import keras as keras3  # comes with tensorflow

    return keras3
