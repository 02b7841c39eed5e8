"""Each rewrite of a net gives the same logits, and files of rewritten nets have the operators."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.export.devices.interpreter import open_interpreter
from edgenets.export.ends import Ends
from edgenets.export.formats import FORMATS, FP32, INT8, INT16X8
from edgenets.export.inspect.edge_tpu import prediction
from edgenets.export.inspect.edge_tpu.rules import RULES
from edgenets.export.inspect.ethos_u.compiler import compile_file
from edgenets.export.inspect.xnnpack import partitions
from edgenets.export.lower.lower import (
    REWRITES,
    has_sparse_forms,
    lower,
    preferred_format,
    runs_sparsely,
)
from edgenets.export.lower.rewriting import CodedModel
from edgenets.export.measure import promises
from edgenets.export.measure.classifier import Classifier
from edgenets.export.targets import (
    CORAL,
    ETHOS_U55_128,
    ETHOS_U65_256,
    GENERIC,
    RPI4,
    RPI5,
    TARGETS,
)
from edgenets.export.write.checked_file import export_checked
from edgenets.export.write.codes import read_grids
from edgenets.export.write.inputs_outputs import set_ends
from edgenets.export.write.tflite import to_format, to_int8
from edgenets.models.backend import keras
from edgenets.models.codes import Codes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Spec
from edgenets.models.grouped import ChannelShuffle
from edgenets.models.registry import complete_arguments, create
from edgenets.quantize.layers import assign_kernels, clone_with_weights
from edgenets.quantize.stages.int8 import quantize_kernels

# Colours that differ from image to image under noise.
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 200, (24, 1, 1, 3)) + RANDOM.integers(0, 56, (24, 64, 64, 3))
IMAGES = IMAGES.astype(np.uint8)
TOLERANCE = 1e-4  # of the largest logit: float32 sums in another order, through 50 layers
SHUFFLE_V1 = ("shufflenet_v1", {"scale": 0.5})
SHUFFLE_V2 = ("shufflenet_v2", {"scale": 0.5})
NETS = (
    ("mobilenet_v1", {"width": 0.25}),
    ("mobilenet_v3_small", {"width": 0.5, "minimalistic": True}),
    ("squeezenet", {"version": "1.1"}),
    SHUFFLE_V1,
    SHUFFLE_V2,
)


def build(name: str, arguments: dict[str, Any], resolution: int = 64) -> tuple[keras.Model, Spec]:
    """Return a net whose signals reach the logits; tests have it in common and do not change it."""
    return _build(name, tuple(arguments.items()), resolution)


@functools.cache
def _build(
    name: str, arguments: tuple[tuple[str, Any], ...], resolution: int
) -> tuple[keras.Model, Spec]:
    keras.utils.set_random_seed(0)
    given = {"output_stride": 8, "resolution": resolution, "classes": 5, **dict(arguments)}
    complete = complete_arguments(name, given)
    model = create(name, **complete)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(inputs(resolution), training=True)
    labels = tuple(str(i) for i in range(5))
    return model, Spec(name, complete, labels, Preparation(resolution, resolution), seed=0)


def write(number_format, model, spec, images, target) -> bytes:
    """Return a file whose logits are held against nothing: few untrained channels lose much."""
    net = lower(CodedModel(model, None), target, number_format)
    return to_format(number_format, net.model, spec, images).content


def inputs(resolution: int) -> np.ndarray:
    return IMAGES[:, :resolution, :resolution] / np.float32(127.5) - 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "rewrite, name, arguments, resolution",
    [
        ("dense", *SHUFFLE_V1, 32),
        ("dense", "shufflenet_v1", {"scale": 0.5, "groups": 8}, 32),
        ("dense", *SHUFFLE_V2, 32),
        ("packed", *SHUFFLE_V1, 32),
        ("packed", "shufflenet_v1", {"groups": 3}, 32),  # 20 channels: whole pieces move
        ("spelled", "mobilenet_v3_small", {"width": 0.5}, 32),
        ("paired", "mobilenet_v1", {"width": 0.25, "output_stride": 32}, 64),
        ("paired", "squeezenet", {"output_stride": 32}, 63),  # 7x7, 'valid', odd
        ("paired", "inception_v1", {"output_stride": 32}, 64),  # 7x7, 'same'
        ("paired_outputs", "squeezenet", {"output_stride": 8}, 32),  # 7x7, stride 1
        ("averaged", *SHUFFLE_V1, 64),
        ("averaged", "shufflenet_v1", {"scale": 0.5, "output_stride": 32}, 60),  # odd maps, too
        ("averaged", "inception_v3", {"width": 0.25}, 64),
        ("joined", "xception", {"width": 0.25}, 64),
        ("nested", "inception_v3", {"width": 0.25}, 64),
        ("turned", "mobilenet_v1", {"width": 0.25, "output_stride": 32}, 64),
        ("turned", "mobilenet_v2", {"width": 0.35, "output_stride": 32}, 40),  # 5 at the end
    ],
)
def test_rewritten_net_gives_the_same_logits(rewrite, name, arguments, resolution):
    model, _ = build(name, arguments, resolution)
    weights = model.get_weights()
    rewritten = REWRITES[rewrite](CodedModel(model, None)).model
    assert rewritten is not model
    expected = model(inputs(resolution), training=False).numpy()
    logits = rewritten(inputs(resolution), training=False).numpy()
    assert np.abs(expected - expected[:1]).max() > 0.01 * np.abs(expected).max()
    np.testing.assert_allclose(logits, expected, atol=TOLERANCE * np.abs(expected).max())
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("rewrite", REWRITES)
def test_rewrite_that_finds_nothing_to_do_returns_the_net(rewrite):
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    net = CodedModel(keras.Model(image, keras.layers.Dense(2)(x)), None)
    assert REWRITES[rewrite](net) is net


@pytest.mark.parametrize("channels, is_dense", [(200, True), (202, False)])
def test_shuffles_go_where_no_map_is_wide(channels, is_dense):
    image = keras.Input((4, 4, 3))
    x = ChannelShuffle(2, name="shuffle")(keras.layers.Conv2D(channels, 1, name="conv")(image))
    net = CodedModel(keras.Model(image, keras.layers.Conv2D(2, 1, name="logits")(x)), None)
    layers = REWRITES["dense_narrow"](net).model.layers
    assert any(isinstance(layer, ChannelShuffle) for layer in layers) != is_dense


@pytest.mark.parametrize("size, is_paired", [(3, False), (5, True)])
def test_wide_kernels_read_pairs_of_columns(size, is_paired):
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, size, strides=2, name="conv")(image)
    net = CodedModel(keras.Model(image, x), None)
    assert (REWRITES["paired_wide"](net) is not net) == is_paired


class Coded(NamedTuple):
    """A folded net, its file for any target, and the codes in it, which are the net's weights."""

    model: keras.Model
    spec: Spec
    content: bytes
    codes: Codes


@pytest.fixture(scope="module", params=[SHUFFLE_V1, SHUFFLE_V2], ids=lambda net: net[0])
def coded(request: pytest.FixtureRequest) -> Coded:
    model, spec = build(*request.param, 32)
    folded = fold_batch_norm(model)
    spec = replace(spec, folded=True)
    kernels = quantize_kernels(folded)
    content = to_int8(folded, spec, IMAGES[:, :32, :32], Codes(kernels, {}))
    codes = Codes(kernels, read_grids(content, folded))
    assign_kernels(folded, kernels)
    return Coded(folded, spec, content, codes)


@pytest.mark.slow
@pytest.mark.parametrize("target", [CORAL, RPI4], ids=lambda target: target.name)
def test_file_for_a_target_holds_the_integers_of_the_codes(coded: Coded, target):
    folded, spec, content, codes = coded
    images = IMAGES[:, :32, :32]
    settled = export_checked(INT8, folded, spec, None, codes, target).content  # which checks them
    logits, expected = (Classifier(file).logits(images) for file in (settled, content))
    if (
        target is CORAL or spec.name == "shufflenet_v2"
    ):  # sums of the same integers on the same grids
        np.testing.assert_allclose(logits, expected, atol=1e-6)
    else:  # but for average pools, whose edges are rounded twice
        error = float(np.sum((logits - expected) ** 2))
        assert promises.to_snr_db(float(np.sum(expected**2)), error) >= 15


@pytest.mark.slow
@pytest.mark.parametrize("name, arguments", NETS)
def test_files_for_arm_boards_are_one_partition(name, arguments):
    model, spec = build(name, arguments, 32 if name != "squeezenet" else 64)
    images = IMAGES[:, : spec.preparation.resolution, : spec.preparation.resolution]
    for number_format in (INT8, FP32):
        content = write(number_format, model, spec, images, RPI4)
        names = {operator.name for operator in flatbuffer.read(content).operators}
        assert not names & {"SHAPE", "PACK", "STRIDED_SLICE", "QUANTIZE"}
        found = partitions(content)
        if found.number:
            assert found == (1, ())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, arguments",
    [
        *NETS,
        ("mobilenet_v2", {"width": 0.35}),
        ("mobilenet_v3_small", {"width": 0.5}),
        ("inception_v1", {}),
        ("xception", {"width": 0.18}),
    ],
)
def test_files_for_accelerators_have_only_operators_that_run_there(name, arguments, tmp_path):
    model, spec = build(name, arguments, 32 if name != "squeezenet" else 64)
    images = IMAGES[:, : spec.preparation.resolution, : spec.preparation.resolution]
    content = write(INT8, model, spec, images, CORAL)
    file = flatbuffer.read(content)
    names = {operator.name for operator in file.operators}
    assert names <= set(RULES) - {"TRANSPOSE", "RESHAPE", "SPLIT", "QUANTIZE"}
    assert max(len(tensor.shape) for tensor in file.tensors) <= 4
    assert prediction.predict(file).cpu_ops == 0
    coded, path = CodedModel(model, None), tmp_path / "net.tflite"
    if any(REWRITES[name](coded) is not coded for name in ("spelled", "paired_wide")):
        content = write(INT8, model, spec, images, ETHOS_U55_128)  # which differs from Coral's
    path.write_bytes(content)
    for target in (ETHOS_U55_128, ETHOS_U65_256):
        outcome = compile_file(path, target)
        assert (outcome.on_cpu.total(), outcome.differences) == (0, [])


@pytest.mark.slow
def test_two_pixels_at_a_time_give_the_same_codes_in_fewer_cycles(tmp_path):
    model, spec = build("squeezenet", {"base_expand": 16, "expand_increment": 16}, 32)
    folded, images = fold_batch_norm(model), IMAGES[:, :32, :32]
    kernels = quantize_kernels(folded)
    assign_kernels(folded, kernels)
    spec = replace(spec, folded=True)
    plain = to_int8(folded, spec, images, Codes(kernels, {}))
    codes = Codes(kernels, read_grids(plain, folded))
    paired = export_checked(INT8, folded, spec, None, codes, ETHOS_U55_128).content
    logits, expected = (Classifier(file).logits(images) for file in (paired, plain))
    np.testing.assert_array_equal(logits, expected)
    cycles = []
    for content in (paired, plain):
        (tmp_path / "net.tflite").write_bytes(content)
        outcome = compile_file(tmp_path / "net.tflite", ETHOS_U55_128)
        assert outcome.on_cpu.total() == 0
        cycles.append(outcome.estimates["cycles"])
    assert cycles[0] < 0.9 * cycles[1]


@pytest.mark.slow
def test_pruned_mobilenet_is_stored_sparsely_for_the_boards_that_gain():
    model, spec = build("mobilenet_v1", {"width": 0.25, "output_stride": 32})
    assert not runs_sparsely(model)
    assert preferred_format(model, RPI4) is INT8
    model = clone_with_weights(model)
    prune_pointwise(model, 0.85)
    assert runs_sparsely(model)
    assert [preferred_format(model, target).name for target in (RPI4, RPI5)] == ["fp32", "int8"]
    sparse = export_checked(FP32, model, spec, IMAGES, None, RPI4)
    dense = export_checked(FP32, model, spec, IMAGES, None, GENERIC)
    assert (sparse.is_sparse, dense.is_sparse) == (True, False)
    assert len(sparse.content) < 0.6 * len(dense.content)
    found = partitions(sparse.content)
    if found.number:
        operators = flatbuffer.read(sparse.content).operators
        assert found.number == 1
        assert {operators[i].name for i in found.outside} == {"REVERSE_V2"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, arguments, sparsely",
    [
        ("mobilenet_v1", {"width": 0.25}, True),
        ("mobilenet_v1", {"width": 0.25, "output_stride": 16}, False),
        ("mobilenet_v2", {"width": 0.35}, True),
        ("mobilenet_v3_small", {"width": 0.5, "minimalistic": True}, True),
        ("mobilenet_v3_small", {"width": 0.5}, False),
        ("shufflenet_v2", {"scale": 0.5}, False),
        ("squeezenet", {}, False),
    ],
)
def test_the_nets_that_the_page_of_targets_names_run_sparsely(name, arguments, sparsely):
    model = clone_with_weights(build(name, {"output_stride": 32, **arguments}, 64)[0])
    prune_pointwise(model, 0.85)
    assert runs_sparsely(model) is has_sparse_forms(model) is sparsely


@pytest.mark.parametrize(
    "name, arguments, target, number_format, is_dense",
    [
        (*SHUFFLE_V2, RPI5, INT8, True),
        (*SHUFFLE_V2, RPI5, INT16X8, False),
        (*SHUFFLE_V2, RPI5, FP32, False),
        (*SHUFFLE_V2, RPI4, INT8, False),
        ("shufflenet_v2", {"scale": 1.0}, RPI5, INT8, False),  # 464 channels
        (*SHUFFLE_V1, RPI5, INT8, False),  # grouped
    ],
)
def test_a_raspberry_pi_5_has_narrow_int8_nets_without_groups_or_shuffles(
    name, arguments, target, number_format, is_dense
):
    model, _ = build(name, arguments, 32)
    forms = (target, target._replace(int8_rewrites=()))
    params = [
        lower(CodedModel(model, None), form, number_format).model.count_params() for form in forms
    ]
    assert (params[0] > params[1]) == is_dense


def prune_pointwise(model: keras.Model, sparsity: float) -> None:
    for layer in model.layers:
        if type(layer) is keras.layers.Conv2D and layer.kernel_size == (1, 1):
            kernel, *rest = layer.get_weights()
            kernel[np.abs(kernel) < np.quantile(np.abs(kernel), sparsity)] = 0
            layer.set_weights([kernel, *rest])


@pytest.mark.slow
def test_ends_are_float_and_probabilities_where_asked():
    model, spec = build("mobilenet_v1", {"width": 0.25}, 32)
    images = IMAGES[:, :32, :32]
    content = write(INT8, model, spec, images, GENERIC)
    changed = flatbuffer.File(content)
    set_ends(changed, "float32", softmax=True)
    ended = changed.content
    file = flatbuffer.read(ended)
    assert [tensor.dtype for tensor in (*file.inputs, *file.outputs)] == ["float32", "float32"]
    plain, interpreter = Classifier(content), open_interpreter(ended)
    (image,), (scores,) = interpreter.get_input_details(), interpreter.get_output_details()
    for codes, logits in zip(plain.inputs(images), plain.logits(images), strict=True):
        # Numbers that are codes: those of pixels lie halfway between two.
        steps = codes.astype(np.float32) - np.float32(plain.input.zero_point[0])
        floats = steps * plain.input.scale[0]
        interpreter.set_tensor(image["index"], floats[np.newaxis])
        interpreter.invoke()
        softmax = np.exp(logits) / np.exp(logits).sum()
        (probabilities,) = interpreter.get_tensor(scores["index"])
        np.testing.assert_allclose(probabilities, softmax, atol=1e-5)
    asked = export_checked(FP32, model, spec, images, None, GENERIC, Ends(softmax=True))
    assert asked.fidelity is not None and asked.fidelity.snr_db >= FP32.minimum_snr_db
    assert flatbuffer.read(asked.content).operators[-1].name == "SOFTMAX"


def test_constant_calibration_images_get_a_sentence():
    model, spec = build("mobilenet_v1", {"width": 0.25}, 32)
    with pytest.raises(EdgenetsError, match="every pixel of these is 7"):
        to_int8(model, spec, np.full((3, 32, 32, 3), 7, np.uint8))


def test_format_that_a_target_does_not_run_gets_a_sentence():
    model, spec = build("mobilenet_v1", {"width": 0.25}, 32)
    with pytest.raises(EdgenetsError, match="for coral edgenets writes int8, not fp32; pass"):
        export_checked(FP32, model, spec, None, None, CORAL)


def test_every_target_prefers_a_format_and_names_known_rewrites():
    for target in TARGETS.values():
        assert set(target.formats) <= set(FORMATS)
        assert {*target.rewrites, *target.integer_rewrites, *target.int8_rewrites} <= set(REWRITES)
    assert lower(CodedModel("model", None), GENERIC, INT8).model == "model"
    assert promises.MAXIMUM_SNR_DB > 0
