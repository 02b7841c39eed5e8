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
    compile_file,
)
from edgenets.flatbuffer import EDGE_TPU_OPERATOR
from edgenets.results.models import ExportRecord

MODEL = Path(edgenets.__file__).parent / "models" / "pretrained" / "cifar10_mobilenet_v1"
# Compiler 16.0, everything mapped; figures of reference/edge-tpu.md.
COMPLETE = Path(__file__).with_name("complete.log").read_text(encoding="utf-8")
HEAD = COMPLETE[: COMPLETE.index("\n") + 1]


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
