"""Where trained weights are: published ones of ImageNet, those in the package, a user's.

Loads no TensorFlow.

Source: the release files of Keras, by the names in tf_keras's `applications`, and SqueezeNet v1.0
as the authors of Deep Compression published it (arXiv:1510.00149).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from edgenets.errors import EdgenetsError, did_you_mean
from edgenets.models.registry import NETS, complete_arguments

NAMES = ("imagenet", "cifar10")
"""Weights that have a name."""
PRETRAINED = Path(__file__).parents[1] / "pretrained"
"""Model folders that come with the package, named after their dataset and net: cifar10_NAME."""
KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
SQUEEZENET = (
    "https://raw.githubusercontent.com/songhan/SqueezeNet-Deep-Compression/"
    "5623e3cdbe1fcd83328c61ce2ee42c34ed319aa3/compressed_SqueezeNet.net"
)
TF_KERNELS = "weights_tf_dim_ordering_tf_kernels"
ANY_VALUE = ("resolution", "classes", "output_stride")
"""Arguments that change no weight but the classifier's: a file serves every value of them."""


KERAS_MD5 = {  # as tf_keras 2.21 has them; of MobileNet V1 and V2 it has none
    "large_224_1.0": "59e551e166be033d707958cf9e29a6a7",
    "large_224_0.75": "765b44a33ad4005b3ac83185abf1d0eb",
    "large_minimalistic_224_1.0": "675e7b876c45c57e9e63e6d90a36599c",
    "small_224_1.0": "8768d4c2e7dee89b9d02b2d03d65d862",
    "small_224_0.75": "cb65d4e5be93758266aa0a7f2c6708b7",
    "small_minimalistic_224_1.0": "99cd97fb2fcdad2bf028eb838de69e37",
    "inception_v3": "9a0d58056eeedaa3f26cb7ebd46da564",
    "xception": "0a58e3b7378bc2990ea3b43d5981f1f6",
}


class Published(NamedTuple):
    """A file of trained weights: 1000 classes of ImageNet."""

    name: str
    arguments: Mapping[str, Any]  # that decide which file, beside the resolution
    resolution: int  # that it was trained at
    url: str
    sha256: str | None = None  # None: not known here, recorded when the file is first fetched
    md5: str | None = None  # where that is what the publisher says


def _keras_files() -> Iterator[Published]:
    for width, text in ((1.0, "1_0"), (0.75, "7_5"), (0.5, "5_0"), (0.25, "2_5")):
        for resolution in (224, 192, 160, 128):
            url = f"{KERAS}/mobilenet/mobilenet_{text}_{resolution}_tf.h5"
            yield Published("mobilenet_v1", {"width": width}, resolution, url)
    for width in (1.4, 1.3, 1.0, 0.75, 0.5, 0.35):
        for resolution in (224, 192, 160, 128, 96) if width <= 1 else (224,):
            url = f"{KERAS}/mobilenet_v2/mobilenet_v2_{TF_KERNELS}_{width}_{resolution}.h5"
            yield Published("mobilenet_v2", {"width": width}, resolution, url)
    for size in ("large", "small"):
        for width, minimalistic in ((1.0, False), (0.75, False), (1.0, True)):
            kind = f"{size}{'_minimalistic' * minimalistic}_224_{width}"
            url = f"{KERAS}/mobilenet_v3/weights_mobilenet_v3_{kind}_float.h5"
            arguments = {"width": width, "minimalistic": minimalistic}
            yield Published(f"mobilenet_v3_{size}", arguments, 224, url, md5=KERAS_MD5[kind])
    for name, arguments in (("inception_v3", {}), ("xception", {"width": 1.0})):
        url = f"{KERAS}/{name}/{name}_{TF_KERNELS}.h5"
        yield Published(name, arguments, 299, url, md5=KERAS_MD5[name])


IMAGENET = (
    *_keras_files(),
    Published(
        "squeezenet",
        {"version": "1.0", "bypass": "none"},
        227,
        SQUEEZENET,
        "e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261",
    ),
)


def find_weights(weights: str, name: str, given: Mapping[str, Any]) -> Published | Path:
    """Return what `weights` names: a file to fetch, or a file or model folder that is here.

    Args:
        weights: "imagenet", "cifar10" or a path.
        name: the net.
        given: those of its arguments that are asked for.

    Raises:
        EdgenetsError: there is nothing of that name, or not for this net.
    """
    if weights == "imagenet":
        return imagenet_weights(name, complete_arguments(name, given))
    if weights == "cifar10":
        return _pretrained_folder(name)
    path = Path(weights)
    if not path.exists():
        raise EdgenetsError(
            f"weights must be {', '.join(NAMES)}, a file or a model folder, and there is no "
            f"{path}{did_you_mean(path.name, NAMES)}"
        )
    return path


def imagenet_weights(name: str, arguments: Mapping[str, Any]) -> Published:
    """Return the file of ImageNet weights for a net, trained at the nearest resolution.

    Args:
        name: the net.
        arguments: its complete arguments.

    Raises:
        EdgenetsError: there are none for this net or these arguments; the message names what is.

    >>> from edgenets.models.registry import complete_arguments
    >>> arguments = complete_arguments("mobilenet_v1", {"width": 0.25, "resolution": 96})
    >>> imagenet_weights("mobilenet_v1", arguments).url.rpartition("/")[2]
    'mobilenet_2_5_128_tf.h5'
    """
    of_net = [file for file in IMAGENET if file.name == name]
    if not of_net:
        raise EdgenetsError(
            f"no imagenet weights of {name} are published; take one of "
            f"{', '.join(dict.fromkeys(file.name for file in IMAGENET))}, or pass --weights FILE"
        )
    wanted = _deciding(name, arguments)
    fitting = [f for f in of_net if _deciding(name, f.arguments) == wanted]
    if not fitting:
        there = dict.fromkeys(_text(file.arguments) for file in of_net)
        asked = {
            argument: value
            for argument, value in wanted.items()
            if argument in of_net[0].arguments or value != NETS[name].arguments[argument]
        }
        raise EdgenetsError(
            f"no imagenet weights of {name} {_text(asked)} are published; there are "
            f"{'; '.join(there)}"
        )
    return min(fitting, key=lambda file: abs(file.resolution - arguments["resolution"]))


def has_imagenet_weights(name: str, arguments: Mapping[str, Any]) -> bool:
    """Tell whether ImageNet weights are published for a net with these arguments, all complete."""
    wanted = _deciding(name, arguments)
    return any(f.name == name and _deciding(name, f.arguments) == wanted for f in IMAGENET)


def _pretrained_folder(name: str) -> Path:
    folder = PRETRAINED / f"cifar10_{name}"
    if not folder.is_dir():
        nets = sorted(path.name.removeprefix("cifar10_") for path in PRETRAINED.glob("cifar10_*"))
        raise EdgenetsError(
            f"there are no cifar10 weights of {name}; there are some of {', '.join(nets) or 'none'}"
        )
    return folder


def _deciding(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values, given or by default, of the arguments that weights depend on."""
    complete = {**NETS[name].arguments, **arguments}
    return {argument: complete[argument] for argument in complete if argument not in ANY_VALUE}


def _text(arguments: Mapping[str, Any]) -> str:
    return " ".join(f"{argument}={value}" for argument, value in arguments.items()).lower()
