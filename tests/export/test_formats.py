"""Every number format of a net with depthwise, one with grouped, one with concatenated layers."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.images import Preparation
from edgenets.data.input_range import CENTRED
from edgenets.errors import EdgenetsError
from edgenets.export.formats import FORMATS, SMALL_KERNEL, find_format
from edgenets.export.measure import promises
from edgenets.export.measure.classifier import Classifier
from edgenets.export.write.checked_file import export_checked
from edgenets.export.write.codes import check_codes
from edgenets.export.write.tflite import to_format
from edgenets.models.backend import keras
from edgenets.models.codes import Codes, KernelCodes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Spec
from edgenets.models.registry import complete_arguments, create
from edgenets.quantize.stages.codebook import share_codes
from edgenets.quantize.stages.int8 import quantize_kernels

NETS = {
    "mobilenet_v1": {"width": 0.25},  # depthwise
    "shufflenet_v1": {"groups": 3, "scale": 0.25},  # grouped
    "squeezenet": {"base_expand": 32, "expand_increment": 32},  # concatenating
}
COMMON = {"resolution": 32, "classes": 3, "output_stride": 8}
CLUSTERS = 8
IMAGES = np.random.default_rng(1).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
IMAGES[0, 0, 0], IMAGES[0, -1, -1] = 0, 255
#           input and output, kernels of 1024 values and more, smaller ones, biases
DTYPES = {
    "int8": ("int8", "int8", "int8", "int32"),
    "int16x8": ("int16", "int8", "int8", "int64"),
    "fp16": ("float32", "float16", "float16", "float16"),
    "dynamic": ("float32", "int8", "float32", "float32"),
    "fp32": ("float32", "float32", "float32", "float32"),
}


class Net(NamedTuple):
    """A folded net whose kernels are codes times scale, with few distinct codes each."""

    model: keras.Model
    spec: Spec
    codes: Codes


@pytest.fixture(scope="module", params=NETS)
def net(request: pytest.FixtureRequest) -> Net:
    return build(request.param)


def build(name: str) -> Net:
    keras.utils.set_random_seed(5)
    arguments = complete_arguments(name, {**COMMON, **NETS[name]})
    model = create(name, **arguments)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(IMAGES / np.float32(127.5) - 1, training=True)  # so that signals reach the logits
    folded = fold_batch_norm(model)
    kernels = {k: share_codes(codes, CLUSTERS) for k, codes in quantize_kernels(folded).items()}
    for layer, kernel in kernels.items():
        set_kernel(folded.get_layer(layer), kernel)
    spec = Spec(name, arguments, ("a", "b", "c"), Preparation(32, 32), seed=5, folded=True)
    return Net(folded, spec, Codes(kernels, {}))


def set_kernel(layer: keras.layers.Layer, kernel: KernelCodes) -> None:
    layer.set_weights([kernel.values, *layer.get_weights()[1:]])


def layer_of(tensor: flatbuffer.Tensor, codes: Codes) -> KernelCodes:
    (name,) = set(re.split("[/;]", tensor.name)) & codes.kernels.keys()
    return codes.kernels[name]


def in_order(values: NDArray[Any]) -> NDArray[Any]:
    # As float64: NumPy 2.4 sorts float16 wrongly on processors with AVX-512 FP16.
    return np.sort(values.astype(np.float64), axis=None)


def test_formats_are_those_of_the_table_and_others_get_a_sentence():
    assert set(FORMATS) == set(DTYPES)
    with pytest.raises(EdgenetsError, match="unknown format 'int16'; did you mean int16x8"):
        find_format("int16")


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_file_keeps_the_promises_of_its_format(net: Net, name: str):
    exported = export_checked(FORMATS[name], *net[:2], IMAGES, net.codes)
    content, file, fidelity = exported.content, exported.named.model, exported.fidelity
    promises.check_structure(content, FORMATS[name])
    ends, large, small, bias = DTYPES[name]
    assert [t.dtype for t in (*file.inputs, *file.outputs)] == [ends, ends]
    assert all(t.dtype == ends for t in file.tensors if not t.is_constant)
    assert len(file.weights) == len(net.codes.kernels)
    for tensor in file.weights:
        kernel = layer_of(tensor, net.codes)
        is_small = kernel.codes.size < SMALL_KERNEL
        assert tensor.dtype == (small if is_small else large)
        # The same values in another order: output channels first, depthwise ones last.
        if tensor.dtype == "int8":
            np.testing.assert_array_equal(in_order(tensor.data), in_order(kernel.codes))
            np.testing.assert_array_equal(tensor.scale, kernel.scale.ravel())
            assert len(np.unique(np.append(tensor.data, 0))) <= CLUSTERS
        else:
            values = kernel.values.astype(tensor.dtype)
            np.testing.assert_array_equal(in_order(tensor.data), in_order(values))
    assert {t.dtype for t in file.biases} == {bias}
    assert fidelity.samples == len(IMAGES)
    for other in FORMATS.values():
        if other.name != name:
            with pytest.raises(EdgenetsError, match=f"the {other.name} file .*; it was not kept"):
                promises.check_structure(content, other)


@pytest.mark.slow
def test_int16_file_takes_images_in_steps_of_1_in_32767():
    from ai_edge_litert.interpreter import Interpreter

    net = build("squeezenet")
    content = to_format(FORMATS["int16x8"], *net[:2], IMAGES).content
    (image,) = flatbuffer.read(content).inputs
    assert float(image.scale[0]) == pytest.approx(1 / 32767, rel=1e-4)
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    codes = np.rint((IMAGES[:1] / 127.5 - 1) * 32767).astype(np.int16)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], codes)
    interpreter.invoke()
    outputs = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_array_equal(
        Classifier(content, input_range=CENTRED).outputs(IMAGES[:1]), outputs
    )


@pytest.mark.slow
def test_dynamic_leaves_kernels_float_below_1024_values():
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(31, 1)(image)  # 93
    x = keras.layers.DepthwiseConv2D((3, 11), padding="same")(x)  # 1023
    x = keras.layers.Conv2D(33, 1)(x)  # 1023
    x = keras.layers.Conv2D(64, 1)(x)  # 2112
    x = keras.layers.DepthwiseConv2D(4, padding="same")(x)  # 1024
    x = keras.layers.Conv2D(16, 1)(x)  # 1024
    x = keras.layers.GlobalAveragePooling2D()(x)
    for units in (64, 16, 33, 31, 4):  # 1024, 1024, 528, 1023, 124
        x = keras.layers.Dense(units)(x)
    spec = Spec("tiny", {"classes": 4}, tuple("abcd"), Preparation(8, 8), seed=0)
    exported = export_checked(FORMATS["dynamic"], keras.Model(image, x), spec, None, None)
    found = [(t.data.size, t.dtype) for t in exported.file.model.weights]
    sizes = (93, 1023, 1023, 2112, 1024, 1024, 1024, 1024, 528, 1023, 124)
    assert found == [(size, "float32" if size < 1024 else "int8") for size in sizes]
    assert exported.fidelity.samples == promises.RANDOM_IMAGES  # no images were given: noise


@pytest.mark.slow
def test_values_other_than_the_codes_are_refused_in_float_files():
    net = build("squeezenet")
    content = to_format(FORMATS["fp16"], net.model, net.spec, codes=net.codes)
    layer, kernel = next(iter(net.codes.kernels.items()))
    other = KernelCodes(kernel.codes, kernel.scale * np.float32(1.01))
    with pytest.raises(EdgenetsError, match=f"holds other values for {layer} than codes.safetens"):
        check_codes(content, net.model, Codes({**net.codes.kernels, layer: other}, {}))


@pytest.mark.slow
def test_operator_that_the_converter_lacks_in_a_format_gets_a_sentence():
    arguments = complete_arguments("mobilenet_v3_small", {**COMMON, "width": 0.35})
    spec = Spec("mobilenet_v3_small", arguments, ("a", "b", "c"), Preparation(32, 32), seed=0)
    with pytest.raises(EdgenetsError, match=r"cannot write HARD_SWISH, .*, in int16x8"):
        to_format(FORMATS["int16x8"], create(spec.name, **arguments), spec, IMAGES[:2])
