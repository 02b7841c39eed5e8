"""Layers that an int8 file computes in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.export.formats import INT8, find_format
from edgenets.export.lower.file_layers import in_file_layout, layers_kept_float, operators_of
from edgenets.export.lower.file_layers import weighted as find_weighted
from edgenets.export.measure import promises
from edgenets.export.report.layer_errors import measure_error
from edgenets.export.write.codes import read_grids
from edgenets.export.write.tflite import to_format, to_int8
from edgenets.models.backend import keras
from edgenets.models.codes import Codes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Spec
from edgenets.models.registry import complete_arguments, create
from edgenets.quantize.layers import assign_kernels, kernel_of
from edgenets.quantize.stages.codebook import share_codes
from edgenets.quantize.stages.int8 import quantize_kernels

COMMON = {"resolution": 32, "classes": 3, "output_stride": 8}
IMAGES = np.random.default_rng(1).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)


class Case(NamedTuple):
    """A net, patterns of its layers, and how many operators of each kind they name."""

    name: str
    arguments: dict[str, object]
    keep_float: tuple[str, ...]
    convolutions: int = 0
    depthwise: int = 0
    dense: int = 0


CASES = (
    Case("mobilenet_v1", {"width": 0.25}, ("stem_*", "block1_*", "block9_depth*"), 2, 2),
    Case("mobilenet_v1", {"width": 0.25}, ("logits",), dense=1),
    # A grouped convolution, one with three readers, all of a unit.
    Case("shufflenet_v1", {"scale": 0.25}, ("stage3_unit2_expand_conv", "stage2_unit1_*"), 3, 1),
    # The reader of a layer kept float is kept float or not; the last layer with a kernel.
    Case("squeezenet", {"base_expand": 32}, ("fire2_squeeze*", "fire2_expand1x1*", "conv10*"), 3),
)


class Net(NamedTuple):
    """A net and its float layers, plain and with BatchNorm folded in."""

    case: Case
    model: keras.Model
    folded: keras.Model
    spec: Spec
    kept: list[str]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join((case.name, *case[2])))
def net(request: pytest.FixtureRequest) -> Net:
    case = request.param
    keras.utils.set_random_seed(5)
    arguments = complete_arguments(case.name, {**COMMON, **case.arguments})
    model = create(case.name, **arguments)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(IMAGES / np.float32(127.5) - 1, training=True)  # so that signals reach the logits
    spec = Spec(case.name, arguments, ("a", "b", "c"), Preparation(32, 32), seed=5)
    spec = replace(spec, keep_float=case.keep_float)
    return Net(case, model, fold_batch_norm(model), spec, layers_kept_float(model, spec))


@pytest.fixture(scope="module")
def content(net: Net) -> bytes:
    return to_int8(net.model, net.spec, IMAGES)


@pytest.mark.slow
def test_named_layers_compute_in_float32_and_all_others_in_int8(net: Net, content: bytes):
    file = flatbuffer.read(content)
    floats = dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), 0)
    for operator, layer in find_weighted(file, net.model):
        source, kernel, bias = (file.tensors[index] for index in operator.inputs)
        output = file.tensors[operator.outputs[0]]
        is_float = layer in net.kept
        floats[operator.name] += is_float
        assert kernel.is_constant
        assert {source.dtype, kernel.dtype, output.dtype} == {"float32" if is_float else "int8"}
        if operator.inputs[2] >= 0:
            assert bias.dtype == ("float32" if is_float else "int32")
    assert tuple(floats.values()) == net.case[3:]
    others = [o for o in file.operators if o.name not in (*flatbuffer.WEIGHTED, "DEQUANTIZE")]
    assert {file.tensors[index].dtype for o in others for index in o.outputs} == {"int8"}
    assert [tensor.dtype for tensor in (*file.inputs, *file.outputs)] == ["int8", "int8"]


@pytest.mark.slow
def test_float_is_allowed_in_the_named_layers_only(net: Net, content: bytes):
    floats = operators_of(flatbuffer.read(content), net.model, net.kept)
    promises.check_structure(content, INT8, floats)
    with pytest.raises(EdgenetsError, match="in float32, not int"):
        promises.check_structure(content, INT8, floats[1:])


@pytest.fixture(scope="module")
def coded(net: Net) -> tuple[bytes, Codes]:
    """A file of the folded net, and codes that are all its integers: none of layers kept float."""
    kernels = {k: v for k, v in quantize_kernels(net.folded).items() if k not in net.kept}
    content = to_int8(net.folded, net.spec, IMAGES, Codes(kernels, {}))
    return content, Codes(kernels, read_grids(content, net.folded))


@pytest.mark.slow
def test_codes_give_the_same_file_without_images(net: Net, coded: tuple[bytes, Codes]):
    content, codes = coded
    rounded = fold_batch_norm(net.folded)
    assign_kernels(rounded, codes.kernels)
    assert to_int8(rounded, net.spec, None, codes) == content
    file = flatbuffer.read(content)
    for operator, layer in find_weighted(file, net.folded):
        if layer in net.kept:
            stored = file.tensors[operator.inputs[1]]
            values = kernel_of(net.folded.get_layer(layer)).numpy()
            np.testing.assert_array_equal(stored.content, in_file_layout(values, stored))


@pytest.mark.slow
def test_layer_kept_float_has_no_error_but_that_of_its_rounded_output(
    net: Net, coded: tuple[bytes, Codes]
):
    content, _ = coded
    errors = {error.layer: error for error in measure_error(content, net.folded, IMAGES[:4])}
    file = flatbuffer.read(content)
    quantized = {o.inputs[0] for o in file.operators if o.name == "QUANTIZE"}
    for operator, layer in find_weighted(file, net.folded):
        if layer in net.kept:
            assert errors[layer].weight_snr_db == promises.MAXIMUM_SNR_DB
            # 256 steps of the output's or the image's range, or float32 in another order of sums
            is_rounded = operator.outputs[0] in quantized or layer == "stem_conv"
            assert is_rounded != (errors[layer].own_snr_db > 100)


@pytest.mark.slow
def test_int8_layer_does_not_pass_as_float(build_net: Callable):
    model = build_net()
    content = to_int8(model, small_spec(), IMAGES[:, :8, :8])
    floats = operators_of(flatbuffer.read(content), model, ["pointwise"])
    with pytest.raises(EdgenetsError, match=r"int8 file keeps .* in int\d+, not float32"):
        promises.check_structure(content, INT8, floats)


@pytest.mark.slow
def test_shared_kernel_kept_float_holds_codes_times_scale(build_net: Callable):
    folded, images = fold_batch_norm(build_net()), IMAGES[:, :8, :8]
    kernels = {n: share_codes(k, 4) for n, k in quantize_kernels(folded).items()}
    with pytest.raises(EdgenetsError, match="the file holds other values for logits"):
        to_int8(folded, small_spec("logits"), images, Codes(kernels, {}))  # not yet the model's
    assign_kernels(folded, kernels)
    file = flatbuffer.read(to_int8(folded, small_spec("logits"), images, Codes(kernels, {})))
    stored = file.weights[-1]
    np.testing.assert_array_equal(stored.content, kernels["logits"].values.T)


def small_spec(*keep_float: str) -> Spec:
    spec = Spec("tiny", {"classes": 2}, ("above", "below"), Preparation(8, 8), seed=0)
    return replace(spec, keep_float=keep_float)


def test_pattern_that_matches_no_layer_is_a_sentence(build_net: Callable):
    images = IMAGES[:, :8, :8]
    with pytest.raises(EdgenetsError, match="tiny 'logit'; did you mean logits"):
        to_int8(build_net(), small_spec("logit"), images)
    with pytest.raises(EdgenetsError, match="unknown layer of tiny 'pool'"):  # without a kernel
        to_int8(build_net(), small_spec("pool"), images)


@pytest.mark.parametrize("name", ["int16x8", "dynamic"])
def test_other_formats_with_integers_say_that_they_cannot(name: str, build_net: Callable):
    with pytest.raises(EdgenetsError, match=f"{name} cannot keep layers float, .* logits; export"):
        to_format(find_format(name), build_net(), small_spec("logits"), IMAGES[:, :8, :8])


@pytest.mark.slow
def test_kernel_without_codes_that_is_not_kept_float_is_a_sentence(build_net: Callable):
    folded, images = fold_batch_norm(build_net()), IMAGES[:, :8, :8]
    kernels = {n: k for n, k in quantize_kernels(folded).items() if n != "logits"}
    with pytest.raises(EdgenetsError, match="lacks the integers of logits; compress again or"):
        to_int8(folded, small_spec(), images, Codes(kernels, {}))
