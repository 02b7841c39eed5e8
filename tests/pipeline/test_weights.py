"""Trained weights as the beginning of `train` and `run`, and imported by `train --epochs 0`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from edgenets.cli.main import edgenets_command, main
from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.files import sha256_bytes
from edgenets.models.backend import keras
from edgenets.models.fold import fold_batch_norm, is_folded
from edgenets.models.folder import Model, Spec, load_spec, named_weights
from edgenets.models.registry import complete_arguments, create
from edgenets.models.weights import sources
from edgenets.models.weights.initial import replace_classes
from edgenets.pipeline.config import RunConfig, check_config
from edgenets.pipeline.config_file import dump_config, load_config
from edgenets.pipeline.run import run
from edgenets.pipeline.stages.inputs import load_initial, training_settings

NET = ("squeezenet", "resolution=32", "output_stride=8", "base_expand=16", "expand_increment=8")
LABELS = ("right", "left", "dark")
SMALL = ("mobilenet_v1", "width=0.25", "resolution=32", "output_stride=8")
SMALL_RUN = (
    *("compress=[]", "train.epochs=1", "data.flip=false"),  # a mirror changes left and right
    *("benchmark.min_seconds=0.1", "benchmark.per_op=false"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with the classes of `image_folder`, in another order."""
    keras.utils.set_random_seed(7)
    given = dict(argument.split("=") for argument in NET[1:])
    arguments = complete_arguments("squeezenet", {**given, "classes": 3})
    spec = Spec("squeezenet", arguments, LABELS, Preparation(32, 32), seed=0)
    path = tmp_path_factory.mktemp("pretrained") / "cifar10_squeezenet"
    Model(create("squeezenet", **arguments), spec).save(path)
    return path


@pytest.fixture
def pretrained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sources, "PRETRAINED", folder.parent)
    return folder


def config(weights: Path | str, **train: object) -> RunConfig:
    values = {"model": {"name": "squeezenet"}, "train": {"weights": str(weights), **train}}
    return check_config(values, lambda place: "config")


def edgenets(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[dict, str]:
    """Return a command's JSON and what it said."""
    edgenets_command.main([*map(str, arguments), "--json"], standalone_mode=False)
    output = capsys.readouterr()
    return json.loads(output.out), output.err


# The config


def test_net_of_the_config_takes_the_arguments_of_its_weights(pretrained):
    of_folder = load_spec(pretrained)[0].arguments
    for weights in ("cifar10", pretrained):
        assert config(weights).model == {"name": "squeezenet"}
        complete, _ = load_initial(config(weights))
        assert {**complete.model, "classes": 3} == {"name": "squeezenet", **of_folder}


def test_written_config_is_the_same_again(tmp_path):
    (tmp_path / "config.yaml").write_text(dump_config(config("imagenet", input_range=[0, 1])))
    assert load_config(tmp_path / "config.yaml") == config("imagenet", input_range=[0, 1])


def test_place_of_weights_and_labels_is_kept_whatever_the_working_directory():
    train = config("net.h5", labels="names.txt").train
    assert (train.weights, train.labels) == (str(Path.cwd() / "net.h5"), f"{Path.cwd()}/names.txt")
    assert config("imagenet").train.weights == "imagenet"


@pytest.mark.parametrize(
    "train, message",
    [
        ({"weights": "a.h5", "input_range": [1, 0]}, "the first number must be the smaller one"),
        ({"weights": "a.h5", "input_range": ["a", 0]}, "should be a valid number"),
        ({"input_range": [0, 1]}, "input_range and labels describe weights; add weights too"),
        ({"labels": "names.txt"}, "input_range and labels describe weights; add weights too"),
        ({"weights": ""}, "train.weights"),
    ],
)
def test_settings_that_do_not_fit_get_a_sentence(train: dict, message: str):
    with pytest.raises(EdgenetsError, match=message):
        check_config({"train": train}, lambda place: "config")


def test_training_depends_on_the_content_of_the_weights_not_on_their_place(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / folder.name)
    first = training_settings(*load_initial(config(folder)))
    assert training_settings(*load_initial(config(moved))) == first
    loaded = Model.load(folder)
    model, spec = loaded.net, loaded.spec
    shutil.rmtree(moved)
    model.get_layer("conv10_conv").bias.assign([1.0, 2.0, 3.0])
    Model(model, spec).save(moved)
    assert training_settings(*load_initial(config(moved))) != first


def test_config_records_the_weights_and_refuses_others(folder):
    sha256 = load_spec(folder)[1]
    complete, _ = load_initial(config(folder))
    assert (complete.train.weights, complete.train.weights_sha256) == (str(folder), sha256)
    with pytest.raises(EdgenetsError, match=f"SHA-256 {'0' * 64}, as when .* got {sha256};"):
        load_initial(config(folder, weights_sha256="0" * 64))


def test_training_without_weights_depends_on_what_it_always_did():
    complete, initial_weights = load_initial(RunConfig())
    assert initial_weights is None and complete.train.weights == "none"
    assert complete.model == RunConfig().model
    settings = training_settings(complete, None)
    assert "weights" not in settings
    assert not {"weights", "input_range", "labels"} & set(settings["train"])


# Commands


def test_import_needs_no_images_and_records_its_origin(folder, tmp_path, capsys):
    options = ("--weights", folder, "--epochs", 0, "--out", tmp_path / "m")
    result, _ = edgenets(capsys, "train", *NET, *options)
    loaded = Model.load(tmp_path / "m")
    model, spec = loaded.net, loaded.spec
    assert result == {
        "source": "cifar10_squeezenet",
        "sha256": load_spec(folder)[1],
        "classes": 3,
    }
    assert spec.labels == LABELS
    assert spec.initial_weights["sha256"] == result["sha256"]
    for name, weight in named_weights(Model.load(folder).net).items():
        np.testing.assert_array_equal(named_weights(model)[name], weight)


def test_import_does_not_replace_a_model(folder, tmp_path, capsys):
    out = shutil.copytree(folder, tmp_path / "m")
    with pytest.raises(EdgenetsError, match="already holds a model"):
        edgenets(capsys, "train", *NET, "--weights", folder, "--epochs", 0, "--out", out)


def test_contradiction_to_the_weights_is_told_before_training(
    folder, image_folder, tmp_path, capsys
):
    with pytest.raises(
        EdgenetsError, match="with bypass=none, got bypass=simple; leave bypass out"
    ):
        edgenets(
            *(capsys, "train", *NET, "bypass=simple", "--weights", folder),
            *("--data", image_folder, "--out", tmp_path / "m"),
        )
    assert not (tmp_path / "m").exists()


@pytest.mark.slow
def test_weights_that_know_the_classes_answer_as_before(tiny_run, image_folder, tmp_path, capsys):
    replace_classes(Model.load(tiny_run / "stages" / "01-train"), LABELS).save(tmp_path / "weights")
    options = ("--data", image_folder, "--epochs", 0, "--out", tmp_path / "m")
    train = ("train", "mobilenet_v1", "--weights", tmp_path / "weights")
    result, said = edgenets(capsys, *train, *options)
    before, _ = edgenets(capsys, "evaluate", tmp_path / "weights", "--data", image_folder)
    assert result["top1"] == before["top1"] > 0.8
    assert "classifier" not in said
    assert load_spec(tmp_path / "m")[0].labels == ("dark", "left", "right")


@pytest.mark.slow
def test_training_goes_on_from_a_folded_folder(image_folder, tmp_path, capsys):
    """As the stage `qat` writes it."""
    given = {"width": 0.25, "resolution": 32, "output_stride": 8, "classes": 3}
    arguments = complete_arguments("mobilenet_v1", given)
    spec = Spec("mobilenet_v1", arguments, ("a", "b", "c"), Preparation(32, 32), 0, folded=True)
    Model(fold_batch_norm(create("mobilenet_v1", **arguments)), spec).save(tmp_path / "weights")
    options = ("--data", image_folder, "--epochs", 1, "--batch-size", 32)
    train = ("train", "mobilenet_v1", "--weights", tmp_path / "weights", *options)
    result, said = edgenets(capsys, *train, "--out", tmp_path / "m")
    assert "the classes differ" in said
    loaded = Model.load(tmp_path / "m")
    trained, new = loaded.net, loaded.spec
    assert new.folded and is_folded(trained)
    # A folded net has no BatchNorm: a quarter of 0.004, and a tenth of that with trained weights.
    assert new.history["train"]["learning_rate"] == pytest.approx([0.0, 0.001 * 0.1])
    evaluated, _ = edgenets(capsys, "evaluate", tmp_path / "m", "--data", image_folder)
    assert evaluated["top1"] == result["top1"]


@pytest.mark.slow
def test_run_from_weights_goes_on_where_it_stopped(tiny_run, tiny_config, tmp_path):
    weights = f"train.weights={tiny_run / 'stages' / '01-train'}"
    changes = ("model={name: mobilenet_v1}", "compress=[]", weights, "train.epochs=0")
    settings = load_config(tiny_config, changes)
    report = run(settings, tmp_path / "run")
    before = json.loads((tiny_run / "report.json").read_text())
    assert report.stages[0].top1 == before["stages"][0]["top1"]
    assert report.model["arguments"] == before["model"]["arguments"]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "stages").rglob("*")}
    run(settings, tmp_path / "run")
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


@pytest.mark.slow
def test_training_from_weights_of_other_classes_learns(tiny_run, image_folder, tmp_path, capsys):
    """Three epochs from trained weights do what as many from random ones cannot."""
    weights = shutil.copytree(tiny_run / "stages" / "01-train", tmp_path / "weights")
    spec = json.loads((weights / "spec.json").read_text())
    (weights / "spec.json").write_text(json.dumps({**spec, "labels": ["a", "b", "c"]}))
    options = ("--data", image_folder, "--epochs", 3, "--batch-size", 16, "--no-flip")
    result, said = edgenets(
        *(capsys, "train", "mobilenet_v1", "--weights", weights),
        *(*options, "--out", tmp_path / "m"),
    )
    assert "the classes differ, so the classifier for 3 classes (a, b, c) is replaced" in said
    assert result["top1"] > 0.8
    trained = load_spec(tmp_path / "m")[0]
    assert trained.arguments["width"] == 0.25 and trained.labels == ("dark", "left", "right")
    assert trained.initial_weights["source"] == "weights" and "train" in trained.history


# ImageNet's weights by default


@pytest.fixture
def published(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The server that ImageNet's weights of the small net are published on."""
    file = sources.Published("mobilenet_v1", {"width": 0.25}, 128, server.url())
    monkeypatch.setattr(sources, "IMAGENET", (file,))
    monkeypatch.setenv("EDGENETS_CACHE", str(tmp_path / "cache"))
    return server


def command_line(command: str, images: Path, out: Path) -> tuple[object, ...]:
    """Return a command that trains the small net for an epoch, its weights left to the default."""
    if command == "train":
        return ("train", *SMALL, "--data", images, "--epochs", 1, "--out", out)
    net = f"model={{name: {', '.join(SMALL).replace('=', ': ')}}}"
    assignments = (net, f"data.source={images}", *SMALL_RUN)
    return ("run", *(part for text in assignments for part in ("--set", text)), "--out", out)


@pytest.mark.parametrize("command", ["train", "run"])
@pytest.mark.parametrize(
    "answers, reason",
    [
        (False, "cannot be reached (Connection refused)"),
        (True, "cannot be fetched: the server answers 404 Not Found"),
    ],
    ids=["refused", "404"],
)
def test_weights_that_cannot_be_fetched_are_one_sentence_with_both_ways_on(
    command: str, answers: bool, reason: str, published, image_folder, tmp_path, monkeypatch, capsys
):
    published.status = 404
    if not answers:
        published.shutdown()
        published.server_close()
    arguments = command_line(command, image_folder, tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["edgenets", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    *about_images, sentence = printed.err.splitlines()
    assert sentence == (
        f"edgenets: {published.url()} {reason}; "
        "download it yourself and pass --weights FILE (run: --set train.weights=FILE), "
        "or begin with random weights: --weights none (run: --set train.weights=none)"
    )
    assert not any(line.startswith("edgenets:") for line in about_images)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_run_records_the_weights_that_it_began_with_and_refuses_others(
    published, tiny_run, image_folder, tmp_path, capsys
):
    model = Model.load(tiny_run / "stages" / "01-train").net
    model.save_weights(tmp_path / "net.h5")
    published.content = (tmp_path / "net.h5").read_bytes()
    first, out = sha256_bytes(published.content), tmp_path / "run"
    command = command_line("run", image_folder, out)
    edgenets(capsys, *command)
    recorded = load_config(out / "config.yaml").train
    assert (recorded.weights, recorded.weights_sha256) == ("imagenet", first)
    trained = load_spec(out / "stages" / "01-train")[0]
    assert trained.initial_weights == {"source": published.url(), "sha256": first}

    times = {path: path.stat().st_mtime_ns for path in (out / "stages").rglob("*")}
    edgenets(capsys, *command)
    assert published.asked == [None]  # fetched once

    shutil.rmtree(tmp_path / "cache")
    model.get_layer("logits").bias.assign([1.0, 2.0, 3.0])
    model.save_weights(tmp_path / "net.h5")
    published.content = (tmp_path / "net.h5").read_bytes()
    again = ("run", out / "config.yaml", "--out", tmp_path / "again")
    for arguments in (command, again):
        with pytest.raises(EdgenetsError) as raised:
            edgenets(capsys, *arguments)
        assert str(raised.value) == (
            f"the weights imagenet must have the SHA-256 {first}, as when the config was "
            f"written, got {sha256_bytes(published.content)}; restore them, or begin another run, "
            "without weights_sha256 in its config"
        )
    assert not (tmp_path / "again").exists()
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


# A teacher of another net


@pytest.fixture(scope="module")
def teacher(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ShuffleNet V2, which takes larger images than those that it teaches."""
    out = tmp_path_factory.mktemp("teacher") / "shufflenet"
    options = ("--data", image_folder, "--epochs", "1", "--no-flip", "--out", out)
    arguments = ["train", "shufflenet_v2", "resolution=48", *map(str, options)]
    edgenets_command.main(arguments, standalone_mode=False)
    return out


def taught_by(*teacher: object) -> tuple[str, ...]:
    return ("train", *SMALL, "--weights", "none", "--no-flip", "--epochs", "1", *teacher)


@pytest.mark.slow
def test_net_of_another_family_and_resolution_teaches(teacher, image_folder, tmp_path, capsys):
    losses = []
    for name, options in {"alone": (), "taught": ("--teacher", teacher)}.items():
        out = tmp_path / name
        edgenets(capsys, *taught_by(*options), "--data", image_folder, "--out", out)
        spec = load_spec(out)[0]
        assert (spec.name, spec.preparation.resolution) == ("mobilenet_v1", 32)
        losses.append(spec.history["train"]["loss"])
    assert load_spec(teacher)[0].preparation.resolution == 48
    assert losses[0] != losses[1]


@pytest.mark.slow
def test_teacher_of_other_classes_is_refused(teacher, image_folder, tmp_path, capsys):
    other = shutil.copytree(teacher, tmp_path / "other")
    spec = json.loads((other / "spec.json").read_text())
    (other / "spec.json").write_text(json.dumps({**spec, "labels": ["a", "b", "c"]}))
    with pytest.raises(EdgenetsError) as raised:
        edgenets(
            *(capsys, *taught_by("--teacher", other)),
            *("--data", image_folder, "--out", tmp_path / "m"),
        )
    assert str(raised.value) == (
        f"the teacher {other} must know the images' classes (dark, left, right), it "
        "knows a, b, c; train one on these images"
    )
    assert not (tmp_path / "m").exists()
