"""A net as a graph of layers: who reads whom, and the walk from the image to the logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from edgenets.models.backend import keras, tf

T = TypeVar("T")


def parents_of(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return the layers that `layer` of a functional model reads; none for its input."""
    tensors = layer.inbound_nodes[0].keras_inputs
    return [tensor.node.layer for tensor in tensors if tensor.node.layer is not layer]


def find_readers(model: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """Return by the name of each layer which layers read its output."""
    readers: dict[str, list[keras.layers.Layer]] = {layer.name: [] for layer in model.layers}
    for layer in model.layers:
        for parent in parents_of(layer):
            readers[parent.name].append(layer)
    return readers


def walk(
    model: keras.Model, visit: Callable[[keras.layers.Layer, list[T]], T]
) -> Iterator[tuple[keras.layers.Layer, T]]:
    """Yield each layer of a functional model with what `visit` makes of it, in order.

    Args:
        model: to walk through.
        visit: from a layer and what it made of the layers that this one reads, none for the input.
            What it returns is kept while a layer reads it.

    >>> image = keras.Input((2,))
    >>> model = keras.Model(image, keras.layers.ReLU()(keras.layers.ReLU()(image)))
    >>> [depth for _, depth in walk(model, lambda layer, inputs: sum(inputs) + 1)]
    [1, 2, 3]
    """
    unread = {name: len(readers) for name, readers in find_readers(model).items()}
    values: dict[str, T] = {}
    for layer in model.layers:
        parents = [parent.name for parent in parents_of(layer)]
        values[layer.name] = value = visit(layer, [values[name] for name in parents])
        for name in parents:
            unread[name] -= 1
            if not unread[name]:
                del values[name]
        yield layer, value


def call_layer(layer: keras.layers.Layer, inputs: list[Any]) -> Any:
    """Return the output of a layer for its inputs, of which Keras takes a single one as it is."""
    return layer(inputs if len(inputs) > 1 else inputs[0])


def walk_outputs(model: keras.Model, images: Any) -> Iterator[tuple[keras.layers.Layer, tf.Tensor]]:
    """Yield each layer with its output for images, in order."""

    def visit(layer: keras.layers.Layer, inputs: list[tf.Tensor]) -> tf.Tensor:
        return call_layer(layer, inputs) if inputs else tf.convert_to_tensor(images)

    return walk(model, visit)
