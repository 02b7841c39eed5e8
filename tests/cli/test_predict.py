import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgenets.cli.predict import command

VWW = Path(__file__).parents[2].parent / "shared" / "data" / "mlperf_tiny" / "vww_96_int8.tflite"

CAT = {
    "path": "cat.jpg",
    "top": [
        {"label": "cat", "name": None, "score": 0.9},
        {"label": "n02085620", "name": "Chihuahua", "score": 0.1},
    ],
}
BROKEN = {"path": "broken.jpg", "error": "empty file"}


@pytest.fixture
def predicted(monkeypatch):
    """A function that sets what the next prediction returns; it gives back the arguments asked."""
    asked = []

    def answer(predictions):
        monkeypatch.setattr(
            "edgenets.export.measure.predict.predict_files",
            lambda *arguments, labels, input_range, patience_seconds: (
                asked.append(arguments) or predictions
            ),
        )
        return asked

    return answer


def test_help_speaks_of_no_device_which_predict_does_not_take():
    shown = CliRunner().invoke(command, ["--help"]).output
    assert "--patience" in shown and "device" not in shown and "board" not in shown


def test_table_shows_labels_names_and_probabilities(predicted):
    asked = predicted([CAT])
    result = CliRunner().invoke(command, ["net.tflite", "cat.jpg", "--top", "2"])
    assert result.exit_code == 0
    assert asked == [(Path("net.tflite").absolute(), [Path("cat.jpg")], 2)]
    rows = [[cell.strip() for cell in row.split("│")[1:-1]] for row in result.stdout.splitlines()]
    assert ["cat.jpg", "cat", "90.00 %"] in rows
    assert ["", "n02085620 Chihuahua", "10.00 %"] in rows


def test_json_is_the_predictions(predicted):
    predicted([CAT])
    result = CliRunner().invoke(command, ["net.tflite", "cat.jpg", "--json"])
    assert json.loads(result.stdout) == [CAT]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_broken_image_is_exit_1_after_the_others_were_shown(predicted, options):
    predicted([BROKEN, CAT])
    result = CliRunner().invoke(command, ["net.tflite", "broken.jpg", "cat.jpg", *options])
    assert result.exit_code == 1
    assert str(result.exception) == "1 of 2 images could not be read"
    assert "broken.jpg: empty file" in result.stderr
    if options:
        assert json.loads(result.stdout) == [BROKEN, CAT]
    else:
        assert "cat.jpg" in result.stdout and "broken.jpg" not in result.stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_csv_has_a_row_for_each_image_and_rank(predicted, tmp_path, options):
    predicted([CAT, BROKEN])
    table = tmp_path / "new" / "answers.csv"
    arguments = ["net.tflite", "cat.jpg", "broken.jpg", "--csv", str(table), *options]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    assert table.read_text().splitlines() == [
        "path,rank,label,name,score,error",
        "cat.jpg,1,cat,,0.9,",
        "cat.jpg,2,n02085620,Chihuahua,0.1,",
        "broken.jpg,,,,,empty file",
    ]
    if options:
        assert json.loads(result.stdout) == [CAT, BROKEN]
    else:
        assert result.stdout == f"what is in 1 image is in {table}\n"


def test_folders_and_patterns_stand_for_the_images_in_them(predicted, tmp_path, monkeypatch):
    asked = predicted([CAT])
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.JPG", "b/below/1.heic", "b/note.txt", "b/.hidden.jpg", "a.png", "[1].png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for arguments, expected in (
        (["b"], ["b/2.JPG", "b/below/1.heic"]),
        (["*.png"], ["[1].png", "a.png"]),
        (["[1].png", "gone.jpg"], ["[1].png", "gone.jpg"]),
        (["**/*.JPG", "a.png"], ["b/2.JPG", "a.png"]),
    ):
        CliRunner().invoke(command, ["net.tflite", *arguments])
        assert [str(path) for path in asked[-1][1]] == expected


@pytest.mark.parametrize("place", ["empty", "*.gif"])
def test_a_place_without_images_is_one_sentence(predicted, tmp_path, monkeypatch, place):
    asked = predicted([CAT])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(command, ["net.tflite", place])
    expected = f"there is no image in {place}; give files, a folder or a pattern"
    assert str(result.exception) == expected
    assert asked == []


@pytest.mark.parametrize("arguments", [["net.tflite"], ["net.tflite", "cat.jpg", "--top", "0"]])
def test_wrong_usage_is_exit_2(arguments):
    assert CliRunner().invoke(command, arguments).exit_code == 2


@pytest.mark.skipif(not VWW.exists(), reason=f"{VWW} is not here")
def test_a_truncated_network_is_one_sentence_and_exit_1(tmp_path):
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(VWW.read_bytes()[:200_000])
    result = subprocess.run(
        [sys.executable, "-m", "edgenets", "predict", str(cut), "photo.jpg"],
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("edgenets: ") and result.stderr.count("\n") == 1
