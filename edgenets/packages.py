"""What edgenets needs, as `setup.cfg` states it: packages, their oldest versions, Python's.

It is read from the metadata of the installed edgenets, so that it stands in `setup.cfg` alone.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from edgenets.errors import EdgenetsError

if TYPE_CHECKING:
    from importlib.metadata import PackageMetadata

Version = tuple[int, ...]

# Where a package's module has another name than the package.
MODULES = {
    "Pillow": "PIL",
    "PyYAML": "yaml",
    "scikit-learn": "sklearn",
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "ethos-u-vela": "ethosu.vela",
}
OPTIONAL = ("train", "heic", "ethos-u", "mcu", "sweep", "ray", "update")
"""The extras whose packages a sentence names where they are missing."""


class Package(NamedTuple):
    """A package that edgenets uses."""

    name: str
    oldest: str  # version
    extra: str  # the optional dependencies that it is of; "" for the base

    @property
    def module(self) -> str:
        """What Python imports."""
        return MODULES.get(self.name, self.name.replace("-", "_"))


@cache
def needed(*extras: str) -> tuple[Package, ...]:
    """Return the packages of the base, and of extras, in the order of `setup.cfg`.

    Raises:
        EdgenetsError: edgenets is not installed.

    >>> [package.name for package in needed()][:2]
    ['numpy', 'Pillow']
    """
    packages = []
    for requirement in _metadata().get_all("Requires-Dist") or ():
        asked = re.match(r"([\w-]+)\s*>=\s*([\w.]+)", requirement)
        extra = re.search(r"extra == [\"']([\w-]+)[\"']", requirement)
        if asked and (extra is None or extra[1] in extras):
            packages.append(Package(asked[1], asked[2], extra[1] if extra else ""))
    return tuple(packages)


def has_wheel(name: str) -> bool:
    """Return whether `setup.cfg` asks for a package on a machine like this one: others have none.

    >>> has_wheel("numpy")
    True
    """
    here = {"platform_system": platform.system(), "platform_machine": platform.machine()}
    asked = (row for row in _metadata().get_all("Requires-Dist") or () if row.startswith(name))
    return all(
        (here[key] == value) is (sign == "==")
        for row in asked
        for key, sign, value in re.findall(r"(platform_\w+) ([!=]=) [\"'](\w+)[\"']", row)
    )


@cache
def python_versions() -> tuple[Version, Version]:
    """Return the oldest Python that edgenets runs on, and the first that it is not tested with.

    Raises:
        EdgenetsError: edgenets is not installed.
    """
    wanted = str(_metadata()["Requires-Python"])
    oldest, untested = (
        tuple(int(number) for number in re.findall(rf"{sign}(\d+)\.(\d+)", wanted)[0])
        for sign in (">=", "<")
    )
    return oldest, untested


def installed_version(name: str) -> str | None:
    """Return the version of a package that is installed; None of one that is not.

    >>> installed_version("tflite-macro")
    """
    from importlib.metadata import PackageNotFoundError, version  # takes a board's time

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def require_package(name: str) -> None:
    """Check that a package of optional dependencies is installed.

    Raises:
        EdgenetsError: it is not; the sentence of `missing_package`.
    """
    if installed_version(name) is None:
        raise missing_package(name)


def missing_package(module: str) -> EdgenetsError:
    """Return the error for a module or package of optional dependencies that is not installed.

    >>> str(missing_package("sklearn.linear_model"))
    "this needs scikit-learn, which is not installed; run: pip install 'edgenets[train]'"
    """
    top = module.partition(".")[0]
    # What TensorFlow needs is named nowhere, and comes with it.
    other = Package(top, "", "train")
    package = next(
        (p for p in needed(*OPTIONAL) if top in (p.name, p.module.partition(".")[0])), other
    )
    return EdgenetsError(
        f"this needs {package.name}, which is not installed; run: pip install "
        f"'edgenets[{package.extra}]'"
    )


def explain_missing(error: ModuleNotFoundError) -> EdgenetsError | None:
    """Return the sentence for a module that the `train` extra installs; None for any other."""
    module = (error.name or "").partition(".")[0]
    of_the_extra = {package.module for package in needed("train")}
    return missing_package(module) if module in of_the_extra else None


@contextmanager
def naming_extras() -> Iterator[None]:
    """Let the block, or the function that it decorates, name the extra that a module lacks."""
    try:
        yield
    except ModuleNotFoundError as error:
        if sentence := explain_missing(error):
            raise sentence from error
        raise


def is_older(version: str, oldest: str) -> bool:
    """Return whether a version comes before another, by the numbers in front.

    >>> is_older("1.9.2", "1.26"), is_older("2.21.0rc1", "2.21"), is_older("3.11", "3.11")
    (True, False, False)
    """
    return _numbers(version) < _numbers(oldest)


def _metadata() -> PackageMetadata:
    from importlib.metadata import PackageNotFoundError, metadata  # takes a board's time

    try:
        return metadata("edgenets")
    except PackageNotFoundError as error:
        raise EdgenetsError(
            "edgenets is not installed here, so what it needs is not known; run in its folder: "
            "pip install ."
        ) from error


def _numbers(version: str) -> list[int]:
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return numbers
