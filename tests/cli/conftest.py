"""The command line in this process, and what bad input is tried on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError


@pytest.fixture(scope="session")
def edgenets() -> Callable[..., None]:
    """A function that runs the command line in this process; failures are raised."""

    def run(*arguments: object) -> None:
        edgenets_command.main(list(map(str, arguments)), standalone_mode=False)

    return run


@pytest.fixture(scope="session")
def failure(edgenets: Callable[..., None]) -> Callable[..., str]:
    """A function that returns the sentence that a command line fails with."""

    def fail(*arguments: object) -> str:
        with pytest.raises(EdgenetsError) as raised:
            edgenets(*arguments)
        sentence = str(raised.value)
        assert "\n" not in sentence and not sentence.endswith(".")
        return sentence

    return fail


@pytest.fixture(scope="session")
def content_of() -> Callable[[Path], dict[str, bytes]]:
    """A function that returns all files below a folder, those of unfinished work left out."""

    def read(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file())
        names = {str(file.relative_to(folder)): file for file in files}
        return {name: file.read_bytes() for name, file in names.items() if ".partial/" not in name}

    return read


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of three classes."""
    from edgenets.data.images import Preparation
    from edgenets.models.backend import keras
    from edgenets.models.folder import Model, Spec
    from edgenets.models.registry import complete_arguments, create

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


@pytest.fixture
def fill() -> Callable[[Path], None]:
    """A function that leaves no byte of a disk free."""

    def write(disk: Path) -> None:
        filler = (disk / "filler").open("wb", buffering=0)
        with filler as file, pytest.raises(OSError, match="space"):
            while True:
                file.write(bytes(4096))

    return write
