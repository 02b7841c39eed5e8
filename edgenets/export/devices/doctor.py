"""What is installed on a device, what of it works, and what each command lacks.

Packages are imported in processes of their own, so that one that crashes takes nothing with it.
"""

from __future__ import annotations

import ctypes
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
from edgenets.export.board.interpreter import RUNTIMES
from edgenets.export.board.protocol import DELEGATES, NEEDS_NUMPY_1
from edgenets.export.devices import emulator, emulator_setup, environments
from edgenets.export.devices.device import LOCAL, Device, Emulated
from edgenets.export.devices.opening import open_device
from edgenets.export.devices.program import EDGETPU_COMPILER, INSTALL_EDGETPU_COMPILER
from edgenets.packages import (
    OPTIONAL,
    Package,
    has_wheel,
    installed_version,
    is_older,
    needed,
    python_versions,
)
from edgenets.progress import progress_bar

OK, MISSING, BROKEN = "ok", "missing", "broken"

EXTRAS = ("tflite-runtime", *OPTIONAL)
# Part -> what installs it.
FIXES = {
    "base": "pip install edgenets",
    "runtime": "pip install ai-edge-litert",
    **{extra: f"pip install 'edgenets[{extra}]'" for extra in OPTIONAL},
}
# Part that some machines cannot have -> what is done there.
WITHOUT = {"mcu": "export --target mcu estimates the arena"}
# Command -> parts it needs.
COMMANDS = {
    "list, inspect, pack, unpack": ("base",),
    "predict, evaluate, benchmark, verify": ("base", "runtime"),
    "run, train, compress, export, summary, report": ("base", "runtime", "train"),
    "sweep": ("base", "runtime", "train", "sweep"),
    "HEIC photographs": ("base", "heic"),
    "export --target coral --compile": ("base", "runtime", "train", "edgetpu-compiler"),
    "export --target ethos-u55-128 --compile": ("base", "runtime", "train", "ethos-u"),
    "export --target mcu": ("base", "runtime", "train", "mcu"),
    "benchmark --delegate edgetpu": ("base", "runtime", "edgetpu"),
    "benchmark --device ssh://HOST": ("base", "runtime", "ssh"),
    "benchmark --device emulated:CPU": ("base", "emulator"),
    "release, update": ("base", "runtime", "update"),
    "verify --runtime tosa, --client mediapipe": ("base", "runtime", "verify"),
}


class Finding(NamedTuple):
    """One thing that was looked for."""

    name: str
    part: str
    state: str  # OK, MISSING or BROKEN
    version: str = ""
    note: str = ""  # what is wrong
    fix: str = ""  # a command


def examine(device: Device = LOCAL, *, patience_seconds: float | None = None) -> dict[str, Any]:
    """Return what is installed on `device` and what commands lack.

    Args:
        device: this machine, or a board.
        patience_seconds: as for `open_device`.

    Returns:
        `device`; `findings`: a `Finding` each; `commands`: of each its `ready` and the `missing`
        names, empty for other devices; `broken`: names of what is installed and does not work.

    Raises:
        EdgenetsError: it cannot be reached.
    """
    if device == LOCAL:
        findings = [_python(), *_packages(), _edge_tpu(), _edge_tpu_compiler()]
        findings += [
            _program("ssh", "openssh-client", "ssh"),
            *_emulator(),
            *map(_environment, environments.ENVIRONMENTS),
        ]
        commands = [_readiness(name, parts, findings) for name, parts in COMMANDS.items()]
    else:
        findings, commands = _remote(device, patience_seconds), []
    return {
        "device": device.name,
        "findings": [finding._asdict() for finding in findings],
        "commands": commands,
        "broken": [finding.name for finding in findings if finding.state == BROKEN],
    }


def _python() -> Finding:
    version = platform.python_version()
    oldest, untested = python_versions()
    if not oldest <= sys.version_info[:2] < untested:
        first, newest = ".".join(map(str, oldest)), f"{untested[0]}.{untested[1] - 1}"
        note = f"edgenets is tested with Python {first} to {newest}"
        return Finding("Python", "base", BROKEN, version, note, f"python{newest} -m venv .venv")
    return Finding("Python", "base", OK, version)


def _packages() -> list[Finding]:
    packages = needed(*EXTRAS)
    installed = [package for package in packages if installed_version(package.name)]
    failures = _import_failures([package.module for package in installed])
    findings = [_finding(package, failures.get(package.module)) for package in packages]
    if any(finding.part == "runtime" and finding.state == OK for finding in findings):
        # One interpreter is enough.
        findings = [f for f in findings if f.part != "runtime" or f.state != MISSING]
    return findings


def _finding(package: Package, failure: str | None) -> Finding:
    version = installed_version(package.name)
    part = "runtime" if package.name in RUNTIMES else package.extra or "base"
    if version is None and part in WITHOUT and not has_wheel(package.name):
        note = f"there is none for {platform.system()} on {platform.machine()}; {WITHOUT[part]}"
        return Finding(package.name, part, MISSING, note=note)
    if version is None:
        return Finding(package.name, part, MISSING, fix=FIXES[part])
    numpy = installed_version("numpy") or "0"
    if package.name == "tflite-runtime" and not is_older(numpy, "2"):
        note = f"{NEEDS_NUMPY_1}, and {numpy} is installed"
        fix = (
            "pip install 'numpy<2'"
            if not installed_version("ai-edge-litert")
            else "pip uninstall tflite-runtime"
        )
        return Finding(package.name, part, BROKEN, version, note, fix)
    if is_older(version, package.oldest):
        note = f"edgenets needs at least {package.oldest}"
        fix = f"pip install --upgrade '{package.name}>={package.oldest}'"
        return Finding(package.name, part, BROKEN, version, note, fix)
    if failure:
        fix = f"pip install --force-reinstall {package.name}"
        return Finding(package.name, part, BROKEN, version, failure, fix)
    return Finding(package.name, part, OK, version)


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


def _edge_tpu_compiler() -> Finding:
    found = _program(EDGETPU_COMPILER, "edgetpu-compiler", "edgetpu-compiler")
    if found.state == OK:
        return found
    return found._replace(fix="", note=INSTALL_EDGETPU_COMPILER)  # no archive of Debian has it


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


def _environment(environment: environments.Environment) -> Finding:
    folder = cache.verify_folder() / environment.name
    try:
        environments.find_environment(environment)
    except EdgenetsError as error:
        is_there = (folder / environments.ABOUT).exists()
        note, state = (str(error), BROKEN) if is_there else ("", MISSING)
        return Finding(environment.what, "verify", state, note=note, fix=environments.SET_UP)
    return Finding(environment.what, "verify", OK, ", ".join(environment.packages))


def _remote(device: Device, patience_seconds: float | None) -> list[Finding]:
    """Look at an emulated board, or at one over SSH, by asking its Python."""
    if isinstance(device, Emulated):
        findings, fix = _emulator(), emulator.SET_UP
        if any(finding.state != OK for finding in findings):
            return findings
    else:
        findings, fix = [], f"edgenets benchmark FILE.tflite --device {device.name} --setup"
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
        state = BROKEN if problem.startswith(NEEDS_NUMPY_1) else MISSING
        findings.append(Finding("interpreter", "runtime", state, note=problem, fix=fix))
    return findings


def _readiness(name: str, parts: Iterable[str], findings: Iterable[Finding]) -> dict[str, Any]:
    wanting = [f for f in findings if f.part in parts and f.state != OK]
    wanting = [f for f in wanting if f.fix or f.part not in WITHOUT]
    if any(f.part == "runtime" and f.state == OK for f in findings):
        wanting = [f for f in wanting if f.part != "runtime"]
    return {"command": name, "ready": not wanting, "missing": [f.name for f in wanting]}
