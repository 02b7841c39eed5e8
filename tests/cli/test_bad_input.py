"""Bad data, models, files and trainings: one sentence that says what to do."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.files import sha256_file
from edgenets.models.backend import tf
from edgenets.training import fit as fit_module
from edgenets.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from edgenets.training.settings import FitSettings

NET = ("mobilenet_v1", "width=0.25", "resolution=32", "output_stride=8")
TRAIN = ("train", *NET, "--weights", "none")


# Data


def draw(folder: Path, images: dict[str, int], size: tuple[int, int] = (32, 32)) -> Path:
    """Write so many images into each class folder; each class has its own brightness."""
    random = np.random.default_rng(0)
    for c, (name, count) in enumerate(images.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.integers(60 * c, 60 * c + 60, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture
def model_dir(untrained: Path, tmp_path: Path) -> Path:
    """A copy of the model folder, to damage."""
    return shutil.copytree(untrained, tmp_path / "model")


def corrupt(image: Path) -> Path:
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    return image


def test_strict_training_names_the_corrupt_image(tmp_path: Path, failure):
    data = draw(tmp_path / "data", {"a": 4, "b": 4})
    bad = corrupt(data / "b" / "2.png")
    train = (*TRAIN, "--data", data, "--out", tmp_path / "model")
    sentence = failure(*train, "--strict")
    assert sentence.startswith(f"unusable files (1): {bad} (truncated or damaged: ")
    assert sentence.endswith("; repair or remove them")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "images, message",
    [
        ({"a": 4}, "holds a single class, 'a'; a classifier needs two"),
        ({"a": 4, "b": 0}, "b: it is empty; add images or remove the folder"),
        ({"train/a": 4, "train/b": 4, "test/a": 2}, "no usable image to test b with; each class"),
        ({"a": 2, "b": 2}, "needs a class with at least two training images"),
        ({}, "no data folder"),
    ],
)
def test_data_that_cannot_train_is_one_sentence(
    images: dict, message: str, tmp_path: Path, failure
):
    data = draw(tmp_path / "data", images)
    assert message in failure(*TRAIN, "--data", data, "--out", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_data_that_is_a_file_is_one_sentence(untrained: Path, tmp_path: Path, failure):
    file = tmp_path / "photos.zip"
    file.write_text("zip")
    message = "photos.zip is a file; give a folder laid out as"
    assert message in failure(*TRAIN, "--data", file, "--out", tmp_path / "model")
    assert message in failure("evaluate", untrained, "--data", file)
    assert message in failure(
        "export", untrained, "--data", file, "--out", tmp_path / "model.tflite"
    )


@pytest.mark.slow
def test_few_odd_images_train_and_a_corrupt_one_is_listed(tmp_path: Path, capsys, edgenets):
    data = draw(tmp_path / "data", {"a": 3, "b": 4}, size=(50, 41))
    (draw(tmp_path / "odd", {"c": 3}, size=(7, 120)) / "c").rename(data / "c")
    bad = corrupt(data / "b" / "3.png")
    train = (*TRAIN, "--data", data, "--out", tmp_path / "model", "--epochs", 1)
    edgenets(*train, "--json")
    captured = capsys.readouterr()
    assert f"left out {bad}: truncated or damaged" in captured.err
    result = json.loads(captured.out)
    assert [skipped["path"] for skipped in result["skipped"]] == [str(bad)]
    assert result["samples"] == 3  # one of each class; two train, and one of those validates


@pytest.mark.slow
def test_no_epochs_leave_a_model_that_counts_as_untrained(
    image_folder, tmp_path: Path, capsys, edgenets
):
    model = tmp_path / "model"
    edgenets(*TRAIN, "--data", image_folder, "--out", model, "--epochs", 0)
    assert json.loads((model / "spec.json").read_text())["history"] == {}
    edgenets("evaluate", model, "--data", image_folder)


# Training


@pytest.mark.slow
def test_learning_rate_too_high_is_one_sentence(image_folder: Path, tmp_path: Path, failure):
    train = (*TRAIN, "--data", image_folder, "--out", tmp_path / "model", "--epochs", 2)
    sentence = failure(*train, "--learning-rate", "1e30")
    assert sentence.startswith("the loss became ")
    assert sentence.endswith("pass a lower learning rate than 1e+30")
    assert not (tmp_path / "model" / "spec.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "raised, message",
    [
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), "pass a smaller batch size"),
        (None, "the loss became nan in epoch 1; pass a lower learning rate than"),
    ],
)
def test_training_that_cannot_go_on_is_one_sentence(
    raised, message: str, build_net, training_data, tmp_path: Path, monkeypatch
):
    def logits(*_):
        if raised:
            raise raised
        return np.full((len(training_data.validation_labels), 2), np.nan, np.float32)

    monkeypatch.setattr(fit_module, "predict_logits", logits)
    settings = FitSettings(epochs=1)
    with pytest.raises(EdgenetsError, match=message):
        fit_module.fit(
            build_net(),
            training_data,
            settings,
            seed=0,
            checkpoint=tmp_path / "checkpoint.safetensors",
            key="key",
            description="",
        )


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, "key", Progress(epoch=1), [tf.Variable([1.0, 2.0])], [])
    return path


def test_checkpoint_is_read_as_it_was_written(checkpoint: Path):
    variable = tf.Variable([0.0, 0.0])
    progress, best = load_checkpoint(checkpoint, "key", [variable])
    assert (progress.epoch, best, variable.numpy().tolist()) == (1, [], [1.0, 2.0])


@pytest.mark.parametrize("shape", [(3,), (1, 2), ()])
def test_checkpoint_of_another_net_is_refused_and_changes_nothing(shape, checkpoint: Path):
    variable = tf.Variable(np.full(shape, 7.0, np.float32))
    with pytest.raises(EdgenetsError, match=r"belongs to a training with other .*; remove it to"):
        load_checkpoint(checkpoint, "key", [variable])
    assert (variable.numpy() == 7).all()


# Model folders


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"labels": ["a", "b"]}, "the model has 3 classes but 2 labels"),
        ({"labels": "abc"}, "labels must be a list of texts, got 'abc'"),
        ({"labels": [1, 2, 3]}, "labels must be a list of texts"),
        ({"name": "mobilnet_v1"}, "unknown model 'mobilnet_v1'; did you mean mobilenet_v1?"),
        ({"name": ["mobilenet_v1"]}, "name must be a text, got ['mobilenet_v1']"),
        ({"arguments": {"depth": 1, "classes": 3}}, "unknown argument of mobilenet_v1 'depth'"),
        ({"arguments": ["width"]}, "arguments must be keys and values, got ['width']"),
        ({"arguments": {"classes": 3, "resolution": 10**9}}, "resolution of mobilenet_v1 must be"),
        ({"preparation": {"resolution": 32}}, "an image preparation looks like"),
        ({"seed": "0"}, "seed must be a whole number, got '0'"),
        ({"seed": -1}, "the seed must be at least 0, got -1"),
        ({"history": [1]}, "history must be lists of numbers by stage and name, got [1]"),
        ({"recipe": None}, "recipe must be a list of stages' settings, got None"),
        ({"weights_sha256": None}, "weights_sha256 must be a text, got None"),
        ({"extra": 1}, "unknown key 'extra' (known: arguments, "),
    ],
)
def test_spec_that_does_not_fit_is_one_sentence(
    changes: dict, message: str, model_dir: Path, failure
):
    spec = json.loads((model_dir / "spec.json").read_text())
    (model_dir / "spec.json").write_text(json.dumps({**spec, **changes}))
    sentence = failure("evaluate", model_dir, "--data", "digits")
    assert sentence.startswith(f"{model_dir / 'spec.json'}: {message}")
    assert sentence.endswith("; restore it or train again")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"\x7fELF\0"])
def test_spec_that_is_not_json_is_one_sentence(content: bytes, model_dir: Path, failure):
    (model_dir / "spec.json").write_bytes(content)
    sentence = failure("evaluate", model_dir, "--data", "digits")
    assert "spec.json is not valid JSON" in sentence
    assert sentence.endswith("restore the file or make it again")


@pytest.mark.parametrize("content", ["[]", "null", "3", '"spec"'])
def test_spec_that_is_no_object_is_one_sentence(content: str, model_dir: Path, failure):
    (model_dir / "spec.json").write_text(content)
    assert "it must hold keys and values" in failure("evaluate", model_dir, "--data", "digits")


def set_weights(model_dir: Path, content: bytes) -> None:
    """Write the weights with the hash that belongs to them."""
    (model_dir / "weights.safetensors").write_bytes(content)
    spec = json.loads((model_dir / "spec.json").read_text())
    spec["weights_sha256"] = sha256_file(model_dir / "weights.safetensors")
    (model_dir / "spec.json").write_text(json.dumps(spec))


def test_weights_that_are_cut_short_are_noticed(model_dir: Path, failure):
    weights = model_dir / "weights.safetensors"
    cut = weights.read_bytes()[:100_000]
    weights.write_bytes(cut)
    sentence = failure("evaluate", model_dir, "--data", "digits")
    assert "its SHA-256 differs); restore it or train again" in sentence
    set_weights(model_dir, cut)
    sentence = failure("evaluate", model_dir, "--data", "digits")
    assert "is not a safetensors file that NumPy can read" in sentence
    weights.unlink()
    assert failure("evaluate", model_dir, "--data", "digits") == (
        f"the model folder {model_dir} is incomplete: weights.safetensors is missing; "
        "restore it or train again"
    )


def test_weights_of_a_type_that_numpy_lacks_are_one_sentence(model_dir: Path, failure):
    header = json.dumps({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    set_weights(model_dir, len(header).to_bytes(8, "little") + header + bytes(2))
    assert "that NumPy can read ('BF16')" in failure("evaluate", model_dir, "--data", "digits")


@pytest.mark.slow
def test_weights_that_are_all_zero_give_no_file(
    model_dir: Path, image_folder: Path, tmp_path, failure
):
    weights = safetensors.numpy.load((model_dir / "weights.safetensors").read_bytes())
    zeros = {name: np.zeros_like(tensor) for name, tensor in weights.items()}
    set_weights(model_dir, safetensors.numpy.save(zeros))
    out = tmp_path / "m.tflite"
    sentence = failure("export", model_dir, "--data", image_folder, "--out", out)
    assert sentence.startswith("the Keras model's logits are all zero")
    assert not out.exists()


def test_model_that_is_none_is_one_sentence(tmp_path: Path, failure):
    file = tmp_path / "notes.txt"
    file.write_text("no network")
    (tmp_path / "folder").mkdir()
    out = tmp_path / "m.tflite"
    for command in (("export", "--format", "fp32", "--out", out), ("evaluate", "--data", "digits")):
        name, *options = command
        assert failure(name, tmp_path / "folder", *options).endswith(
            "is not a model folder: it has no spec.json; pass what `edgenets train` or `edgenets "
            "compress` wrote"
        )
        assert str(tmp_path / "nowhere") in failure(name, tmp_path / "nowhere", *options)
    assert "is not a model folder: it is no folder; pass what `edgenets train`" in failure(
        "export", file, "--format", "fp32", "--out", out
    )
    assert "is not a .tflite file" in failure("evaluate", file, "--data", "digits")
    assert not out.exists()


def test_model_folder_that_is_not_there_is_told_what_is(model_dir: Path, failure):
    stages = model_dir.parent
    model_dir.rename(stages / "02-int8")
    (stages / "03-int8").mkdir()  # no model
    sentence = failure("export", stages / "04-int8", "--out", stages / "m.tflite")
    assert "is not a model folder: it is no folder; " in sentence
    assert sentence.endswith("; did you mean 02-int8?")


@pytest.mark.slow
def test_export_warns_of_images_of_other_classes(
    model_dir: Path, image_folder: Path, tmp_path: Path, capsys
):
    export = ("export", str(model_dir), "--format", "fp32", "--out", str(tmp_path / "m.tflite"))
    for data, warned in ((str(image_folder), False), ("digits", True)):
        edgenets_command.main([*export, "--data", data], standalone_mode=False)
        warning = f"WARNING: not all classes of {data} are labels of the model, and the file is"
        assert (warning in capsys.readouterr().err) == warned


# .tflite files, images and reports


@pytest.mark.parametrize("command", ["evaluate", "predict", "benchmark"])
def test_tflite_that_is_none_is_one_sentence(
    command: str, image_folder: Path, tmp_path: Path, failure
):
    image = image_folder / "test" / "dark" / "00.png"
    options = {"evaluate": ("--data", "digits"), "predict": (image,), "benchmark": ()}[command]
    for content in (b"", b"no network\n" * 100, b"\x1c\0\0\0TFL3" + bytes(1000)):
        file = tmp_path / "model.tflite"
        file.write_bytes(content)
        assert str(file) in failure(command, file, *options)
    missing = failure(command, tmp_path / "modle.tflite", *options)
    assert "No such file or directory; did you mean model.tflite?" in missing


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "predict", "benchmark"])
def test_truncated_tflite_is_one_sentence(
    command: str, tiny_run: Path, image_folder, tmp_path, failure
):
    image = image_folder / "test" / "dark" / "00.png"
    options = {"evaluate": ("--data", image_folder), "predict": (image,), "benchmark": ()}[command]
    content = (tiny_run / "model.tflite").read_bytes()
    for kept in (20, 1000, len(content) // 2, len(content) - 1):
        file = tmp_path / "cut.tflite"
        file.write_bytes(content[:kept])
        assert "cut.tflite" in failure(command, file, *options)


@pytest.mark.slow
def test_images_that_are_none_are_reported_after_the_others(
    tiny_run: Path, image_folder: Path, tmp_path: Path, capsys, failure
):
    good = image_folder / "test" / "dark" / "00.png"
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:100])
    odd = tmp_path / os.fsdecode(b"\xff.png")  # not a text in any encoding
    shutil.copy(good, odd)
    files, table = (bad, good, tmp_path / "nowhere.png", odd), tmp_path / "answers.csv"
    sentence = failure("predict", tiny_run / "model.tflite", *files, "--json", "--csv", table)
    assert sentence == "2 of 4 images could not be read"
    captured = capsys.readouterr()
    answers = json.loads(captured.out)
    assert [("top" in answer, Path(answer["path"])) for answer in answers] == [
        (file in (good, odd), file) for file in files
    ]
    assert f"{bad}: truncated or damaged" in captured.err
    assert os.fsencode(f"{odd},1,") in table.read_bytes()


def test_folder_without_a_report_is_one_sentence(tmp_path: Path, failure):
    for path in (tmp_path, tmp_path / "nowhere"):
        assert "has no report.json; run `edgenets run" in failure("report", path)


@pytest.mark.slow
def test_report_shows_names_of_files_that_are_no_text(run_dir: Path, capsys, edgenets):
    report = json.loads((run_dir / "report.json").read_text())
    report["data"]["skipped"] = [{"path": os.fsdecode(b"\xff.png"), "reason": "empty file"}]
    (run_dir / "report.json").write_text(json.dumps(report))
    edgenets("report", run_dir)
    assert "\\udcff.png" in (run_dir / "report.html").read_text()


@pytest.mark.slow
def test_report_that_cannot_be_written_leaves_the_old_one(
    run_dir: Path, small_disk, capsys, edgenets, failure, content_of, fill
):
    disk = small_disk("size=1m")
    shutil.copy(run_dir / "report.json", disk)
    (disk / "report.html").write_text("old")
    fill(disk)
    before = content_of(disk)
    sentence = failure("report", disk)
    assert sentence == (
        f"cannot write {disk / 'report.html'}: No space left on device; what was there is "
        "unchanged, free some space and repeat the command"
    )
    assert content_of(disk) == before
    (disk / "filler").unlink()
    edgenets("report", disk)
    assert (disk / "report.html").read_text() != "old"
