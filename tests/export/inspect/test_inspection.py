"""What `inspect` says of files: edgenets' own, and every one of the development data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgenets import flatbuffer
from edgenets.cli.inspect import command
from edgenets.errors import EdgenetsError
from edgenets.export.inspect import inspection
from edgenets.export.inspect.inspection import contents, inspect_file, weight_statistics
from edgenets.export.measure.benchmark import benchmark_file
from edgenets.export.measure.classifier import Classifier

KEYS = {
    *("size_bytes", "ops", "inputs", "outputs", "macs", "weights", "weight_bytes"),
    *("entropy_bytes", "arena_bytes", "xnnpack", "edge_tpu"),
}
SHARED_FILES = (
    *("coral/deeplabv3_mnv2_dm05_pascal_quant", "coral/deeplabv3_mnv2_dm05_pascal_quant_edgetpu"),
    *("coral/keras_lstm_mnist_ptq", "coral/keras_lstm_mnist_ptq_edgetpu"),
    *("coral/mobilenet_v1_0.25_128_quant", "coral/mobilenet_v1_0.25_128_quant_edgetpu"),
    *("coral/split_concat", "coral/split_concat_edgetpu"),
    *("mlperf_tiny/pretrainedResnet_quant", "mlperf_tiny/vww_96_float"),
    "mlperf_tiny/vww_96_int8",
)


@pytest.fixture(scope="module")
def tiny(tiny_int8_file: Path):
    return inspect_file(tiny_int8_file)


def test_promised_keys_are_there_and_it_is_json(tiny):
    assert tiny.to_json().keys() >= KEYS
    assert tiny.weights[0].keys() >= {
        *("name", "shape", "dtype", "bytes", "sparsity", "distinct", "entropy_bytes"),
    }
    json.dumps(tiny.to_json(), allow_nan=False)


def test_counts_are_the_arithmetic_of_the_net(tiny, tiny_int8_file: Path):
    assert tiny.size_bytes == tiny_int8_file.stat().st_size
    # a 3x3 convolution to 4 x 4 positions of 8 channels, and a dense layer from those to 7
    assert tiny.macs == 4 * 4 * 8 * 3 * 3 * 3 + 8 * 7
    assert tiny.arena_bytes >= 8 * 8 * 3 + 4 * 4 * 8  # the image, and what is made of it
    kernels = [w for w in tiny.weights if w["dtype"] == "int8"]
    assert [w["bytes"] for w in kernels] == [8 * 27, 7 * 8]
    biases = [w for w in tiny.weights if w["dtype"] == "int32"]
    assert tiny.weight_bytes == 8 * 27 + 7 * 8 + sum(w["bytes"] for w in biases)
    (image,), (logits,) = tiny.inputs, tiny.outputs
    assert image["shape"] == [1, 8, 8, 3] and image["dtype"] == "int8"
    assert image["scale"] == pytest.approx(2 / 255) and image["zero_point"] == -1
    assert logits["shape"] == [1, 7]
    assert sum(tiny.ops.values()) == len(tiny.operators)


def test_labels_and_provenance_are_edgenets_own(tiny, tiny_metadata):
    assert tiny.labels == tuple(tiny_metadata["labels"])
    assert tiny.labels_from == "labels.txt"
    assert tiny.edgenets == {"preparation": tiny_metadata["preparation"]}


def compiled(content: bytes, custom: str) -> bytes:
    """Name the first operator as a compiler does what it made."""

    def change(model):
        code = model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex]
        code.builtinCode = code.deprecatedBuiltinCode = flatbuffer.OPERATORS.index("CUSTOM")
        code.customCode = custom

    return flatbuffer.rewrite(content, change)


@pytest.mark.parametrize(
    "custom, device", [("ethos-u", "an Arm Ethos-U"), ("edgetpu-custom-op", "the Edge TPU")]
)
def test_a_compiled_file_is_told_of_as_that_wherever_it_is_read(
    tiny_net, tmp_path: Path, custom: str, device: str
):
    path = tmp_path / "compiled.tflite"
    path.write_bytes(compiled(tiny_net.int8, custom))
    sentence = (
        f"{path} was compiled for {device} (its operator {custom}) and runs there alone; pass the "
        "file that it was compiled from"
    )
    found = inspect_file(path, "rpi4")
    assert found.compiled_for == device
    assert found.xnnpack["reason"] == sentence
    assert found.target["limits"][0] == sentence
    assert "MACs" not in found.costs()  # it does not show them
    with pytest.raises(EdgenetsError) as raised:
        Classifier(path)
    assert str(raised.value) == sentence
    with pytest.raises(
        EdgenetsError, match=f"compiled for {device}.*the file that it was compiled from"
    ):
        benchmark_file(path)


@pytest.mark.parametrize(
    "target, chip", [("ethos-u55-128", "Ethos-U"), ("coral", "Edge TPU"), ("rpi4", None)]
)
def test_command_says_how_much_an_accelerator_will_run(
    tiny_net, tmp_path: Path, target: str, chip: str | None
):
    path = tmp_path / "net.tflite"
    path.write_bytes(tiny_net.int8)
    shown = CliRunner().invoke(command, [str(path), "--target", target]).stdout
    said = [line for line in shown.splitlines() if "predicted" in line]
    assert said == ([f"3 of 3 operators are predicted to run on the {chip}"] if chip else [])


def with_kernel_of_4_bits(content: bytes, position: int) -> bytes:
    """Store one of the kernels in int4, two values in a byte."""
    index = [op.inputs[1] for op in flatbuffer.read(content).operators if len(op.inputs) == 3]

    def change(model):
        tensor = model.subgraphs[0].tensors[index[position]]
        codes = model.buffers[tensor.buffer].data.view(np.int8) // 16
        low, high = codes[0::2].view(np.uint8) & 15, codes[1::2].view(np.uint8) & 15
        model.buffers[tensor.buffer].data = low | high << 4
        tensor.type = flatbuffer.DTYPES.index("int4")

    return flatbuffer.rewrite(content, change)


def test_convolutions_of_4_bits_stand_outside_xnnpack_for_a_reason(tiny_net, tmp_path: Path):
    path = tmp_path / "int4.tflite"
    path.write_bytes(with_kernel_of_4_bits(tiny_net.int8, 0))
    found = inspect_file(path, "rpi4")
    assert found.operators[0]["op"] == "CONV_2D" and not found.operators[0]["xnnpack"]
    assert (
        "CONV_2D 0 (XNNPACK has kernels of int4 for dense layers, not for convolutions: quantize "
        "this one to int8)"
    ) in found.target["limits"][0]
    path.write_bytes(with_kernel_of_4_bits(tiny_net.int8, 1))
    (dense,) = (op for op in inspect_file(path).operators if op["op"] == "FULLY_CONNECTED")
    assert dense["xnnpack"]


@pytest.mark.parametrize("name", SHARED_FILES)
def test_any_file_is_inspected(shared_file, name: str):
    path = shared_file(f"{name}.tflite")
    model = flatbuffer.read(path)
    found = inspect_file(path)
    json.dumps(found.to_json(), allow_nan=False)
    assert found.to_json().keys() >= KEYS
    assert sum(found.ops.values()) == len(model.operators)
    placed = found.edge_tpu
    assert placed["mapped_ops"] + placed["cpu_ops"] == len(placed["ops"]) == len(model.operators)
    xnnpack = found.xnnpack
    if name.endswith("_edgetpu"):
        assert xnnpack["partitions"] is None and "edgetpu-custom-op" in xnnpack["reason"]
    else:
        assert xnnpack["partitions"] >= 1 and xnnpack["reason"] is None
        assert xnnpack["ops_outside"] == len(xnnpack["outside"])
    stored = sum(w["bytes"] for w in found.weights)
    assert found.entropy_bytes <= found.weight_bytes <= stored <= found.size_bytes


def constant(values: np.ndarray, **changes) -> flatbuffer.Tensor:
    none = np.zeros(0, np.float32)
    tensor = flatbuffer.Tensor(
        *("w", values.shape, values.shape, str(values.dtype), none, none.astype(np.int64)),
        *(0, False, 8, values.nbytes, values),
    )
    return tensor._replace(**changes)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "float16", "float32"])
def test_statistics_are_those_of_the_values(dtype: str):
    values = np.array([0, 0, 1, 1, 2, 2, 3, 3]).astype(dtype)
    expected = {"sparsity": 0.25, "distinct": 4, "entropy_bytes": 2.0}
    assert weight_statistics(constant(values)) == expected


def test_the_negative_zero_is_the_zero():
    found = weight_statistics(constant(np.float32([0, -0.0, 1, 1])))
    assert (found["sparsity"], found["distinct"]) == (0.5, 2)


def test_many_float16_are_counted_right():
    values = np.repeat(np.arange(1000, dtype=np.float16), 40)
    np.random.default_rng(0).shuffle(values)
    assert weight_statistics(constant(values))["distinct"] == 1000


def test_zeros_that_are_not_stored_count():
    values = np.float32([1, 2, 2, 0])  # a block may hold a zero
    sparse = constant(values.view(np.uint8), shape=(4, 4), dtype="float32", sparse_index_bytes=6)
    found = weight_statistics(sparse)
    assert found["sparsity"] == 13 / 16 and found["distinct"] == 3
    whole = np.float32([1, 2, 2] + 13 * [0])
    assert found["entropy_bytes"] == weight_statistics(constant(whole))["entropy_bytes"]


def test_four_bit_codes_are_unpacked():
    packed = constant(np.uint8([0x10, 0x32, 0x0F]), shape=(5,), dtype="int4")
    assert weight_statistics(packed) == {
        "sparsity": 0.2,
        "distinct": 5,
        "entropy_bytes": pytest.approx(5 * np.log2(5) / 8),
    }


def test_two_bit_codes_are_unpacked():
    packed = constant(np.uint8([0b11_01_00_00, 0b11_11_11_10]), shape=(5,), dtype="int2")
    assert weight_statistics(packed) == {
        "sparsity": 0.4,
        "distinct": 4,
        "entropy_bytes": pytest.approx((2 * np.log2(5 / 2) + 3 * np.log2(5)) / 8),
    }


@pytest.mark.parametrize("entry", [b"[", b"3", b'{"seed": NaN}', b"[" * 100_000])
def test_metadata_that_is_not_ours_is_one_sentence(tiny_net, entry: bytes):
    with pytest.raises(EdgenetsError, match="metadata 'edgenets' are not a JSON object"):
        contents(flatbuffer.with_metadata(tiny_net.int8, {"edgenets": entry}))


def test_unknown_target_is_said_before_the_file_is_read(tmp_path: Path):
    with pytest.raises(EdgenetsError, match=r"unknown target 'corral'; did you mean coral\?"):
        inspect_file(tmp_path / "missing.tflite", "corral")


@pytest.mark.slow
def test_sparse_and_fp16_weights_are_seen_through_what_unpacks_them():
    """A pruned 1x1 convolution as TensorFlow stores it, whole and sparsely, in fp32 and fp16."""
    import tensorflow as tf
    import tf_keras as keras

    image = keras.Input((8, 8, 16), batch_size=1)
    layer = keras.layers.Conv2D(16, 1, use_bias=False)
    net = keras.Model(image, layer(image))
    kernel = np.random.default_rng(0).normal(size=(1, 1, 16, 16)).astype(np.float32)
    kernel[np.abs(kernel) < 1.3] = 0
    layer.set_weights([kernel])
    found = {}
    for name in ("whole", "sparse", "fp16"):
        converter = tf.lite.TFLiteConverter.from_keras_model(net)
        if name == "sparse":
            converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
        if name == "fp16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        found[name] = contents(converter.convert()).weights[0]
    nonzero = int(np.count_nonzero(kernel))
    for row in found.values():
        assert row["sparsity"] == 1 - nonzero / kernel.size
        assert np.prod(row["shape"]) == kernel.size
    assert found["whole"]["bytes"] == 4 * kernel.size
    assert found["fp16"]["bytes"] == 2 * kernel.size
    assert found["sparse"]["bytes"] == 4 * nonzero + found["sparse"]["index_bytes"]
    assert found["sparse"]["index_bytes"] >= nonzero
    assert found["sparse"]["entropy_bytes"] == found["whole"]["entropy_bytes"]


def test_operators_that_unpack_into_their_own_input_end():
    none = np.zeros(0, np.float32)

    def computed(size: int) -> flatbuffer.Tensor:
        shape = (size,)
        return flatbuffer.Tensor("", shape, shape, "float32", none, none, 0, False, 0, 0, None)

    tensors = (computed(4), constant(np.float16([1, 2, 3, 4])), computed(4), computed(4))
    steps = [((1,), (2,)), ((2,), (3,)), ((3,), (2,)), ((2,), (2,)), ((1,), (1,))]
    unpacking = [flatbuffer.Operator("DEQUANTIZE", 1, *step) for step in steps]
    adding = flatbuffer.Operator("ADD", 1, (0, 3), (0,))
    model = flatbuffer.Model(0, 1, tensors, (*unpacking, adding), (0,), (0,), {})
    (weight,) = inspection._weights(model)
    assert weight["bytes"] == 8 and weight["op"] == 5
