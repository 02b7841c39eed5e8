"""What the config of a whole Keras model says that it computes, beside its kernels.

It is read as data and compared with that of a net of ours, which has the same form; nothing of it
is built or run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.registry import NETS, OUTPUT_STRIDES, create
from edgenets.models.weights.convolutions import slots

Settings = Mapping[str, Any]
Affine = tuple[float, float]  # factor and offset

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "GroupedPointwise")
WITH_TENSORS = (*CONVOLUTIONS, "Dense", "BatchNormalization")
RANDOM = tuple(f"Random{x}" for x in ("Flip", "Rotation", "Translation", "Zoom", "Contrast"))
ONLY_TRAINING = ("Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", *RANDOM)
ONLY_SHAPE = ("Flatten", "Reshape", "ZeroPadding2D")
MEANS = ("AveragePooling2D", "GlobalAveragePooling2D")  # one is the other where it takes the map
NO_OPERATIONS = ("InputLayer", *ONLY_TRAINING, *ONLY_SHAPE, *MEANS)
IDENTITY: Affine = (1.0, 0.0)

HARD_SIGMOID = {"relu6", "tf.__operators__.add", "tf.math.multiply"}
SPELLED_OUT = {  # as tf_keras.applications does
    "edgenets>hard_sigmoid": HARD_SIGMOID,
    "edgenets>hard_swish": HARD_SIGMOID | {"Multiply"},
    "linear": set[str](),
    "softmax": set[str](),  # only at the end; every net returns logits
}

OTHERWISE = (
    "pass the net and the arguments that it was made with, or its weights alone (save_weights) if "
    "it computes the same in other words"
)


class Place(NamedTuple):
    """How a convolution lies over the image."""

    stride: int  # pixels from one position of its output to the next
    pads: bool
    dilation: int


class Computation(NamedTuple):
    """What a model computes beside convolutions, dense layers, BatchNorm and means."""

    operations: frozenset[str]  # activation functions, and the kinds of other layers
    places: dict[str, Place]  # of the kernels larger than 1x1, by their layers' names
    rescaling: Affine  # of the image before the first convolution
    resolution: int | None  # None: any


def read_computation(config: Settings) -> Computation:
    """Return what the config of a functional or sequential model says.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not such a config.
    """
    operations, places = set[str](), dict[str, Place]()
    kinds, strides = dict[str, str](), dict[str, int]()
    images = dict[str, Affine]()  # the layers whose output is the image, and what became of it
    rescaling: Affine | None = None
    previous: list[str] = []
    for layer in config["layers"]:
        kind, settings = layer["class_name"].rpartition(">")[2], layer["config"]
        name = settings["name"]
        parents = list(_names(layer["inbound_nodes"])) if "inbound_nodes" in layer else previous
        previous, kinds[name] = [name], kind
        strides[name] = _stride(settings) * max((strides[parent] for parent in parents), default=1)
        image = images.get(parents[0]) if parents else IDENTITY
        if kind in CONVOLUTIONS:
            rescaling = rescaling or image or IDENTITY
            before = kinds.get(parents[0]) if parents else None
            pads = settings["padding"] == "same" or before == "ZeroPadding2D"
            if max(settings["kernel_size"]) > 1:
                places[name] = Place(strides[name], pads, _side(settings["dilation_rate"]))
        if image and kind == "Rescaling" and _is_affine(settings):
            scale, offset = settings["scale"], settings["offset"]
            images[name] = (image[0] * scale, image[1] * scale + offset)
            continue
        if image and kind in ("InputLayer", *ONLY_TRAINING):
            images[name] = image
        operations |= _operations(kind, settings)
    return Computation(frozenset(operations), places, rescaling or IDENTITY, _resolution(config))


def require_operations(computation: Computation, model: keras.Model, path: Path) -> None:
    """Check that `computation`, of the file `path`, has the operations of `model`.

    Raises:
        EdgenetsError: it has others, or lacks one.
    """
    own = read_computation(model.get_config()).operations
    surplus, lacking = computation.operations - own, own - computation.operations
    if surplus or lacking:
        does, does_not = (path, model.name) if surplus else (model.name, path)
        raise EdgenetsError(
            f"{does} computes {', '.join(sorted(surplus or lacking))}, which {does_not} does not; "
            f"{OTHERWISE}"
        )


def find_output_stride(
    computation: Computation,
    names: Sequence[str],
    model: keras.Model,
    arguments: Mapping[str, Any],
    path: Path,
) -> int:
    """Return the output stride at which a net's convolutions lie as those of `computation` do.

    Args:
        computation: of the file `path`.
        names: its layers in the order of the net's convolutions and dense layers.
        model: the net, built with `arguments`, whose output stride is tried first.

    Raises:
        EdgenetsError: they do so at none.
    """

    def fits(net: keras.Model) -> bool:
        own = read_computation(net.get_config()).places
        pairs = [(own.get(t.layer.name), name) for t, name in zip(slots(net), names, strict=True)]
        return all(place == computation.places.get(name) for place, name in pairs if place)

    if fits(model):
        return int(arguments["output_stride"])
    # Strides do not depend on the resolution, and the usual one allows every output stride.
    usual = {**arguments, "resolution": NETS[model.name].arguments["resolution"]}
    for output_stride in OUTPUT_STRIDES:
        if fits(create(model.name, **{**usual, "output_stride": output_stride})):
            return output_stride
    raise EdgenetsError(
        f"the convolutions of {path} have strides, padding or dilation that {model.name} has at no "
        f"output_stride; {OTHERWISE}"
    )


def _names(inbound: Any) -> Iterator[str]:
    """Yield the layers in nodes such as [[["relu", 0, 0, {}]]] or ["relu", 0, 0, {"y": 3.0}]."""
    if isinstance(inbound, dict):
        inbound = list(inbound.values())
    if isinstance(inbound, list):
        if [type(item) for item in inbound[:3]] == [str, int, int]:
            yield inbound[0]
        for item in inbound:
            yield from _names(item)


def _stride(settings: Settings) -> int:
    return _side(settings.get("strides") or settings.get("pool_size") or 1)


def _side(size: int | Sequence[int]) -> int:
    return int(size if isinstance(size, int) else max(size))


def _is_affine(settings: Settings) -> bool:
    return all(isinstance(settings[key], int | float) for key in ("scale", "offset"))


def _operations(kind: str, settings: Settings) -> set[str]:
    """Return what a layer computes beside its tensors."""
    if kind in NO_OPERATIONS:
        return set()
    if kind == "TFOpLambda":
        return {f"tf.{settings['function']}"}
    if kind == "Softmax":
        kind = "softmax"
    elif kind == "ReLU":
        kind = _relu(settings)
    elif kind in (*WITH_TENSORS, "Activation"):
        function = settings.get("activation") or "linear"
        if isinstance(function, dict) and function["class_name"] != "function":  # it is a layer
            return _operations(function["class_name"], function["config"])
        kind = function["config"] if isinstance(function, dict) else function
    return SPELLED_OUT.get(kind, {kind})


def _relu(settings: Settings) -> str:
    own = {key: settings.get(key) for key in ("negative_slope", "threshold") if settings.get(key)}
    limit = settings.get("max_value")
    if limit is None or limit == 6:
        name = "relu" if limit is None else "relu6"
    else:
        own, name = {"max_value": limit, **own}, "ReLU"
    return f"{name}({', '.join(f'{key}={value}' for key, value in own.items())})" if own else name


def _resolution(config: Settings) -> int | None:
    settings = [layer["config"] for layer in config["layers"]]
    shapes = [own.get("batch_input_shape") or own.get("batch_shape") for own in settings]  # Keras 3
    _, *image = next(filter(None, shapes), [None])
    return image[0] if image else None
