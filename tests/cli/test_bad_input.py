"""Bad input of every kind: one sentence that says what to do, and what existed before is intact."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from edgenets.cli.main import edgenets_command
from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.files import locked_folder, sha256_file
from edgenets.models.backend import keras, tf
from edgenets.models.folder import Model, Spec
from edgenets.models.registry import complete_arguments, create
from edgenets.pipeline.config_file import dump_config, load_config
from edgenets.progress import printable
from edgenets.training import fit as fit_module
from edgenets.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from edgenets.training.settings import FitSettings

NET = ("mobilenet_v1", "width=0.25", "resolution=32", "output_stride=8")
TRAIN = ("train", *NET, "--weights", "none")


def edgenets(*arguments: object) -> None:
    """Run the command line in this process; failures are raised."""
    edgenets_command.main(list(map(str, arguments)), standalone_mode=False)


def failure(*arguments: object) -> str:
    """Return the sentence that a command line fails with."""
    with pytest.raises(EdgenetsError) as raised:
        edgenets(*arguments)
    sentence = str(raised.value)
    assert "\n" not in sentence and not sentence.endswith(".")
    return sentence


def content_of(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, those of unfinished work left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {str(file.relative_to(folder)): file for file in files}
    return {name: file.read_bytes() for name, file in names.items() if ".partial/" not in name}


def draw(folder: Path, images: dict[str, int], size: tuple[int, int] = (32, 32)) -> Path:
    """Write so many images into each class folder; each class has its own brightness."""
    random = np.random.default_rng(0)
    for c, (name, count) in enumerate(images.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.integers(60 * c, 60 * c + 60, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of three classes."""
    keras.utils.set_random_seed(0)
    arguments = complete_arguments(
        "mobilenet_v1", {"width": 0.25, "resolution": 32, "classes": 3, "output_stride": 8}
    )
    labels, preparation = ("dark", "left", "right"), Preparation(32, 32)
    spec = Spec("mobilenet_v1", arguments, labels, preparation, seed=0)
    folder = tmp_path_factory.mktemp("untrained") / "model"
    Model(create("mobilenet_v1", **arguments), spec).save(folder)
    return folder


@pytest.fixture
def model_dir(untrained: Path, tmp_path: Path) -> Path:
    """A copy of the model folder, to damage."""
    return shutil.copytree(untrained, tmp_path / "model")


@pytest.fixture
def run_dir(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to damage."""
    return shutil.copytree(tiny_run, tmp_path / "run")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that mounts a disk of a given size, or gives the one there another size."""
    disk = tmp_path / "disk"

    def mount(options: str) -> Path:
        remount = "remount," if disk.is_mount() else ""
        disk.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", remount + options, "tmpfs", str(disk)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a small disk needs root")
        return disk

    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root on Linux")
    yield mount
    subprocess.run(["umount", str(disk)], check=False)


def fill(disk: Path) -> None:
    """Leave no byte of a disk free."""
    with (disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        while True:
            file.write(bytes(4096))


# Config files and --set


@pytest.mark.parametrize(
    "text, message",
    [
        ("seed: 1\nseed: 2\n", "line 2: the key 'seed' is there twice (first in line 1)"),
        ("train:\n  epochs: 1\n  epochs: 2\n", "line 3: the key 'epochs' is there twice"),
        ("compress:\n- stage: prune\n  stage: share\n", "line 3: the key 'stage' is there twice"),
        ("model:\n  name: mobilenet_v1\n  widht: 1\n", "line 3: model: unknown argument"),
        ("model:\n  name: mobilenet_v9\n", "line 2: model: unknown model 'mobilenet_v9'; did you"),
        ("data:\n  sorce: x\n", "line 2: unknown key 'data.sorce'; did you mean source?"),
        ("seed: 1\nexport: {fromat: int8}\n", "line 2: unknown key 'export.fromat'"),
        ("benchmark: {thread: 1}\n", "line 1: unknown key 'benchmark.thread'; did you mean thr"),
        ("compress:\n- {stage: share, cluster: 4}\n", "line 2: unknown key 'compress.0.cluster'"),
        ("compress:\n- {stage: prunne}\n", "line 2: compress.0: unknown stage 'prunne'; did you"),
        ("compress:\n- {sparsity: 0.5}\n", "line 2: compress.0: stage is missing; add one of"),
        ("compress: {stage: prune}\n", "line 1: compress: input should be a list"),
        ("seed: 0\ntrain:\n", "line 2: train: input should be keys and values, got None"),
        ("data: digits\n", "line 1: data: input should be keys and values, got 'digits'"),
        ("data: {source: ''}\n", "line 1: data.source: string should have at least 1 character"),
        ("seed: 9000000000\n", "line 1: seed: input should be less than 2147483648"),
        ("seed: 2020-13-45\n", "is not valid YAML: month must be in 1..12"),
        (f"seed: {'9' * 5000}\n", "is not valid YAML: Exceeds the limit"),
        ("1: 2\n", "line 1: 1: keys should be strings"),
        ("? [a]\n: 1\n? [a]\n: 2\n", "is not valid YAML: found unhashable key"),
        ("- seed\n", "must hold keys and values, such as `seed: 0`"),
        ("seed: 0\n\ttrain: 1\n", "line 2 is not valid YAML: found character '\\t'"),
        ("seed: 0\n--- \nseed: 1\n", "line 2 is not valid YAML"),
        ("!!python/object/apply:os.system [ls]\n", "is not valid YAML: could not determine"),
        ("[" * 5000, "is not valid YAML"),
        (b"\x7fELF\0\1\2\xff", "is not valid YAML"),
    ],
)
def test_config_that_is_wrong_is_named_with_its_line(text: str | bytes, message: str, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_bytes(text if isinstance(text, bytes) else text.encode())
    sentence = failure("run", config, "--out", tmp_path / "run")
    assert sentence.startswith(str(config)) and message in sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "assignment, message",
    [
        ("trian.epochs=3", "unknown key 'trian'; did you mean train?"),
        ("train.epochs.x=3", "train.epochs: input should be a valid integer"),
        ("train.epochs=[", "is not valid YAML"),
        ("seed=2020-13-45", "is not valid YAML: month must be in 1..12"),
        ("seed={a: 1, a: 2}", "the key 'a' is there twice"),
        ("compress.prune.sparsity=0.5", "or a stage's by its number, such as compress.0.sparsity"),
        ("compress.²=1", "there is no such key; give one such as train.epochs"),
        ("model.name=mobilnet_v1", "unknown model 'mobilnet_v1'; did you mean mobilenet_v1?"),
        ("train.epochs", "--set needs KEY=VALUE, such as train.epochs=5"),
        (f"{'9' * 5000}=1", "unknown key '999"),
        (f"compress.{'9' * 5000}=1", "or a stage's by its number, such as compress.0.sparsity"),
        (f"seed={'9' * 5000}", "is not valid YAML: Exceeds the limit"),
        ("train.epochs=9999999999", "train.epochs: input should be less than 2147483648, got 9999"),
        ("train={[1]: 2}", "is not valid YAML: found unhashable key"),
        ("train={? [1]: 2, ? [1]: 3}", "is not valid YAML: found unhashable key"),
        ("train=&a {b: *a}", "unknown key 'train.b'"),
        ("model.name=[1]", "unknown model '[1]'"),
        ("compress=[{stage: {a: 1}}]", "unknown stage \"{'a': 1}\""),
    ],
)
def test_assignment_that_is_wrong_is_named(assignment: str, message: str, tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text("seed: 3\n")
    for arguments in ((config,), ()):
        sentence = failure("run", *arguments, "--set", assignment, "--out", tmp_path / "run")
        assert message in sentence and assignment in sentence


@pytest.mark.parametrize(
    "key", ["data.source", "data.unlabelled", "train.teacher", "train.weights"]
)
def test_path_that_no_system_has_is_one_sentence(key: str, tmp_path: Path):
    assert r"a\x00b" in printable(
        failure("run", "--set", f'{key}="a\\0b"', "--out", tmp_path / "run")
    )


def test_config_that_cannot_be_read_is_one_sentence(tmp_path: Path):
    (tmp_path / "birds.yaml").touch()
    sentence = failure("run", tmp_path / "brids.yaml")
    assert "No such file or directory; did you mean birds.yaml?" in sentence
    assert "Is a directory" in failure("run", tmp_path)


# Where the output goes


def test_run_folder_that_cannot_be_one_is_refused_at_once(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("mine")
    assert "is not a folder; pass another one with --out" in failure("run", "--out", file)
    for out in (file / "run", Path("/proc/run")):
        assert f"cannot use the folder {out}: " in failure("run", "--out", out)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", ["model.tflite", "report.json", "stages"])
def test_run_does_not_overwrite_what_is_not_a_run(name: str, tmp_path: Path):
    (tmp_path / name).write_text("mine")
    assert f"holds {name} but no config.yaml of a run; pass another" in failure(
        "run", "--out", tmp_path
    )
    assert content_of(tmp_path) == {name: b"mine"}


def test_run_that_could_not_begin_leaves_the_folder_free_for_another_config(tmp_path: Path):
    out = tmp_path / "runs" / "mine"
    source = f"data.source={tmp_path / 'nowhere'}"
    assert "no data folder" in failure("run", "--set", source, "--out", out)
    assert not out.exists()
    out.mkdir(parents=True)
    assert "no data folder" in failure("run", "--set", source, "--out", out)
    assert list(out.iterdir()) == []  # the folder was there before, and is still


def test_second_process_in_a_folder_is_refused(tmp_path: Path):
    with locked_folder(tmp_path):
        for command in (("run",), (*TRAIN, "--data", "digits")):
            sentence = failure(*command, "--out", tmp_path)
            assert f"{tmp_path} is in use by another edgenets process; wait for it" in sentence
    assert list(tmp_path.iterdir()) == []


def test_model_folder_that_cannot_be_one_is_refused_before_training(untrained, tmp_path: Path):
    train = (*TRAIN, "--data", "digits", "--out")
    file = tmp_path / "file"
    file.write_text("mine")
    assert "is not a folder; pass another one with --out" in failure(*train, file)
    assert f"cannot use the folder {file / 'model'}: " in failure(*train, file / "model")
    before = content_of(untrained)
    assert "already holds a model; pass another folder or remove it" in failure(*train, untrained)
    assert (content_of(untrained), file.read_text()) == (before, "mine")


def test_tflite_that_cannot_be_written_is_refused_before_the_conversion(untrained, tmp_path):
    export = ("export", untrained, "--format", "fp32", "--out")
    file = tmp_path / "file"
    file.write_text("mine")
    for folder in (tmp_path, "."):
        assert "is a folder; pass the name of a file with --out" in failure(*export, folder)
    assert f"{file} is not a folder; pass another --out" in failure(*export, file / "m.tflite")
    assert content_of(tmp_path) == {"file": b"mine"}


def test_read_only_disk_is_refused_at_once(untrained: Path, small_disk):
    disk = small_disk("size=1m")
    (disk / "empty").mkdir()
    small_disk("ro")
    train = (*TRAIN, "--data", "digits", "--out")
    assert "it cannot be written; pass another one with --out" in failure(*train, disk / "empty")
    assert "Read-only file system; pass another one" in failure(*train, disk / "new")
    assert "it cannot be written" in failure(
        "export", untrained, "--format", "fp32", "--out", disk / "m.tflite"
    )


# Data


def corrupt(image: Path) -> Path:
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    return image


def test_strict_training_names_the_corrupt_image(tmp_path: Path):
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
def test_data_that_cannot_train_is_one_sentence(images: dict, message: str, tmp_path: Path):
    data = draw(tmp_path / "data", images)
    assert message in failure(*TRAIN, "--data", data, "--out", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_data_that_is_a_file_is_one_sentence(untrained: Path, tmp_path: Path):
    file = tmp_path / "photos.zip"
    file.write_text("zip")
    message = "photos.zip is a file; give a folder laid out as"
    assert message in failure(*TRAIN, "--data", file, "--out", tmp_path / "model")
    assert message in failure("evaluate", untrained, "--data", file)
    assert message in failure(
        "export", untrained, "--data", file, "--out", tmp_path / "model.tflite"
    )


@pytest.mark.slow
def test_few_odd_images_train_and_a_corrupt_one_is_listed(tmp_path: Path, capsys):
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
def test_no_epochs_leave_a_model_that_counts_as_untrained(image_folder, tmp_path: Path, capsys):
    model = tmp_path / "model"
    edgenets(*TRAIN, "--data", image_folder, "--out", model, "--epochs", 0)
    assert json.loads((model / "spec.json").read_text())["history"] == {}
    edgenets("evaluate", model, "--data", image_folder)


# Training


@pytest.mark.slow
def test_learning_rate_too_high_is_one_sentence(image_folder: Path, tmp_path: Path):
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
def test_spec_that_does_not_fit_is_one_sentence(changes: dict, message: str, model_dir: Path):
    spec = json.loads((model_dir / "spec.json").read_text())
    (model_dir / "spec.json").write_text(json.dumps({**spec, **changes}))
    sentence = failure("evaluate", model_dir, "--data", "digits")
    assert sentence.startswith(f"{model_dir / 'spec.json'}: {message}")
    assert sentence.endswith("; restore it or train again")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"\x7fELF\0"])
def test_spec_that_is_not_json_is_one_sentence(content: bytes, model_dir: Path):
    (model_dir / "spec.json").write_bytes(content)
    sentence = failure("evaluate", model_dir, "--data", "digits")
    assert "spec.json is not valid JSON" in sentence
    assert sentence.endswith("restore the file or make it again")


@pytest.mark.parametrize("content", ["[]", "null", "3", '"spec"'])
def test_spec_that_is_no_object_is_one_sentence(content: str, model_dir: Path):
    (model_dir / "spec.json").write_text(content)
    assert "it must hold keys and values" in failure("evaluate", model_dir, "--data", "digits")


def set_weights(model_dir: Path, content: bytes) -> None:
    """Write the weights with the hash that belongs to them."""
    (model_dir / "weights.safetensors").write_bytes(content)
    spec = json.loads((model_dir / "spec.json").read_text())
    spec["weights_sha256"] = sha256_file(model_dir / "weights.safetensors")
    (model_dir / "spec.json").write_text(json.dumps(spec))


def test_weights_that_are_cut_short_are_noticed(model_dir: Path):
    weights = model_dir / "weights.safetensors"
    cut = weights.read_bytes()[:100_000]
    weights.write_bytes(cut)
    sentence = failure("evaluate", model_dir, "--data", "digits")
    assert "its SHA-256 differs); restore it or train again" in sentence
    set_weights(model_dir, cut)
    sentence = failure("evaluate", model_dir, "--data", "digits")
    assert "is not a safetensors file that NumPy can read" in sentence
    weights.unlink()
    assert "cannot read" in failure("evaluate", model_dir, "--data", "digits")


def test_weights_of_a_type_that_numpy_lacks_are_one_sentence(model_dir: Path):
    header = json.dumps({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    set_weights(model_dir, len(header).to_bytes(8, "little") + header + bytes(2))
    assert "that NumPy can read ('BF16')" in failure("evaluate", model_dir, "--data", "digits")


@pytest.mark.slow
def test_weights_that_are_all_zero_give_no_file(model_dir: Path, image_folder: Path, tmp_path):
    weights = safetensors.numpy.load((model_dir / "weights.safetensors").read_bytes())
    zeros = {name: np.zeros_like(tensor) for name, tensor in weights.items()}
    set_weights(model_dir, safetensors.numpy.save(zeros))
    out = tmp_path / "m.tflite"
    sentence = failure("export", model_dir, "--data", image_folder, "--out", out)
    assert sentence.startswith("the Keras model's logits are all zero")
    assert not out.exists()


def test_model_that_is_none_is_one_sentence(tmp_path: Path):
    file = tmp_path / "notes.txt"
    file.write_text("no network")
    (tmp_path / "folder").mkdir()
    out = tmp_path / "m.tflite"
    for command in (("export", "--format", "fp32", "--out", out), ("evaluate", "--data", "digits")):
        name, *options = command
        assert "is not a model folder: it has no spec.json" in failure(
            name, tmp_path / "folder", *options
        )
        assert str(tmp_path / "nowhere") in failure(name, tmp_path / "nowhere", *options)
    assert "is not a model folder" in failure("export", file, "--format", "fp32", "--out", out)
    assert "is not a .tflite file" in failure("evaluate", file, "--data", "digits")
    assert not out.exists()


# .tflite files, images and reports


@pytest.mark.parametrize("command", ["evaluate", "predict", "benchmark"])
def test_tflite_that_is_none_is_one_sentence(command: str, image_folder: Path, tmp_path: Path):
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
def test_truncated_tflite_is_one_sentence(command: str, tiny_run: Path, image_folder, tmp_path):
    image = image_folder / "test" / "dark" / "00.png"
    options = {"evaluate": ("--data", image_folder), "predict": (image,), "benchmark": ()}[command]
    content = (tiny_run / "model.tflite").read_bytes()
    for kept in (20, 1000, len(content) // 2, len(content) - 1):
        file = tmp_path / "cut.tflite"
        file.write_bytes(content[:kept])
        assert "cut.tflite" in failure(command, file, *options)


@pytest.mark.slow
def test_images_that_are_none_are_reported_after_the_others(
    tiny_run: Path, image_folder: Path, tmp_path: Path, capsys
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


def test_folder_without_a_report_is_one_sentence(tmp_path: Path):
    for path in (tmp_path, tmp_path / "nowhere"):
        assert "has no report.json; run `edgenets run" in failure("report", path)


@pytest.mark.slow
def test_report_shows_names_of_files_that_are_no_text(run_dir: Path, capsys):
    report = json.loads((run_dir / "report.json").read_text())
    report["data"]["skipped"] = [{"path": os.fsdecode(b"\xff.png"), "reason": "empty file"}]
    (run_dir / "report.json").write_text(json.dumps(report))
    edgenets("report", run_dir)
    assert "\\udcff.png" in (run_dir / "report.html").read_text()


@pytest.mark.slow
def test_report_that_cannot_be_written_leaves_the_old_one(run_dir: Path, small_disk, capsys):
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


# A full disk


@pytest.mark.slow
def test_full_disk_ends_an_export_and_leaves_the_old_file(untrained: Path, small_disk, capsys):
    disk = small_disk("size=400k")  # the float32 file has over 800 KiB
    file = disk / "model.tflite"
    file.write_text("old")
    export = ("export", untrained, "--format", "fp32", "--out", file)
    assert f"cannot write {file}: No space left on device; what was there is" in failure(*export)
    assert content_of(disk) == {"model.tflite": b"old"}
    small_disk("size=2m")
    edgenets(*export)
    assert file.stat().st_size > 800_000


@pytest.mark.slow
def test_full_disk_ends_a_training_and_leaves_no_model(image_folder, small_disk, capsys):
    disk = small_disk("size=400k")  # the weights have over 800 KiB
    (disk / "mine").write_text("mine")
    train = (*TRAIN, "--data", image_folder, "--out", disk / "model", "--epochs", 0)
    assert "No space left on device; what was there is unchanged, free some" in failure(*train)
    assert content_of(disk) == {"mine": b"mine"}
    small_disk("size=4m")
    edgenets(*train)
    assert sorted(p.name for p in (disk / "model").iterdir()) == [
        "spec.json",
        "weights.safetensors",
    ]


@pytest.mark.slow
def test_full_disk_ends_a_run_and_the_same_command_completes_it(
    tiny_run: Path, tiny_config: Path, small_disk, capsys
):
    run_dir = shutil.copytree(tiny_run, small_disk("size=20m") / "run")
    shutil.rmtree(run_dir / "stages" / "04-export")
    (run_dir / "model.tflite").write_text("old")
    fill(run_dir.parent)
    before = content_of(run_dir.parent)
    run = ("run", tiny_config, "--out", run_dir)
    assert "No space left on device; what was there is unchanged, free some" in failure(*run)
    assert content_of(run_dir.parent) == before
    (run_dir.parent / "filler").unlink()
    edgenets(*run)
    for name in ("model.tflite", "stages/04-export/model.tflite"):
        assert (run_dir / name).read_bytes() == (tiny_run / name).read_bytes()


# Damaged run folders


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe"])
def test_stage_with_a_damaged_record_is_made_again(
    content: bytes, run_dir: Path, tiny_config: Path, capsys
):
    record = run_dir / "stages" / "05-benchmark" / "stage.json"
    record.write_bytes(content)
    before = {name: c for name, c in content_of(run_dir).items() if "benchmark" not in name}
    edgenets("run", tiny_config, "--out", run_dir)
    assert json.loads(record.read_text())["name"] == "benchmark"
    after = content_of(run_dir)
    for name in before.keys() - {"report.json", "report.html"}:
        assert after[name] == before[name]


@pytest.mark.slow
def test_process_killed_just_before_the_end_of_a_stage_does_not_repeat_it(
    run_dir: Path, tiny_config: Path, capsys
):
    stage = run_dir / "stages" / "01-train"
    for name in ("key", "checkpoint.safetensors"):  # which the next process removes
        (stage / name).write_text("left over")
    edgenets("run", tiny_config, "--out", run_dir)
    assert "train ..." not in capsys.readouterr().err
    assert not (stage / "key").exists() and not (stage / "checkpoint.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "content, message",
    [
        (b"\x7fELF\0", "config.yaml is not valid YAML"),
        (b"seed: 0\nseeds: 1\n", "config.yaml line 2: unknown key 'seeds'"),
        (b"", "holds a run whose 'data' differs"),
    ],
)
def test_damaged_config_of_a_run_is_refused_with_the_way_out(
    content: bytes, message: str, run_dir: Path, tiny_config: Path
):
    (run_dir / "config.yaml").write_bytes(content)
    before = content_of(run_dir)
    sentence = failure("run", tiny_config, "--out", run_dir)
    assert message in sentence
    assert sentence.endswith(f"pass another folder with --out, or remove {run_dir} to start again")
    assert content_of(run_dir) == before


@pytest.mark.slow
def test_stage_with_a_bad_checkpoint_is_refused_with_the_way_out(
    run_dir: Path, tiny_config: Path, capsys
):
    stages = run_dir / "stages"
    key = json.loads((stages / "03-share" / "stage.json").read_text())["key"]
    shutil.rmtree(stages / "03-share")
    partial = stages / ".03-share.partial"
    partial.mkdir()
    (partial / "key").write_text(key)
    checkpoint = partial / "checkpoint.safetensors"
    save_checkpoint(checkpoint, "another", Progress(), [], [])
    sentence = failure("run", tiny_config, "--out", run_dir)
    assert f"the checkpoint {checkpoint} belongs to a training with other settings" in sentence


# Ctrl-C


def interrupted_when(seen: Callable[[], bool], *arguments: object) -> str:
    """Start a command, press Ctrl-C once `seen`, and return what it says then."""
    script = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # background jobs ignore it
        "from edgenets.cli.main import main; main()"
    )
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 120
        while not seen():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in messages
    assert messages.endswith(
        "interrupted; what is done is kept, the same command goes on from there\n"
    )
    return messages


def progress_in(checkpoint: Path) -> dict:
    content = checkpoint.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["progress"])


@pytest.mark.slow
def test_ctrl_c_in_a_training_keeps_its_checkpoint_and_the_command_goes_on(
    image_folder: Path, tmp_path: Path, capsys
):
    model = tmp_path / "model"
    checkpoint = model / "checkpoint.safetensors"
    train = (*TRAIN, "--data", image_folder, "--out", model, "--epochs", 5)
    interrupted_when(checkpoint.exists, *train)
    previous = model / "checkpoint.safetensors.previous"
    assert {*model.iterdir()} <= {checkpoint, previous}
    assert "belongs to a training with other settings" in failure(*train, "--no-flip")
    losses = progress_in(checkpoint)["history"]["loss"]
    assert 1 <= len(losses) < 5
    edgenets(*train)
    history = json.loads((model / "spec.json").read_text())["history"]["train"]
    assert len(history["loss"]) == 5 and history["loss"][: len(losses)] == losses
    assert not checkpoint.exists() and not previous.exists()


@pytest.mark.slow
def test_ctrl_c_in_the_benchmark_of_a_run_loses_nothing(
    run_dir: Path, tiny_config: Path, tmp_path: Path, capsys
):
    config = load_config(tiny_config, ["benchmark.min_seconds=4"])
    for path in (tmp_path / "config.yaml", run_dir / "config.yaml"):
        path.write_text(dump_config(config))
    run = ("run", tmp_path / "config.yaml", "--out", run_dir)
    stages = run_dir / "stages"
    before = content_of(stages)
    messages = interrupted_when((stages / ".05-benchmark.partial" / "key").exists, *run)
    assert "[4/5] export: top-1" in messages and "[1/5] train ..." not in messages
    assert content_of(stages) == before
    edgenets(*run)
    record = json.loads((stages / "05-benchmark" / "stage.json").read_text())
    assert record["measured"]["latency_ms"]["median"] > 0
    assert not (stages / ".05-benchmark.partial").exists()
