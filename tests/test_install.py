"""An editable install is found wherever Python is started, beside the clone too."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import edgenets

ROOT = Path(__file__).parents[1]
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clone named edgenets, and in `site` what `pip install -e` puts there."""
    folder = tmp_path_factory.mktemp("parent")
    clone = folder / "edgenets"
    ignored = shutil.ignore_patterns("__pycache__", "pretrained")
    shutil.copytree(ROOT / "edgenets", clone / "edgenets", ignore=ignored)
    (clone / "export").symlink_to(Path("edgenets") / "export")
    for file in FILES:
        shutil.copy(ROOT / file, clone)
    build = "from setuptools.build_meta import build_editable; build_editable('..')"
    subprocess.run([sys.executable, "-c", build], cwd=clone, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with ZipFile(wheel) as content:
        content.extractall(folder / "site")
    return folder


@pytest.mark.parametrize("where", [".", "edgenets", "edgenets/edgenets", "site"])
def test_an_editable_install_is_found_from(parent: Path, where: str):
    code = (
        f"import site; site.addsitedir({str(parent / 'site')!r}); "
        "import edgenets, edgenets.export; print(edgenets.__version__, edgenets.export.__file__)"
    )
    # -E, -S: without the packages of this Python, where edgenets is installed as well.
    command = [sys.executable, "-E", "-S", "-c", code]
    result = subprocess.run(command, cwd=parent / where, check=True, capture_output=True, text=True)
    module = parent / "edgenets" / "edgenets" / "export" / "__init__.py"
    assert result.stdout.split() == [edgenets.__version__, str(module)]
