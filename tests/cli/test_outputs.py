"""No command replaces what is no file, or a file that it reads, and says so before its work."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.models.weights.sources import PRETRAINED

MODEL = PRETRAINED / "cifar10_mobilenet_v1"
KERAS = ("--trust-source", "--format", "fp32")
# Of each command the option, and the arguments with {out} for what is written, {in} for a file.
COMMANDS = {
    "export": ("--out", ("export", MODEL, "--out", "{out}")),
    "export Keras": ("--out", ("export", "{in}.h5", "--labels", "{in}", *KERAS, "--out", "{out}")),
    "inspect": ("--svg", ("inspect", "{in}", "--svg", "{out}")),
    "predict": ("--csv", ("predict", "{in}", "{in}", "--csv", "{out}")),
    "pack": ("--out", ("pack", "{in}", "--out", "{out}")),
    "unpack": ("--out", ("unpack", "{in}", "--out", "{out}")),
}


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Check that the block leaves a file, or what is none, as it is, and nothing beside it."""
    before = path.lstat(), sorted(path.parent.iterdir())
    yield
    after = path.lstat(), sorted(path.parent.iterdir())
    assert (after[0].st_ino, after[0].st_size, after[1]) == (
        before[0].st_ino,
        before[0].st_size,
        before[1],
    )


def refusal(arguments: tuple[object, ...]) -> str:
    with pytest.raises(EdgenetsError) as raised:
        edgenets_command.main([str(argument) for argument in arguments], standalone_mode=False)
    return str(raised.value)


@pytest.fixture
def give(tmp_path: Path) -> Callable[[str, Path], str]:
    """A function that gives a command an output and returns the sentence with which it fails."""
    for name in ("in", "in.h5"):
        (tmp_path / name).write_bytes(b"mine")

    def give(name: str, out: Path) -> str:
        _, arguments = COMMANDS[name]
        places = {"out": str(out), "in": str(tmp_path / "in")}
        return refusal(tuple(str(argument).format(**places) for argument in arguments))

    return give


@pytest.mark.parametrize("name", COMMANDS)
def test_pipe_is_not_replaced(name: str, give: Callable, tmp_path: Path):
    """As a device would not be; what is given here is a pipe that the test made."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for out in (pipe, link):
        with unchanged(out):
            assert give(name, out) == (
                f"{out} is a device, a pipe or a socket; pass the name of a file with "
                f"{COMMANDS[name][0]}"
            )
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "export"])
def test_file_that_is_read_is_not_replaced(name: str, give: Callable, tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for out in (tmp_path / "in", tmp_path / "link", tmp_path / "new" / ".." / "in"):
        assert f"{out} is a file that is read" in give(name, out)
    assert (tmp_path / "in").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "in.h5", "link"]


def test_export_replaces_neither_its_model_nor_its_labels(tmp_path: Path):
    folder = shutil.copytree(MODEL, tmp_path / "model")
    for name in ("spec.json", "weights.safetensors"):
        with unchanged(folder / name):
            sentence = refusal(("export", folder, "--out", folder / name))
            assert f"{folder / name} is a file that is read" in sentence
    labels, net = tmp_path / "a.tflite.json", tmp_path / "a.keras"
    for path in (labels, net):
        path.write_text("mine")
    arguments = ("export", net, *KERAS, "--labels", labels, "--out", tmp_path / "a.tflite")
    with unchanged(labels):  # the report beside the file would be
        assert f"{labels} is a file that is read" in refusal(arguments)


def test_export_does_not_replace_an_image_that_it_reads(image_folder: Path, tmp_path: Path):
    data = shutil.copytree(image_folder, tmp_path / "data")
    image = data / "train" / "left" / "00.png"
    with unchanged(image):
        sentence = refusal(("export", MODEL, *KERAS[1:], "--data", data, "--out", image))
        assert f"{image} is a file that is read" in sentence


def test_compress_does_not_replace_its_recipe(tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("# mine\n- stage: int8\n")
    with unchanged(recipe):
        sentence = refusal(
            ("compress", MODEL, "--recipe", recipe, "--data", "digits", "--out", tmp_path)
        )
        assert f"{recipe} is a file that is read" in sentence


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("checkpoint.safetensors", ("train", "mobilenet_v1", "--data", "digits")),
        ("model.epk", ("run", "--set", "data.source=digits")),
    ],
)
def test_pipe_in_the_folder_of_a_result_is_refused_before_the_work(
    name: str, arguments: tuple[str, ...], tmp_path: Path
):
    os.mkfifo(tmp_path / name)
    with unchanged(tmp_path / name):
        assert f"{tmp_path / name} is a device, a pipe" in refusal((*arguments, "--out", tmp_path))
