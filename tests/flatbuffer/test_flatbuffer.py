from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError


def run(content: bytes) -> np.ndarray:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    codes = np.int8([[1, 2, 3, 4]])
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], codes)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def test_read_returns_tensors_operators_and_ends(content: bytes):
    model = flatbuffer.read(content)
    assert model.size_bytes == len(content)
    assert model.subgraphs == 1
    assert [tensor.name for tensor in model.tensors] == ["in", "kernel", "bias", "out"]
    dense = flatbuffer.Operator("FULLY_CONNECTED", 4, (0, 1, 2), (3,), {"weights_format": 0})
    assert model.operators == (dense,)
    assert model.inputs[0].shape == (1, 4)
    assert (model.inputs[0].scale[0], model.inputs[0].zero_point[0]) == (0.5, 3)
    assert model.outputs[0].dtype == "int8"


def with_operator(content: bytes, code: int, options: Any) -> bytes:
    def change(model: Any) -> None:
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = code
        (dense,) = model.subgraphs[0].operators
        dense.builtinOptions = options
        kind = type(options).__name__.removesuffix("T")
        dense.builtinOptionsType = getattr(schema.BuiltinOptions, kind)

    return flatbuffer.rewrite(content, change)


def strided(padding: int, width: int, height: int) -> dict[str, int]:
    return {"padding": padding, "stride_width": width, "stride_height": height}


@pytest.mark.parametrize(
    "name, options, read",
    [
        (
            "CONV_2D",
            schema.Conv2DOptionsT(1, 4, 5, dilationWFactor=2, dilationHFactor=3),
            {**strided(1, 4, 5), "dilation_width": 2, "dilation_height": 3},
        ),
        (
            "DEPTHWISE_CONV_2D",
            schema.DepthwiseConv2DOptionsT(depthMultiplier=7, dilationWFactor=2),
            {**strided(0, 0, 0), "dilation_width": 2, "dilation_height": 1},
        ),
        (
            "MAX_POOL_2D",
            schema.Pool2DOptionsT(1, 4, 5, 6, 7, fusedActivationFunction=3),
            {
                **strided(1, 4, 5),
                **{"filter_width": 6, "filter_height": 7, "fused_activation": 3},
            },
        ),
        (
            "RESIZE_BILINEAR",
            schema.ResizeBilinearOptionsT(halfPixelCenters=True),
            {"align_corners": 0, "half_pixel_centers": 1},
        ),
        (
            "RESIZE_NEAREST_NEIGHBOR",
            schema.ResizeNearestNeighborOptionsT(alignCorners=True),
            {"align_corners": 1, "half_pixel_centers": 0},
        ),
        (
            "CONCATENATION",
            schema.ConcatenationOptionsT(axis=3, fusedActivationFunction=1),
            {"fused_activation": 1},
        ),
        ("FULLY_CONNECTED", schema.FullyConnectedOptionsT(weightsFormat=1), {"weights_format": 1}),
        (
            "STRIDED_SLICE",
            schema.StridedSliceOptionsT(beginMask=1, ellipsisMask=2, newAxisMask=4),
            {"ellipsis_mask": 2, "new_axis_mask": 4},
        ),
        ("PACK", schema.PackOptionsT(valuesCount=2, axis=-1), {"axis": -1}),
        (
            "CONV_2D",
            schema.Pool2DOptionsT(),
            {**strided(0, 0, 0), "dilation_width": 1, "dilation_height": 1},
        ),
        ("RELU", schema.Pool2DOptionsT(fusedActivationFunction=3), {}),
    ],
)
def test_options_of_an_operator_are_read_if_they_are_its_own(
    content: bytes, name: str, options: Any, read: dict[str, int]
):
    changed = with_operator(content, flatbuffer.OPERATORS.index(name), options)
    (operator,) = flatbuffer.read(changed).operators
    assert (operator.name, operator.options) == (name, read)


def test_constant_content_has_the_tensor_s_shape_and_its_place_in_the_file(content: bytes):
    (kernel,) = flatbuffer.read(content).weights
    np.testing.assert_array_equal(kernel.data, np.int8([[1, 2, 3, 4], [5, 6, 7, 8]]))
    there = content[kernel.offset : kernel.offset + kernel.size_bytes]
    assert there == bytes(range(1, 9))
    (bias,) = flatbuffer.read(content).biases
    np.testing.assert_array_equal(bias.data, [10, -10])


def test_computed_tensors_have_no_content(content: bytes):
    model = flatbuffer.read(content)
    assert [tensor.is_constant for tensor in model.tensors] == [False, True, True, False]


def test_content_cannot_be_changed_by_accident(content: bytes):
    with pytest.raises(ValueError, match="read-only"):
        flatbuffer.read(content).weights[0].data[0] = 0


def test_metadata_is_added_replaced_and_read_back(content: bytes):
    once = flatbuffer.with_metadata(content, {"a": b"1", "b": b"2"})
    twice = flatbuffer.with_metadata(once, {"a": b"3"})
    assert flatbuffer.read(twice).metadata == {"a": b"3", "b": b"2"}
    long = flatbuffer.with_metadata(content, {"a": b"x" * 500})
    assert b"xx" not in flatbuffer.with_metadata(long, {"a": b"3"})


def test_rewriting_leaves_the_results_bit_identical(content: bytes):
    changed = flatbuffer.with_metadata(content, {"a": b"1"})
    np.testing.assert_array_equal(run(changed), run(content))


def test_rewriting_aligns_constants_and_stores_equal_vectors_once(content: bytes):
    changed = flatbuffer.rewrite(content, lambda model: None)
    constants = [t for t in flatbuffer.read(changed).tensors if t.is_constant]
    assert all(tensor.offset % 16 == 0 for tensor in constants)
    marked = flatbuffer.with_metadata(content, {"a": b"x" * 500, "b": b"x" * 500})
    assert marked.count(b"x" * 500) == 1


def names_in_order(enumeration: type) -> tuple[str, ...]:
    """Return the names that the schema's class has, by number."""
    numbers = {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}
    return tuple(numbers[number] for number in range(len(numbers)))


def test_the_operators_are_the_schema_s():
    assert names_in_order(schema.BuiltinOperator) == flatbuffer.OPERATORS


def test_the_dtypes_are_the_schema_s():
    assert names_in_order(schema.TensorType) == tuple(map(str.upper, flatbuffer.DTYPES))


ATTRIBUTES = {
    **{"stride_width": "strideW", "stride_height": "strideH"},
    **{"dilation_width": "dilationWFactor", "dilation_height": "dilationHFactor"},
    "fused_activation": "fusedActivationFunction",
}
"""What the schema's classes call an option, where it is not the same in other letters."""


@pytest.mark.parametrize("operator", flatbuffer.OPTIONS)
def test_the_options_are_the_schema_s(operator: str):
    number, fields = flatbuffer.OPTIONS[operator]
    kind = getattr(schema, names_in_order(schema.BuiltinOptions)[number] + "T")
    for name, (slot, form, default) in fields.items():
        first, *others = name.split("_")
        attribute = ATTRIBUTES.get(name, first + "".join(map(str.capitalize, others)))
        options = kind()
        assert getattr(options, attribute) == default
        setattr(options, attribute, default + 1)
        builder = flatbuffers.Builder()
        builder.Finish(options.Pack(builder))
        content = builder.Output()
        table = flatbuffers.table.Table(content, int.from_bytes(content[:4], "little"))
        place = table.Pos + table.Offset(4 + 2 * slot)
        assert place > table.Pos and struct.unpack_from(form, content, place) == (default + 1,)


def test_something_else_is_not_a_model(tmp_path: Path):
    (tmp_path / "x.tflite").write_bytes(b"no model at all")
    with pytest.raises(EdgenetsError, match=r"x\.tflite is not a \.tflite file"):
        flatbuffer.read(tmp_path / "x.tflite")


def test_reference_beyond_the_end_is_told_with_the_size(content: bytes):
    root = (1_999_996).to_bytes(4, "little")  # four bytes there say where its fields are
    damaged = root + content[4:].ljust(1996, b"\0")
    expected = r"\(it has 2,000 bytes and refers to byte 2,000,000\)"
    with pytest.raises(EdgenetsError, match=expected):
        flatbuffer.read(damaged)


def test_every_truncation_is_an_error_and_no_crash(content: bytes):
    for length in range(len(content)):
        with pytest.raises(EdgenetsError):
            flatbuffer.read(content[:length])


def test_mutated_bytes_are_read_or_refused(content: bytes):
    random = np.random.default_rng(0)
    for _ in range(2000):
        mutant = bytearray(content)
        for position in random.integers(8, len(content), size=3):
            mutant[position] = random.integers(256)
        try:
            flatbuffer.read(bytes(mutant))
        except EdgenetsError as error:
            assert "damaged" in str(error)


@pytest.mark.parametrize(
    "name, operators, weights",
    [
        ("mlperf_tiny/vww_96_int8.tflite", 31, 28),
        ("coral/mobilenet_v1_0.25_128_quant.tflite", 31, 28),
        ("coral/mobilenet_v1_0.25_128_quant_edgetpu.tflite", 1, 0),
    ],
)
def test_files_of_others_are_read(shared_data: Path, name: str, operators: int, weights: int):
    model = flatbuffer.read(shared_data / name)
    assert (len(model.operators), len(model.weights)) == (operators, weights)


def test_compiled_file_shows_the_custom_operator(shared_data: Path):
    model = flatbuffer.read(shared_data / "coral/mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    assert model.operators[0].name == "edgetpu-custom-op"


def shaped(*shape: int) -> flatbuffer.Tensor:
    none = np.zeros(0, np.float32)
    return flatbuffer.Tensor(
        *("", shape, shape, "int8", none, none.astype(np.int64), 0, False, 0, 0, None)
    )


@pytest.mark.parametrize(
    "name, inputs, output, macs",
    [
        ("CONV_2D", [(1, 8, 8, 3), (4, 3, 3, 3)], (1, 4, 4, 4), 4 * 4 * 4 * 3 * 3 * 3),
        ("DEPTHWISE_CONV_2D", [(1, 8, 8, 3), (1, 3, 3, 3)], (1, 8, 8, 3), 8 * 8 * 3 * 3 * 3),
        ("FULLY_CONNECTED", [(1, 8), (5, 8)], (1, 5), 5 * 8),
        ("TRANSPOSE_CONV", [(4,), (8, 3, 3, 3), (1, 32, 32, 3)], (1, 64, 64, 8), 221_184),
        ("CONV_3D", [(1, 4, 8, 8, 3), (2, 3, 3, 3, 5)], (1, 3, 6, 6, 5), 108 * 2 * 3 * 3 * 3 * 5),
        ("CONV_3D_TRANSPOSE", [(5,), (2, 3, 3, 5, 3), (1, 4, 8, 8, 3)], (1, 5, 10, 10, 5), 69_120),
        ("ADD", [(1, 8), (1, 8)], (1, 8), 0),
        ("TRANSPOSE_CONV", [(4,), (8, 3, 3, 3)], (1, 64, 64, 8), 0),  # damaged: nothing to use it
    ],
)
def test_macs_are_those_of_every_use_of_a_kernel(name, inputs, output, macs):
    tensors = tuple(shaped(*shape) for shape in (*inputs, output))
    operator = flatbuffer.Operator(name, 1, tuple(range(len(inputs))), (len(inputs),))
    model = flatbuffer.Model(0, 1, tensors, (operator,), (), (), {})
    assert model.macs(operator) == macs
