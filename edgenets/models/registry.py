"""Which nets there are, what arguments they take, and how one is built by name.

Importing this module loads no TensorFlow; `create` does.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from edgenets.errors import EdgenetsError, unknown_name

if TYPE_CHECKING:
    from edgenets.models.backend import keras

OUTPUT_STRIDES = (32, 16, 8, 4)
LARGEST = {"resolution": 4096, "classes": 1_000_000}  # beyond, no memory would be enough


class Net(NamedTuple):
    """A net: the file edgenets/models/MODULE.py has its builder, a function of the net's name."""

    family: str
    module: str
    arguments: Mapping[str, Any]  # name -> default; the default's type is the argument's type


def _trainable(resolution: int, **own: Any) -> dict[str, Any]:
    """Return the arguments of a net, its own between those that all have but the baselines."""
    return {"resolution": resolution, "classes": 1000, **own, "output_stride": 32}


_V3_ARGUMENTS = _trainable(224, width=1.0, minimalistic=False)
_SQUEEZENET_ARGUMENTS = _trainable(
    227,
    version="1.0",
    bypass="none",
    base_expand=128,
    expand_increment=128,
    frequency=2,
    pct_3x3=0.5,
    squeeze_ratio=0.125,
)

NETS = {
    "mobilenet_v1": Net(
        "MobileNet", "mobilenet_v1", _trainable(224, width=1.0, activation="relu6", pad_value=0.0)
    ),
    "mobilenet_v2": Net("MobileNet", "mobilenet_v2", _trainable(224, width=1.0)),
    "mobilenet_v3_large": Net("MobileNet", "mobilenet_v3", _V3_ARGUMENTS),
    "mobilenet_v3_small": Net("MobileNet", "mobilenet_v3", _V3_ARGUMENTS),
    "inception_v1": Net(
        "Inception", "inception_v1", _trainable(224, factorized=False, batch_norm=True)
    ),
    "inception_v3": Net("Inception", "inception_v3", _trainable(299, width=1.0)),
    "xception": Net("Inception", "xception", _trainable(299, width=1.0)),
    "squeezenet": Net("SqueezeNet", "squeezenet", _SQUEEZENET_ARGUMENTS),
    "shufflenet_v1": Net("ShuffleNet", "shufflenet_v1", _trainable(224, groups=3, scale=1.0)),
    "shufflenet_v2": Net("ShuffleNet", "shufflenet_v2", _trainable(224, scale=1.0)),
    "alexnet": Net("baseline", "alexnet", {"resolution": 227, "classes": 1000}),
    "vgg16": Net("baseline", "vgg16", {"resolution": 224, "classes": 1000}),
}

BASELINES = tuple(name for name, net in NETS.items() if net.family == "baseline")
"""Nets for shapes and counts."""


def complete_arguments(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of the net `name`: those given, checked, and the defaults of the rest.

    A string is parsed as the argument's type: a command line's `KEY=VALUE` can be passed on.

    >>> complete_arguments("mobilenet_v2", {"width": "0.25", "resolution": 96})
    {'resolution': 96, 'classes': 1000, 'width': 0.25, 'output_stride': 32}

    Raises:
        EdgenetsError: the net or an argument is unknown, or a value does not fit.
    """
    if name not in NETS:
        raise unknown_name("model", name, NETS)
    defaults = NETS[name].arguments
    for argument in arguments:
        if argument not in defaults:
            raise unknown_name(f"argument of {name}", argument, defaults)
    complete = {
        argument: _typed(f"{argument} of {name}", arguments.get(argument, default), type(default))
        for argument, default in defaults.items()
    }
    _check_common(name, complete)
    return complete


def create(name: str, **arguments: Any) -> keras.Model:
    """Build the net `name` with freshly initialised weights.

    Returns:
        A model from RGB images, float32 `[batch, resolution, resolution, 3]` in [-1, 1], to logits
        `[batch, classes]`.

    Raises:
        EdgenetsError: the net or an argument is unknown, a value does not fit, or the `train` extra
            is not installed.

    >>> create("mobilenet_v1", width=0.25, resolution=128).count_params()
    475544
    """
    complete = complete_arguments(name, arguments)
    module = importlib.import_module(f"edgenets.models.{NETS[name].module}")
    return getattr(module, name)(**complete)


def _typed(what: str, value: Any, kind: type) -> Any:
    if getattr(value, "ndim", None) == 0:
        value = value.item()  # of NumPy, which is not imported here
    try:
        if kind is bool and isinstance(value, str):
            return {"true": True, "false": False}[value.lower()]
        if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
            return float(value)
        if kind is int and isinstance(value, str):
            return int(value)
        if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)  # YAML reads the version 1.0 as a number
    except (KeyError, ValueError):
        pass
    else:
        if type(value) is kind:
            return value
    kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    raise EdgenetsError(f"{what} must be {kinds[kind]}, got {value!r}")


def _check_common(name: str, arguments: Mapping[str, Any]) -> None:
    for argument, largest in LARGEST.items():
        value = arguments[argument]
        if not 1 <= value <= largest:
            limit = "at least 1" if value < 1 else f"at most {largest}"
            raise EdgenetsError(f"{argument} of {name} must be {limit}, got {value}")
    for argument in ("width", "scale"):
        if not 0 < arguments.get(argument, 1) <= 10:
            value = arguments[argument]
            raise EdgenetsError(f"{argument} of {name} must be above 0 and at most 10, got {value}")
    output_stride = arguments.get("output_stride", 1)
    if "output_stride" in arguments and output_stride not in OUTPUT_STRIDES:
        raise EdgenetsError(f"output_stride must be 32, 16, 8 or 4, got {output_stride}")
    if arguments["resolution"] < output_stride:
        raise EdgenetsError(
            f"{name} divides the image by {output_stride}, so the resolution must be at least "
            f"that, got {arguments['resolution']}; pass a larger one or a smaller output_stride"
        )
