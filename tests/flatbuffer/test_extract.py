"""Parts of a file together compute what the whole does, and each runs alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.devices.interpreter import open_interpreter
from edgenets.flatbuffer.extract import cut, find_part, preparing_operators

SHARED_FILES = (
    *(f"mlperf_tiny/{name}.tflite" for name in ("vww_96_int8", "vww_96_float")),
    "mlperf_tiny/pretrainedResnet_quant.tflite",  # joins
    "coral/mobilenet_v1_0.25_128_quant.tflite",  # uint8
    "coral/split_concat.tflite",  # many inputs
    "coral/keras_lstm_mnist_ptq.tflite",  # variables and intermediates
)
# Each with what the others lack: depthwise, concatenated, grouped and shuffled, joined.
NETS = {
    "mobilenet_v1": {"width": 0.25},
    "squeezenet": {"base_expand": 32, "expand_increment": 32},
    "shufflenet_v1": {"groups": 3, "scale": 0.25},
    "xception": {"width": 0.25},
}
FORMATS = ("int8", "fp32")  # of every family; float16 weights are unpacked by operators
CASES = [*((name, number_format) for name in NETS for number_format in FORMATS)]
BOUNDARIES = 5


class Net(NamedTuple):
    """A net of a family: what Keras says of its MACs, and a function from a format to its file."""

    macs: int
    export: Callable[[str], bytes]


@pytest.fixture(scope="session")
def build_family():
    """A function from a family's name to a net of it."""
    from edgenets.data.images import Preparation
    from edgenets.export import formats
    from edgenets.export.measure.promises import random_images
    from edgenets.export.write.tflite import to_format
    from edgenets.models.backend import keras
    from edgenets.models.folder import Spec
    from edgenets.models.registry import complete_arguments, create
    from edgenets.profile import profile

    @cache
    def build(name: str) -> Net:
        given = {**NETS[name], "resolution": 32, "classes": 3, "output_stride": 8}
        arguments = complete_arguments(name, given)
        keras.utils.set_random_seed(0)  # of some weights, SqueezeNet's last ReLU gives nothing
        spec = Spec(name, arguments, ("a", "b", "c"), Preparation(32, 32), seed=0)
        model = create(name, **arguments)
        images = random_images(32, 2)

        def export(number_format: str) -> bytes:
            return to_format(formats.FORMATS[number_format], model, spec, images).content

        return Net(profile(model).macs, export)

    return build


def values_for(model: flatbuffer.Model) -> dict[int, NDArray]:
    """Return random numbers for the inputs, by the tensor's index."""
    random = np.random.default_rng(0)
    values = {}
    for index, tensor in zip(model.input_indices, model.inputs, strict=True):
        if tensor.dtype == "float32":
            values[index] = random.uniform(-1, 1, tensor.shape).astype(np.float32)
        else:
            limits = np.iinfo(tensor.dtype)
            values[index] = random.integers(limits.min, limits.max, tensor.shape, tensor.dtype)
    return values


def run_part(content: bytes, part: flatbuffer.Part, known: dict[int, NDArray]) -> dict:
    """Return the values that a part's file makes of `known` ones, by index in the whole."""
    interpreter = open_interpreter(content)
    for index, details in zip(part.inputs, interpreter.get_input_details(), strict=True):
        interpreter.set_tensor(details["index"], known[index])
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    return {
        index: interpreter.get_tensor(details["index"])
        for index, details in zip(part.outputs, outputs, strict=True)
    }


def assert_prefix_and_suffix_give_the_whole(content: bytes) -> None:
    model = flatbuffer.read(content)
    count, begin = len(model.operators), min(active_operators(model))
    boundaries = np.random.default_rng(0).permutation(range(begin + 1, count))[:BOUNDARIES]
    ends = [(0, count), *(pair for b in boundaries for pair in ((0, b), (b, count)))]
    parts = [find_part(model, *pair) for pair in ends]
    (whole, everything), *halves = zip(flatbuffer.split(content, parts), parts, strict=True)
    inputs = values_for(model)
    wanted = run_part(whole, everything, inputs)
    for (prefix, first), (suffix, second) in zip(halves[::2], halves[1::2], strict=True):
        known = inputs | run_part(prefix, first, inputs)
        known |= run_part(suffix, second, known)
        for index in model.output_indices:
            np.testing.assert_array_equal(known[index], wanted[index])


def active_operators(model: flatbuffer.Model) -> list[int]:
    return sorted(set(range(len(model.operators))) - preparing_operators(model))


def assert_every_operator_runs_alone_in_a_file_of_its_own_tensors(content: bytes) -> None:
    model = flatbuffer.read(content)
    zeros = {i: np.zeros(tensor.shape, tensor.dtype) for i, tensor in enumerate(model.tensors)}
    active = active_operators(model)
    parts = [find_part(model, i, i + 1) for i in active]
    for i, part, single in zip(active, parts, flatbuffer.split(content, parts), strict=True):
        inside = flatbuffer.read(single)
        assert inside.operators[-1].name == model.operators[i].name
        used = {t for o in inside.operators for t in (*o.inputs, *o.outputs)} - {-1}
        assert len(inside.tensors) - len(used) <= 5  # an LSTM's intermediates
        run_part(single, part, zeros)


@pytest.mark.parametrize("name", SHARED_FILES)
def test_parts_of_a_file_of_others_compute_what_it_does(shared_file, name: str):
    content = shared_file(name).read_bytes()
    assert_prefix_and_suffix_give_the_whole(content)
    assert_every_operator_runs_alone_in_a_file_of_its_own_tensors(content)


@pytest.mark.slow
@pytest.mark.parametrize("name, number_format", [*CASES, ("mobilenet_v1", "fp16")])
def test_parts_of_a_net_of_each_family_compute_what_it_does(
    build_family, name: str, number_format: str
):
    net = build_family(name)
    content = net.export(number_format)
    assert_prefix_and_suffix_give_the_whole(content)
    assert_every_operator_runs_alone_in_a_file_of_its_own_tensors(content)
    model = flatbuffer.read(content)
    assert sum(map(model.macs, model.operators)) == net.macs


def test_a_part_keeps_quantization_and_metadata_and_drops_what_it_does_not_use(shared_file):
    content = flatbuffer.rewrite(
        shared_file("mlperf_tiny/vww_96_int8.tflite").read_bytes(),
        flatbuffer.set_metadata,
        {"note": b"kept"},
    )
    whole = flatbuffer.read(content)
    part = flatbuffer.read(cut(content, 1, 2))
    assert part.metadata["note"] == b"kept"
    (kernel,), (original,) = part.weights, whole.weights[1:2]
    np.testing.assert_array_equal(kernel.content, original.content)
    np.testing.assert_array_equal(kernel.scale, original.scale)
    np.testing.assert_array_equal(
        part.inputs[0].scale, whole.tensors[whole.operators[0].outputs[0]].scale
    )
    assert part.size_bytes < 10_000 < whole.size_bytes


def test_all_operators_are_the_file_again(shared_file):
    content = shared_file("mlperf_tiny/vww_96_int8.tflite").read_bytes()
    model = flatbuffer.read(content)
    again = flatbuffer.read(cut(content, 0, len(model.operators)))
    assert again.operators == model.operators
    assert [t.name for t in again.tensors] == [t.name for t in model.tensors]


@pytest.mark.parametrize("start, stop", [(0, 0), (3, 2), (-1, 2), (30, 32)])
def test_a_part_without_operators_is_an_error(shared_file, start: int, stop: int):
    model = flatbuffer.read(shared_file("mlperf_tiny/vww_96_int8.tflite"))
    with pytest.raises(EdgenetsError, match=f"operators 0 to 31.* got {start} to {stop}"):
        find_part(model, start, stop)


def test_macs_are_those_of_the_kernel_at_every_position(shared_file):
    model = flatbuffer.read(shared_file("mlperf_tiny/vww_96_int8.tflite"))
    assert model.macs(model.operators[0]) == 48 * 48 * 8 * 3 * 3 * 3
    assert model.macs(model.operators[1]) == 48 * 48 * 8 * 3 * 3
    assert model.macs(model.operators[-1]) == 0
