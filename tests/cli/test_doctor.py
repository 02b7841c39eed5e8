import json

import pytest
from click.testing import CliRunner

from edgenets.cli.doctor import command
from edgenets.errors import EdgenetsError

REPORT = {
    "device": "local",
    "findings": [
        {
            "name": "numpy",
            "part": "base",
            "state": "ok",
            "version": "2.4.6",
            "note": "",
            "fix": "",
        },
        *(
            {
                "name": name,
                "part": "train",
                "state": "missing",
                "version": "",
                "note": "",
                "fix": "pip install 'edgenets[train]'",
            }
            for name in ("tensorflow", "tf_keras")
        ),
    ],
    "commands": [{"command": "train", "ready": False, "missing": ["tensorflow", "tf_keras"]}],
    "broken": [],
}


@pytest.fixture
def found(monkeypatch):
    """What the next examination finds, and the devices that were examined."""
    devices = []

    def examine(device, *, patience_seconds):
        devices.append(device.name)
        return REPORT

    monkeypatch.setattr("edgenets.export.devices.doctor.examine", examine)
    return devices


def test_report_names_each_fix_once(found):
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 0
    assert found == ["local"]
    assert "tensorflow, tf_keras:\n    pip install 'edgenets[train]'\n" in result.output


def test_json_is_the_report(found):
    result = CliRunner().invoke(command, ["emulated:cortex-a76", "--json"])
    assert json.loads(result.stdout) == REPORT
    assert found == ["emulated:cortex-a76"]


def test_what_is_broken_fails_after_the_report(found, monkeypatch):
    monkeypatch.setitem(REPORT, "broken", ["numpy"])
    result = CliRunner().invoke(command, [])
    assert "2.4.6" in result.output
    assert isinstance(result.exception, EdgenetsError)
    assert str(result.exception) == "numpy: installed, but not as needed"
