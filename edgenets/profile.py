"""What a net costs before it is trained: parameters, MACs, memory and energy, layer by layer.

MACs are those of convolutions and dense layers. All costs are those of one image.

Source of the energies: Horowitz, Computing's energy problem, ISSCC 2014, 45 nm, as Deep Compression
(arXiv:1510.00149) uses them.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

from edgenets.models.backend import keras
from edgenets.models.graph import find_readers, parents_of

FLOAT32_BYTES = 4
INT32_BYTES = 4
SRAM_READ_PJ = 5 / 4  # one byte of a 32-bit word; a write is taken to cost the same
DRAM_READ_PJ = 640 / 4  # one byte of a 32-bit word


class Format(NamedTuple):
    """The numbers that a net computes with on a device."""

    weight_bytes: int  # of one weight of a kernel; biases are 32 bits wide in both formats
    activation_bytes: int
    mac_pj: float  # a multiply and an add


FLOAT32 = Format(FLOAT32_BYTES, FLOAT32_BYTES, 3.7 + 0.9)
INT8 = Format(1, 1, 0.2 + 0.1)  # int8 multiply, int32 add: sums need the width

ASSUMPTIONS = (
    "The int8 weights and the energies are those of the net with BatchNorm folded into its "
    "convolutions; biases have 32 bits.",
    "The peak of the activations is the least of all execution orders; BatchNorm and activation "
    "functions work in place.",
    f"Energy at 45 nm: a MAC takes {FLOAT32.mac_pj:.1f} pJ in float32 and {INT8.mac_pj:.1f} pJ in "
    f"int8; each weight is read from DRAM once an image ({DRAM_READ_PJ:.0f} pJ a byte); each layer "
    f"reads its inputs from SRAM and writes its output there once ({SRAM_READ_PJ} pJ a byte).",
)
"""What the figures take for granted: one sentence each, to be shown with them."""

# Layers that a converter merges into the layer before them, that can work in place, or that compute
# nothing: where nobody else reads their input, their output is no memory of its own.
MERGED = (
    keras.layers.BatchNormalization,
    keras.layers.ReLU,
    keras.layers.Activation,
    keras.layers.Dropout,
    keras.layers.Reshape,
    keras.layers.Flatten,
)


class Energy(NamedTuple):
    """What one image takes, in pJ."""

    macs_pj: int
    activations_pj: int  # reads and writes of SRAM
    weights_pj: int  # reads of DRAM

    @property
    def total_pj(self) -> int:
        """The sum of the three."""
        return sum(self)


class LayerProfile(NamedTuple):
    """The cost of one layer."""

    name: str
    kind: str
    output_shape: tuple[int, ...]  # without the batch
    params: int
    macs: int
    activation_bytes: int  # of the output, in float32; int8 takes a quarter
    weight_bytes: int  # of all parameters, in float32
    int8_weight_bytes: int  # int8 kernels, int32 biases, BatchNorm folded into them
    float32_energy_pj: int
    int8_energy_pj: int


class Profile(NamedTuple):
    """The cost of a net."""

    params: int  # with BatchNorm's moving statistics
    trainable_params: int
    macs: int
    activation_peak_bytes: int  # least memory for all live activations, in float32
    weight_bytes: int  # of all parameters, in float32
    int8_weight_bytes: int
    float32_energy: Energy
    int8_energy: Energy
    layers: tuple[LayerProfile, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all of it in JSON's types."""
        return {
            **self._asdict(),
            "float32_energy": self.float32_energy._asdict(),
            "int8_energy": self.int8_energy._asdict(),
            "layers": [layer._asdict() for layer in self.layers],
        }


def profile(model: keras.Model) -> Profile:
    """Return what `model` costs; its layers come in the model's order.

    >>> from edgenets.models.registry import create
    >>> profile(create("mobilenet_v1", width=0.25, resolution=128)).macs
    13570048
    """
    activations = _activations(model)
    float32, int8 = (
        [_energy(layer, activations, number) for layer in model.layers]
        for number in (FLOAT32, INT8)
    )
    layers = tuple(
        LayerProfile(
            name=layer.name,
            kind=type(layer).__name__,
            output_shape=_output_shape(layer),
            params=layer.count_params(),
            macs=_macs(layer),
            activation_bytes=prod(_output_shape(layer)) * FLOAT32_BYTES,
            weight_bytes=layer.count_params() * FLOAT32_BYTES,
            int8_weight_bytes=_folded_weight_bytes(layer, INT8),
            float32_energy_pj=float32_energy.total_pj,
            int8_energy_pj=int8_energy.total_pj,
        )
        for layer, float32_energy, int8_energy in zip(model.layers, float32, int8, strict=True)
    )
    return Profile(
        params=sum(layer.params for layer in layers),
        trainable_params=sum(prod(weight.shape) for weight in model.trainable_weights),
        macs=sum(layer.macs for layer in layers),
        activation_peak_bytes=_least_peak(activations) * FLOAT32_BYTES,
        weight_bytes=sum(layer.weight_bytes for layer in layers),
        int8_weight_bytes=sum(layer.int8_weight_bytes for layer in layers),
        float32_energy=Energy(*map(sum, zip(*float32, strict=True))),
        int8_energy=Energy(*map(sum, zip(*int8, strict=True))),
        layers=layers,
    )


def _output_shape(layer: keras.layers.Layer) -> tuple[int, ...]:
    shape = layer.output_shape
    return tuple((shape[0] if isinstance(shape, list) else shape)[1:])


def _kernel_params(layer: keras.layers.Layer) -> int:
    return sum(prod(w.shape) for w in layer.weights if w.name.partition(":")[0].endswith("kernel"))


def _macs(layer: keras.layers.Layer) -> int:
    """Every position of the map uses every weight of the kernel once."""
    return prod(_output_shape(layer)[:-1]) * _kernel_params(layer)


def _folded_weight_bytes(layer: keras.layers.Layer, number: Format) -> int:
    if isinstance(layer, keras.layers.BatchNormalization):  # the bias of the layer before it
        return _output_shape(layer)[-1] * INT32_BYTES
    kernel = _kernel_params(layer)
    return kernel * number.weight_bytes + (layer.count_params() - kernel) * INT32_BYTES


class _Activation(NamedTuple):
    """The output of a layer that has memory of its own."""

    size: int  # values
    inputs: frozenset[str]  # the layers whose activations it is computed from


def _activations(model: keras.Model) -> dict[str, _Activation]:
    """Return the activations by the layer that computes them, in the model's order."""
    readers = find_readers(model)
    owner: dict[str, str] = {}  # layer -> layer whose memory holds its output
    activations = {}
    for layer in model.layers:
        names = [parent.name for parent in parents_of(layer)]
        if isinstance(layer, MERGED) and len(names) == 1 and len(readers[names[0]]) == 1:
            owner[layer.name] = owner[names[0]]
        else:
            owner[layer.name] = layer.name
            inputs = frozenset(owner[name] for name in names)
            activations[layer.name] = _Activation(prod(_output_shape(layer)), inputs)
    return activations


def _energy(
    layer: keras.layers.Layer, activations: Mapping[str, _Activation], number: Format
) -> Energy:
    moved = 0  # values read and written
    if output := activations.get(layer.name):
        moved = output.size + sum(activations[name].size for name in output.inputs)
    return Energy(
        macs_pj=round(_macs(layer) * number.mac_pj),
        activations_pj=round(moved * number.activation_bytes * SRAM_READ_PJ),
        weights_pj=round(_folded_weight_bytes(layer, number) * DRAM_READ_PJ),
    )


def _least_peak(activations: Mapping[str, _Activation]) -> int:
    """Return the least, over all execution orders, of the most values that live at one time.

    An activation lives until the last layer that reads it has run. A best-first search over the
    sets of layers that have run; nets are narrow, so that there are few such sets: 260 for
    Inception v3.
    """
    readers = {
        name: frozenset(reader for reader, output in activations.items() if name in output.inputs)
        for name in activations
    }
    queue = [(0, 0, frozenset[str]())]  # peak so far, -number of layers run, the layers run
    seen = set[frozenset[str]]()
    while True:
        peak, _, done = heapq.heappop(queue)
        if len(done) == len(activations):
            return peak
        if done in seen:
            continue
        seen.add(done)
        live = sum(
            activations[name].size for name in done if not readers[name] or readers[name] - done
        )
        for name, output in activations.items():
            if name not in done and output.inputs <= done:
                grown = done | {name}
                heapq.heappush(queue, (max(peak, live + output.size), -len(grown), grown))
