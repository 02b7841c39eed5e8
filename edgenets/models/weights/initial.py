"""The first weights of a training: published, kept in the package, or a user's file or folder.

`load_weights` makes a model of them, and `replace_classes` gives it the classes of a dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError, did_you_mean
from edgenets.files import read_bytes, sha256_file
from edgenets.models.backend import keras
from edgenets.models.folder import (
    WEIGHTS,
    Spec,
    build_model,
    load_model,
    load_spec,
    named_weights,
    set_named_weights,
)
from edgenets.models.registry import complete_arguments
from edgenets.models.weights.fetch import cache_folder, fetch
from edgenets.models.weights.reading import Imported, read_weights
from edgenets.models.weights.sources import ANY_VALUE, imagenet_weights
from edgenets.progress import say

PRETRAINED = Path(__file__).parents[1] / "pretrained"
"""Model folders that come with the package, named after their dataset and net: cifar10_NAME."""

NAMES = ("imagenet", "cifar10")


def load_weights(
    weights: str,
    name: str,
    given: Mapping[str, Any],
    *,
    seed: int,
    input_range: tuple[float, float] | None = None,
    labels: Path | None = None,
) -> tuple[keras.Model, Spec]:
    """Return the net `name` with trained weights and their classes, and a spec with their origin.

    Args:
        weights: "imagenet" (fetched if need be), "cifar10", or the path of a file or model folder.
        name: the net.
        given: those of its arguments that are asked for; the others are the weights' or, where
            these do not tell, the net's defaults. classes is always the weights'.
        seed: kept in the spec.
        input_range: what a file of weights takes for black and white, if it does not say.
        labels: a file with the name of a class in each line, in the order of the weights' logits.

    Raises:
        EdgenetsError: there are no such weights of this net with these arguments; they cannot be
            fetched or read; the range or the labels do not fit them.
    """
    names = read_labels(labels) if labels else None
    folder = weights_folder(weights, name)
    if input_range and (folder or weights in NAMES):
        raise EdgenetsError(f"the input range of {weights} weights is known; leave the range out")
    if folder:
        source, path = folder.name, folder / WEIGHTS
        imported = _read_folder(folder, name, given)
    else:
        source, path = _find_file(weights, name, given)
        imported = read_weights(path, name, given, input_range=input_range)
    model, arguments, stored, preparation, folded = imported
    origin = {"source": source, "sha256": sha256_file(path)}
    return model, Spec(
        name=name,
        arguments=arguments,
        labels=_labels(names, stored, arguments["classes"], source),
        preparation=preparation or Preparation.default(name, arguments["resolution"]),
        seed=seed,
        folded=folded,
        initial_weights={**origin, "input_range": list(input_range)} if input_range else origin,
    )


def weights_folder(weights: str, name: str) -> Path | None:
    """Return the model folder that `weights` names for the net `name`; None if it names a file.

    Raises:
        EdgenetsError: the package holds no such weights of this net.
    """
    if weights == "imagenet":
        return None
    if weights != "cifar10":
        return Path(weights) if Path(weights).is_dir() else None
    folder = PRETRAINED / f"cifar10_{name}"
    if not folder.is_dir():
        nets = sorted(path.name.removeprefix("cifar10_") for path in PRETRAINED.glob("cifar10_*"))
        raise EdgenetsError(
            f"there are no cifar10 weights of {name}; there are some of {', '.join(nets) or 'none'}"
        )
    return folder


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
    new = replace(spec, arguments=arguments, labels=labels)
    keras.utils.set_random_seed(spec.seed)
    result = build_model(new)
    if set(labels) == set(spec.labels):
        order = [spec.labels.index(label) for label in labels]
        old = named_weights(classifier(model))
        of_classifier = {tensor: old[tensor][..., order] for tensor in old}
    else:
        of_classifier = named_weights(classifier(result))
        say(
            f"the classes differ, so the classifier for {_some(spec.labels)} is replaced by a new "
            f"one for {_some(labels)}"
        )
    set_named_weights(result, {**named_weights(model), **of_classifier})
    return result, new


def classifier(model: keras.Model) -> keras.layers.Layer:
    """Return the layer whose output channels are the classes: the last one that has weights."""
    return [layer for layer in model.layers if layer.weights][-1]


def _some(labels: tuple[str, ...]) -> str:
    """Return how many labels there are and the first of them."""
    first = ", ".join(labels[:3])
    return f"{len(labels)} classes ({first}{', ...' if len(labels) > 3 else ''})"


def _find_file(weights: str, name: str, given: Mapping[str, Any]) -> tuple[str, Path]:
    """Return what the file of weights is called, its URL or name, and where it is."""
    if weights == "imagenet":
        published = imagenet_weights(name, complete_arguments(name, given))
        return published.url, fetch(published.url, published.sha256, cache_folder())
    path = Path(weights)
    if not path.exists():
        raise EdgenetsError(
            f"weights must be {', '.join(NAMES)}, a file or a model folder, and there is no "
            f"{path}{did_you_mean(path.name, NAMES)}"
        )
    return path.name, path


def _read_folder(folder: Path, name: str, given: Mapping[str, Any]) -> Imported:
    """Return the model of a folder, for another resolution or output stride if they are given."""
    spec, _ = load_spec(folder)
    if spec.name != name:
        raise EdgenetsError(
            f"the weights of {folder} are of {spec.name}, got {name}; name that net"
        )
    asked = complete_arguments(name, {**spec.arguments, **given})
    for argument, value in spec.arguments.items():
        if argument not in ANY_VALUE and asked[argument] != value:
            raise EdgenetsError(
                f"the weights of {folder} are of {name} with {argument}={value}, "
                f"got {argument}={asked[argument]}; leave {argument} out"
            )
    model, _ = load_model(folder)
    if asked == spec.arguments:
        return Imported(model, asked, spec.labels, spec.preparation, spec.folded)
    result = build_model(replace(spec, arguments=asked))
    set_named_weights(result, named_weights(model), str(folder))
    fits = asked["resolution"] == spec.preparation.resolution
    preparation = spec.preparation if fits else None
    return Imported(result, asked, spec.labels, preparation, spec.folded)


def _labels(
    names: tuple[str, ...] | None, stored: tuple[str, ...] | None, classes: int, source: str
) -> tuple[str, ...]:
    """Return the names of the classes: those given, those stored, or their numbers."""
    if names is not None and len(names) != classes:
        raise EdgenetsError(
            f"{source} has {classes} classes, but the labels given name {len(names)}; "
            "each class needs one"
        )
    if names is None and stored is None:
        say(
            f"{source} does not name its classes: they are 0 to {classes - 1}; "
            "name them with a file of labels, one in each line"
        )
    return names or stored or tuple(map(str, range(classes)))


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the labels in a text file, one a line.

    Raises:
        EdgenetsError: it cannot be read, or a line is empty or repeats another.
    """
    try:
        labels = tuple(line.strip() for line in read_bytes(path).decode().splitlines())
    except UnicodeDecodeError as error:
        raise EdgenetsError(f"{path} must be text in UTF-8, one label in each line") from error
    for number, label in enumerate(labels, start=1):
        if not label or label in labels[: number - 1]:
            what = f"repeats the label {label!r}" if label else "is empty"
            raise EdgenetsError(f"{path} line {number} {what}; each line names one class")
    return labels
