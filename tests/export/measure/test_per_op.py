"""Costs of operators come out as they went in, and what cannot be told apart is not told."""

from __future__ import annotations

import json
from copy import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.devices.device import LOCAL
from edgenets.export.devices.opening import open_device
from edgenets.export.devices.session import Session
from edgenets.export.measure import benchmark, per_op
from edgenets.export.measure.benchmark import benchmark_file
from edgenets.export.measure.per_op import profile_instructions, profile_operators, time_in_turn
from edgenets.flatbuffer.extract import find_part, unread_operators

ROUNDS = 60
OVERHEAD_MS = 0.5  # of a run of the interpreter


@pytest.fixture
def vww(shared_file):
    return shared_file("mlperf_tiny/vww_96_int8.tflite").read_bytes()


def cost_ms(name: str) -> float:
    """Let a convolution take 2 ms, a depthwise one 1 ms, reshaping nothing, all else 0.1 ms."""
    return {"CONV_2D": 2.0, "DEPTHWISE_CONV_2D": 1.0, "RESHAPE": 0.0}.get(name, 0.1)


def pretended_ms(content: bytes) -> float:
    return OVERHEAD_MS + sum(cost_ms(op.name) for op in flatbuffer.read(content).operators)


def pretend(groups):
    """Time as a machine does that slows down to half its speed, with 1 % of noise."""
    random = np.random.default_rng(0)
    speed = np.linspace(1, 0.5, ROUNDS)
    return [
        {
            name: pretended_ms(file) / speed * random.normal(1, 0.01, ROUNDS)
            for name, file in files.items()
        }
        for files in groups
    ]


def interrupted(groups):
    """Time as a busy machine does: the longer a run, the more often 4 ms are added to it."""
    random = np.random.default_rng(0)
    return [
        {
            name: (ms := pretended_ms(file))
            + 4.0 * (random.random(ROUNDS) < 1 - np.exp(-ms / 4))
            + random.exponential(0.02, ROUNDS)
            for name, file in files.items()
        }
        for files in groups
    ]


def steady(groups):
    return [{name: [pretended_ms(file)] * 9 for name, file in files.items()} for files in groups]


def test_costs_are_found_and_the_overhead_is_in_the_first_operator_alone(vww):
    result = profile_operators(vww, steady)
    wanted = [cost_ms(op["op"]) for op in result["ops"]]
    wanted[0] += OVERHEAD_MS
    assert [op["ms"] for op in result["ops"]] == pytest.approx(wanted)
    assert (
        result["ops_sum_ms"] == pytest.approx(result["ops_whole_ms"]) == pytest.approx(sum(wanted))
    )
    assert sum(op["share"] for op in result["ops"]) == pytest.approx(1)
    assert result["ops_resolution_ms"] == 0


def test_drift_of_the_machine_cancels_between_operators(vww):
    result = profile_operators(vww, pretend)
    convolutions = [op["ms"] for op in result["ops"][2:] if op["op"] == "CONV_2D"]
    np.testing.assert_allclose(convolutions, np.mean(convolutions), rtol=0.05)
    for op in result["ops"]:
        assert op["ms_ci95"][0] <= op["ms"] <= op["ms_ci95"][1]


def test_interruptions_of_longer_files_are_no_cost_of_an_operator(vww):
    ops = profile_operators(vww, interrupted)["ops"]
    np.testing.assert_allclose(
        [op["ms"] for op in ops if op["macs"] > 600][1:],
        [cost_ms(op["op"]) for op in ops if op["macs"] > 600][1:],
        rtol=0.05,
    )


def test_an_operator_that_takes_no_longer_than_noise_is_not_resolved(vww):
    result = profile_operators(vww, pretend)
    assert result["ops_resolution_ms"] > 0
    (reshape,) = (op for op in result["ops"] if op["op"] == "RESHAPE")
    assert not reshape["resolved"]
    assert all(op["resolved"] for op in result["ops"] if op["op"] == "CONV_2D")


def test_rates_are_macs_over_time(vww):
    depthwise = profile_operators(vww, steady)["ops"][1]
    assert depthwise["macs"] == 48 * 48 * 8 * 3 * 3
    assert depthwise["gmacs_per_s"] == pytest.approx(48 * 48 * 8 * 9 / 1e-3 / 1e9)
    assert profile_operators(vww, steady)["ops"][-1]["gmacs_per_s"] is None


def test_groups_keep_to_the_memory_and_give_the_same(vww, monkeypatch):
    together = profile_operators(vww, steady)
    monkeypatch.setattr(per_op, "MEMORY_BYTES", 3 * len(vww))
    groups = per_op.group_parts(vww, flatbuffer.read(vww))
    assert len(groups) > 2
    assert all(per_op.WHOLE in files for _, files in groups)
    apart = profile_operators(vww, steady)
    assert [op["ms"] for op in apart["ops"]] == pytest.approx([op["ms"] for op in together["ops"]])


def test_a_file_of_a_name_replaces_that_one_and_no_other(tmp_path):
    """As the groups' files do, which share "the whole file" and some operators."""
    users = tmp_path / "users.tflite"
    users.write_bytes(b"the user's")
    with open_device(LOCAL) as session:
        put = {"users": b"other", "whole": b"1", "a": b"2", "b": b"3", "c": b"4"}
        session.put("users", users)
        for group in ({"whole": b"1", "a": b"2"}, {"b": b"3", "whole": b"1", "c": b"4"}):
            for name, content in group.items():
                session.put(name, content)
        session.put("users", b"other")
        assert {name: Path(at).read_bytes() for name, at in session._paths.items()} == put
    assert users.read_bytes() == b"the user's"


def test_instructions_are_attributed_as_times_are(vww):
    def count(files):
        return {name: 1000 * pretended_ms(file) for name, file in files.items()}

    ops = profile_instructions(vww, count)
    assert [op["instructions"] for op in ops[1:4]] == [1000, 2000, 1000]
    assert all(op["ms"] is None for op in ops)


def test_an_operator_that_the_interpreter_refuses_is_named(vww):
    def refuse(model):
        model.operatorCodes[0].version = 99

    broken = flatbuffer.rewrite(vww, refuse)
    with (
        open_device(LOCAL) as session,
        pytest.raises(EdgenetsError, match=r"cannot run the whole file: .*version '99'"),
    ):
        profile_operators(broken, partial(time_in_turn, session, min_seconds=0))


def test_a_model_without_operators_is_a_sentence(vww):
    def empty(model):
        model.subgraphs[0].operators = []

    with pytest.raises(EdgenetsError, match="no operators to measure"):
        profile_operators(flatbuffer.rewrite(vww, empty), steady)


def test_a_file_is_profiled_on_this_machine(tiny_int8_file):
    result = benchmark_file(tiny_int8_file, min_seconds=0, per_op=True)
    assert json.loads(json.dumps(result.to_json(), allow_nan=False)) == result.to_json()
    assert [op["op"] for op in result.ops] == ["CONV_2D", "MEAN", "FULLY_CONNECTED"]
    assert result.ops[0]["macs"] == 4 * 4 * 8 * 3 * 3 * 3
    assert result.ops[0]["ms"] > 0
    assert result.ops_whole_ms > 0


def with_an_unread_operator(content: bytes) -> bytes:
    """Let the second operator be there once more, with an output that nobody reads."""

    def repeat(model):
        graph = model.subgraphs[0]
        again = copy(graph.operators[1])
        graph.tensors.append(copy(graph.tensors[again.outputs[0]]))
        again.outputs = [len(graph.tensors) - 1]
        graph.operators.insert(1, again)

    return flatbuffer.rewrite(content, repeat)


def test_an_operator_whose_output_nobody_reads_is_left_out(tiny_int8_file, tmp_path, vww):
    file = tmp_path / "unread.tflite"
    file.write_bytes(with_an_unread_operator(tiny_int8_file.read_bytes()))
    ops = benchmark_file(file, min_seconds=0, per_op=True).ops
    assert [op["op"] for op in ops] == ["CONV_2D", "MEAN", "MEAN", "FULLY_CONNECTED"]
    assert [op["ms"] is None for op in ops] == [False, True, False, False]

    without, ops = (
        profile_operators(content, steady)["ops"] for content in (vww, with_an_unread_operator(vww))
    )
    assert ops[1]["ms"] is None
    ops = [op for op in ops if op["index"] != 1]
    assert [op["ms"] for op in ops] == pytest.approx([op["ms"] for op in without])


def test_a_chain_of_operators_that_nobody_reads_has_no_part(tiny_int8_file):
    def repeat_two(model):
        graph = model.subgraphs[0]
        mean, dense = (copy(graph.operators[i]) for i in (1, 2))
        for again in (mean, dense):
            graph.tensors.append(copy(graph.tensors[again.outputs[0]]))
            again.outputs = [len(graph.tensors) - 1]
        dense.inputs = [mean.outputs[0], *dense.inputs[1:]]
        graph.operators[1:1] = [mean]
        graph.operators[3:3] = [dense]

    model = flatbuffer.read(flatbuffer.rewrite(tiny_int8_file.read_bytes(), repeat_two))
    assert unread_operators(model) == {1, 3}
    part = find_part(model, 0, 3)
    assert part.operators == (0, 2)
    assert part.outputs == model.operators[2].outputs


def test_what_cannot_be_cut_is_told_before_anything_is_timed(tiny_int8_file, monkeypatch):
    def refuse(*_):
        raise EdgenetsError("no operators")

    monkeypatch.setattr(benchmark, "group_parts", refuse)
    monkeypatch.setattr(benchmark, "check_device", lambda *_: None)
    monkeypatch.setattr(Session, "ask", lambda *_, **__: pytest.fail("timed already"))
    with open_device(LOCAL) as session, pytest.raises(EdgenetsError, match="no operators"):
        benchmark.measure(session, tiny_int8_file, per_op=True)
