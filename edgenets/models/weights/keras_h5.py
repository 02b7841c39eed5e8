"""Keras 2 `.h5` files: weights only, as Keras releases them, or whole saved models.

Names, tensors and a whole model's config are read as data; nothing that the file says is built or
run. The config must tell the same computation as the net's; weights alone tell none.
Layers are matched by structure: Keras numbers layers without a name of their own as they are made
(conv2d_17), wherever its count stood, and lists a file's layers by their depth in the graph. So the
numbered layers of a kind form a queue in the order of their numbers, the named ones another in the
order of the file, and each convolution of the net takes the head that fits it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.layers import BATCH_NORM_EPSILON
from edgenets.models.registry import NETS
from edgenets.models.weights.convolutions import (
    Array,
    BatchNorm,
    Convolution,
    InputMap,
    Slot,
    build_net,
    file_arguments,
    set_convolutions,
    shape_error,
    slots,
)
from edgenets.models.weights.keras_config import (
    IDENTITY,
    Computation,
    find_output_stride,
    read_computation,
    require_operations,
)
from edgenets.packages import missing_package

try:
    import h5py
except ImportError as error:
    raise missing_package("h5py") from error


RANGE: tuple[float, float] = (-1.0, 1.0)  # black and white in the nets of tf_keras.applications
PIXELS: tuple[float, float] = (0.0, 255.0)  # what a Rescaling is there for
SIGNATURE = b"\x89HDF\r\n\x1a\n"
LARGEST_BYTES = 1 << 30  # VGG-16, the largest net, has half of it
NUMBERED = re.compile(  # the names that Keras 2 gives, and Keras 1, from which some releases are
    r"((?:depthwise_|separable_?)?conv(?:olution)?2d|dense|batch_?normalization)(?:_(\d+))?"
)
NAMED = ""  # the queue of the layers with a name of their own
DAMAGE = (OSError, LookupError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError)
"""What h5py raises for files that were cut short or changed."""


class StoredLayer(NamedTuple):
    """A layer of the file that has weights, in Keras's order: kernels, bias; or BatchNorm's."""

    name: str
    tensors: list[Array]
    epsilon: float  # of a BatchNorm

    @property
    def ranks(self) -> tuple[int, ...]:
        """How many dimensions each tensor has: tells what the layer is."""
        return tuple(tensor.ndim for tensor in self.tensors)


class Source(NamedTuple):
    """A kernel of the file and what tells which of the net's it is."""

    convolution: Convolution
    is_numbered: bool
    is_pointwise: bool = False  # the second kernel of a separable convolution


def read_keras_h5(
    path: Path, name: str, arguments: Mapping[str, Any], input_range: tuple[float, float] | None
) -> tuple[keras.Model, dict[str, Any]]:
    """Build the net `name` with the weights of the `.h5` file `path`.

    Args:
        input_range: the values of black and white that the file's model takes; None: PIXELS if it
            begins with a Rescaling, else RANGE.

    Returns:
        The net and all arguments it was built with. Those that are not given are the file's where
        it tells them, else the net's defaults; `classes` is always the file's.

    Raises:
        EdgenetsError: the file is damaged, does not hold the weights of that net or computes
            something else with them, or the net is a baseline.
    """
    if NETS[name].family == "baseline":
        raise EdgenetsError(
            f"weights of {name}, a baseline for sizes, are not read: the published ones take BGR "
            "less a mean that this net cannot pad with; pass a trainable net"
        )
    layers, computation = _read_file(path)
    kernels, norms = _queues(layers, path)
    shapes = [layer.tensors[0].shape for layer in layers if layer.ranks[0] > 1]
    told = file_arguments(name, shapes, _settings(computation))
    input_map = _input_map(computation, input_range)
    model, complete = build_net(name, {**told, **arguments, "classes": told["classes"]}, input_map)
    convolutions = [_take(slot, kernels, norms, model, path) for slot in slots(model)]
    left = [queue[0].name for queue in norms.values() if queue]
    left += [queue[0].convolution.name for queue in kernels.values() if queue]
    if left:
        raise EdgenetsError(f"{path} has {left[0]}, which {name} has not; was it made for another?")
    if computation:
        require_operations(computation, model, path)
        names = [convolution.name for convolution in convolutions]
        output_stride = find_output_stride(computation, names, model, complete, path)
        if "output_stride" not in arguments and output_stride != complete["output_stride"]:
            arguments = {**complete, "output_stride": output_stride}
            model, complete = build_net(name, arguments, input_map)
    set_convolutions(model, convolutions, input_map, path)
    return model, complete


def _read_file(path: Path) -> tuple[list[StoredLayer], Computation | None]:
    """Return the layers with weights, and what the config of a whole saved model tells."""
    try:
        with h5py.File(path) as file:
            config = json.loads(file.attrs.get("model_config", '{"config": {"layers": []}}'))
            settings = {x["config"]["name"]: x["config"] for x in config["config"]["layers"]}
            group = file.get("model_weights", file)
            names = [_text(name) for name in group.attrs["layer_names"]]
            datasets = {name: _datasets(group[name]) for name in names}
            if sum(d.nbytes for layer in datasets.values() for d in layer) > LARGEST_BYTES:
                raise ValueError(f"it claims more than {LARGEST_BYTES} bytes of weights")
            layers = [
                StoredLayer(
                    name,
                    [np.asarray(dataset[()], np.float32) for dataset in datasets[name]],
                    float(settings.get(name, {}).get("epsilon", BATCH_NORM_EPSILON)),
                )
                for name in names
                if datasets[name]
            ]
            computation = read_computation(config["config"]) if settings else None
    except DAMAGE as error:
        raise EdgenetsError(
            f"{path} is damaged, cut short or not written by Keras 2 "
            f"({' '.join(str(error).split())}); copy or download it again"
        ) from error
    return layers, computation


def _settings(computation: Computation | None) -> dict[str, Any]:
    """Return the arguments of a net that a whole model tells beside its tensors."""
    if computation is None:
        return {}
    activation = "relu" if "relu" in computation.operations else "relu6"
    resolution = computation.resolution
    return {"activation": activation, **({"resolution": resolution} if resolution else {})}


def _input_map(
    computation: Computation | None, input_range: tuple[float, float] | None
) -> InputMap:
    """Return what the first convolution takes for the values that the model takes."""
    factor, offset = computation.rescaling if computation else IDENTITY
    default = RANGE if (factor, offset) == IDENTITY else PIXELS
    low, high = input_range or default
    return InputMap.of_range(factor * low + offset, factor * high + offset)


def _datasets(group: h5py.Group) -> list[h5py.Dataset]:
    """Return the tensors of a layer, not yet read."""
    names = [_text(name) for name in group.attrs["weight_names"]]
    datasets = [group[name] for name in names]
    if len(names) == 3 and any("gamma" in name for name in names) and "beta" not in str(names):
        raise EdgenetsError(
            f"{group.name} of {group.file.filename} is a BatchNorm without beta (center=False), "
            "which all nets of edgenets have; pass the file of such a net"
        )
    if any(d.external or d.is_virtual or d.file != group.file for d in datasets):
        raise ValueError(f"{group.name} points into other files")
    return datasets


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _queues(
    layers: list[StoredLayer], path: Path
) -> tuple[dict[str, deque[Source]], dict[bool, deque[StoredLayer]]]:
    """Return the kernels by the queue they belong to, and the BatchNorms by theirs."""
    kernels: dict[str, deque[Source]] = defaultdict(deque)
    norms: dict[bool, deque[StoredLayer]] = defaultdict(deque)
    for layer in sorted(layers, key=lambda layer: _queue(layer)[1]):  # stable: named keep theirs
        queue, _ = _queue(layer)
        is_numbered = queue != NAMED
        bias = layer.tensors[-1] if layer.ranks[-1] == 1 else None
        if layer.ranks in ((1,) * 3, (1,) * 4):
            norms[is_numbered].append(layer)
        elif layer.ranks in ((2,), (2, 1), (4,), (4, 1)):
            kernels[queue].append(Source(_convolution(layer, 0, bias), is_numbered))
        elif layer.ranks in ((4, 4), (4, 4, 1)):
            kernels[queue].append(Source(_convolution(layer, 0, None), is_numbered))
            kernels[queue].append(Source(_convolution(layer, 1, bias), is_numbered, True))
        else:
            shapes = ", ".join(str(list(tensor.shape)) for tensor in layer.tensors)
            raise EdgenetsError(
                f"{layer.name} of {path} holds tensors of the shapes {shapes}; edgenets reads "
                "convolutions, dense layers and BatchNorm: save the file of such a net"
            )
    if not kernels:
        raise EdgenetsError(f"{path} holds no convolution; pass the file with the weights")
    return kernels, norms


def _queue(layer: StoredLayer) -> tuple[str, int]:
    """Return the kind of a numbered layer and its number; NAMED and 0 for others."""
    match = NUMBERED.fullmatch(layer.name)
    return (match[1], int(match[2] or 0)) if match else (NAMED, 0)


def _convolution(layer: StoredLayer, i: int, bias: Array | None) -> Convolution:
    kernel = layer.tensors[i]
    return Convolution(layer.name, kernel[None, None] if kernel.ndim == 2 else kernel, bias)


def _take(
    slot: Slot,
    kernels: dict[str, deque[Source]],
    norms: dict[bool, deque[StoredLayer]],
    model: keras.Model,
    path: Path,
) -> Convolution:
    """Take from the queues what belongs to `slot`."""
    queues = [queue for queue in kernels.values() if queue]
    if not queues:
        raise EdgenetsError(
            f"{path} ends before {slot.layer.name} of {model.name}; was it saved without the "
            "classifier (include_top=False)? pass the file with it"
        )
    heads = [queue[0].convolution.kernel.shape for queue in queues]
    begun = [queue for queue in queues if queue[0].is_pointwise]
    fitting = begun or [
        queue for queue, shape in zip(queues, heads, strict=True) if shape == slot.kernel_shape
    ]
    if not fitting:
        raise shape_error(slot, queues[0][0].convolution, model, path)
    if len(fitting) > 1:
        names = " and ".join(queue[0].convolution.name for queue in fitting)
        raise EdgenetsError(
            f"{names} of {path} both fit {slot.layer.name} of {model.name}, and nothing tells "
            "which is meant; name all layers or none, and save again"
        )
    source = fitting[0].popleft()
    if slot.batch_norm is None:
        return source.convolution
    queue = norms[source.is_numbered]
    return source.convolution._replace(batch_norm=_batch_norm(queue.popleft()) if queue else None)


def _batch_norm(layer: StoredLayer) -> BatchNorm:
    *gamma, beta, mean, variance = layer.tensors
    # Epsilon is added to the variance, and that of the nets is fixed.
    excess = np.float32(layer.epsilon - BATCH_NORM_EPSILON)
    return BatchNorm(gamma[0] if gamma else None, beta, mean, variance + excess)
