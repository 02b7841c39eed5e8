"""Damaged files: 200 truncations and 1,000 mutations in process, 20 through each command; packages
and answers of a device too.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import islice
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from fuzz import (
    CHANGES,
    command_outcome,
    commands,
    forgery_outcomes,
    graph_mutants,
    make_images,
    mutants,
    outcome,
    package_outcome,
    packages,
    structure,
    tally,
    truncations,
)

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.inspect.inspection import contents

OUTCOMES = {"works", "sentence", "works, the interpreter died", "sentence, the interpreter died"}


def test_200_truncations_are_a_sentence_each(tiny_int8_file: Path):
    content = tiny_int8_file.read_bytes()
    counts = Counter(map(outcome, truncations(content, 200)))
    assert counts["sentence"] + counts["works"] == 200
    assert counts["sentence"] >= 190  # the end of the file may be padding, or the metadata's


def test_1000_mutations_are_a_sentence_or_work(tiny_int8_file: Path):
    counts = Counter(map(outcome, mutants(tiny_int8_file.read_bytes(), 1000)))
    assert counts["sentence"] + counts["works"] == 1000
    assert min(counts.values()) >= 50  # the mutants are neither all harmless nor all refused


def test_graphs_that_are_damaged_are_a_sentence_or_work(tiny_int8_file: Path):
    counts = Counter(map(outcome, graph_mutants(tiny_int8_file.read_bytes(), 10 * len(CHANGES))))
    assert counts["sentence"] + counts["works"] == 10 * len(CHANGES)


def test_damaged_packages_are_a_sentence_or_the_same_file(tiny_int8_file: Path, capsys):
    packed, damaged = packages(tiny_int8_file.read_bytes())
    every_seventh = islice(damaged, 0, None, 7)
    assert tally("unpack", (partial(package_outcome, packed, one) for one in every_seventh)) == 0
    assert "'sentence': " in capsys.readouterr().out


def test_forged_answers_are_a_sentence_or_work(tiny_int8_file: Path, capsys):
    assert tally("answers", forgery_outcomes(tiny_int8_file, 100)) == 0
    printed = capsys.readouterr().out
    assert "'sentence': " in printed and "'works': " in printed


def test_what_is_no_sentence_is_a_crash(capsys):
    assert tally("nothing", [lambda: "works", lambda: "another file", lambda: 1 // 0]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_structure_is_what_is_no_weight(tiny_int8_file: Path):
    content = tiny_int8_file.read_bytes()
    weights = sum(tensor.size_bytes for tensor in flatbuffer.read(content).tensors)
    assert len(structure(content)) >= len(content) - weights > 0


@pytest.mark.parametrize(
    "content",
    [b"", b"TFL3", b"\0\0\0\0TFL3", b"\x7fELF" + bytes(5000), b"PK\5\6" + bytes(18), b"TFL3" * 999],
)
def test_what_is_no_tflite_is_one_sentence(content: bytes):
    with pytest.raises(EdgenetsError) as raised:
        contents(content)
    assert "\n" not in str(raised.value)


def repeated_operators(count: int) -> bytes:
    """Return a file whose operators are all the same table, with as many inputs as there are."""
    from ai_edge_litert import schema_py_generated as schema

    builder = flatbuffers.Builder(1024)
    inputs = builder.CreateNumpyVector(np.zeros(count, np.int32))
    schema.OperatorStart(builder)
    schema.OperatorAddInputs(builder, inputs)
    operator = schema.OperatorEnd(builder)
    schema.SubGraphStartOperatorsVector(builder, count)
    for _ in range(count):
        builder.PrependUOffsetTRelative(operator)
    operators = builder.EndVector()
    tensor = schema.TensorT(shape=np.int32([1]), type=9, buffer=0).Pack(builder)
    schema.SubGraphStartTensorsVector(builder, 1)
    builder.PrependUOffsetTRelative(tensor)
    tensors = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    schema.SubGraphAddOperators(builder, operators)
    graph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    code = schema.OperatorCodeT(builtinCode=0, deprecatedBuiltinCode=0, version=1).Pack(builder)
    schema.ModelStartOperatorCodesVector(builder, 1)
    builder.PrependUOffsetTRelative(code)
    codes = builder.EndVector()
    buffer = schema.BufferT().Pack(builder)
    schema.ModelStartBuffersVector(builder, 1)
    builder.PrependUOffsetTRelative(buffer)
    buffers = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    schema.ModelAddOperatorCodes(builder, codes)
    schema.ModelAddBuffers(builder, buffers)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_small_file_that_says_much_is_one_sentence():
    """50,000 operators that share a list of 50,000 inputs would be 20 GB of indices."""
    bomb = repeated_operators(50_000)
    assert len(bomb) < 500_000
    with pytest.raises(EdgenetsError, match="is damaged"):
        contents(bomb)
    assert contents(repeated_operators(3)).ops == {"ADD": 3}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["inspect", "predict", "benchmark", "evaluate"])
def test_20_damaged_files_through_each_command(tiny_int8_file: Path, tmp_path: Path, command: str):
    content = tiny_int8_file.read_bytes()
    image, data = make_images(tmp_path / "data", content)
    damaged = [b"", b"no tflite", *truncations(content, 6)[2:]]
    damaged += [*mutants(content, 7, seed=1), *graph_mutants(content, 7, seed=1)]
    assert len(damaged) == 20
    found = Counter()
    for i, one in enumerate(damaged):
        path = tmp_path / f"{i}.tflite"
        path.write_bytes(one)
        found[command_outcome(*commands(path, image, data)[command])] += 1
    assert set(found) <= OUTCOMES, found
    assert found["sentence"] >= 6
