"""Programs with a Python environment of their own, in the cache: their packages suit no other's.

tosa-tools pins NumPy and flatbuffers, and MediaPipe wants another absl-py than TensorFlow's model
optimization. So they are installed apart (`edgenets doctor --setup-verify`) and run as programs.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edgenets import cache
from edgenets.errors import EdgenetsError
from edgenets.export.devices.emulator import run_tool
from edgenets.files import locked_folder, read_json, write_json
from edgenets.progress import progress_bar, say

SET_UP = "edgenets doctor --setup-verify"
ABOUT = "about.json"
"""Written last: an environment without it is half made."""
STEPS = ("download", "make the environment", "install")


class Environment(NamedTuple):
    """Packages that are installed apart."""

    name: str
    what: str  # it is for, for messages
    packages: tuple[str, ...]  # the first is what its version is told by


TOSA = Environment(
    "tosa",
    "TOSA's reference model",
    ("tosa-tools==2026.8.0", "tosa-converter-for-tflite==2026.2.0"),
)
MEDIAPIPE = Environment("mediapipe", "MediaPipe Tasks", ("mediapipe==1.2.3",))
ENVIRONMENTS = (TOSA, MEDIAPIPE)
DOWNLOAD_MB, DISK_MB = 240, 960
"""What both take."""


def find_environment(environment: Environment) -> Path:
    """Return the folder of an environment in the cache.

    Raises:
        EdgenetsError: it is not set up, or was with other versions, or its Python is gone.
    """
    folder = cache.verify_folder() / environment.name
    if not (folder / ABOUT).exists():
        raise EdgenetsError(f"{environment.what} is not set up; run: {SET_UP}")
    about = read_json(folder / ABOUT)
    if about != _about(environment) or not _python(folder).exists():
        raise EdgenetsError(
            f"{environment.what} in {folder} was set up for another version of edgenets or of "
            f"Python; run: {SET_UP}"
        )
    return folder


def program(environment: Environment, name: str) -> list[str]:
    """Return the command that starts a program of an environment; errors: `find_environment`."""
    folder = find_environment(environment)
    return [str(_python(folder)), *([str(folder / "bin" / name)] if name != "python" else [])]


def version_of(environment: Environment) -> tuple[str, str]:
    """Return the name and the version of what an environment is for.

    >>> version_of(MEDIAPIPE)
    ('mediapipe', '1.2.3')
    """
    name, _, version = environment.packages[0].partition("==")
    return name, version


def set_up(wanted: Sequence[Environment] = ENVIRONMENTS) -> Path:
    """Set up the environments that are not there; return the folder that holds them.

    What was downloaded when it was interrupted is kept; an environment that is half made is made
    anew.

    Args:
        wanted: which ones.

    Raises:
        EdgenetsError: pip cannot fetch or install the packages.
    """
    folder = cache.verify_folder()
    with locked_folder(
        folder,
        wait=lambda: say("waiting for another edgenets process that sets this up"),
        way_out=cache.ANOTHER,
    ):
        for environment in wanted:
            with suppress(EdgenetsError):
                find_environment(environment)
                continue
            _build(environment, folder / environment.name)
    return folder


def _build(environment: Environment, folder: Path) -> None:
    wheels = folder.with_name(f".{folder.name}.wheels")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    only_wheels = ("--quiet", "--only-binary", ":all:")
    with progress_bar(f"set up {environment.what}", total=len(STEPS)) as advance:
        advance(0, STEPS[0])
        run_tool(
            f"fetch the packages of {environment.what} by pip with",
            *(*pip, "download", *only_wheels, "--dest", str(wheels), *environment.packages),
            again=SET_UP,
        )
        advance(1, STEPS[1])
        shutil.rmtree(folder, ignore_errors=True)
        run_tool(
            f"make an environment for {environment.what} with",
            *(sys.executable, "-m", "venv", "--without-pip", str(folder)),
            again=SET_UP,
        )
        advance(1, STEPS[2])
        run_tool(
            f"install {environment.what} by pip with",
            *(*pip, "--python", str(_python(folder)), "install", *only_wheels),
            *("--no-index", "--find-links", str(wheels), *environment.packages),
            again=SET_UP,
        )
        write_json(folder / ABOUT, _about(environment))
        shutil.rmtree(wheels)
        advance(1)


def _about(environment: Environment) -> dict[str, object]:
    python = ".".join(map(str, sys.version_info[:2]))
    return {"packages": list(environment.packages), "python": python}


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"
