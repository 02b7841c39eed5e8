"""What limits a file on a target: each check alone, and on files of the development data."""

from __future__ import annotations

from dataclasses import fields

import pytest

from edgenets.export.ends import choose_ends
from edgenets.export.inspect.inspection import inspect_file
from edgenets.export.inspect.limits import (
    accelerator_limits,
    cpu_limits,
    operators_of_ends,
    warnings_of,
)
from edgenets.export.targets import TARGETS
from edgenets.results.inspection import Inspection

NAMES = tuple(TARGETS)


def an_inspection(**given) -> Inspection:
    """One that holds what is given, and None for the rest."""
    return Inspection(**{**dict.fromkeys(each.name for each in fields(Inspection)), **given})


def operator(index: int, op: str = "CONV_2D", **changes):
    return {
        **{"index": index, "op": op, "prepares": False, "shape": [1, 4, 4, 8], "dtype": "int8"},
        **{"input_dtype": "int8", "macs": 100, "kernel": [1, 1], **changes},
    }


def inspection(*operators, outside=(), partitions: int = 1, **changes):
    """Operators in a chain, each reading the tensor before it, if they do not say otherwise."""
    for op in operators:
        op.setdefault("inputs", [op["index"]])
        op.setdefault("outputs", [op["index"] + 1])
    first, last = operators[0], operators[-1]
    image = {"tensor": first["inputs"][0], "shape": [1, 8], "dtype": first["input_dtype"]}
    scores = {"tensor": last["outputs"][0], "shape": [1, 8], "dtype": last["dtype"]}
    given = {
        "operators": operators,
        "macs": sum(op["macs"] for op in operators),
        "inputs": (image,),
        "outputs": (scores,),
        "weights": (),
        "unpacked_bytes": 0,
        "xnnpack": {"partitions": partitions, "outside": list(outside), "reason": None},
        **changes,
    }
    return an_inspection(**given)


def limits(found, target: str = "rpi4") -> list[str]:
    return cpu_limits(found, TARGETS[target])


def test_output_of_a_size_that_is_computed_is_warned_of():
    sizes = operator(1, "SHAPE", inputs=[1], outputs=[7])
    last = operator(2, "RESHAPE", inputs=[1, 7], outputs=[2])
    (warning,) = warnings_of(inspection(operator(0), sizes, last))
    assert warning.startswith("its output is made by RESHAPE 2, to a size that is computed")
    assert "batch fixed to 1" in warning
    softmax = operator(3, "SOFTMAX", inputs=[2])
    assert warnings_of(inspection(operator(0), sizes, last, softmax)) == []  # is right there
    constant = operator(1, "RESHAPE", inputs=[1, 9])
    assert warnings_of(inspection(operator(0), constant)) == []


def test_a_file_in_one_partition_has_no_limits():
    assert limits(inspection(operator(0), operator(1))) == []


def test_operators_outside_are_named_with_what_to_change():
    found = inspection(
        operator(0), operator(1, "SOFTMAX", macs=0), operator(2), outside=[1, 2], partitions=2
    )
    outside, borders = limits(found)
    assert outside == (
        "2 of 3 operators run outside XNNPACK, on slower kernels, with 50.00 % of the MACs: "
        "SOFTMAX 1 (leave it out: logits rank alike); CONV_2D 2"
    )
    assert borders.startswith("XNNPACK runs it in 2 partitions")


def test_an_interpreter_without_xnnpack_is_said():
    found = inspection(operator(0), outside=[0], partitions=0)
    found.xnnpack["runtime"] = {"name": "tflite-runtime", "version": "2.14.0"}
    (sentence,) = limits(found)
    assert sentence.startswith(
        "tflite-runtime 2.14.0, the interpreter that is installed here, hands"
    )


def test_many_operators_of_a_kind_are_counted():
    many = [operator(i, "ADD", macs=0) for i in range(12)]
    (sentence, *_) = limits(inspection(*many, outside=range(12)))
    assert "ADD 0, 1, 2, 3, 4, 5, 6, 7 and 4 more" in sentence


def test_shape_arithmetic_is_said():
    outside, arithmetic = limits(inspection(operator(0, "SHAPE"), operator(1), outside=[0]))
    assert "SHAPE 0 (convert with the batch fixed to 1)" in outside
    assert arithmetic.startswith("it computes sizes while it runs, from SHAPE 0 on")


def test_borders_to_floats_are_said_and_those_of_constants_are_not():
    border = operator(0, "QUANTIZE", macs=0, input_dtype="float32")
    unpacking = operator(1, "DEQUANTIZE", macs=0, dtype="float32", prepares=True, inputs=[9])
    rescaling = operator(2, "QUANTIZE", macs=0, inputs=[1])
    (sentence,) = limits(inspection(border, unpacking, rescaling))
    assert sentence.startswith("it converts between float32 and integers at operator 0;")


FLOATS = {"dtype": "float32", "input_dtype": "float32", "macs": 0}


def test_a_file_of_integers_that_adds_in_floats_is_told_that_and_not_to_take_integers():
    """A residual block as litert-torch writes it: its sum and the ReLU behind it in float32."""
    found = inspection(
        operator(0),
        operator(1, "DEQUANTIZE", dtype="float32", macs=0),
        operator(2, "DEQUANTIZE", dtype="float32", macs=0, inputs=[0]),
        operator(3, "ADD", **FLOATS, inputs=[2, 3]),
        operator(4, "RELU", **FLOATS),
        operator(5, "QUANTIZE", input_dtype="float32", macs=0),
        operator(6),
        outside=[1, 5],
        partitions=3,
    )
    outside, _, islands = limits(found)
    assert "DEQUANTIZE 1 (quantize the operators between, which compute in float32)" in outside
    assert islands == (
        "between integers it computes in float32 ADD 3; RELU 4, and converts at operator 1, 2, 5; "
        "quantize these too"
    )


def test_floats_at_the_ends_are_those_up_to_the_first_and_from_the_last_conversion():
    found = inspection(
        operator(0, "MUL", **FLOATS),
        operator(1, "QUANTIZE", input_dtype="float32", macs=0),
        operator(2),
        operator(3, "DEQUANTIZE", dtype="float32", macs=0),
        operator(4, "SOFTMAX", **FLOATS),
        outside=[1, 3],
    )
    outside, ends = limits(found)
    assert "let the file take and return integers" in outside
    assert ends == (
        "it converts between float32 and integers at operator 1, 3; export it so that it takes and "
        "returns integers"
    )


def test_conversions_between_integers_are_told_of_their_types():
    (outside,) = limits(inspection(operator(0, "QUANTIZE", input_dtype="uint8"), outside=[0]))
    assert outside.endswith("QUANTIZE 0 (let all tensors be of one type, int8)")


@pytest.mark.parametrize(
    "ends, said",
    [
        ({"ends": None}, "3 of 4 operators run outside"),
        ({"ends": None, "softmax": True}, "3 of 4 operators run outside"),
        ({"ends": "uint8"}, "1 of 4 operators run outside"),
        ({"ends": "uint8", "softmax": True}, ""),
        ({"ends": None, "client": "mediapipe"}, ""),
    ],
)
def test_nothing_is_said_of_the_operators_of_ends_that_were_asked_for(ends, said: str):
    bytes_in = operator(0, "QUANTIZE", input_dtype="uint8", macs=0)
    softmax = operator(2, "SOFTMAX", macs=0)
    bytes_out = operator(3, "QUANTIZE", dtype="uint8", macs=0)
    found = inspection(bytes_in, operator(1), softmax, bytes_out, outside=[0, 2, 3])
    asked = operators_of_ends(found, choose_ends(**ends))
    assert " ".join(cpu_limits(found, TARGETS["rpi4"], asked)).startswith(said)
    assert bool(cpu_limits(found, TARGETS["rpi4"], asked)) == bool(said)


def test_float_ends_that_were_asked_for_are_no_limit():
    into = operator(0, "QUANTIZE", input_dtype="float32", macs=0)
    found = inspection(into, operator(1), operator(2, "DEQUANTIZE", dtype="float32", macs=0))
    assert "converts between float32" in " ".join(limits(found))
    asked = operators_of_ends(found, choose_ends("float"))
    assert cpu_limits(found, TARGETS["rpi4"], asked) == []


@pytest.mark.parametrize(
    "ends, said",
    [
        ({"ends": "float", "softmax": True}, ""),
        ({"ends": "float", "client": "mediapipe"}, ""),
        ({"ends": None, "client": "mediapipe"}, ""),  # of int16x8: its ends are floats then
        ({"ends": "float"}, "it converts between float32 and integers at operator 2;"),
        ({"ends": None, "softmax": True}, "it converts between float32 and integers at operator 0"),
    ],
)
def test_a_conversion_before_a_softmax_that_was_asked_for_is_no_limit(ends, said: str):
    into = operator(0, "QUANTIZE", input_dtype="float32", macs=0)
    back = operator(2, "DEQUANTIZE", dtype="float32", macs=0)
    found = inspection(into, operator(1), back, operator(3, "SOFTMAX", **FLOATS))
    asked = operators_of_ends(found, choose_ends(**ends))
    sentences = cpu_limits(found, TARGETS["rpi4"], asked)
    assert " ".join(sentences).startswith(said) and bool(sentences) == bool(said)


def test_a_compiled_file_is_not_told_to_be_exported_again():
    reason = "x.tflite was compiled for an Arm Ethos-U; pass the file that it was compiled from"
    unknown = {"partitions": None, "outside": None, "reason": reason}
    compiled = operator(0, "ethos-u")
    found = inspection(compiled, compiled_for="an Arm Ethos-U", xnnpack=unknown)
    assert limits(found) == [reason]


@pytest.mark.parametrize(
    "target, said", [("rpi3", True), ("rpi4", True), ("rpi5", False), ("generic", False)]
)
@pytest.mark.parametrize("sparsity, enough", [(0.6, False), (0.85, True)])
def test_zeros_that_are_stored_whole_are_said(target, said, sparsity, enough):
    weight = {"op": 0, "dtype": "float32", "index_bytes": 0, "shape": [8, 1, 1, 8]}
    found = inspection(
        operator(0, dtype="float32", input_dtype="float32"),
        weights=[{**weight, "sparsity": sparsity}],
    )
    sentences = [sentence for sentence in limits(found, target) if "stored whole" in sentence]
    assert len(sentences) == int(said and enough)
    if sentences:
        assert f"--format fp32 --target {target}" in sentences[0]
        assert "100.00 % of the MACs" in sentences[0]


def test_floats_are_said_where_int8_is_faster():
    found = inspection(operator(0, dtype="float32"))
    assert limits(found, "rpi5") == [
        "it computes in float32; the Raspberry Pi 5 runs int8 faster: export with --format int8"
    ]
    assert limits(found, "rpi4") == limits(found, "generic") == []


def test_edge_tpu_groups_what_stays_by_its_reason():
    def op(index: int, reason: str | None, change: str | None = None, **changes):
        row = {"index": index, "op": "ADD", "reason": reason, "change": change}
        return {**row, "mapped": False, "stated": True, **changes}

    predicted = {
        "ops": [
            op(0, None, mapped=True),
            op(1, "floats", "quantize it"),
            op(2, "floats", "quantize it"),
            op(3, "it follows", op="MUL"),
            op(4, "it follows"),
            op(5, "it is large", mapped=True, stated=False),
        ],
        "parameter_bytes": 10 * 2**20,
        "off_chip_bytes": 2 * 2**20,
    }
    found = accelerator_limits(an_inspection(edge_tpu=predicted), TARGETS["coral"])
    assert found == [
        "ADD 1, 2 stay on the CPU: floats; quantize it",
        "2 operators (MUL 3; ADD 4) stay on the CPU: it follows",
        "ADD 5 maps, as far as is known: it is large",
        "2.00 MiB of the 10.00 MiB of parameters do not fit on the chip and are sent for every "
        "inference; take a smaller net",
    ]


@pytest.mark.parametrize("target", NAMES)
def test_every_target_has_its_sentences(shared_file, target: str):
    path = shared_file("coral/deeplabv3_mnv2_dm05_pascal_quant.tflite")
    found = inspect_file(path, target).target
    assert found["name"] == target and found["limits"]
    known = {"mcu": "TFLM has no CONV_2D of uint8"}
    on_npu = TARGETS[target].accelerator is not None
    kinds = known.get(target, "on the CPU" if on_npu else "outside XNNPACK")
    assert any(kinds in sentence for sentence in found["limits"])
    assert not any(sentence.endswith(".") or "\n" in sentence for sentence in found["limits"])
