"""What `edgenets doctor` finds, and what it says of what does not work."""

from __future__ import annotations

import sys

import pytest

from edgenets.cli.doctor import print_report
from edgenets.errors import EdgenetsError
from edgenets.export.devices import doctor
from edgenets.export.devices.device import Emulated, Ssh, parse_device
from edgenets.export.devices.doctor import BROKEN, MISSING, OK, Finding
from edgenets.packages import Package, needed


@pytest.fixture
def versions(monkeypatch):
    """What is installed: package -> version."""
    installed = {}
    monkeypatch.setattr(doctor, "installed_version", installed.get)
    return installed


def package(name):
    return next(row for row in needed(*doctor.EXTRAS) if row.name == name)


def test_missing_package_names_the_extra(versions):
    finding = doctor._finding(package("tensorflow"), None)
    assert (finding.state, finding.fix) == (MISSING, "pip install 'edgenets[train]'")


def test_package_that_a_machine_cannot_have_asks_for_no_command(versions, monkeypatch, capsys):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    finding = doctor._finding(package("tflite-micro"), None)
    assert (finding.state, finding.fix) == (MISSING, "")
    name, parts = "export --target mcu", ("mcu",)
    ready = {"command": name, "ready": True, "missing": []}
    assert doctor._readiness(name, parts, [finding]) == ready
    print_report({"device": "local", "findings": [finding._asdict()], "commands": [ready]})
    said = " ".join(capsys.readouterr().out.split())
    assert "on aarch64; export --target mcu estimates the arena" in said
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert doctor._finding(package("tflite-micro"), None).fix == "pip install 'edgenets[mcu]'"


def test_old_package_is_broken_and_names_the_upgrade(versions):
    versions["rich"] = "13.6.1"
    finding = doctor._finding(package("rich"), None)
    assert (finding.state, finding.fix) == (BROKEN, "pip install --upgrade 'rich>=13.7'")


@pytest.mark.parametrize(
    "installed, fix",
    [
        ({}, "pip install 'numpy<2'"),
        ({"ai-edge-litert": "2.3.0"}, "pip uninstall tflite-runtime"),
    ],
)
def test_tflite_runtime_beside_numpy_2_is_broken(versions, installed, fix):
    versions |= {"numpy": "2.4.6", "tflite-runtime": "2.14.0", **installed}
    finding = doctor._finding(package("tflite-runtime"), "AttributeError: _ARRAY_API not found")
    assert (finding.state, finding.fix) == (BROKEN, fix)
    assert "NumPy 1" in finding.note and "2.4.6" in finding.note


def test_tflite_runtime_beside_numpy_1_works(versions):
    versions |= {"numpy": "1.26.4", "tflite-runtime": "2.14.0"}
    assert doctor._finding(package("tflite-runtime"), None).state == OK


def test_module_that_kills_python_takes_no_other_with_it(tmp_path, monkeypatch):
    (tmp_path / "dies.py").write_text("import os; os.kill(os.getpid(), 11)")
    (tmp_path / "fails.py").write_text("raise ValueError('two\\nlines')")
    (tmp_path / "chatters.py").write_text("print('hello')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert doctor._import_failures(["json", "dies", "fails", "chatters"]) == {
        "dies": "its import ends Python with status -11",
        "fails": "ValueError: two lines",
    }


def test_installed_package_that_cannot_be_imported_is_broken(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "numpy.py").write_text("raise ImportError('no such library')")
    monkeypatch.setattr(doctor, "needed", lambda *extras: (Package("numpy", "1.26", ""),))
    report = doctor.examine()
    numpy = next(row for row in report["findings"] if row["name"] == "numpy")
    assert (numpy["state"], numpy["note"]) == (BROKEN, "ImportError: no such library")
    assert report["broken"] == ["numpy"]
    assert {row["command"] for row in report["commands"] if not row["ready"]} == set(
        doctor.COMMANDS
    )


def test_other_interpreter_is_not_missing_where_one_works(versions, monkeypatch):
    monkeypatch.setattr(doctor, "_import_failures", lambda modules: {})
    versions |= {row.name: "99" for row in needed(*doctor.EXTRAS)} | {
        "numpy": "1.99",
        "ai-edge-litert": None,
    }
    names = {finding.name for finding in doctor._packages()}
    assert "tflite-runtime" in names and "ai-edge-litert" not in names


def test_command_lacks_what_its_parts_lack():
    findings = [
        Finding("numpy", "base", OK, "2.4.6"),
        Finding("tflite-runtime", "runtime", BROKEN, "2.14.0"),
        Finding("ai-edge-litert", "runtime", OK, "2.3.0"),
        Finding("tensorflow", "train", MISSING),
    ]
    ready = {"command": "predict", "ready": True, "missing": []}
    assert doctor._readiness("predict", ("base", "runtime"), findings) == ready
    lacking = {"command": "train", "ready": False, "missing": ["tensorflow"]}
    assert doctor._readiness("train", ("base", "train"), findings) == lacking


def test_commands_for_a_coral_lack_its_library_and_its_compiler(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "needed", lambda *extras: ())
    monkeypatch.setattr(doctor, "DELEGATES", {"edgetpu": "no_such_library.so"})
    monkeypatch.setenv("PATH", str(tmp_path))

    def examined():
        report = doctor.examine()
        missing = {row["command"]: row["missing"] for row in report["commands"]}
        return report["findings"], missing

    findings, missing = examined()
    assert missing["benchmark --delegate edgetpu"] == ["Edge TPU runtime"]
    assert missing["export --target coral --compile"] == ["edgetpu_compiler"]
    (note,) = (row["note"] for row in findings if row["name"] == "edgetpu_compiler")
    assert note.startswith("install Google's Debian package edgetpu-compiler from")
    program = tmp_path / "edgetpu_compiler"
    program.touch(0o755)
    assert examined()[1]["export --target coral --compile"] == []


def test_python_out_of_the_range_is_broken(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    assert doctor._python().state == BROKEN


@pytest.mark.parametrize("device", ["emulated:cortex-a7", "emulated:", "pi"])
def test_unknown_device_is_refused(device):
    with pytest.raises(EdgenetsError, match="cortex-a53, cortex-a72, cortex-a76"):
        parse_device(device)


@pytest.mark.board
def test_emulated_board_is_examined_by_asking_its_python(emulated_board):
    report = doctor.examine(Emulated("cortex-a53"))
    assert {row["name"]: row["state"] for row in report["findings"]} == dict.fromkeys(
        (
            *("qemu-aarch64", "C compiler", "emulated board", "board", "Python", "numpy"),
            "ai-edge-litert",
        ),
        OK,
    )
    assert report["broken"] == []


class FakeSession:
    """A board that answers the job `probe`."""

    def __init__(self, **answer):
        self.answer = {
            "device": {
                "processor": "Raspberry Pi 4",
                "machine": "aarch64",
                "python": "3.11.2",
                "numpy": "1.26.4",
            },
            "runtime": None,
            "problem": None,
            **answer,
        }

    def ask(self, jobs):
        assert jobs == [{"do": "probe"}]
        return [self.answer]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.mark.parametrize(
    "answer, name, state, broken",
    [
        ({"runtime": {"name": "tflite-runtime", "version": "2.14.0"}}, "tflite-runtime", OK, []),
        ({"problem": "no interpreter can be imported"}, "interpreter", MISSING, []),
        (
            {"problem": "tflite-runtime needs NumPy 1, and 2.0 is installed"},
            "interpreter",
            BROKEN,
            ["interpreter"],
        ),
    ],
)
def test_board_over_ssh_is_examined_by_asking_its_python(monkeypatch, answer, name, state, broken):
    monkeypatch.setattr(doctor, "open_device", lambda device, **_: FakeSession(**answer))
    report = doctor.examine(Ssh("pi", "board", None))
    states = {row["name"]: row["state"] for row in report["findings"]}
    assert states == {"board": OK, "Python": OK, "numpy": OK, name: state}
    assert report["broken"] == broken
    if state != OK:
        assert report["findings"][-1]["fix"].endswith("--device ssh://pi@board --setup")
