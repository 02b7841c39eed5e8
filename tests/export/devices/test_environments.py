"""Programs with an environment of their own: set up whole or not at all, and told apart."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.devices import doctor, environments
from edgenets.export.devices.environments import ABOUT, MEDIAPIPE, TOSA, Environment

TOY = Environment("toy", "a toy", ("toy==1.0",))
FILES = {
    "toy.py": "print('plays')",
    "toy-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n",
    "toy-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "toy-1.0.dist-info/RECORD": "",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """Where environments are set up; pip is told of no index and of one folder of wheels."""
    monkeypatch.setenv("EDGENETS_CACHE", str(tmp_path))
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "verify"


@pytest.mark.parametrize("environment", [TOSA, MEDIAPIPE])
def test_what_is_not_set_up_names_the_command(environment):
    with pytest.raises(EdgenetsError, match="is not set up; run: edgenets doctor --setup-verify"):
        environments.find_environment(environment)
    finding = doctor._environment(environment)
    assert (finding.state, finding.fix) == (doctor.MISSING, environments.SET_UP)


@pytest.mark.slow
def test_half_made_environment_is_made_anew_and_another_version_is_told(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "toy-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in FILES.items():
            wheel.writestr(name, content)
    half = folder / "toy" / "bin" / "python"
    half.parent.mkdir(parents=True)
    half.touch()
    environments.set_up([TOY])
    command = [*environments.program(TOY, "python"), "-m", "toy"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "plays\n"
    assert not list(folder.glob(".*.wheels"))
    about = (folder / "toy" / ABOUT).stat()
    environments.set_up([TOY])  # is there
    assert (folder / "toy" / ABOUT).stat() == about
    with pytest.raises(EdgenetsError, match=r"was set up for another version .* --setup-verify"):
        environments.find_environment(TOY._replace(packages=("toy==2.0",)))


def test_pip_that_fails_is_one_sentence_and_leaves_no_environment(folder, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # where nothing listens
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(EdgenetsError) as failure:
        environments.set_up([TOY])
    sentence = str(failure.value)
    assert sentence.startswith("cannot fetch the packages of a toy by pip")
    assert "toy==1.0" in sentence and sentence.endswith(
        f"repeat {environments.SET_UP}, which goes on from there"
    )
    assert "\n" not in sentence and not (folder / "toy").exists()
