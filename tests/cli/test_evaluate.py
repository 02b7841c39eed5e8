import doctest
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgenets.cli import evaluate
from edgenets.cli.evaluate import command
from edgenets.errors import EdgenetsError

RESULT = {
    "top1": 0.8,
    "ci95": [0.49, 0.943],
    "top5": None,
    "samples": 10,
    "split": "test",
    "skipped": [{"path": "data/test/cat/7.jpg", "reason": "empty file"}],
    "warnings": [],
    "per_class": [
        {"label": "ant", "samples": 6, "top1": 5 / 6, "ci95": [0.436, 0.97]},
        {"label": "bee", "samples": 4, "top1": 0.75, "ci95": [0.301, 0.954]},
        {"label": "cat", "samples": 0, "top1": None, "ci95": None},
    ],
    "confusion": [[5, 0, 1], [1, 3, 0], [0, 0, 0]],
    "labels": ["ant", "bee", "cat"],
}


@pytest.fixture
def evaluated(monkeypatch):
    """What the next evaluation of a file returns, and the arguments it is asked for."""
    asked = []

    def evaluate_file(path, data, *, device, everything, **others):
        asked.append((path, data, device.name, everything))
        return RESULT

    monkeypatch.setattr("edgenets.export.measure.accuracy.evaluate_file", evaluate_file)
    return asked


def lines_with(output, *words):
    return [line for line in output.splitlines() if all(word in line for word in words)]


def test_tables_show_accuracy_classes_and_confusions(evaluated, tmp_path):
    result = CliRunner().invoke(command, [str(tmp_path / "net.tflite"), "--data", "data"])
    assert result.exit_code == 0
    assert evaluated == [(tmp_path / "net.tflite", "data", "local", False)]
    first = result.stdout.splitlines()[0]
    assert first == "top-1 80.00 % (95 % interval 49.0 to 94.3 %) of 10 images"
    assert lines_with(result.stdout, "bee", "4", "75.00 %", "30.1 to 95.4 %")
    assert lines_with(result.stdout, "ant", "cat", "1")  # taken for
    assert not lines_with(result.stdout, "cat", "0", "-")  # no images, no row in the class table
    assert result.stderr == "skipped data/test/cat/7.jpg: empty file\n"


@pytest.mark.parametrize(
    "identical, said",
    [
        (10, "outputs identical bit for bit (ai-edge-litert 2.3.0 on ssh://pi, ai-edge-litert 2"),
        (7, "outputs of 3 images differ, by at most 2; top-1 here 90.00 %"),
    ],
)
def test_outputs_of_another_device_are_compared(evaluated, monkeypatch, identical, said):
    runtime = {"name": "ai-edge-litert", "version": "2.3.0"}
    here = {"runtime": runtime, "top1": 0.9, "identical": identical, "largest_difference": 2.0}
    monkeypatch.setitem(RESULT, "here", here)
    monkeypatch.setitem(RESULT, "runtime", runtime)
    monkeypatch.setitem(RESULT, "device", {"name": "ssh://pi"})
    arguments = ["net.tflite", "--data", "data", "--device", "ssh://pi"]
    assert said in CliRunner().invoke(command, arguments).stdout
    assert evaluated[0][2] == "ssh://pi"


def test_the_models_own_test_part_is_said_to_be_that(evaluated, monkeypatch):
    monkeypatch.setitem(RESULT, "split", "own test part")
    result = CliRunner().invoke(command, ["net.tflite", "--data", "data"])
    assert "of 10 images, the model's own test part of the folder\n" in result.stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_all_images_are_scored_on_demand_and_warnings_are_shown(evaluated, monkeypatch, options):
    monkeypatch.setitem(RESULT, "warnings", ["training images are among them"])
    arguments = ["net.tflite", "--data", "data", "--split", "all", *options]
    result = CliRunner().invoke(command, arguments)
    assert evaluated == [(Path("net.tflite").absolute(), "data", "local", True)]
    assert "WARNING: training images are among them\n" in result.stderr


def test_a_model_folder_runs_here_only(tmp_path):
    result = CliRunner().invoke(command, [str(tmp_path), "--data", "x", "--device", "ssh://pi"])
    assert result.exit_code == 2 and "export it for a device" in result.stderr
    result = CliRunner().invoke(command, [str(tmp_path), "--data", "x", "--input-range", "0..1"])
    assert result.exit_code == 2 and "are for a .tflite of another tool" in result.stderr
    result = CliRunner().invoke(command, [str(tmp_path), "--data", "x", "--patience", "9"])
    assert result.exit_code == 2 and "--patience is for a device" in result.stderr


def test_json_is_the_result(evaluated):
    result = CliRunner().invoke(command, ["net.tflite", "--data", "digits", "--json"])
    assert json.loads(result.stdout) == RESULT


def test_many_classes_show_the_weakest_and_no_matrix(evaluated, monkeypatch):
    labels = [f"class{i}" for i in range(30)]
    monkeypatch.setitem(RESULT, "labels", labels)
    monkeypatch.setitem(RESULT, "top5", 0.99)
    monkeypatch.setitem(
        RESULT,
        "per_class",
        [
            {"label": label, "samples": 30, "top1": i / 30, "ci95": [0, 1]}
            for i, label in enumerate(labels)
        ],
    )
    monkeypatch.setitem(RESULT, "confusion", [[i] * 30 for i in range(30)])
    result = CliRunner().invoke(command, ["net.tflite", "--data", "data"])
    assert "to 94.3 %), top-5 99.00 % of 10 images\n" in result.stdout
    assert "the 20 weakest of 30 classes" in result.stdout
    assert "answer (column)" not in result.stdout
    assert lines_with(result.stdout, "class29", "class0", "29")  # the commonest confusion


def test_a_perfect_network_has_no_confusions(evaluated, monkeypatch):
    monkeypatch.setitem(RESULT, "confusion", [[6, 0, 0], [0, 4, 0], [0, 0, 0]])
    result = CliRunner().invoke(command, ["net.tflite", "--data", "data"])
    assert "commonest confusions" not in result.stdout


def test_data_is_required():
    result = CliRunner().invoke(command, ["net.tflite"])
    assert result.exit_code == 2 and "--data" in result.stderr


def test_a_missing_file_is_one_sentence(tmp_path):
    result = CliRunner().invoke(command, [str(tmp_path / "none.tflite"), "--data", "digits"])
    assert isinstance(result.exception, EdgenetsError)
    assert result.exit_code == 1


def test_docstring_examples_are_right():
    assert doctest.testmod(evaluate).failed == 0
