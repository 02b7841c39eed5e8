"""The first weights of a training: published, kept in the package, or a user's file or folder.

`find_weights` says where they are and refuses what cannot fit, before any work; `load_weights`
makes a model of them, and `replace_classes` gives it the classes of a dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError, did_you_mean
from edgenets.files import read_bytes, sha256_file
from edgenets.models.backend import keras
from edgenets.models.folder import (
    Spec,
    load_model,
    load_spec,
    named_weights,
    set_named_weights,
)
from edgenets.models.registry import complete_arguments, create
from edgenets.models.weights.fetch import cache_folder, fetch
from edgenets.models.weights.sources import ANY_VALUE, imagenet_weights
from edgenets.progress import say

PRETRAINED = Path(__file__).parents[1] / "pretrained"
"""Model folders that come with the package, named after their dataset and net: cifar10_NAME."""

NAMES = ("imagenet", "cifar10")
OWN_RANGE = (-1.0, 1.0)
RANGED = (".h5", ".tflite")  # files that do not say which input range they were trained with


@dataclass(frozen=True)
class Weights:
    """Trained weights that are at hand, and what their file does not say of itself."""

    path: Path  # of a file or a model folder
    source: str  # URL, or the name of the file or folder
    sha256: str
    input_range: tuple[float, float] = OWN_RANGE  # of the pixels that they were trained with
    labels: tuple[str, ...] | None = None  # that replace the file's own

    def to_json(self) -> dict[str, Any]:
        """Return what a model made of these weights depends on, wherever they are kept."""
        return {key: value for key, value in asdict(self).items() if key != "path"}


def find_weights(
    weights: str,
    name: str,
    arguments: Mapping[str, Any],
    *,
    input_range: tuple[float, float] = OWN_RANGE,
    labels: Path | None = None,
) -> Weights:
    """Return the weights called `weights` for a net; published ones are fetched if need be.

    Args:
        weights: "imagenet", "cifar10", or the path of an .h5, .net or .tflite file or of a model
            folder.
        name: the net.
        arguments: its complete arguments; classes may be others than the weights'.
        input_range: what a file of weights takes for black and white, if it does not say.
        labels: a file with the name of a class in each line, in the order of the weights' logits.

    Raises:
        EdgenetsError: there are no such weights for this net and these arguments, or they cannot
            be fetched; the range or the labels do not fit.
    """
    names = _read_labels(labels) if labels else None
    if input_range != OWN_RANGE and Path(weights).suffix not in RANGED:
        raise EdgenetsError(
            f"an input range can be given for {' and '.join(RANGED)} files only: "
            f"{Path(weights).name} says its own; leave the range out"
        )
    if weights == "imagenet":
        published = imagenet_weights(name, arguments)
        path = fetch(published.url, published.sha256, cache_folder())
        return Weights(path, published.url, sha256_file(path), input_range, names)
    if folder := weights_folder(weights, name):
        spec, sha256 = load_spec(folder)
        _require_same_net(folder, spec, name, arguments)
        return Weights(folder, folder.name, sha256, input_range, names)
    path = Path(weights)
    if not path.exists():
        raise EdgenetsError(
            f"weights must be {', '.join(NAMES)}, a file or a model folder, and there is no "
            f"{path}{did_you_mean(path.name, NAMES)}"
        )
    return Weights(path, path.name, sha256_file(path), input_range, names)


def weights_folder(weights: str, name: str) -> Path | None:
    """Return the model folder that `weights` names for the net `name`; None if it names a file.

    Raises:
        EdgenetsError: the package holds no such weights of this net.
    """
    if weights != "cifar10":
        return Path(weights) if Path(weights).is_dir() else None
    folder = PRETRAINED / f"cifar10_{name}"
    if not folder.is_dir():
        nets = sorted(path.name.removeprefix("cifar10_") for path in PRETRAINED.glob("cifar10_*"))
        raise EdgenetsError(
            f"there are no cifar10 weights of {name}; there are some of {', '.join(nets) or 'none'}"
        )
    return folder


def folder_arguments(weights: str, name: str) -> dict[str, Any]:
    """Return the arguments of the net `name` in the model folder that `weights` names, if any.

    A config that names the weights then need not repeat them. classes is left out.
    """
    if weights == "imagenet" or (folder := weights_folder(weights, name)) is None:
        return {}
    spec, _ = load_spec(folder)
    return {k: v for k, v in spec.arguments.items() if k != "classes"} if spec.name == name else {}


def load_weights(
    weights: Weights, name: str, arguments: Mapping[str, Any], seed: int
) -> tuple[keras.Model, Spec]:
    """Return the net `name` with these weights, their classes and a spec that says their origin.

    Args:
        weights: as `find_weights` found them.
        name: the net.
        arguments: its complete arguments, but for classes, which are the weights'.
        seed: kept in the spec.

    Raises:
        EdgenetsError: the file cannot be read, is of another net, or has another number of classes
            than the labels.
    """
    if weights.path.is_dir():
        model, stored = load_model(weights.path)
        complete = {**arguments, "classes": len(stored.labels)}
        if complete != stored.arguments:  # of another resolution or output stride
            tensors = named_weights(model)
            model = create(name, **complete)
            set_named_weights(model, tensors, weights.source)
        labels: tuple[str, ...] | None = stored.labels
        preparation: Preparation | None = stored.preparation
    else:
        from edgenets.models.weights.reading import read_weights

        model, complete, labels, preparation = read_weights(
            weights.path, name, arguments, input_range=weights.input_range
        )
    resolution = complete["resolution"]
    if preparation is None or preparation.resolution != resolution:
        preparation = Preparation.default(name, resolution)
    origin = {key: value for key, value in weights.to_json().items() if key != "labels"}
    return model, Spec(
        name=name,
        arguments=complete_arguments(name, complete),
        labels=_labels(weights, labels, complete["classes"]),
        preparation=preparation,
        seed=seed,
        initial_weights=origin,
    )


def replace_classes(
    model: keras.Model, spec: Spec, labels: tuple[str, ...]
) -> tuple[keras.Model, Spec]:
    """Return the model for the classes `labels`, with its spec.

    The same classes in another order are put in that order. For others, the classifier is a new
    one, drawn by the spec's seed, and a message says so.
    """
    if labels == spec.labels:
        return model, spec
    arguments = {**spec.arguments, "classes": len(labels)}
    keras.utils.set_random_seed(spec.seed)
    result = create(spec.name, **arguments)
    of_classifier = named_weights(classifier(result))
    if set(labels) == set(spec.labels):
        order = np.array([spec.labels.index(label) for label in labels])
        own = named_weights(classifier(model))
        of_classifier = {tensor: own[tensor][..., order] for tensor in own}
    else:
        say(
            f"the classifier for {len(spec.labels)} classes is replaced by a new one "
            f"for {len(labels)}"
        )
    set_named_weights(result, {**named_weights(model), **of_classifier})
    return result, replace(spec, arguments=arguments, labels=labels)


def classifier(model: keras.Model) -> keras.layers.Layer:
    """Return the layer whose output channels are the classes: the last one that has weights."""
    return [layer for layer in model.layers if layer.weights][-1]


def _require_same_net(folder: Path, spec: Spec, name: str, arguments: Mapping[str, Any]) -> None:
    if spec.name != name:
        raise EdgenetsError(
            f"the weights of {folder} are of {spec.name}, got {name}; name that net"
        )
    for argument, value in spec.arguments.items():
        if argument not in ANY_VALUE and arguments[argument] != value:
            raise EdgenetsError(
                f"the weights of {folder} are of {name} with {argument}={value}, "
                f"got {argument}={arguments[argument]}; leave {argument} out"
            )


def _labels(weights: Weights, stored: tuple[str, ...] | None, classes: int) -> tuple[str, ...]:
    if weights.labels is not None:
        if len(weights.labels) != classes:
            raise EdgenetsError(
                f"{weights.source} has {classes} classes, but the labels given name "
                f"{len(weights.labels)}; each class needs one"
            )
        return weights.labels
    if stored is None:
        say(
            f"{weights.source} does not name its classes: they are 0 to {classes - 1}; "
            "name them with a file of labels, one in each line"
        )
        return tuple(map(str, range(classes)))
    return stored


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        labels = tuple(line.strip() for line in read_bytes(path).decode().splitlines())
    except UnicodeDecodeError as error:
        raise EdgenetsError(f"{path} must be text in UTF-8, one label in each line") from error
    for number, label in enumerate(labels, start=1):
        if not label or label in labels[: number - 1]:
            what = f"repeats the label {label!r}" if label else "is empty"
            raise EdgenetsError(f"{path} line {number} {what}; each line names one class")
    return labels
