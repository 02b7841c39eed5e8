"""What edgenets needs stands in `setup.cfg` alone; code and pages agree with it."""

from __future__ import annotations

import configparser
import importlib
import importlib.metadata
import re
from pathlib import Path

import pytest

from edgenets.errors import EdgenetsError
from edgenets.packages import OPTIONAL, missing_package, needed, python_versions

ROOT = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
EXTRAS = (*OPTIONAL, "tflite-runtime")


def stated(lines: str) -> list[tuple[str, str]]:
    return re.findall(r"^([\w-]+)>=([\w.]+)", lines, re.MULTILINE)


def test_packages_are_those_of_the_setup():
    expected = [(*row, "") for row in stated(SETUP["options"]["install_requires"])]
    for extra in EXTRAS:
        lines = SETUP["options.extras_require"][extra]
        expected += [(*row, extra) for row in stated(lines)]
    assert len(expected) > 15
    assert sorted(map(tuple, needed(*EXTRAS))) == sorted(expected)


@pytest.mark.parametrize("package", needed(*OPTIONAL), ids=lambda package: package.name)
def test_module_of_a_package_is_found(package):
    assert importlib.util.find_spec(package.module)


def test_range_of_python_is_that_of_the_setup_and_of_the_pages():
    oldest, untested = (".".join(map(str, version)) for version in python_versions())
    assert SETUP["options"]["python_requires"] == f">={oldest},<{untested}"
    assert SETUP["mypy"]["python_version"] == oldest
    newest = f"3.{int(untested.removeprefix('3.')) - 1}"
    assert f"with Python {oldest} to {newest}" in (ROOT / "README.md").read_text()
    page = (ROOT / "docs" / "reference" / "benchmark.md").read_text()
    assert f"The board needs Python {oldest} or later" in page


def test_what_comes_with_tensorflow_is_of_the_training():
    assert "run: pip install 'edgenets[train]'" in str(missing_package("keras.layers"))
    assert "pillow-heif, which" in str(missing_package("pillow_heif"))


def test_without_metadata_it_says_how_to_install_it(monkeypatch):
    def fail(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", fail)
    needed.cache_clear()
    with pytest.raises(EdgenetsError, match="run in its folder: pip install"):
        needed("train")
