"""`edgenets verify` as a user sees it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from edgenets.cli.verify import command, print_verification
from edgenets.export.measure.client import CLIENTS
from edgenets.export.measure.runtimes import RUNTIMES

ROW = {
    **{"name": "reference", "package": "ai-edge-litert", "version": "2.3.0", "bit_equal": 64},
    **{"largest_step": 0.0, "same_answers": 1.0, "ci95": [0.943, 1.0], "top1": 0.875},
    **{"first_difference": None, "problem": None},
}
FOUND = {"operator": 3, "op": "CONV_2D", "name": "stem", "values": 5, "of": 64}
FOUND |= {"images": 4, "largest_step": 1.0}
NOTHING = dict.fromkeys(("package", "version", "bit_equal", "largest_step", "same_answers", "ci95"))
DEAD = {**ROW, **NOTHING, "name": "tflm", "top1": None, "problem": "it crashed"}


def test_choices_are_the_runtimes_and_clients_that_there_are():
    options = {option.name: option.type for option in command.params}
    assert tuple(options["runtime"].choices) == RUNTIMES
    assert tuple(options["client"].choices) == CLIENTS


def printed(capsys, *rows, found=None):
    print_verification(
        {
            **{"runtimes": rows, "first_difference": found, "images": 64, "data": "photos"},
            "missing": [{"name": "tosa", "reason": "run: edgenets doctor --setup-verify"}],
        }
    )
    return capsys.readouterr().out


def test_table_has_a_row_for_each_runtime_and_what_is_not_at_hand(capsys):
    xnnpack = {**ROW, "name": "xnnpack", "bit_equal": 2, "first_difference": FOUND}
    between = {**FOUND, "runtimes": ["reference", "xnnpack"]}
    output = printed(capsys, ROW, xnnpack, DEAD, found=between)
    assert (
        "xnnpack parts at CONV_2D 3 (stem): 5 of the 64 values that it makes of 4 images" in output
    )
    assert output.startswith("64 test images; each runtime compared with the first")
    assert "ai-edge-litert 2.3.0: reference, xnnpack\n" in output
    assert "100.00 % (94.3-100.0)" in output
    assert "tflm: it crashed" in output
    assert "not run: tosa: run: edgenets doctor --setup-verify" in output
    assert "all are equal" not in output


def test_table_with_an_emulated_board_fits_80_columns(capsys):
    board = {**ROW, "name": "emulated:cortex-a72", "largest_step": 12.0}
    lines = printed(capsys, ROW, {**board, "first_difference": FOUND}).splitlines()
    assert max(map(len, lines)) <= 80


def test_files_with_different_operators_are_said_to_have_them(capsys):
    counted = dict.fromkeys(("values", "of", "images", "largest_step"))
    other = {**ROW, "bit_equal": 2, "first_difference": {**FOUND, **counted}}
    output = printed(capsys, ROW, {**other, "name": "reference, other.tflite"})
    sentence = "other.tflite parts at CONV_2D 3 (stem): the files have different operators there"
    assert sentence in " ".join(output.split())


@pytest.mark.parametrize("rows", [(ROW,), (DEAD, ROW)])
def test_one_runtime_is_not_said_to_be_equal_to_itself(capsys, rows):
    output = printed(capsys, *rows)
    assert "nothing is compared: only reference ran; add a --runtime, a --device" in output
    assert "all are equal" not in output


def test_equal_runtimes_are_said_to_be(capsys):
    output = printed(capsys, ROW, {**ROW, "name": "tflm"})
    assert "all are equal to the last bit of reference" in output


@pytest.mark.slow  # the run of the slow tests
def test_a_difference_is_no_failure(tiny_run):
    arguments = [str(tiny_run / "model.tflite"), "--images", "2", "--json"]
    arguments += ["--runtime", "reference", "--runtime", "xnnpack"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert set(found["first_difference"]) >= {"operator", "runtimes"}
    assert found["runtimes"][1]["bit_equal"] < 2


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--client", "mediapipe"], "pass their folder with --data"),
        (
            ["--client", "mediapipe", "--data", "d", "--runtime", "tflm"],
            "leave --runtime, --device",
        ),
        (["--against", "b.tflite", "--device", "emulated:cortex-a72"], "compared in one runtime"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(arguments, sentence):
    result = CliRunner().invoke(command, ["net.tflite", *arguments])
    assert result.exit_code == 2
    assert sentence in result.output
