"""Keras models that edgenets did not build: Keras 3 and tf_keras models of an image classifier.

They are converted as they are, without the rewrites of a target, which know edgenets' own layers,
and go through the same checks. A softmax at the end is left out, because 8-bit probabilities cannot
rank the classes behind the first, and the input is mapped from [-1, 1], which every edgenets file
takes, to what the model takes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.export.checked import write_checked
from edgenets.export.formats import find_format
from edgenets.export.targets import find_target
from edgenets.memory import require
from edgenets.models.backend import keras
from edgenets.models.folder import Spec
from edgenets.progress import quiet_stderr

CENTRED = (-1.0, 1.0)
LOAD_ERRORS = (
    *(OSError, ValueError, TypeError, KeyError, AttributeError),
    *(ImportError, RuntimeError, IndexError, SyntaxError, zipfile.BadZipFile),
)
"""What Keras raises for files that it cannot make a model of."""


def export_model(
    model: Any,
    out: Path | str,
    labels: Sequence[str],
    *,
    images: NDArray[np.uint8] | None = None,
    target: str = "generic",
    number_format: str | None = None,
    input_range: tuple[float, float] = CENTRED,
    resize: int | None = None,
) -> dict[str, Any]:
    """Write a Keras model as a checked `.tflite` file, and what was verified to a JSON beside it.

    Args:
        model: a Keras 3 or tf_keras model, functional or sequential, from float32 RGB images
            `[batch, size, size, 3]` to logits or probabilities `[batch, classes]`.
        out: the file, replaced if it exists.
        labels: of the classes, in the order of the outputs.
        images: prepared ones, `[images, size, size, 3]`, to calibrate integers with and to compare
            file and model on; without any, float files are compared on noise.
        target: a name of `edgenets.export.targets.TARGETS`.
        number_format: a name of `edgenets.export.formats.FORMATS`; by default the target's first.
        input_range: what the model takes for black and for white.
        resize: short side that an image is scaled to before its centre is cut out; the default of
            its size if not given.

    Returns:
        As `edgenets.export.checked.write_checked`.

    Raises:
        EdgenetsError: the model is none of the above, or the file failed its checks.
    """
    row = find_target(target)
    adopted, spec = adopt(model, labels, input_range, resize)
    chosen = find_format(number_format or row.formats[0])
    return write_checked(Path(out), chosen, adopted, spec, images, target=row)


def adopt(
    model: Any, labels: Sequence[str], input_range: tuple[float, float], resize: int | None = None
) -> tuple[Any, Spec]:
    """Return a model from [-1, 1] to logits that computes what `model` does, and its spec.

    Arguments and errors are those of `export_model`.
    """
    library = _library(model)
    inputs, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    match [[tuple(tensor.shape) for tensor in side] for side in (inputs, outputs)]:
        case [[(None, int(height), int(width), 3)], [(None, int(classes))]] if height == width:
            pass
        case shapes:
            raise EdgenetsError(
                "a functional or sequential model is needed that takes square RGB images [batch, "
                f"size, size, 3] and returns [batch, classes]; {model.name} takes {shapes[0]} and "
                f"returns {shapes[1]}"
            )
    if len(labels) != classes:
        raise EdgenetsError(f"{model.name} has {classes} classes, and {len(labels)} labels came")
    low, high = map(float, input_range)
    if not low < high:
        raise EdgenetsError(f"the input range must rise from black to white, got {low} to {high}")
    # Within another model, so that no rewrite takes its layers for edgenets' own.
    image = library.Input((height, width, 3), name="image")
    x = image
    if (low, high) != CENTRED:
        x = library.layers.Rescaling((high - low) / 2, (high + low) / 2, name="input_range")(x)
    adopted = library.Model(image, _without_softmax(model, library)(x), name=model.name)
    preparation = Preparation.default(model.name, height)
    if resize is not None:
        preparation = Preparation(height, resize)
    origin = {"source": f"{library.__name__} {library.__version__} model {model.name}"}
    spec = Spec(
        name=model.name,
        arguments={"classes": classes, "resolution": height},
        labels=tuple(labels),
        preparation=preparation,
        seed=0,
        initial_weights={**origin, "input_range": [low, high]},
    )
    return adopted, spec


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
            "Keras saved, and import what it needs by edgenets.export.foreign.export_model"
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


def _without_softmax(model: Any, library: Any) -> Any:
    """Return the model up to its logits; itself if it gives them."""
    last = model.layers[-1]
    layers = library.layers
    if isinstance(last, layers.Softmax) or (
        isinstance(last, layers.Activation) and _is_softmax(last)
    ):
        return library.Model(model.inputs, last.input)
    if isinstance(last, layers.Dense) and _is_softmax(last):
        logits = layers.Dense.from_config({**last.get_config(), "activation": "linear"})
        result = library.Model(model.inputs, logits(last.input))
        logits.set_weights(last.get_weights())
        return result
    if _is_softmax(last):
        raise EdgenetsError(
            f"the softmax in {model.name}'s last layer {last.name} cannot be left out; let the "
            "model return logits"
        )
    return model


def _is_softmax(layer: Any) -> bool:
    return getattr(getattr(layer, "activation", None), "__name__", "") == "softmax"
