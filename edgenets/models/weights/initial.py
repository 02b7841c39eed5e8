"""The first weights of a training: published, kept in the package, or a user's file or folder.

`load_weights` makes a model of them, and `replace_classes` gives it the classes of a dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgenets.cache import cache_folder
from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.files import sha256_file
from edgenets.models.backend import keras
from edgenets.models.folder import (
    WEIGHTS,
    Model,
    Spec,
    build_model,
    load_spec,
    named_weights,
    set_named_weights,
)
from edgenets.models.registry import complete_arguments
from edgenets.models.weights.fetch import fetch
from edgenets.models.weights.labels import read_labels
from edgenets.models.weights.reading import numbers, read_weights
from edgenets.models.weights.sources import ANY_VALUE, NAMES, Published, find_weights
from edgenets.progress import say


def load_weights(
    weights: str,
    name: str,
    given: Mapping[str, Any],
    *,
    seed: int,
    input_range: tuple[float, float] | None = None,
    labels: Path | None = None,
) -> Model:
    """Return the net `name` with trained weights and their classes; its spec has their origin.

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
    found = find_weights(weights, name, given)
    folder = found if isinstance(found, Path) and found.is_dir() else None
    if input_range and (folder or weights in NAMES):
        raise EdgenetsError(f"the input range of {weights} weights is known; leave the range out")
    if folder:
        source, path = folder.name, folder / WEIGHTS
        model = _read_folder(folder, name, given)
    else:
        source, path = _fetched(found)
        model = read_weights(path, name, given, input_range=input_range)
        if names is None and model.spec.labels == numbers(len(model.spec.labels)):
            say(
                f"{source} does not name its classes: they are 0 to {len(model.spec.labels) - 1}; "
                "name them with a file of labels, one in each line"
            )
    if names is not None and len(names) != len(model.spec.labels):
        raise EdgenetsError(
            f"{source} has {len(model.spec.labels)} classes, but the labels given name "
            f"{len(names)}; each class needs one"
        )
    origin: dict[str, Any] = {"source": source, "sha256": sha256_file(path)}
    if input_range:
        origin["input_range"] = list(input_range)
    spec = replace(model.spec, labels=names or model.spec.labels, seed=seed, initial_weights=origin)
    return Model(model.net, spec)


def replace_classes(model: Model, labels: tuple[str, ...]) -> Model:
    """Return the model for the classes `labels`.

    The same classes in another order are put in that order. For others, the classifier is a new
    one, drawn by the spec's seed, and a message says so.
    """
    spec = model.spec
    if labels == spec.labels:
        return model
    arguments = {**spec.arguments, "classes": len(labels)}
    new = replace(spec, arguments=arguments, labels=labels)
    keras.utils.set_random_seed(spec.seed)
    result = build_model(new)
    if set(labels) == set(spec.labels):
        order = [spec.labels.index(label) for label in labels]
        old = named_weights(classifier(model.net))
        of_classifier = {tensor: old[tensor][..., order] for tensor in old}
    else:
        of_classifier = named_weights(classifier(result))
        say(
            f"the classes differ, so the classifier for {_some(spec.labels)} is replaced by a new "
            f"one for {_some(labels)}"
        )
    set_named_weights(result, {**named_weights(model.net), **of_classifier})
    return Model(result, new)


def classifier(model: keras.Model) -> keras.layers.Layer:
    """Return the layer whose output channels are the classes: the last one that has weights."""
    return [layer for layer in model.layers if layer.weights][-1]


def _some(labels: tuple[str, ...]) -> str:
    """Return how many labels there are and the first of them."""
    first = ", ".join(labels[:3])
    return f"{len(labels)} classes ({first}{', ...' if len(labels) > 3 else ''})"


def _fetched(found: Published | Path) -> tuple[str, Path]:
    """Return what a file of weights is called, its URL or name, and where it is."""
    if isinstance(found, Path):
        return found.name, found
    return found.url, fetch(found.url, found.sha256, cache_folder(), found.md5)


def _read_folder(folder: Path, name: str, given: Mapping[str, Any]) -> Model:
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
    net = Model.load(folder).net
    preparation = spec.preparation
    if asked != spec.arguments:
        trained = named_weights(net)
        net = build_model(replace(spec, arguments=asked))
        set_named_weights(net, trained, str(folder))
        if asked["resolution"] != preparation.resolution:
            preparation = Preparation.default(name, asked["resolution"], preparation.fit)
    kept = replace(Spec(name, asked, spec.labels, preparation, spec.seed), folded=spec.folded)
    return Model(net, replace(kept, channels=spec.channels, seeded_split=spec.seeded_split))
