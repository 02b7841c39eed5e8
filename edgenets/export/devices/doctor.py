"""What is installed on a device, what of it works, and what each command lacks.

Packages are imported in processes of their own, so that one that crashes takes nothing with it.
The tables below repeat `setup.cfg`; a test compares them.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from edgenets import cache
from edgenets.errors import EdgenetsError
from edgenets.export.board.interpreter import DELEGATES
from edgenets.export.devices import emulator, emulator_setup
from edgenets.export.devices.opening import open_device
from edgenets.progress import progress_bar

OLDEST_PYTHON, FIRST_UNTESTED_PYTHON = (3, 10), (3, 14)
OK, MISSING, BROKEN = "ok", "missing", "broken"


class Package(NamedTuple):
    """A package that edgenets uses: its distribution, module, oldest version and part."""

    name: str
    module: str
    oldest: str
    part: str  # base, runtime, train or heic


PACKAGES = (
    Package("numpy", "numpy", "1.26", "base"),
    Package("Pillow", "PIL", "10.3", "base"),
    Package("click", "click", "8.2", "base"),
    Package("rich", "rich", "13.7", "base"),
    Package("ai-edge-litert", "ai_edge_litert.interpreter", "2.1.6", "runtime"),
    Package("tflite-runtime", "tflite_runtime.interpreter", "2.14", "runtime"),
    Package("tensorflow", "tensorflow", "2.21", "train"),
    Package("tf_keras", "tf_keras", "2.21", "train"),
    Package("tensorflow-model-optimization", "tensorflow_model_optimization", "0.8.1", "train"),
    Package("safetensors", "safetensors", "0.4.5", "train"),
    Package("h5py", "h5py", "3.11", "train"),
    Package("pydantic", "pydantic", "2.7", "train"),
    Package("PyYAML", "yaml", "6.0.1", "train"),
    Package("scikit-learn", "sklearn", "1.5", "train"),
    Package("jinja2", "jinja2", "3.1.4", "train"),
    Package("matplotlib", "matplotlib", "3.9", "train"),
    Package("pillow-heif", "pillow_heif", "1.0", "heic"),
)
# Part -> how it is installed.
FIXES = {
    "base": "pip install edgenets",
    "runtime": "pip install ai-edge-litert",
    "train": "pip install 'edgenets[train]'",
    "heic": "pip install 'edgenets[heic]'",
}
# Command -> parts it needs.
COMMANDS = {
    "list": ("base",),
    "predict, evaluate, benchmark": ("base", "runtime"),
    "run, train, compress, export, summary, report": ("base", "runtime", "train"),
    "HEIC photographs": ("base", "heic"),
    "benchmark --device ssh://HOST": ("base", "runtime", "ssh"),
    "benchmark --device emulated:CPU": ("base", "emulator"),
}


class Finding(NamedTuple):
    """One thing that was looked for."""

    name: str
    part: str
    state: str  # OK, MISSING or BROKEN
    version: str = ""
    note: str = ""  # what is wrong
    fix: str = ""  # a command


def examine(device: str = "local", *, patience_seconds: float | None = None) -> dict[str, Any]:
    """Return what is installed on `device` and what commands lack.

    Args:
        device: "local", or as `open_device` takes it.
        patience_seconds: as for `open_device`.

    Returns:
        `device`; `findings`: a `Finding` each; `commands`: of each its `ready` and the `missing`
        names, empty for other devices; `broken`: names of what is installed and does not work.

    Raises:
        EdgenetsError: there is no such device, or it cannot be reached.
    """
    if device == "local":
        findings = [_python(), *_packages(), _edge_tpu(), _program("ssh", "openssh-client", "ssh")]
        findings += _emulator()
        commands = [_readiness(name, parts, findings) for name, parts in COMMANDS.items()]
    else:
        findings, commands = _remote(device, patience_seconds), []
    return {
        "device": device,
        "findings": [finding._asdict() for finding in findings],
        "commands": commands,
        "broken": [finding.name for finding in findings if finding.state == BROKEN],
    }


def is_older(version: str, oldest: str) -> bool:
    """Return whether a version comes before another, by the numbers in front.

    >>> is_older("1.9.2", "1.26"), is_older("2.21.0rc1", "2.21"), is_older("3.11", "3.11")
    (True, False, False)
    """
    return _numbers(version) < _numbers(oldest)


def _numbers(version: str) -> list[int]:
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return numbers


def _python() -> Finding:
    version = platform.python_version()
    if not OLDEST_PYTHON <= sys.version_info[:2] < FIRST_UNTESTED_PYTHON:
        note = "edgenets is tested with Python 3.10 to 3.13"
        return Finding("Python", "base", BROKEN, version, note, "python3.13 -m venv .venv")
    return Finding("Python", "base", OK, version)


def _packages() -> list[Finding]:
    installed = [package for package in PACKAGES if _version(package.name)]
    failures = _import_failures([package.module for package in installed])
    findings = [_finding(package, failures.get(package.module)) for package in PACKAGES]
    if any(finding.part == "runtime" and finding.state == OK for finding in findings):
        # One interpreter is enough.
        findings = [f for f in findings if f.part != "runtime" or f.state != MISSING]
    return findings


def _finding(package: Package, failure: str | None) -> Finding:
    version = _version(package.name)
    if version is None:
        return Finding(package.name, package.part, MISSING, fix=FIXES[package.part])
    numpy = _version("numpy") or "0"
    if package.name == "tflite-runtime" and not is_older(numpy, "2"):
        note = f"tflite-runtime needs NumPy 1, and {numpy} is installed"
        fix = (
            "pip install 'numpy<2'"
            if not _version("ai-edge-litert")
            else "pip uninstall tflite-runtime"
        )
        return Finding(package.name, package.part, BROKEN, version, note, fix)
    if is_older(version, package.oldest):
        note = f"edgenets needs at least {package.oldest}"
        fix = f"pip install --upgrade '{package.name}>={package.oldest}'"
        return Finding(package.name, package.part, BROKEN, version, note, fix)
    if failure:
        fix = f"pip install --force-reinstall {package.name}"
        return Finding(package.name, package.part, BROKEN, version, failure, fix)
    return Finding(package.name, package.part, OK, version)


def _import_failures(modules: Sequence[str]) -> dict[str, str]:
    """Import the modules one after the other in a fresh process; return what failed, by module.

    After a module that kills the process, the rest is imported in another one.
    """
    script = (
        "import importlib, json, os, sys\n"
        "answers = os.fdopen(os.dup(1), 'w')\n"
        "os.dup2(2, 1)\n"
        "for name in sys.argv[1:]:\n"
        "    failure = None\n"
        "    try: importlib.import_module(name)\n"
        "    except BaseException as error: failure = f'{type(error).__name__}: {error}'\n"
        "    print(json.dumps([name, failure]), file=answers, flush=True)\n"
    )
    failures: dict[str, str] = {}
    left = list(modules)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}
    with progress_bar("look at packages", len(left)) as advance:
        while left:
            with subprocess.Popen(
                [sys.executable, "-c", script, *left],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as process:
                assert process.stdout is not None
                try:
                    for line in process.stdout:
                        name, failure = json.loads(line)
                        left.remove(name)
                        if failure:
                            failures[name] = " ".join(failure.split())
                        advance(1, name)
                finally:
                    if process.poll() is None and sys.exc_info()[0]:
                        process.kill()
            if left:
                failures[left.pop(0)] = f"its import ends Python with status {process.returncode}"
                advance()
    return failures


def _edge_tpu() -> Finding:
    library = DELEGATES["edgetpu"]
    try:
        ctypes.CDLL(library)
    except OSError:
        fix = "sudo apt-get install libedgetpu1-std"
        note = "only for Coral devices; from Coral's Debian repository"
        return Finding("Edge TPU runtime", "edgetpu", MISSING, note=note, fix=fix)
    return Finding("Edge TPU runtime", "edgetpu", OK, library)


def _program(name: str, package: str, part: str) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding(name, part, MISSING, fix=f"sudo apt-get install {package}")
    return Finding(name, part, OK, path)


def _emulator() -> list[Finding]:
    qemu = _program("qemu-aarch64", "qemu-user", "emulator")
    if qemu.state == OK:
        qemu = qemu._replace(version=emulator.qemu_version(qemu.version))
    try:
        compiler = Finding("C compiler", "emulator", OK, emulator_setup.find_compiler())
    except EdgenetsError:
        fix = "sudo apt-get install gcc"
        compiler = Finding("C compiler", "emulator", MISSING, fix=fix)
    return [qemu, compiler, _emulated_board()]


def _emulated_board() -> Finding:
    name = "emulated board"
    try:
        board = emulator.find_board()
    except EdgenetsError as error:
        is_there = (cache.board_folder() / emulator.ABOUT).exists()
        note, state = (str(error), BROKEN) if is_there else ("", MISSING)
        return Finding(name, "emulator", state, note=note, fix=emulator.SET_UP)
    return Finding(name, "emulator", OK, ", ".join(board.about["recipe"]["wheels"]))


def _remote(device: str, patience_seconds: float | None) -> list[Finding]:
    """Look at an emulated board, or at one over SSH, by asking its Python."""
    if device.startswith(emulator.PREFIX):
        emulator.cpu_of(device)
        findings, fix = _emulator(), emulator.SET_UP
        if any(finding.state != OK for finding in findings):
            return findings
    else:
        findings, fix = [], f"edgenets benchmark FILE.tflite --device {device} --setup"
    with open_device(device, patience_seconds=patience_seconds) as session:
        (found,) = session.ask([{"do": "probe"}])
    about, runtime, problem = found["device"], found["runtime"], found["problem"]
    board = about["processor"] or "unknown processor"
    findings.append(Finding("board", "base", OK, f"{board} ({about['machine']})"))
    findings.append(Finding("Python", "base", OK, about["python"]))
    numpy = about["numpy"]
    findings.append(
        Finding("numpy", "runtime", OK, numpy)
        if numpy
        else Finding("numpy", "runtime", MISSING, fix=fix)
    )
    if runtime:
        findings.append(Finding(runtime["name"], "runtime", OK, runtime["version"]))
    else:
        state = BROKEN if "NumPy 1" in problem else MISSING
        findings.append(Finding("interpreter", "runtime", state, note=problem, fix=fix))
    return findings


def _readiness(name: str, parts: Iterable[str], findings: Iterable[Finding]) -> dict[str, Any]:
    wanting = [f for f in findings if f.part in parts and f.state != OK]
    if any(f.part == "runtime" and f.state == OK for f in findings):
        wanting = [f for f in wanting if f.part != "runtime"]
    return {"command": name, "ready": not wanting, "missing": [f.name for f in wanting]}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
