from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from edgenets.errors import EdgenetsError
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.config_file import dump_config, load_config


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_empty_file_is_the_default_run(tmp_path: Path):
    assert load_config(write(tmp_path, "")) == load_config(None) == RunConfig()


def test_dumped_config_is_read_back_equal(tmp_path: Path):
    config = load_config(None, ["train.epochs=3", "seed=7"])
    assert load_config(write(tmp_path, dump_config(config))) == config


def test_dumped_config_writes_every_default_out():
    dumped = yaml.safe_load(dump_config(RunConfig()))
    assert dumped["model"] == {
        "name": "mobilenet_v1",
        "resolution": 32,
        "width": 0.25,
        "activation": "relu6",
        "pad_value": 0.0,
        "output_stride": 8,
    }
    assert dumped["compress"][0]["sparsity"] == 0.65


def test_folder_of_images_is_kept_as_an_absolute_path(tmp_path: Path):
    config = load_config(write(tmp_path, "data: {source: photos}"))
    assert config.data.source == str(Path.cwd() / "photos")


def test_tilde_is_the_home_and_in_a_name_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = write(tmp_path, "")
    monkeypatch.setenv("HOME", "/home/me")
    sources = {"~/photos": "/home/me/photos", "~old/photos": str(Path("~old/photos").absolute())}
    for given, kept in sources.items():
        assert load_config(file, [f"data.source={given}"]).data.source == kept


@pytest.mark.parametrize(
    "assignment, value",
    [
        ("train.epochs=5", lambda config: config.train.epochs == 5),
        ("compress.0.sparsity=0.8", lambda config: config.compress[0].sparsity == 0.8),
        ("compress=[]", lambda config: config.compress == ()),
        ("model.width=0.5", lambda config: config.model["width"] == 0.5),
        ("model.name=shufflenet_v2", lambda config: config.model["resolution"] == 224),
        ("data.flip=false", lambda config: config.data.flip is False),
    ],
)
def test_assignment_changes_one_key(assignment: str, value):
    assert value(load_config(None, [assignment]))


@pytest.mark.parametrize(
    "text, message",
    [
        ("seed: 0\ntrain:\n  epochs: 3\n  epoch: 4\n", "line 4: unknown key 'train.epoch'; did"),
        ("sead: 1\n", "line 1: unknown key 'sead'; did you mean seed?"),
        ("compress:\n  - stage: prune\n    sparsity: 1.0\n", "line 3: compress.0.sparsity: input"),
        ("compress:\n  - {stage: prun}\n", "line 2: compress.0"),
        ("model: {name: mobilenet_v1, width: wide}\n", "line 1: model: width of mobilenet_v1"),
        ("model: {name: mobilenet_v1, classes: 3}\n", "line 1: model: classes is the number of"),
        ("model: {name: vgg16}\n", "line 1: model: vgg16 is a baseline that ratios are stated"),
        ("model: {name: alexnet}\n", "it is built and counted (`edgenets summary`), not trained"),
        ("model: {width: 1.0}\n", "line 1: model: name is missing"),
        ("train: {learning_rate: .nan}\n", "line 1: train.learning_rate"),
        ("compress: [{stage: share}, {stage: prune}]\n", "prune after share would undo"),
        ("- a list\n", "must hold keys and values"),
        ("a: [1\n", "is not valid YAML"),
    ],
)
def test_what_does_not_fit_gets_a_sentence_with_its_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(EdgenetsError) as raised:
        load_config(write(tmp_path, text))
    assert message in str(raised.value)
    assert "config.yaml" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "assignment, message",
    [
        ("train.epochs", "--set needs KEY=VALUE"),
        ("train.epochs=-1", "--set train.epochs=-1: train.epochs: input should be greater"),
        ("train.epoch=1", "--set train.epoch=1: unknown key 'train.epoch'; did you mean epochs?"),
        ("compress.7.sparsity=0.5", "there is no such key"),
        ("seed.x=1", "--set seed.x=1: seed: input should be a valid integer"),
    ],
)
def test_wrong_assignment_is_named(assignment: str, message: str):
    with pytest.raises(EdgenetsError) as raised:
        load_config(None, [assignment])
    assert message in str(raised.value)
