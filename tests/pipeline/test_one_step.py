"""`train`, `export`, `evaluate` and `predict` one after the other, as a user would."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from edgenets import flatbuffer
from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.export.formats import FORMATS
from edgenets.export.measure.benchmark import benchmark_file
from edgenets.pipeline import one_step

pytestmark = pytest.mark.slow
NET = ("mobilenet_v1", "width=0.25", "resolution=32", "output_stride=8")


def edgenets(capsys: pytest.CaptureFixture, *arguments: object) -> object:
    edgenets_command.main([*map(str, arguments), "--json"], standalone_mode=False)
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def model_dir(tiny_run: Path) -> Path:
    return tiny_run / "stages" / "01-train"


def interrupted(*_: object) -> None:
    raise EdgenetsError("a test image is gone")


def test_training_writes_a_model_folder(image_folder, tmp_path, capsys, monkeypatch):
    options = (
        "--data",
        image_folder,
        "--out",
        tmp_path / "m",
        "--epochs",
        "1",
        "--no-flip",
        "--weights",
        "none",
    )
    with monkeypatch.context() as patch:  # interrupted after its last epoch
        patch.setattr(one_step, "predict_logits", interrupted)
        with pytest.raises(EdgenetsError, match="a test image is gone"):
            edgenets(capsys, "train", *NET, *options)
    result = edgenets(capsys, "train", *NET, *options)
    assert result["samples"] == 36
    low, high = result["ci95"]
    assert low < result["top1"] < high
    assert result["warnings"][0].startswith("36 test images tell little")
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "history.csv",
        "spec.json",
        "weights.safetensors",
    ]
    with pytest.raises(EdgenetsError, match="already holds a model"):
        edgenets(capsys, "train", *NET, *options)


def test_model_of_a_folder_without_a_split_is_scored_on_its_own_test_part(
    image_folder, tmp_path, capsys
):
    folder = tmp_path / "photos"
    shutil.copytree(image_folder / "train", folder)
    model, small, file = tmp_path / "m", tmp_path / "small", tmp_path / "m.tflite"
    options = ("--data", folder, "--no-flip")
    short = ("--epochs", "1", "--seed", "3", "--weights", "none")
    trained = edgenets(capsys, "train", *NET, *options, "--out", model, *short)
    of_folder = edgenets(capsys, "evaluate", model, "--data", folder)
    assert (of_folder["split"], of_folder["samples"]) == ("own test part", 24)  # 20 % of 3 x 40
    assert of_folder["confusion"] == trained["confusion"]
    assert of_folder["ci95"][0] < of_folder["top1"] < of_folder["ci95"][1]

    compress = ("compress", model, "--recipe", "int8", *options, "--out", small)
    edgenets(capsys, *compress)
    edgenets(capsys, "export", small, "--out", file)
    of_file = edgenets(capsys, "evaluate", file, "--data", folder)
    assert (of_file["split"], of_file["samples"]) == ("own test part", 24)
    assert not any("trained on" in warning for warning in of_file["warnings"])

    everything = edgenets(capsys, "evaluate", file, "--data", folder, "--split", "all")
    assert (everything["split"], everything["samples"]) == ("all", 120)
    assert "training images among them" in everything["warnings"][0]
    elsewhere = edgenets(capsys, "evaluate", file, "--data", image_folder / "test")
    assert (elsewhere["split"], elsewhere["samples"]) == ("all", 36)
    assert "is not as the model was trained on it" in elsewhere["warnings"][0]

    other_seed = (*compress[:-1], tmp_path / "other", "--seed", "4", "--json")
    edgenets_command.main([*map(str, other_seed)], standalone_mode=False)
    said = capsys.readouterr().err
    assert "was trained on another split of images" in said
    assert "test images now; pass --seed 3 (run: --set seed=3) if the images are the same" in said
    taught = ("--out", tmp_path / "taught", "--teacher", model, "--weights", "none")
    teacher = ("train", *NET, *options, *taught)
    edgenets_command.main([*map(str, teacher), "--epochs", "1"], standalone_mode=False)
    assert f"{model} was trained on another split of images" in capsys.readouterr().err


def test_log_dir_gets_events_and_names_tensorboard_if_that_is_missing(
    image_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    options = (
        "--data",
        image_folder,
        "--epochs",
        "1",
        "--no-flip",
        "--weights",
        "none",
        "--log-dir",
        tmp_path / "log",
    )
    arguments = ("train", *NET, *options, "--out", tmp_path / "m")
    edgenets_command.main([*map(str, arguments)], standalone_mode=False)
    printed = capsys.readouterr()
    assert printed.err.startswith(f"`tensorboard --logdir {tmp_path / 'log'}` shows the trainings")
    assert "run: pip install tensorboard\n" in printed.err
    assert "train 1/1: loss" in printed.err
    assert "WARNING: 36 test images tell little" in printed.err
    assert " % (95 % interval " in printed.out
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["train"]
    assert len(list((tmp_path / "log" / "train").iterdir())) == 1


def test_exported_file_agrees_with_its_model_folder(model_dir, image_folder, tmp_path, capsys):
    file = tmp_path / "out" / "m.tflite"
    exported = edgenets(capsys, "export", model_dir, "--data", image_folder, "--out", file)
    assert exported["fidelity"]["agreement"] >= 0.9
    assert exported["size_bytes"] == file.stat().st_size
    of_file = edgenets(capsys, "evaluate", file, "--data", image_folder)
    of_folder = edgenets(capsys, "evaluate", model_dir, "--data", image_folder)
    assert of_file["samples"] == of_folder["samples"] == 36
    assert abs(of_file["top1"] - of_folder["top1"]) <= 2 / 36


def test_float_export_answers_exactly_as_the_model(model_dir, image_folder, tmp_path, capsys):
    file = tmp_path / "m.tflite"
    edgenets(capsys, "export", model_dir, "--format", "fp32", "--out", file)
    of_file = edgenets(capsys, "evaluate", file, "--data", image_folder)
    of_folder = edgenets(capsys, "evaluate", model_dir, "--data", image_folder)
    assert of_file["confusion"] == of_folder["confusion"]


@pytest.mark.parametrize("number_format", FORMATS)
def test_file_of_each_format_is_checked_evaluated_predicted_with_and_timed(
    number_format, model_dir, image_folder, tmp_path, capsys
):
    file = tmp_path / "m.tflite"
    needed = FORMATS[number_format].needs_calibration
    options = ("--format", number_format, *(("--data", image_folder) if needed else ()))
    exported = edgenets(capsys, "export", model_dir, *options, "--out", file)
    assert exported["format"] == number_format
    assert exported["fidelity_images"] == ("calibration" if needed else "random")
    assert exported["fidelity"]["snr_db"] >= FORMATS[number_format].minimum_snr_db
    assert exported["codes"] is None
    of_file = edgenets(capsys, "evaluate", file, "--data", image_folder)
    of_folder = edgenets(capsys, "evaluate", model_dir, "--data", image_folder)
    assert abs(of_file["top1"] - of_folder["top1"]) <= 2 / 36
    image = image_folder / "test" / "left" / "00.png"
    (answer,) = edgenets(capsys, "predict", file, image)
    assert answer["top"][0]["label"] == "left"
    assert benchmark_file(file, min_seconds=0.1).latency_ms.median > 0


def test_predictions_are_right_as_often_as_the_report_says(tiny_run, image_folder, capsys):
    images = sorted((image_folder / "test").glob("*/*.png"))
    answers = edgenets(capsys, "predict", tiny_run / "model.tflite", *images)
    right = [
        answer["top"][0]["label"] == image.parent.name
        for answer, image in zip(answers, images, strict=True)
    ]
    report = json.loads((tiny_run / "report.json").read_text())
    assert sum(right) / len(right) == report["stages"][-1]["top1"] > 0.8


def test_calibration_images_must_be_given(model_dir, tmp_path, capsys):
    file = tmp_path / "m.tflite"
    with pytest.raises(EdgenetsError, match="int16x8 needs images to calibrate with; pass --data"):
        edgenets(capsys, "export", model_dir, "--format", "int16x8", "--out", file)
    with pytest.raises(EdgenetsError, match="int8 needs images to calibrate with; pass --data"):
        edgenets(capsys, "export", model_dir, "--out", tmp_path / "m.tflite")


def test_layers_can_be_kept_float_in_an_export(model_dir, image_folder, tmp_path, capsys):
    file = tmp_path / "m.tflite"
    options = ("--data", image_folder, "--out", file, "--keep-float", "block1_*")
    result = edgenets(capsys, "export", model_dir, *options, "--keep-float", "logits")
    assert result["kept_float"] == ["block1_depthwise_conv", "block1_pointwise_conv", "logits"]
    dtypes = [tensor.dtype for tensor in flatbuffer.read(file).weights]
    assert dtypes == ["int8", "float32", "float32", *["int8"] * 24, "float32"]
    of_file = edgenets(capsys, "evaluate", file, "--data", image_folder)
    of_folder = edgenets(capsys, "evaluate", model_dir, "--data", image_folder)
    assert abs(of_file["top1"] - of_folder["top1"]) <= 2 / 36
    with pytest.raises(EdgenetsError, match="fp16 cannot keep some layers float"):
        edgenets(capsys, "export", model_dir, *options, "--format", "fp16")
    with pytest.raises(EdgenetsError, match="unknown layer of mobilenet_v1 'block'"):
        edgenets(capsys, "export", model_dir, *options, "--keep-float", "block")
