"""Each verb as DESIGN shows it, on small data, against what its command prints with `--json`."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import edgenets as en
from edgenets.cli.main import edgenets_command
from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.export.measure.classifier import Classifier
from edgenets.models.folder import WEIGHTS
from edgenets.results.accuracy import Prediction
from edgenets.results.result import Result

NET = {"width": 0.25, "resolution": 32, "output_stride": 8}
FEW = {"epochs": 2, "batch_size": 16, "flip": False}


def printed(*words: object) -> object:
    """What a command prints with `--json`."""
    line = [str(word) for word in words]
    result = CliRunner().invoke(edgenets_command, [*line, "--json"], standalone_mode=False)
    if result.exception:
        raise result.exception
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def made(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The README's lines: a model that is trained, saved, compressed and exported."""
    folder = tmp_path_factory.mktemp("verbs")
    model = en.train("mobilenet_v1", data=image_folder, weights="none", **FEW, **NET)
    model.save(folder / "model")
    small = model.compress(data=image_folder, recipe="int8")
    file = small.export(str(folder / "small.tflite"), target="rpi4")
    return SimpleNamespace(folder=folder, model=model, small=small, file=file, data=image_folder)


def test_create_builds_a_net_and_variants_lists_those_of_the_command():
    assert en.create("mobilenet_v1", width=0.25, resolution=96, classes=2).output_shape == (None, 2)
    assert en.variants().to_json() == printed("list")
    few = en.variants(family="mobilenet", max_macs="100M", sort="top1")
    assert few.to_json() == printed(
        *("list", "--family", "mobilenet", "--max-macs", "100M", "--sort", "top1")
    )


def test_training_gives_a_model_with_what_the_command_prints(made, tmp_path: Path):
    line = ["train", "mobilenet_v1", *(f"{k}={v}" for k, v in NET.items()), "--data", made.data]
    line += ["--out", tmp_path / "m", "--weights", "none", "--epochs", 2, "--batch-size", 16]
    assert made.model.record.to_json() == printed(*line, "--no-flip")
    ours, theirs = made.folder / "model" / WEIGHTS, tmp_path / "m" / WEIGHTS
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_saved_model_is_loaded_and_is_the_same(made):
    loaded = en.load(made.folder / "model")
    assert isinstance(loaded, en.Model)
    assert loaded.spec == made.model.spec and loaded.codes is None
    for ours, theirs in zip(loaded.net.get_weights(), made.model.net.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(EdgenetsError, match="already holds a model"):
        made.model.save(str(made.folder / "model"))


def test_compression_gives_codes_and_what_the_command_prints(made, tmp_path: Path):
    line = ["compress", made.folder / "model", "--recipe", "int8", "--data", made.data]
    theirs = printed(*line, "--out", tmp_path / "m")
    ours = made.small.record.to_json()
    for stages in (ours["stages"], theirs["stages"]):
        for stage in stages:
            del stage["seconds"]
    assert ours == theirs
    assert made.small.codes.kernels.keys() == en.Model.load(tmp_path / "m").codes.kernels.keys()
    assert made.model.codes is None and not made.model.spec.recipe


def test_a_model_with_changed_weights_is_what_is_exported(made, tmp_path: Path):
    model = en.Model.load(made.folder / "model")
    before = model.export(tmp_path / "before.tflite", format="fp32")
    model.net.get_layer("stem_conv").kernel.assign_add(np.full((3, 3, 3, 8), 0.5, np.float32))
    after = model.export(tmp_path / "after.tflite", format="fp32")
    assert before.content != after.content


def test_an_export_gives_a_file_with_what_the_command_prints(made, tmp_path: Path):
    made.small.save(tmp_path / "m")
    line = ["export", tmp_path / "m", "--target", "rpi4", "--out", tmp_path / "a.tflite"]
    assert made.file.record.to_json() == printed(*line)
    assert made.file.content == (tmp_path / "a.tflite").read_bytes()


def test_evaluation_of_model_and_file_is_the_commands(made):
    for subject, path in ((made.model, made.folder / "model"), (made.file, made.file.path)):
        evaluation = subject.evaluate(str(made.data))
        assert evaluation.to_json() == printed("evaluate", path, "--data", made.data)
        assert 0 <= evaluation.ci95[0] <= evaluation.top1 <= evaluation.ci95[1] <= 1
    everything = made.file.evaluate(made.data, split="all")
    assert everything.samples == 3 * (40 + 12)
    assert [row.label for row in everything.per_class] == ["dark", "left", "right"]


def test_prediction_of_one_and_of_several_images_is_the_commands(made, tmp_path: Path):
    image = made.data / "test" / "left" / "00.png"
    one = made.file.predict(image)
    assert one.label == one[0].top[0].label and one.score == one[0].top[0].score
    assert one.to_json() == printed("predict", made.file.path, image)
    several = made.file.predict(str(image.parent), top=2, csv=tmp_path / "all.csv")
    assert several.to_json() == printed("predict", made.file.path, image.parent, "--top", 2)
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 1 + 2 * 12
    with pytest.raises(EdgenetsError, match="12 images were classified"):
        _ = several.label


def test_an_image_that_cannot_be_read_has_its_reason(made, tmp_path: Path):
    (tmp_path / "no.jpg").write_bytes(b"text")
    predictions = made.file.predict(tmp_path / "no.jpg", made.data / "test" / "left" / "00.png")
    assert predictions[0].top is None and "not an image" in predictions[0].error
    assert predictions[1].label in made.model.spec.labels
    with pytest.raises(EdgenetsError, match=r"no\.jpg"):
        _ = predictions[0].label


def test_inspection_is_the_commands(made, tmp_path: Path):
    inspection = made.file.inspect(target="coral", svg=tmp_path / "net.svg")
    assert inspection.to_json() == printed("inspect", made.file.path, "--target", "coral")
    assert (tmp_path / "net.svg").read_text().startswith("<svg")
    assert inspection.labels == made.model.spec.labels


def test_benchmark_has_the_commands_keys(made):
    benchmark = made.file.benchmark(min_seconds=0.05, min_runs=3, vs=made.file, per_op=True)
    line = ("benchmark", made.file.path, "--min-seconds", 0.05, "--min-runs", 3, "--per-op")
    theirs = printed(*line, "--vs", made.file.path)
    assert benchmark.to_json().keys() == theirs.keys()
    low, high = benchmark.latency_ms.ci95
    assert 0 < low <= benchmark.latency_ms.median <= high
    assert benchmark.to_json()["latency_ms"].keys() == theirs["latency_ms"].keys()


def test_a_device_that_fails_does_not_disturb_another(made):
    here, there = made.file.benchmark(
        device=["local", "ssh://nobody@127.0.0.1:1"], min_seconds=0.05, min_runs=3, patience=5
    )
    assert here.latency_ms.median > 0
    assert there.device == {"name": "ssh://nobody@127.0.0.1:1"} and there.error


def test_a_package_is_the_commands_and_gives_the_file_back(made, tmp_path: Path):
    record = made.file.pack(tmp_path / "a.epk")
    assert record.to_json() == printed("pack", made.file.path, "--out", tmp_path / "b.epk")
    assert (tmp_path / "a.epk").read_bytes() == (tmp_path / "b.epk").read_bytes()
    back = en.unpack(str(tmp_path / "a.epk"), tmp_path / "back.tflite")
    assert back.content == made.file.content
    assert record.out_bytes == (tmp_path / "a.epk").stat().st_size


def test_a_keras_model_is_exported_from_memory_and_from_its_file(tmp_path: Path):
    import keras

    image = keras.Input((8, 8, 3))
    net = keras.layers.Conv2D(8, 3)(keras.layers.Rescaling(1 / 255)(image))
    net = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(net))
    model = keras.Model(image, net)
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    file = en.export_model(
        model, tmp_path / "a.tflite", ["cat", "dog"], images=list(images), input_range=(0, 255)
    )
    assert file.inspect().labels == ("cat", "dog") and file.record.format == "int8"
    model.save(tmp_path / "mine.keras")
    given = {"format": "fp32", "input_range": (0, 255)}
    with pytest.raises(EdgenetsError, match=r"runs code .* pass trust_source"):
        en.export_model(tmp_path / "mine.keras", tmp_path / "b.tflite", ["cat", "dog"], **given)
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    same = en.export_model(
        *(str(tmp_path / "mine.keras"), str(tmp_path / "b.tflite"), tmp_path / "labels.txt"),
        **given,
        trust_source=True,
    )
    from_memory = en.export_model(
        model, tmp_path / "c.tflite", ["cat", "dog"], **given, fit="stretch"
    )
    assert same.inspect().ops == from_memory.inspect().ops
    assert Classifier(from_memory.path).preparation == Preparation(8, 8, "stretch")
    words = ("--trust-source", "--labels", tmp_path / "labels.txt", "--format", "fp32")
    words += ("--input-range", "0..255", "--fit", "pad", "--out", tmp_path / "d.tflite")
    printed("export", tmp_path / "mine.keras", *words)
    assert Classifier(tmp_path / "d.tflite").preparation == Preparation(8, 8, "pad")


@pytest.mark.slow
def test_a_run_is_the_report_of_the_command(tiny_config: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes = {"train.epochs": 2, "compress": "int8", "seed": 1}
    report = en.run(str(tiny_config), set=changes)
    assert report.folder == Path("runs") / "tiny"
    assert report.to_json() == json.loads((report.folder / "report.json").read_text())
    words = [f"--set={key}={value}" for key, value in changes.items()]
    assert report.to_json() == printed("run", tiny_config, *words)  # which finds it finished
    assert report.stages[0].name == "train" and report.latency_ms.median > 0
    assert "smaller as it travels" in report._repr_html_()


def test_verbs_work_from_any_folder_and_what_they_made_holds_in_another(
    made, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(made.folder)
    model, file = en.load("model"), en.load("small.tflite")
    assert model.spec == made.model.spec and "folder='model'" in repr(model)
    assert file.predict(os.path.relpath(made.data / "test" / "dark" / "00.png")).label
    assert '<td style="text-align: left">small.tflite</td>' in file._repr_html_()
    file.pack("again.epk")
    unpacked = en.unpack("again.epk", "again.tflite")
    monkeypatch.chdir(tmp_path)
    assert unpacked.content == file.content == made.file.content
    assert model.folder == made.folder / "model" and model.net.count_params() > 0


def test_results_and_files_are_equal_and_pickled(made):
    assert en.load(made.file.path) == made.file
    again = pickle.loads(pickle.dumps(made.file))
    assert again == made.file and again.record == made.file.record
    evaluation = made.file.evaluate(made.data)
    assert pickle.loads(pickle.dumps(evaluation)) == evaluation == made.file.evaluate(made.data)
    assert type(evaluation).from_json(evaluation.to_json()) == evaluation
    with pytest.raises(AttributeError):
        evaluation.top1 = 1.0


def test_results_show_themselves_in_notebooks(made):
    for thing, word in (
        (made.model, "mobilenet_v1"),
        (made.file, "small.tflite"),
        (en.variants(), "squeezenet"),
    ):
        assert word in thing._repr_html_() and "<table>" in thing._repr_html_()
    for result in (
        *(made.model.record, made.small.record, made.file.record, made.file.inspect()),
        *(made.file.evaluate(made.data), made.file.predict(made.data / "test" / "left")),
        made.file.benchmark(min_seconds=0.05, min_runs=3),
    ):
        assert result._repr_html_().count("<table>") >= 1


def test_names_from_outside_are_escaped_in_notebooks():
    shown = Prediction("<script>\x1b.jpg", None, "<b>no</b>")._repr_html_()
    assert "<script>" not in shown and "<b>" not in shown and "\x1b" not in shown


def test_unknown_keys_of_a_result_are_refused():
    with pytest.raises(TypeError, match="sise_bytes"):
        en.Report.from_json({"sise_bytes": 1})
    assert issubclass(en.Report, Result)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda f: en.load(f / "no"), "cannot read .*no"),
        (lambda f: en.load(str(f)), "is not a model folder: it has no spec.json"),
        (lambda f: en.load(f / "photo.png"), "photo.png is not a .tflite file"),
        (lambda f: en.load(f / "net.epk"), r"is a package; write its file first: en\.unpack"),
        (lambda f: en.create("squezenet"), "did you mean squeezenet"),
        (lambda f: en.train("mobilenet_v1"), "training needs images: pass data"),
        (lambda f: en.train("mobilenet_v1", epochs=0), "only imports weights: pass weights"),
        (lambda f: en.train("mobilenet_v1", f / "no"), "no"),
        (lambda f: en.train("mobilenet_v1", "digits", widht=1), "did you mean width"),
        (lambda f: en.train("mobilenet_v1", "digits", epochs=-1), "epochs"),
        (lambda f: en.variants(family="mobilnet"), "did you mean MobileNet"),
        (lambda f: en.variants(max_macs="many"), "max_macs must be a number such as 2.5M"),
        (lambda f: en.variants(sort="size"), "sort must be one of name, params, macs, top1"),
        (lambda f: en.run(f / "no.yaml"), "no.yaml"),
        (lambda f: en.run(set={"train.epoch": 1}), "did you mean epochs"),
        (lambda f: en.run(set="train.epoch=1"), "did you mean epochs"),
        (lambda f: en.unpack(f / "photo.png", f / "a.tflite"), "photo.png"),
        (lambda f: en.unpack(f / "net.epk", f / "a.tflite", max_bytes="no"), "max_bytes must be"),
    ],
)
def test_a_mistake_is_one_sentence(call, sentence: str, tmp_path: Path, colour_file: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    en.File(colour_file).pack(tmp_path / "net.epk")
    with pytest.raises(EdgenetsError, match=sentence) as told:
        call(tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda m: m.model.compress("digits", recipe="int8", max_drop=1.0), "pass one of recipe"),
        (lambda m: m.model.compress("digits", recipe="in8"), "did you mean int8"),
        (
            lambda m: m.model.compress("digits", epochs=3),
            "epochs goes with a budget, max_drop, speedup or near",
        ),
        (lambda m: m.model.compress("digits", budget="big"), "budget must be a size"),
        (lambda m: m.model.compress("digits", max_drop=200), "max_drop must be points from 0"),
        (lambda m: m.model.compress("digits", recipe="int8"), "the images are of"),
        (lambda m: m.model.export("a.tflite", target="corral"), "did you mean coral"),
        (lambda m: m.model.export("a.tflite", format="int9"), "int8"),
        (lambda m: m.model.export("a.tflite", ends="uint"), "did you mean uint8"),
        (lambda m: m.model.export("a.tflite", client="mediapip"), "did you mean mediapipe"),
        (
            lambda m: m.model.export("a.tflite", compile=True),
            "^compile is for target coral, ethos-u55-128",
        ),
        (
            lambda m: m.model.export("board", target="mcu", client="mediapipe"),
            "C\\+\\+ sources, which MediaPipe Tasks cannot run; leave client out",
        ),
        (
            lambda m: m.model.export("board.tflite", target="mcu", data=m.data),
            "target mcu out is a folder, which board.tflite is not named like; pass such as board$",
        ),
        (lambda m: m.model.export("a.tflite", allow_cpu_ops=True), "allow_cpu_ops is for compile"),
        (lambda m: m.model.export("board", tables=False), "^tables=False is for target mcu, not"),
        (
            lambda m: m.model.export("a.tflite", format="int8"),
            "needs images to calibrate with; pass data$",
        ),
        (lambda m: m.model.evaluate(m.data, split="train"), "split must be one of test, all"),
        (lambda m: m.file.evaluate(m.folder / "no"), "no"),
        (lambda m: m.file.predict(), "there is no image to classify"),
        (
            lambda m: m.file.predict(m.folder / "no.jpg", top=0),
            "at least 1, got 0",
        ),
        (lambda m: m.file.inspect(target="corral"), "did you mean coral"),
        (lambda m: m.file.evaluate(m.folder, labels=[0, 1]), "labels must be texts, got 0"),
        (lambda m: m.file.benchmark(device="ssh:nowhere"), "ssh://"),
        (lambda m: m.file.benchmark(device=["local", "local"]), "given twice"),
        (lambda m: m.file.benchmark(device=[]), "there is no device to measure on"),
        (lambda m: m.file.benchmark(threads=0), "threads must be a whole number, from 1 to 256"),
        (lambda m: m.file.benchmark(min_runs=0), "min_runs must be a whole number, from 1 to"),
        (lambda m: m.file.benchmark(min_seconds=-1.0), "min_seconds must be 0 or more"),
        (lambda m: m.file.predict("no.jpg", top=1.5), "top must be a whole number"),
        (lambda m: m.file.benchmark(setup=True), "setup is for boards"),
        (lambda m: m.file.benchmark(delegate="gpu"), "delegate must be one of edgetpu"),
        (lambda m: m.file.pack(m.file.path), "is a file that is read"),
    ],
)
def test_a_mistake_with_a_model_or_file_is_one_sentence(call, sentence: str, made, monkeypatch):
    monkeypatch.chdir(made.folder)
    with pytest.raises(EdgenetsError, match=sentence) as told:
        call(made)
    assert "\n" not in str(told.value)
    assert not Path("a.tflite").exists()
