from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.inspect.edge_tpu.prediction import ON_CHIP_BYTES, predict
from edgenets.export.inspect.edge_tpu.rules import REPLACEMENTS, RULES, UNKNOWN_VERSIONS
from edgenets.flatbuffer import EDGE_TPU_OPERATOR, Model, Operator, Tensor

PAIRS = (
    "deeplabv3_mnv2_dm05_pascal_quant",
    "keras_lstm_mnist_ptq",
    "mobilenet_v1_0.25_128_quant",
    "split_concat",
)


@pytest.mark.parametrize("name", PAIRS)
def test_the_compiler_left_on_the_cpu_what_is_predicted(name, shared_file):
    predicted = predict(flatbuffer.read(shared_file(f"coral/{name}.tflite")))
    compiled = flatbuffer.read(shared_file(f"coral/{name}_edgetpu.tflite"))
    left = Counter(op.name for op in compiled.operators if op.name != EDGE_TPU_OPERATOR)
    assert predicted.on_cpu == left
    assert predict(compiled).on_cpu == left  # and a compiled file is read as it is


def tensor(shape, dtype="int8", *, data=None, signature=None, variable=False):
    content = None if data is None else np.array(data, dtype).reshape(shape)
    return Tensor(
        name="t",
        shape=tuple(shape),
        shape_signature=tuple(signature or shape),
        dtype=dtype,
        scale=np.float32([1]),
        zero_point=np.int64([3]),
        axis=0,
        is_variable=variable,
        offset=0,
        size_bytes=0 if content is None else content.nbytes,
        data=content,
    )


def constant(shape, dtype="int8", value=1):
    return tensor(shape, dtype, data=np.full(shape, value))


def model_of(*operators):
    """A model of (name, version, inputs, outputs, options), inputs and outputs being tensors.

    A tensor that is named twice is the same tensor.
    """
    tensors = []

    def index(one):
        if one is None:
            return -1
        known = [i for i, other in enumerate(tensors) if other is one]
        return known[0] if known else tensors.append(one) or len(tensors) - 1

    ops = tuple(
        Operator(name, version, tuple(map(index, ins)), tuple(map(index, outs)), options)
        for name, version, ins, outs, options in operators
    )
    return Model(0, 1, tuple(tensors), ops, (), (), {})


def only(name, ins, outs, version=1, **options):
    """The prediction for a model of one operator; what it makes is never what it takes."""
    outs = [out._replace() for out in outs]
    (op,) = predict(model_of((name, version, ins, outs, options))).ops
    return op


IMAGE = tensor((1, 8, 8, 16))
MAP = tensor((1, 1, 1, 16))
AXES = {"dtype": "int32"}
KERNEL, BIAS = constant((16, 3, 3, 16)), constant((16,), "int32")
DENSE = constant((16, 16))


def axes(*values):
    return tensor((len(values),), "int32", data=values)


#  operator, inputs, outputs, options, a word of the rule that stops it
STOPPED = (
    ("HARD_SWISH", [IMAGE], [IMAGE], {}, "not an operator"),
    ("LEAKY_RELU", [IMAGE], [IMAGE], {}, "not an operator"),
    ("ADD", [tensor((1, 8), "float32"), IMAGE], [IMAGE], {}, "float32"),
    ("ADD", [tensor((1, 8), "int16"), IMAGE], [IMAGE], {}, "int16"),
    ("QUANTIZE", [tensor((1, 8), "float32")], [IMAGE], {}, "float32"),
    ("RELU", [tensor((1, 8), signature=(-1, 8))], [IMAGE], {}, "constant"),
    ("RELU", [tensor((2, 8, 8, 16))], [tensor((2, 8, 8, 16))], {}, "innermost"),
    ("AVERAGE_POOL_2D", [IMAGE], [MAP], {"fused_activation": 3}, "activation"),
    ("MAX_POOL_2D", [IMAGE], [MAP], {"fused_activation": 1}, "activation"),
    ("CONCATENATION", [IMAGE, IMAGE], [IMAGE], {"fused_activation": 1}, "activation"),
    ("CONCATENATION", [MAP, constant((1, 1, 1, 16))], [IMAGE], {}, "zeros"),
    ("CONCATENATION", [MAP, MAP, constant((1, 1, 1, 16), value=3)], [IMAGE], {}, "two inputs"),
    ("CONV_2D", [IMAGE, constant((16, 3, 3, 8)), BIAS], [IMAGE], {}, "groups"),
    ("CONV_2D", [IMAGE, tensor((16, 3, 3, 16)), BIAS], [IMAGE], {}, "parameters"),
    ("CONV_2D", [IMAGE, constant((16, 3, 3, 16), "float32"), BIAS], [IMAGE], {}, "float32"),
    ("CONV_2D", [IMAGE], [IMAGE], {}, "kernel"),
    ("CONV_2D", [IMAGE, KERNEL, BIAS], [IMAGE], {"dilation_width": 2}, "dilation"),
    ("DEPTHWISE_CONV_2D", [IMAGE, KERNEL, BIAS], [IMAGE], {"dilation_height": 2}, "dilation"),
    ("FULLY_CONNECTED", [MAP, DENSE, BIAS], [MAP], {"weights_format": 1}, "format"),
    ("FULLY_CONNECTED", [IMAGE, DENSE, BIAS], [IMAGE], {}, "vector"),
    ("MEAN", [IMAGE, axes(0, 1)], [MAP], {}, "batch"),
    ("MEAN", [IMAGE, tensor((2,), "int32")], [MAP], {}, "parameters"),
    ("MEAN", [tensor((1, 8, 8, 18)), axes(-1)], [IMAGE], {}, "multiples of 4"),
    ("REDUCE_MAX", [IMAGE, axes(-4)], [MAP], {}, "batch"),
    ("REDUCE_MIN", [IMAGE, axes(0)], [MAP], {}, "batch"),
    ("PACK", [MAP, MAP], [IMAGE], {"axis": -4}, "batch"),
    ("PAD", [IMAGE, axes(0, 1, 0, 0, 0, 0, 0, 0)], [IMAGE], {}, "batch"),
    ("PRELU", [IMAGE, constant((8, 8, 16))], [IMAGE], {}, "per channel"),
    ("RESIZE_BILINEAR", [MAP, axes(8, 8)], [IMAGE], {}, "1 x 1"),
    ("SOFTMAX", [IMAGE], [IMAGE], {}, "vector"),
    ("SOFTMAX", [tensor((1, 16001))], [tensor((1, 16001))], {}, "16,000"),
    ("STRIDED_SLICE", [IMAGE, axes(0), axes(1), axes(2)], [MAP], {}, "strides"),
    ("STRIDED_SLICE", [IMAGE, axes(0), axes(1), axes(1)], [MAP], {"new_axis_mask": 1}, "new axis"),
    ("STRIDED_SLICE", [IMAGE, axes(0), axes(1), axes(1)], [MAP], {"ellipsis_mask": 1}, "ellipsis"),
    ("TRANSPOSE", [tensor((1, 1, 8, 4, 4)), axes(0)], [IMAGE], {}, "4 dimensions"),
    ("TILE", [MAP, axes(1, 8, 8, 2)], [tensor((1, 8, 8, 32))], {}, "1 x 1 to 8 x 8"),
    ("TILE", [IMAGE, axes(1, 2, 2, 1)], [tensor((1, 16, 16, 16))], {}, "8 x 8 to 16 x 16"),
    ("TILE", [MAP, tensor((4,), "int32")], [IMAGE], {}, "parameters"),
    ("ethos-u", [IMAGE], [MAP], {}, "not an operator"),
)


@pytest.mark.parametrize("name, ins, outs, options, word", STOPPED)
def test_operator_that_a_rule_stops_stays_on_the_cpu(name, ins, outs, options, word):
    op = only(name, ins, outs, **options)
    assert not op.mapped
    assert word in op.reason
    assert op.change


MAPPED = (
    ("MUL", [IMAGE, MAP], [IMAGE], {}),
    ("ADD", [IMAGE, constant((16,))], [IMAGE], {}),
    ("QUANTIZE", [tensor((1, 8), "uint8")], [tensor((1, 8))], {}),
    ("AVERAGE_POOL_2D", [IMAGE], [MAP], {"fused_activation": 0}),
    ("CONCATENATION", [MAP, constant((1, 1, 1, 16), value=3)], [IMAGE], {}),  # 3 is its zero
    ("CONV_2D", [IMAGE, KERNEL, BIAS], [IMAGE], {"dilation_width": 2, "dilation_height": 2}),
    ("CONV_2D", [IMAGE, KERNEL, None], [IMAGE], {}),
    ("DEPTHWISE_CONV_2D", [IMAGE, KERNEL, BIAS], [IMAGE], {}),
    ("FULLY_CONNECTED", [MAP, DENSE, BIAS], [tensor((1, 16))], {}),
    ("MEAN", [IMAGE, axes(1, 2)], [MAP], {}),
    ("MEAN", [IMAGE, axes(3)], [MAP], {}),
    ("PACK", [MAP, MAP], [IMAGE], {"axis": 3}),
    ("PAD", [IMAGE, axes(0, 0, 1, 1, 1, 1, 0, 0)], [IMAGE], {}),
    ("PRELU", [IMAGE, constant((1, 1, 16))], [IMAGE], {}),
    ("RESHAPE", [MAP, axes(1, 16)], [tensor((1, 16))], {}),
    ("SOFTMAX", [tensor((1, 16000))], [tensor((1, 16000))], {}),
    ("SPLIT", [axes(3), IMAGE], [MAP, MAP], {}),
    ("STRIDED_SLICE", [IMAGE, axes(0), axes(1), axes(1)], [MAP], {}),
)


@pytest.mark.parametrize("name, ins, outs, options", MAPPED)
def test_operator_within_the_stated_rules_maps_without_a_word(name, ins, outs, options):
    op = only(name, ins, outs, **options)
    assert op.mapped
    assert op.stated
    assert op.reason is None


PER_CHANNEL = DENSE._replace(scale=np.ones(16, np.float32), zero_point=np.zeros(16, np.int64))
UNSTATED = (
    ("FULLY_CONNECTED", [MAP, PER_CHANNEL, BIAS], [MAP]),
    ("TRANSPOSE", [IMAGE, axes(0, 1, 3, 2)], [IMAGE]),
    ("RESHAPE", [IMAGE, axes(1, 1024)], [tensor((1, 1024))]),
    ("RESIZE_NEAREST_NEIGHBOR", [IMAGE, axes(16, 16)], [tensor((1, 16, 16, 16))]),
    ("TILE", [MAP, axes(1, 33, 33, 1)], [tensor((1, 33, 33, 16))]),
)


@pytest.mark.parametrize("name, ins, outs", UNSTATED)
def test_operator_that_maps_by_an_unstated_rule_is_told_apart(name, ins, outs):
    op = only(name, ins, outs)
    assert op.mapped
    assert not op.stated
    assert "stated" in op.reason


def test_lstm_maps_with_its_16_bit_state():
    weights = [constant((20, 28))] * 4 + [constant((20, 20))] * 4
    state = [tensor((1, 20), variable=True), tensor((1, 20), "int16", variable=True)]
    ins = [tensor((1, 28, 28)), *weights, None, None, None, *[BIAS] * 4, None, None, *state]
    assert only("UNIDIRECTIONAL_SEQUENCE_LSTM", ins, [tensor((1, 28, 20))]).mapped


@pytest.mark.parametrize("name", UNKNOWN_VERSIONS)
def test_file_with_a_version_the_compiler_does_not_know_is_refused_whole(name):
    unknown = UNKNOWN_VERSIONS[name].version
    model = model_of(("RELU", 1, [IMAGE], [MAP], {}), (name, unknown, [MAP], [IMAGE], {}))
    relu, newer = predict(model).ops
    assert not relu.mapped and f"refuses the file for operator 1 ({name})" in relu.reason
    assert not newer.mapped and f"version {unknown}" in newer.reason


def chain(*names):
    """A model in which each operator takes the result of the one before."""
    tensors = [tensor((1, 8)) for _ in range(len(names) + 1)]
    return model_of(
        *((name, 1, [tensors[i]], [tensors[i + 1]], {}) for i, name in enumerate(names))
    )


def test_what_follows_an_unsupported_operator_stays_on_the_cpu():
    prediction = predict(chain("RELU", "HARD_SWISH", "RELU", "HARD_SWISH"))
    assert [op.mapped for op in prediction.ops] == [True, False, False, False]
    assert "follows operator 1 (HARD_SWISH)" in prediction.ops[2].reason
    assert "not an operator" in prediction.ops[3].reason
    assert prediction.on_cpu == {"HARD_SWISH": 2, "RELU": 1}


def test_unsupported_operators_at_the_very_start_run_on_the_cpu_before_the_mapped_part():
    prediction = predict(chain("CAST", "RELU", "TANH", "CAST", "RELU"))
    assert [op.mapped for op in prediction.ops] == [False, True, True, False, False]
    assert "follows operator 3 (CAST)" in prediction.ops[4].reason  # and not operator 0


def test_float_ends_stay_on_the_cpu_and_what_is_between_them_maps():
    # As the compiler's log shows of a MobileNet V2: github.com/f0cal/google-coral/issues/20.
    image, logits = tensor((1, 8), "float32"), tensor((1, 8), "float32")
    codes, result = tensor((1, 8)), tensor((1, 8))
    prediction = predict(
        model_of(
            ("QUANTIZE", 1, [image], [codes], {}),
            ("RELU", 1, [codes], [result], {}),
            ("DEQUANTIZE", 1, [result], [logits], {}),
        )
    )
    assert prediction.mapped_ops == 1
    assert prediction.on_cpu == {"QUANTIZE": 1, "DEQUANTIZE": 1}


def test_operator_that_does_not_need_an_unsupported_one_before_it_maps_by_an_unstated_rule():
    image, left, right, far = (tensor((1, 8)) for _ in range(4))
    prediction = predict(
        model_of(
            ("RELU", 1, [image], [left], {}),
            ("HARD_SWISH", 1, [left], [right], {}),
            ("TANH", 1, [left], [far], {}),
            ("ADD", 1, [right, far], [tensor((1, 8))], {}),
        )
    )
    assert [op.mapped for op in prediction.ops] == [True, False, True, False]
    assert [op.index for op in prediction.unstated] == [2]


def test_parameters_over_the_memory_of_the_chip_are_streamed():
    image, output = tensor((1, 1, 1, 16)), tensor((1, 1, 1, 600_000))
    kernel = constant((600_000, 1, 1, 16))
    prediction = predict(model_of(("CONV_2D", 1, [image, kernel, BIAS], [output], {})))
    assert prediction.parameter_bytes == 600_000 * 16 + 16 * 4
    assert prediction.on_chip_bytes == ON_CHIP_BYTES
    assert prediction.off_chip_bytes == prediction.parameter_bytes - ON_CHIP_BYTES


def test_shapes_and_axes_are_no_parameters_and_a_shared_kernel_counts_once():
    first, second, third = (tensor((1, 8, 8, 16)) for _ in range(3))
    prediction = predict(
        model_of(
            ("CONV_2D", 1, [first, KERNEL, BIAS], [second], {}),
            ("CONV_2D", 1, [second, KERNEL, BIAS], [third], {}),
            ("MEAN", 1, [third, axes(1, 2)], [MAP], {}),
        )
    )
    assert prediction.parameter_bytes == 16 * 3 * 3 * 16 + 16 * 4


def test_json_has_the_keys_that_inspect_promises():
    value = predict(chain("RELU", "HARD_SWISH")).to_json()
    assert (value["mapped_ops"], value["cpu_ops"], value["unstated_ops"]) == (1, 1, 0)
    assert value["ops"][0] == {
        **{"index": 0, "op": "RELU", "mapped": True},
        **{"reason": None, "change": None, "stated": True},
    }


def test_rules_take_operators_whose_inputs_and_outputs_are_left_out():
    for name in RULES:
        for ins, outs in (([], []), ([None] * 4, []), ([tensor(())] * 4, [tensor(())])):
            (placed,) = predict(model_of((name, 1, ins, outs, {}))).ops
            assert (placed.index, placed.op) == (0, name)


def test_operators_that_wait_for_each_other_are_told_as_damage():
    one, two = tensor((1, 8)), tensor((1, 8))
    ops = predict(model_of(("RELU", 1, [one], [two], {}), ("RELU", 1, [two], [one], {}))).ops
    assert all("damaged" in op.reason for op in ops)


def test_damaged_files_are_predicted_or_refused(shared_file):
    content = shared_file("coral/split_concat.tflite").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(500):
        mutant = bytearray(content)
        for position in random.integers(8, len(content), size=3):
            mutant[position] = random.integers(256)
        try:
            model = flatbuffer.read(bytes(mutant))
        except EdgenetsError:
            continue
        assert len(predict(model).ops) == len(model.operators)


def test_replacements_are_for_operators_that_exist_and_have_no_rule():
    others = {*flatbuffer.OPERATORS, *flatbuffer.COMPILED} - set(RULES)
    assert set(REPLACEMENTS) <= others
    assert set(RULES) <= set(flatbuffer.OPERATORS)


def test_every_rule_is_in_the_docs():
    text = (Path(__file__).parents[4] / "docs" / "reference" / "edge_tpu.md").read_text()
    table = text.partition("## The rules")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([A-Z0-9_]+)`", table)) == set(RULES)
