"""Updates in the aarch64 Python of the emulated board, over HTTPS on loopback."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgenets as en
from edgenets.export.devices.emulator import PYTHON
from edgenets.export.metadata import with_labels
from edgenets.flatbuffer import rewrite, set_metadata

pytestmark = [pytest.mark.board, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
PACKAGES = ("tuf", "cryptography", "click", "rich", "Pillow")
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64")
# All in one process, whose start is most of the time. `sys.executable` is the emulator's start, of
# which a child is made: this machine runs no aarch64 program by itself.
ON_THE_BOARD = """\
import json, platform, sys
sys.executable, url, into, root = sys.argv[1:]
import edgenets as en
found = [platform.machine()]
for source in ("first", "second"):
    found.append(en.update(f"{url}/{source}", into=into, model="colours", root=root).to_json())
    root = None
    en.current(into, start=True)
    en.confirm(into)
found.append(en.rollback(into).to_json())
print(json.dumps(found))
"""


@pytest.fixture(scope="session")
def board_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an update needs there, for aarch64; kept for the next run."""
    folder = tmp_path_factory.getbasetemp().parent / "edgenets-cache" / "update"
    if not folder.exists():
        options = [f"--platform={name}" for name in PLATFORMS] + ["--only-binary=:all:"]
        options += ["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3"]
        filling = tmp_path_factory.mktemp("packages")
        command = [sys.executable, "-m", "pip", "install", "--quiet", *options, "--target", filling]
        if subprocess.run([*map(str, command), *PACKAGES]).returncode:
            pytest.skip("there is no network, or no wheels for aarch64")
        folder.parent.mkdir(exist_ok=True)
        filling.rename(folder)
    return folder


@pytest.fixture
def board_python(emulated_board, board_packages: Path, tmp_path: Path) -> Path:
    """A program that starts the board's Python, with edgenets and what it needs."""
    places = (emulated_board.folder / "site", board_packages, ROOT)
    path = f"PYTHONPATH={':'.join(map(str, places))}"
    words = emulated_board.command("cortex-a72")
    command = [path if word.startswith("PYTHONPATH=") else word for word in words]
    python = tmp_path / PYTHON
    python.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    python.chmod(0o755)
    return python


def test_an_arm_board_updates_confirms_and_rolls_back_over_https(
    board_python: Path, colour_file: Path, https_server, tmp_path: Path
):
    from PIL import Image

    for label, colour in (("red", (200, 60, 20)), ("blue", (20, 60, 200))):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.new("RGB", (8, 8), colour).save(tmp_path / "photos" / label / "1.png")
    served = tmp_path / "served"
    for name in ("first", "second"):
        releases = en.Releases(served / name, tmp_path / "keys")
        if name == "first":
            root = releases.init()
        else:
            shutil.copytree(served / "first", served / "second")
        file = tmp_path / f"{name}.tflite"
        content = rewrite(colour_file.read_bytes(), set_metadata, {"tag": name.encode()})
        file.write_bytes(with_labels(content, ("red", "green", "blue")))
        releases.publish(file, model="colours", probes=tmp_path / "photos")
    url, certificate = https_server(served)
    words = [board_python, "-c", ON_THE_BOARD, board_python, url, tmp_path / "board", root]
    environment = {**os.environ, "SSL_CERT_FILE": str(certificate)}
    ran = subprocess.run(list(map(str, words)), env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    machine, first, second, back = json.loads(ran.stdout)
    assert machine == "aarch64"
    assert (first["action"], first["release"]["number"], first["pending"]) == ("installed", 1, None)
    assert (second["action"], second["release"]["number"]) == ("installed", 2)
    assert second["release"]["probes"]["images"] == 2 and second["pending"]["starts"] == 0
    assert (back["release"]["number"], back["left"][0]["number"]) == (1, 2)
