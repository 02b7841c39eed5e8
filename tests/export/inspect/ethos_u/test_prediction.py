"""The rules, held against Vela: a file with each kind of operator on both sides of its rule."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.export.devices.program import run_program
from edgenets.export.inspect.ethos_u.compiler import MODULE, compile_file
from edgenets.export.inspect.ethos_u.prediction import compiled_for, other_configuration, predict
from edgenets.export.inspect.ethos_u.rules import RULES, UNCHECKED
from edgenets.export.targets import TARGETS
from edgenets.flatbuffer import Operator


def test_rules_name_what_stops_an_operator(cases, build_file):
    placed = predict(flatbuffer.read(build_file(cases))).ops
    for case, op in zip(cases, placed, strict=True):
        assert op.op == case.op and op.mapped == (not case.stopped), op
        assert op.mapped or (case.stopped in op.reason and op.change), op
    assert {op.op for op in placed if op.mapped} == set(RULES)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["ethos-u55-128", "ethos-u65-256"])
def test_vela_keeps_the_same_operators_on_the_cpu(cases, build_file, target, tmp_path: Path):
    path = tmp_path / "cases.tflite"
    path.write_bytes(build_file(cases))
    outcome = compile_file(path, TARGETS[target], allow_cpu_ops=True)
    source, made = flatbuffer.read(path), flatbuffer.read(outcome.path)
    left = [op for op in made.operators if op.name != flatbuffer.ETHOS_U_OPERATOR]
    placed = zip(source.operators, outcome.predicted.ops, strict=True)
    assert {made.tensors[op.outputs[0]].name for op in left} == {
        source.tensors[operator.outputs[0]].name for operator, op in placed if not op.mapped
    }
    assert compiled_for(made) == target
    assert outcome.differences == []
    assert outcome.reasons.keys() == outcome.on_cpu.keys()


@pytest.mark.slow
def test_operators_are_those_of_vela_s_own_list(tmp_path: Path):
    run_program([sys.executable, "-m", MODULE, "--supported-ops-report"], tmp_path, 60)
    report = (tmp_path / "SUPPORTED_OPS.md").read_text()
    table = report.split("## Ethos-U55 and Ethos-U65 TFLite Summary Table")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| ([A-Z0-9_]+) \|", table, re.MULTILINE))
    assert listed == RULES.keys() | UNCHECKED
    assert not RULES.keys() & UNCHECKED


@pytest.mark.parametrize("op", ["PRELU", "ARG_MAX"])
def test_operators_whose_limits_are_not_checked_say_so(build_file, cases, op: str):
    (tanh,) = (case for case in cases if case.op == "TANH")
    (placed,) = predict(flatbuffer.read(build_file([tanh._replace(op=op)]))).ops
    assert placed.mapped and not placed.stated and "not checked" in placed.reason


def test_a_file_that_vela_refuses_is_predicted_to_stay_altogether(case_file):
    placed = predict(flatbuffer.read(case_file("TANH", "HARD_SWISH int16")))
    assert placed.mapped_ops == 0
    assert "refuses the file for operator 1 (HARD_SWISH)" in placed.ops[0].reason
    assert "HARD_SWISH of int16" in placed.ops[1].reason


@pytest.mark.parametrize("stream", [b"", b"COP1", b"COP2" + bytes(8), b"COP1" + b"\xff" * 8])
def test_a_compiled_file_that_does_not_tell_its_npu_is_doubted(stream: bytes):
    operator = Operator("ethos-u", 1, (0,), (1,))
    tensor = SimpleNamespace(data=np.frombuffer(stream, np.uint8))
    model = SimpleNamespace(compiled="ethos-u", operators=[operator], tensors=[tensor])
    assert compiled_for(model) is None
    sentence = other_configuration(model, TARGETS["ethos-u55-128"])
    assert "only on the Ethos-U that it was compiled for, which it does not tell" in sentence


def test_a_file_that_was_not_compiled_is_of_no_configuration(case_file):
    model = flatbuffer.read(case_file("TANH"))
    assert compiled_for(model) is None
    assert other_configuration(model, TARGETS["ethos-u55-128"]) is None
