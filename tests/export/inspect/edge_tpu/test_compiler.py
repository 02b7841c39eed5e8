from __future__ import annotations

import json
import sys
import time
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner

import edgenets
from edgenets import flatbuffer
from edgenets.cli.export import command
from edgenets.errors import EdgenetsError
from edgenets.export.inspect.edge_tpu.compiler import (
    PROGRAM,
    STATUSES,
    Row,
    compile_file,
    parse_log,
)
from edgenets.flatbuffer import EDGE_TPU_OPERATOR
from edgenets.results import ExportRecord

MODEL = Path(edgenets.__file__).parent / "models" / "pretrained" / "cifar10_mobilenet_v1"
MIB, KIB = 2**20, 2**10

# Compiler 16.0, everything mapped; figures of reference/edge-tpu.md.
COMPLETE = """\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 1524 ms.

Input model: x.tflite
Input size: 4.24MiB
Output model: x_edgetpu.tflite
Output size: 5.57MiB
On-chip memory used for caching model parameters: 4.21MiB
On-chip memory remaining for caching model parameters: 3.29MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 3
Operation log: x_edgetpu.log

Operator                       Count      Status

RELU                           2          Mapped to Edge TPU
TANH                           1          Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""
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


def build(*names):
    """A .tflite of 8-bit operators, each taking the result of the one before."""
    tensors = [
        schema.TensorT(name=str(i), shape=np.int32([1, 8]), type=schema.TensorType.INT8, buffer=0)
        for i in range(len(names) + 1)
    ]
    codes = []
    for name in names:
        code = flatbuffer.OPERATORS.index("CUSTOM" if name == EDGE_TPU_OPERATOR else name)
        codes.append(
            schema.OperatorCodeT(
                deprecatedBuiltinCode=min(code, 127),
                builtinCode=code,
                customCode=name if name == EDGE_TPU_OPERATOR else None,
                version=1,
            )
        )
    operators = [
        schema.OperatorT(opcodeIndex=i, inputs=np.int32([i]), outputs=np.int32([i + 1]))
        for i in range(len(names))
    ]
    graph = schema.SubGraphT(
        tensors=tensors,
        inputs=np.int32([0]),
        outputs=np.int32([len(names)]),
        operators=operators,
    )
    model = schema.ModelT(
        version=3, operatorCodes=codes, subgraphs=[graph], buffers=[schema.BufferT()]
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """A function that puts a program on PATH which prints a recorded log and writes a file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(log, made=None, *, before=""):
        (folder / "log").write_text(log)
        (folder / "made").write_bytes(made or b"")
        program = folder / PROGRAM
        program.write_text(
            f"#!{sys.executable}\n"
            "import pathlib, sys\n"
            f"{before}\n"
            f"log, made = (pathlib.Path({str(folder)!r}, name) for name in ('log', 'made'))\n"
            "series, out, folder, source = sys.argv[1:]\n"
            "assert (series, out) == ('-s', '-o')\n"
            "assert pathlib.Path(source).read_bytes()[4:8] == b'TFL3'\n"
            "print(log.read_text(), end='')\n"
            "if made.stat().st_size:\n"
            "    name = pathlib.Path(source).stem + '_edgetpu.tflite'\n"
            "    pathlib.Path(folder, name).write_bytes(made.read_bytes())\n"
        )
        program.chmod(0o755)

    return install


PARTIAL = COMPLETE.replace(
    "TANH                           1          Mapped to Edge TPU",
    "HARD_SWISH                     1          Operation not supported",
)


def file_of(folder: Path, *names) -> Path:
    path = folder / "net.tflite"
    path.write_bytes(build(*names))
    return path


def test_compiled_file_and_log_are_written_beside_the_file(compiler, tmp_path):
    compiler(COMPLETE, build(EDGE_TPU_OPERATOR))
    outcome = compile_file(file_of(tmp_path, "RELU", "RELU", "TANH"))
    assert outcome.path.read_bytes() == build(EDGE_TPU_OPERATOR)
    assert outcome.log.read_text() == COMPLETE
    assert (outcome.path.name, outcome.log.name) == ("net_edgetpu.tflite", "net_edgetpu.log")
    assert (outcome.mapped_ops, outcome.on_cpu.total()) == (3, 0)
    assert outcome.differences == []


def test_operators_on_the_cpu_fail_the_compilation(compiler, tmp_path):
    compiler(PARTIAL, build(EDGE_TPU_OPERATOR, "HARD_SWISH"))
    path = file_of(tmp_path, "RELU", "RELU", "HARD_SWISH")
    with pytest.raises(EdgenetsError, match=r"1 of 3 operators .*1 HARD_SWISH \(is not an op") as e:
        compile_file(path)
    assert "ReLU in its place" in str(e.value)
    assert not path.with_name("net_edgetpu.tflite").exists()
    assert path.with_name("net_edgetpu.log").read_text() == PARTIAL


def test_operators_on_the_cpu_can_be_allowed(compiler, tmp_path):
    compiler(PARTIAL, build(EDGE_TPU_OPERATOR, "HARD_SWISH"))
    outcome = compile_file(file_of(tmp_path, "RELU", "RELU", "HARD_SWISH"), allow_cpu_ops=True)
    assert outcome.on_cpu == {"HARD_SWISH": 1}
    assert outcome.differences == []  # it was predicted


def test_outcome_that_was_not_predicted_is_told(compiler, tmp_path):
    compiler(PARTIAL, build(EDGE_TPU_OPERATOR, "TANH"))
    outcome = compile_file(file_of(tmp_path, "RELU", "RELU", "TANH"), allow_cpu_ops=True)
    assert outcome.differences == ["TANH"]
    assert outcome.table[1] == {
        **{"op": "TANH", "mapped": 0, "on_cpu": 1, "predicted_on_cpu": 0},
        "reasons": [],  # the log speaks of HARD_SWISH
    }
    assert outcome.to_json()["cpu_ops"] == 1


def test_file_that_the_compiler_made_agrees_with_the_prediction(compiler, shared_file, tmp_path):
    name = "deeplabv3_mnv2_dm05_pascal_quant"
    compiler(PARTIAL, shared_file(f"coral/{name}_edgetpu.tflite").read_bytes())
    path = tmp_path / "net.tflite"
    path.write_bytes(shared_file(f"coral/{name}.tflite").read_bytes())
    outcome = compile_file(path, allow_cpu_ops=True)
    assert (outcome.mapped_ops, outcome.on_cpu.total()) == (64, 8)
    assert outcome.differences == []


def test_failed_compilation_leaves_the_log_and_the_file_of_before(compiler, tmp_path):
    path = file_of(tmp_path, "RELU")
    before = path.with_name("net_edgetpu.tflite")
    before.write_bytes(b"of before")
    compiler(HEAD + "\nInternal compiler error. Aborting!\n")
    with pytest.raises(EdgenetsError, match="internal error"):
        compile_file(path)
    assert before.read_bytes() == b"of before"
    assert "Aborting" in path.with_name("net_edgetpu.log").read_text()


def test_success_without_a_file_is_an_error(compiler, tmp_path):
    compiler(COMPLETE)
    with pytest.raises(EdgenetsError, match="wrote no file"):
        compile_file(file_of(tmp_path, "RELU"))


def test_compiler_that_hangs_is_stopped(compiler, tmp_path):
    compiler(COMPLETE, before="import time; time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(EdgenetsError, match="stopped after"):
        compile_file(file_of(tmp_path, "RELU"), max_seconds=0.2)
    assert time.monotonic() - started < 30  # and not the sleep's minute


def test_compiler_that_cannot_run_here_is_told_with_where_it_runs(compiler, tmp_path):
    compiler(COMPLETE)
    (tmp_path / "bin" / PROGRAM).write_bytes(b"\x7fELF of another machine")
    with pytest.raises(EdgenetsError, match=r"cannot be run: .*x86-64"):
        compile_file(file_of(tmp_path, "RELU"))


def test_compiler_that_says_something_else_is_quoted(compiler, tmp_path):
    compiler("error while loading shared libraries\n")
    with pytest.raises(EdgenetsError, match="'error while loading shared libraries'"):
        compile_file(file_of(tmp_path, "RELU"))


def test_missing_compiler_is_told_with_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgenetsError, match=r"not on PATH; install .* edgetpu-compiler .*x86-64"):
        compile_file(file_of(tmp_path, "RELU"))


@pytest.fixture
def export(tmp_path, monkeypatch):
    """A function that runs `edgenets export` for coral, the export itself being there already."""

    def written(*_, compile_for, **__):
        content, path = build("RELU", "RELU", "HARD_SWISH"), tmp_path / "net.tflite"
        compiled = compile_for(content, path)
        keys = (each.name for each in fields(ExportRecord) if not each.metadata)
        texts = {"size_bytes": 1, "format": "int8", "notes": [], "kept_float": []}
        return dict.fromkeys(keys) | texts | {"compiled": compiled.to_json()}

    # The real ones take minutes.
    single = SimpleNamespace(export=written, export_foreign=None)
    monkeypatch.setitem(sys.modules, "edgenets.pipeline.one_step", single)
    monkeypatch.setattr("edgenets.verbs.model.Model._content", None)

    def run(*options, target="coral"):
        out = str(tmp_path / "net.tflite")
        arguments = [str(MODEL), "--target", target, "--out", out, *options]
        return CliRunner().invoke(command, arguments)

    return run


def test_export_compiles_for_coral_and_fails_for_operators_on_the_cpu(compiler, export, tmp_path):
    compiler(PARTIAL, build(EDGE_TPU_OPERATOR, "HARD_SWISH"))
    result = export("--compile")
    assert isinstance(result.exception, EdgenetsError)
    assert "pass --allow-cpu-ops" in str(result.exception)
    result = export("--compile", "--allow-cpu-ops")
    assert result.exit_code == 0
    assert "net_edgetpu.tflite: 2 operators on the Edge TPU, 1 on the CPU" in result.output
    assert "4.21 MiB on chip" in result.output
    assert "is not an operator of the Edge TPU" in result.output


def test_export_as_json_holds_the_compilation(compiler, export):
    compiler(PARTIAL, build(EDGE_TPU_OPERATOR, "HARD_SWISH"))
    value = json.loads(export("--compile", "--allow-cpu-ops", "--json").output)["compiled"]
    assert (value["mapped_ops"], value["cpu_ops"], value["differences"]) == (2, 1, [])


def test_export_says_at_once_that_there_is_no_compiler(export, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not on PATH" in str(export("--compile").exception)
    assert not (tmp_path / "net.tflite").exists()


def test_compiler_s_options_that_do_nothing_are_refused(export):
    assert (
        "--compile is for --target coral, ethos-u55-128"
        in export("--compile", target="generic").output
    )
    assert "--allow-cpu-ops is for --compile" in export("--allow-cpu-ops").output
