"""What edgetpu_compiler prints is read, and what it does not print is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.inspect.edge_tpu.compiler import (
    STATUSES,
    Row,
    parse_log,
)

MIB, KIB = 2**20, 2**10

# Compiler 16.0, everything mapped; figures of reference/edge-tpu.md.
COMPLETE = Path(__file__).with_name("complete.log").read_text(encoding="utf-8")
ADVICE = (
    "Model successfully compiled but not all operations are supported by the Edge TPU. A percentage"
    " of the model will instead run on the CPU, which is slower. If possible, consider updating "
    "your model to use only operations supported by the Edge TPU. For details, visit "
    "g.co/coral/model-reqs."
)
# MobileNet V2 with float input and output: github.com/f0cal/google-coral/issues/20, which leaves
# the figures out.
FLOAT_ENDS = f"""\
Edge TPU Compiler version 2.0.267685300

{ADVICE}
Number of operations that will run on Edge TPU: 70
Number of operations that will run on CPU: 2

Operator                       Count      Status

ADD                            10         Mapped to Edge TPU
PAD                            5          Mapped to Edge TPU
QUANTIZE                       1          Operation is otherwise supported, but not mapped due to \
some unspecified limitation
CONV_2D                        35         Mapped to Edge TPU
DEPTHWISE_CONV_2D              17         Mapped to Edge TPU
DEQUANTIZE                     1          Operation is working on an unsupported data type
MEAN                           1          Mapped to Edge TPU
FULLY_CONNECTED                1          Mapped to Edge TPU
SOFTMAX                        1          Mapped to Edge TPU
"""
# YOLOv3-tiny by compiler 15.0.340273435, as a public README shows it.
LEAKY = f"""\
Edge TPU Compiler version 15.0.340273435

Model compiled successfully in 577 ms.

Input model: /home/yolo/yolov3-tiny_int8.tflite
Input size: 8.58MiB
Output model: /home/yolo/yolov3-tiny_int8_edgetpu.tflite
Output size: 8.70MiB
On-chip memory used for caching model parameters: 3.00KiB
On-chip memory remaining for caching model parameters: 7.67MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 36
Operation log: /home/yolo/yolov3-tiny_int8_edgetpu.log

{ADVICE}
Number of operations that will run on Edge TPU: 2
Number of operations that will run on CPU: 34

Operator                       Count      Status

MAX_POOL_2D                    6          More than one subgraph is not supported
QUANTIZE                       2          Operation is otherwise supported, but not mapped due to \
some unspecified limitation
QUANTIZE                       1          Mapped to Edge TPU
QUANTIZE                       1          More than one subgraph is not supported
CONV_2D                        1          Mapped to Edge TPU
CONV_2D                        12         More than one subgraph is not supported
RESIZE_NEAREST_NEIGHBOR        1          Operation version not supported
LEAKY_RELU                     11         Operation not supported
CONCATENATION                  1          More than one subgraph is not supported
"""
# The log file's form, and a rank; counts of github.com/google-coral/edgetpu/issues/537.
LOG_FILE = """\
Edge TPU Compiler version 16.0.384591198
Input: tflite_quant_model.tflite
Output: tflite_quant_model_edgetpu.tflite

Operator                       Count      Status

RESHAPE                        6          Mapped to Edge TPU
RESHAPE                        4          More than one subgraph is not supported
RESHAPE                        2          Tensor has unsupported rank (up to 3 innermost \
dimensions mapped)
"""
# `-d` tries shorter parts until one compiles: github.com/google-coral/edgetpu/issues/686.
SEARCHED = """\
Edge TPU Compiler version 16.0.384591198
Searching for valid delegate with step 1
Try to compile segment with 28 ops
Started a compilation timeout timer of 180 seconds.
ERROR: Restored original execution plan after delegate application failure.
Compilation failed: Compilation failed due to large activation tensors in model.
Compilation child process completed within timeout period.
Compilation failed!
Try to compile segment with 27 ops
""" + COMPLETE.partition("\n")[2]


def test_log_of_a_whole_mapping_gives_its_figures_and_table():
    compilation = parse_log(COMPLETE)
    assert compilation.version == "16.0.384591198"
    assert compilation.failure is None
    assert compilation.figures == {
        "input_bytes": int(4.24 * MIB),
        "output_bytes": int(5.57 * MIB),
        "on_chip_bytes": int(4.21 * MIB),
        "on_chip_left_bytes": int(3.29 * MIB),
        "off_chip_bytes": 0,
        "subgraphs": 1,
        "total_ops": 3,
    }
    assert compilation.rows == (
        Row("RELU", 2, "Mapped to Edge TPU"),
        Row("TANH", 1, "Mapped to Edge TPU"),
    )
    assert (compilation.mapped_ops, compilation.cpu_ops) == (3, 0)


def test_log_of_a_partial_mapping_says_what_stays_on_the_cpu():
    compilation = parse_log(FLOAT_ENDS)
    assert (compilation.mapped_ops, compilation.cpu_ops) == (70, 2)
    assert compilation.on_cpu == {"QUANTIZE": 1, "DEQUANTIZE": 1}
    assert compilation.to_json()["on_chip_bytes"] is None  # the log does not say


def test_operator_on_several_lines_is_added_up():
    compilation = parse_log(LEAKY)
    assert (compilation.mapped_ops, compilation.cpu_ops) == (2, 34)
    assert compilation.on_cpu["QUANTIZE"] == 2 + 1
    assert compilation.figures["on_chip_bytes"] == 3 * KIB


def test_log_file_without_figures_gives_its_table():
    compilation = parse_log(LOG_FILE)
    assert (compilation.failure, compilation.figures) == (None, {})
    assert (compilation.mapped_ops, compilation.cpu_ops) == (6, 6)


def test_failures_of_a_search_that_succeeds_in_the_end_do_not_count():
    compilation = parse_log(SEARCHED)
    assert compilation.failure is None
    assert compilation.mapped_ops == 3


def test_every_documented_status_is_in_a_recorded_log():
    logs = (COMPLETE, FLOAT_ENDS, LEAKY, LOG_FILE)
    assert {row.status for log in logs for row in parse_log(log).rows} == set(STATUSES)


HEAD = "Edge TPU Compiler version 16.0.384591198\n"
UNKNOWN_OP = """\
ERROR: Didn't find op for builtin opcode 'TRANSPOSE_CONV' version '4'. An older version of this \
builtin might be supported. Are you using an old TFLite binary with a newer model?

ERROR: Registration failed.

Invalid model: x.tflite
Model could not be parsed
"""
STATIC = """\
Started a compilation timeout timer of 180 seconds.
ERROR: Attempting to use a delegate that only supports static-sized tensors with a graph that has \
dynamic-sized tensors.
Compilation failed: Model failed in Tflite interpreter. Please ensure model can be loaded/run in \
Tflite interpreter.
Compilation child process completed within timeout period.
Compilation failed!
"""
TOO_LARGE = """\
Started a compilation timeout timer of 180 seconds.
ERROR: Restored original execution plan after delegate application failure.
Compilation failed: Compilation failed due to large activation tensors in model.
Compilation child process completed within timeout period.
Compilation failed!
"""


@pytest.mark.parametrize(
    "text, words",
    [
        ("Invalid model: x.tflite\nModel not quantized\n", "not quantized"),
        ("Invalid model: x.tflite\nModel could not be parsed\n", "cannot read the model"),
        (UNKNOWN_OP, "TRANSPOSE_CONV of version 4"),
        ("\nInternal compiler error. Aborting!\n", "internal error"),
        (STATIC, "changing size"),
        (TOO_LARGE, "activations are too large"),
        ("Compilation failed!\n", "it failed"),
        ("", "without a result"),
    ],
)
def test_failure_is_told_by_its_cause_and_what_to_do(text, words):
    failure = parse_log(HEAD + text).failure
    assert words in failure
    assert "; " in failure


def test_text_that_no_compiler_printed_is_refused():
    with pytest.raises(EdgenetsError, match="not what edgetpu_compiler prints"):
        parse_log("Segmentation fault")
