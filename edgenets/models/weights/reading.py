"""Read a file of trained weights into a net of edgenets, whichever tool wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.files import read_bytes, sha256_bytes
from edgenets.flatbuffer import IDENTIFIER
from edgenets.models.folder import Model, Spec
from edgenets.models.registry import complete_arguments
from edgenets.models.weights import deep_compression
from edgenets.models.weights.deep_compression import read_deep_compression
from edgenets.models.weights.keras_h5 import SIGNATURE, read_keras_h5
from edgenets.models.weights.labels import imagenet_labels
from edgenets.models.weights.tflite import read_tflite

BACKGROUND = "background"  # the class before ImageNet's in TF-slim's nets
CAFFE_PREPARATION = Preparation(227, 256)


class Known(NamedTuple):
    """What a published file does not say itself."""

    input_range: tuple[float, float]
    labels: tuple[str, ...]


KNOWN_FILES = {  # by SHA-256
    # vww_96.h5, Visual Wake Words of MLPerf Tiny: github.com/mlcommons/tiny, train_vww.py
    "af9111d50e6e85b2f2123345e0316ef1c384865ebf6b06340ddac7e66017450f": Known(
        (0.0, 1.0), ("non_person", "person")
    ),
}


def read_weights(
    path: Path,
    name: str,
    arguments: Mapping[str, Any],
    *,
    input_range: tuple[float, float] | None = None,
) -> Model:
    """Build the net `name` with the trained weights of the file `path`.

    What the file is shows in its first bytes: a Keras 2 `.h5`, an 8-bit `.tflite` of MobileNet V1
    or V2, or for squeezenet the `.net` file of Deep Compression. Nothing stored in it is executed.

    Args:
        arguments: those of the net that the user gave; others are the file's where it tells them,
            else the net's defaults. `classes` is always the file's.
        input_range: what the file's model takes for black and white, for an `.h5`, or a `.tflite`
            that does not say it. If it is not given and the `.h5` is not known: (0, 255) if that
            model begins with a Rescaling, else (-1, 1). A `.net` says it itself.

    Raises:
        EdgenetsError: the file cannot be read, is damaged or of another kind, its weights are not
            those of the net with these arguments, or an argument does not fit.
    """
    complete_arguments(name, arguments)
    if "pad_value" in arguments:
        raise EdgenetsError(
            "pad_value follows from the input range of the weights; leave pad_value out"
        )
    content = read_bytes(path)
    known = KNOWN_FILES.get(sha256_bytes(content))
    preparation = None
    if content.startswith(SIGNATURE):
        values = input_range or (known.input_range if known else None)
        net, complete = read_keras_h5(path, name, arguments, values)
    elif content[4:8] == IDENTIFIER:
        net, complete = read_tflite(path, name, arguments, input_range)
    elif input_range:
        raise EdgenetsError(f"{path} says its input range itself; leave the input range out")
    elif name == deep_compression.NET:
        net, complete = read_deep_compression(path, arguments)
        if complete["resolution"] == CAFFE_PREPARATION.resolution:
            preparation = CAFFE_PREPARATION
    else:
        raise EdgenetsError(
            f"{path} holds no weights that edgenets reads; pass a Keras 2 .h5, an 8-bit .tflite of "
            "MobileNet V1 or V2 or, for squeezenet, a .net file of Deep Compression"
        )
    labels = known.labels if known else _labels(complete["classes"])
    usual = Preparation.default(name, complete["resolution"])
    return Model(net, Spec(name, complete, labels, preparation or usual, seed=0))


def numbers(classes: int) -> tuple[str, ...]:
    """Return what classes are called of which nothing tells the names."""
    return tuple(map(str, range(classes)))


def _labels(classes: int) -> tuple[str, ...]:
    """Return ImageNet's labels for as many classes as only its nets have."""
    imagenet = imagenet_labels()
    named = {len(imagenet): imagenet, len(imagenet) + 1: (BACKGROUND, *imagenet)}
    return named.get(classes) or numbers(classes)
