"""Rewrites that move channels: grouped convolutions and the shuffles between them.

Source: docs/reference/targets.md says of each what it does and what it saves.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from edgenets.errors import EdgenetsError
from edgenets.export.lower.rewriting import (
    Array,
    CodedModel,
    Draft,
    KerasLayer,
    folded,
    has_layers,
    rebuild,
    spread_channels,
)
from edgenets.models.backend import keras, tf
from edgenets.models.codes import KernelCodes
from edgenets.models.graph import find_readers, parents_of, walk
from edgenets.models.grouped import ChannelHalf, ChannelShuffle, GroupedPointwise

PACK = 8
"""Channels that XNNPACK's int8 kernels of the Cortex-A53 and A72 take at a time."""
SELECTED = 64
"""Code of a 1.0 in the kernel that selects channels; its scale, 1/64, is exact in float32."""


class _View(NamedTuple):
    """Where the channels of a layer's output are now: channel c is channel `places[c]` of `tensor`.

    The tensor may have more channels than that.
    """

    tensor: Any
    places: Array
    layer: str

    @property
    def size(self) -> int:
        return int(self.tensor.shape[-1])

    @property
    def is_in_order(self) -> bool:
        return self.size == len(self.places) and bool((np.diff(self.places) == 1).all())


def make_dense(net: CodedModel) -> CodedModel:
    """Return the net without grouped 1x1 convolutions, channel shuffles and halves.

    A grouped convolution becomes one dense convolution with zeros. Channels are no longer moved:
    the rows of the next kernels are. Where channels of several layers are passed on as they are, a
    1x1 convolution whose kernel is 0 and 1 selects them.
    """
    if not has_layers(net, GroupedPointwise, ChannelShuffle, ChannelHalf):
        return net
    net = folded(net)
    draft = Draft(net)

    def visit(layer: KerasLayer, inputs: list[_View]) -> _View:
        if not inputs:
            image = keras.Input(layer.output.shape[1:], name=layer.name)
            return _View(image, np.arange(image.shape[-1]), layer.name)
        return _dense_view(draft, layer, inputs)

    model = net.model
    views = {layer.name: view for layer, view in walk(model, visit)}
    logits = _in_order(draft, views[model.output.node.layer.name])
    return draft.finish(views[model.input.node.layer.name].tensor, logits)


def _dense_view(draft: Draft, layer: KerasLayer, inputs: list[_View]) -> _View:
    view, *others = inputs
    channels = layer.output.shape[-1]
    new = partial(_View, places=np.arange(channels), layer=layer.name)
    match layer:
        case ChannelShuffle():
            order = np.arange(channels).reshape(layer.groups, -1).T.ravel()
            return view._replace(places=view.places[order], layer=layer.name)
        case ChannelHalf():
            half = slice(layer.half * channels, (layer.half + 1) * channels)
            return view._replace(places=view.places[half], layer=layer.name)
        case GroupedPointwise():
            kernel = partial(_ungrouped, groups=layer.groups, places=view.places, size=view.size)
            return new(
                draft.changed(layer, kernel, kind=keras.layers.Conv2D, groups=1)(view.tensor)
            )
        case keras.layers.DepthwiseConv2D(depth_multiplier=1) if view.size == len(view.places):
            move = partial(spread_channels, places=view.places, size=view.size)
            changed = draft.changed(
                layer,
                partial(move, axis=2),
                lambda vector: move(vector, axis=2 if vector.ndim == 4 else 0),
            )
            return view._replace(tensor=changed(view.tensor), layer=layer.name)
        case keras.layers.DepthwiseConv2D():
            return new(draft.copy(layer)(_in_order(draft, view)))
        case keras.layers.Conv2D(groups=1) | keras.layers.Dense():
            rows = partial(spread_channels, axis=-2, places=view.places, size=view.size)
            return new(draft.changed(layer, rows)(view.tensor))
        case keras.layers.Concatenate(axis=-1 | 3):
            whole = [v if v.size == len(v.places) else _selected(draft, v) for v in inputs]
            starts = np.cumsum([0, *(v.size for v in whole)])
            places = [v.places + start for v, start in zip(whole, starts, strict=False)]
            joined = draft.copy(layer)([v.tensor for v in whole])
            return _View(joined, np.concatenate(places), layer.name)
        case _ if not others and isinstance(layer, ANY_ORDER) and view.size == len(view.places):
            return view._replace(tensor=draft.copy(layer)(view.tensor), layer=layer.name)
    tensors = [_in_order(draft, v) for v in inputs]
    return new(draft.copy(layer)(tensors if others else tensors[0]))


ANY_ORDER = (
    keras.layers.ReLU,
    keras.layers.Dropout,
    keras.layers.AveragePooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.ZeroPadding2D,
)
"""Layers of one input that treat all channels alike."""


def _ungrouped(kernel: Array, groups: int, places: Array, size: int) -> Array:
    """Return the dense kernel `[1, 1, size, out]` of a grouped one, `[1, 1, in / groups, out]`."""
    rows, columns = kernel.shape[2], kernel.shape[3] // groups
    dense = np.zeros((1, 1, size, kernel.shape[3]), kernel.dtype)
    for g in range(groups):
        own = slice(g * columns, (g + 1) * columns)
        dense[:, :, places[g * rows : (g + 1) * rows], own] = kernel[..., own]
    return dense


def _in_order(draft: Draft, view: _View) -> Any:
    return view.tensor if view.is_in_order else _selected(draft, view).tensor


def _selected(draft: Draft, view: _View) -> _View:
    """Return a tensor of the view's channels alone: a 1x1 convolution with 0 and 1 selects them."""
    if len(view.tensor.shape) != 4:
        raise EdgenetsError(
            f"the channels of {view.layer} cannot be moved into the layers after it, as this "
            "target needs; export for the target generic"
        )
    count = len(view.places)
    kernel = np.zeros((1, 1, view.size, count), np.int8)
    kernel[..., view.places, np.arange(count)] = SELECTED
    selected = KernelCodes(kernel, np.full((1, 1, 1, count), 1 / SELECTED, np.float32))
    draft.weights[view.layer] = [selected.values]
    draft.kernels[view.layer] = selected
    layer = keras.layers.Conv2D(count, 1, use_bias=False, name=view.layer)
    return _View(draft.add(layer, view.layer)(view.tensor), np.arange(count), view.layer)


class _Shuffle(NamedTuple):
    """A shuffle between two 1x1 convolutions, a depthwise one behind it."""

    reduce: KerasLayer
    shuffle: KerasLayer
    depthwise: KerasLayer
    expand: KerasLayer
    pack: int  # channels that move together; 0: none must move, 1: each for itself

    @property
    def places(self) -> Array:
        """Where the depthwise convolution, now before the shuffle, has the shuffled channels."""
        groups, channels = self.shuffle.groups, self.shuffle.output.shape[-1]
        source = np.arange(channels).reshape(groups, -1).T.ravel()  # of each shuffled channel
        if self.pack == 0:
            return np.arange(channels)
        if self.pack == 1:
            return source
        return _packed_places(channels, groups, self.pack)[source]

    @property
    def size(self) -> int:
        """Channels of the depthwise convolution, now before the shuffle."""
        groups = self.shuffle.groups
        return groups * groups * self.pack if self.pack > 1 else self.shuffle.output.shape[-1]


def pack_shuffles(net: CodedModel) -> CodedModel:
    """Return the net with shuffles that move fewer and larger pieces.

    In ShuffleNet V1 a depthwise convolution follows the shuffle. It treats each channel alone, so
    the shuffle may come after it, on the smaller map. Behind a convolution that is not grouped the
    shuffle is an order of its kernel's columns. Behind a grouped one, channels that one group of
    the next convolution reads need only lie together: if zero channels up to the next multiple of
    `PACK`, which the kernels compute anyway, make such pieces equally long, whole pieces move.
    """
    found = _find_shuffles(net.model)
    if not found:
        return net
    net = folded(net)
    found = _find_shuffles(net.model)
    parts = {part.name: shuffle for shuffle in found for part in shuffle[:4]}

    def build(draft: Draft, layer: KerasLayer, inputs: list[Any]) -> Any:
        if layer.name not in parts:
            return None
        (x,) = inputs
        return _packed_layer(draft, layer, parts[layer.name], x)

    return rebuild(net, build)


def _packed_layer(draft: Draft, layer: KerasLayer, shuffle: _Shuffle, x: Any) -> Any:
    places, size = shuffle.places, shuffle.size
    groups, pack = shuffle.shuffle.groups, shuffle.pack
    if layer is shuffle.shuffle:
        return x
    if layer is shuffle.reduce:  # its channels are not shuffled
        source = np.arange(len(places)).reshape(groups, -1).T.ravel()
        own = np.empty_like(places)
        own[source] = places
        columns = partial(spread_channels, axis=-1, places=own, size=size)
        return draft.changed(layer, columns, columns, filters=size)(x)
    if layer is shuffle.depthwise:
        move = partial(spread_channels, places=places, size=size)
        x = draft.changed(
            layer,
            partial(move, axis=2),
            lambda vector: move(vector, axis=2 if vector.ndim == 4 else 0),
        )(x)
        if pack == 0:
            return x
        name, grids = shuffle.shuffle.name, draft.grids.get(layer.name, ())[-1:] * 3
        if pack == 1:
            return draft.add(ChannelShuffle(groups, name=name), name, grids)(x)
        return draft.add(_PieceShuffle(groups, pack, name=name), name, grids)(x)
    if pack <= 1:
        return draft.copy(layer)(x)
    # Group j reads, of each group before the shuffle, its piece j.
    rows = shuffle.shuffle.output.shape[-1] // groups
    moved = _after_piece_shuffle(places, groups, pack)

    def spread(kernel: Array) -> Array:
        columns = kernel.shape[-1] // groups
        result = np.zeros((1, 1, groups * pack, kernel.shape[-1]), kernel.dtype)
        for j in range(groups):
            own = slice(j * columns, (j + 1) * columns)
            within = moved[j * rows : (j + 1) * rows] - j * groups * pack
            result[:, :, within, own] = kernel[..., own]
        return result

    return draft.changed(layer, spread)(x)


class _PieceShuffle(keras.layers.Layer):
    """Swap groups and pieces of `pack` channels: [group, piece, pack] -> [piece, group, pack]."""

    def __init__(self, groups: int, pack: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups, self.pack = groups, pack

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        _, height, width, channels = inputs.shape
        pieces = tf.reshape(inputs, (-1, self.groups, self.groups, self.pack))
        return tf.reshape(tf.transpose(pieces, (0, 2, 1, 3)), (-1, height, width, channels))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups, "pack": self.pack}


def _find_shuffles(model: keras.Model) -> list[_Shuffle]:
    """Return the shuffles of the form that `pack_shuffles` knows."""
    readers = find_readers(model)
    found = []
    for layer in model.layers:
        if not isinstance(layer, ChannelShuffle):
            continue
        (before,) = parents_of(layer)
        while isinstance(before, keras.layers.ReLU | keras.layers.BatchNormalization):
            (before,) = parents_of(before)
        match readers[layer.name]:
            case [keras.layers.DepthwiseConv2D(depth_multiplier=1) as depthwise]:
                (after,) = readers[depthwise.name]
                while isinstance(after, keras.layers.ReLU | keras.layers.BatchNormalization):
                    (after,) = readers[after.name]
                if (
                    type(before) in (keras.layers.Conv2D, GroupedPointwise)
                    and isinstance(after, GroupedPointwise)
                    and after.groups == layer.groups
                    and before.groups in (1, layer.groups)
                ):
                    found.append(_Shuffle(before, layer, depthwise, after, _pack(before, layer)))
    return found


def _pack(before: KerasLayer, shuffle: KerasLayer) -> int:
    if before.groups == 1:
        return 0
    channels, groups = shuffle.output.shape[-1], shuffle.groups
    longest = max(map(len, _pieces(channels, groups).values()))
    room = -(-channels // groups // PACK) * PACK  # channels that are computed for a group
    return room // groups if room // groups >= longest else 1


def _pieces(channels: int, groups: int) -> dict[tuple[int, int], list[int]]:
    """Return the unshuffled channels by their group before and after the shuffle."""
    each = channels // groups
    pieces: dict[tuple[int, int], list[int]] = {}
    for channel in range(channels):
        shuffled = channel % each * groups + channel // each
        pieces.setdefault((channel // each, shuffled // each), []).append(channel)
    return pieces


def _packed_places(channels: int, groups: int, pack: int) -> Array:
    """Return where each unshuffled channel lies: [group before, group after, pack]."""
    places = np.empty(channels, int)
    for (before, after), piece in _pieces(channels, groups).items():
        places[piece] = (before * groups + after) * pack + np.arange(len(piece))
    return places


def _after_piece_shuffle(places: Array, groups: int, pack: int) -> Array:
    before, rest = np.divmod(places, groups * pack)
    after, within = np.divmod(rest, pack)
    moved: Array = (after * groups + before) * pack + within
    return moved
