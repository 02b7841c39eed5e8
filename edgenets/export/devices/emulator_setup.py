"""Set up the emulated board in the cache: Debian's aarch64 Python, PyPI's aarch64 LiteRT, a plugin.

Packages come through an apt state of their own, so that the system's stays as it is; Debian's
signatures and the package hashes are checked by apt, those of the wheels by pip. The board is made
beside its place and renamed: it is whole or absent. Interrupted, the same command goes on with what
has come.

- A core's folder in `cpus` is what its processes see as the root: symlinks to the packages, and the
  files by which XNNPACK recognizes the core.
- LiteRT is pinned: counts of two releases differ, and newer ones crash in qemu 7.2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

from edgenets import cache
from edgenets.errors import EdgenetsError
from edgenets.export.board.runner import MARK
from edgenets.export.devices.emulator import (
    ABOUT,
    CPUS,
    PACKAGES,
    PLUGIN,
    RECIPE,
    WHEELS,
    Board,
    Cpu,
    find_board,
    find_qemu,
    qemu_version,
    run_tool,
)
from edgenets.files import locked_folder, rename, write_json
from edgenets.progress import progress_bar, say

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PLATFORMS = ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_27_aarch64")
CORES = 4
SOURCE = Path(__file__).with_name("instructions.c")
COMPILERS = ("cc", "gcc", "clang")
PLUGIN_INTERFACES = (1, 2)
"""Versions of qemu's plugin interface, tried in this order; qemu 7.2 has 1."""
TRIAL = f"""
import ai_edge_litert.interpreter, contextlib, os
with contextlib.suppress(ProcessLookupError):
    os.getsid({MARK})
"""
TOOLS = {"apt-get": "apt", "apt-config": "apt", "dpkg-deb": "dpkg"}
"""Program -> Debian package."""


def set_up() -> Board:
    """Set up the board, unless it is there; return it.

    Raises:
        EdgenetsError: qemu, a C compiler or a tool of Debian is missing, or a step fails.
    """
    qemu, compiler = find_qemu(), find_compiler()
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise EdgenetsError(
                f"setting the emulated board up needs {tool} (Debian's package {package}), which "
                "is not here; set it up on Debian or Ubuntu, or in a container of Debian"
            )
    if not KEYRING.exists():
        raise EdgenetsError(
            f"setting the emulated board up needs Debian's keys, {KEYRING}; run: "
            "sudo apt-get install debian-archive-keyring"
        )
    folder = cache.board_folder()
    with locked_folder(
        folder.parent,
        wait=lambda: say("waiting for another edgenets process that sets the emulated board up"),
        way_out=cache.ANOTHER,
    ):
        with suppress(EdgenetsError):
            return find_board()
        return _build(folder, qemu, compiler)


def find_compiler() -> str:
    """Return the path of a C compiler: CC, or the first that is installed.

    Raises:
        EdgenetsError: there is none.
    """
    for name in (os.environ.get("CC"), *COMPILERS):
        if name and (compiler := shutil.which(name)):
            return compiler
    raise EdgenetsError(
        "the emulated board needs a C compiler for its instruction counter, and there is none; "
        "run: sudo apt-get install gcc"
    )


def _build(folder: Path, qemu: str, compiler: str) -> Board:
    partial = folder.with_name(f".{folder.name}.partial")
    work = partial / "work"
    with progress_bar("set up the emulated board", total=5) as advance:
        packages = _download_packages(work)
        advance(1, "wheels")
        wheels = _download_wheels(work / "wheels")
        advance(1, "unpack")
        for name in ("root", "site", "cpus"):
            shutil.rmtree(partial / name, ignore_errors=True)
        for package in packages:
            run_tool(
                f"unpack {package.name} with", "dpkg-deb", "-x", str(package), str(partial / "root")
            )
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(partial / "site")
        for name, cpu in CPUS.items():
            _describe_cpu(partial / "cpus" / name, cpu)
        advance(1, "instruction counter")
        about = {
            "recipe": RECIPE,
            "qemu": qemu_version(qemu),
            "packages": dict(package.name.split("_")[:2] for package in packages),
            "wheels": [wheel.name for wheel in wheels],
        }
        _compile_plugin(Board(partial, qemu, about), compiler)
        advance(1, "")
        write_json(partial / ABOUT, about)
        shutil.rmtree(work)
        if folder.exists():
            shutil.rmtree(folder)
        rename(partial, folder)
        advance()
    return Board(folder, qemu, about)


def _download_packages(work: Path) -> list[Path]:
    """Download into `work/apt`; return the packages' paths."""
    state = work / "apt"
    for name in ("lists/partial", "archives/partial", "none"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    source = f"deb [arch=arm64 signed-by={KEYRING}] {RECIPE['source']}\n"
    (state / "sources.list").write_text(source)
    settings = {
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": state / "none",
        "Dir::Etc::main": state / "none" / "apt.conf",
        "Dir::Etc::parts": state / "none",  # its hooks would touch the system's state
        "Dir::Etc::preferences": state / "none" / "preferences",
        "Dir::Etc::preferencesparts": state / "none",
        "APT::Architecture": "arm64",
        "APT::Update::Error-Mode": "any",  # a list that does not come is an error
        "APT::Sandbox::User": "root",  # no other user can read the cache
        "Acquire::Languages": "none",
        "pkgCacheGen::ForceEssential": "none",
    }
    lines = [f'{key} "{value}";' for key, value in settings.items()]
    network = run_tool("ask the settings of", "apt-config", "dump", "Acquire").splitlines()
    lines[:0] = [line for line in network if "::Proxy" in line or "::CA" in line]
    (state / "apt.conf").write_text("\n".join([*lines, 'APT::Architectures { "arm64"; };', ""]))
    environment = {**os.environ, "APT_CONFIG": str(state / "apt.conf"), "LC_ALL": "C"}
    run_tool("fetch Debian's package list with", "apt-get", "-q", "update", env=environment)
    run_tool(
        "fetch Debian's packages with",
        *("apt-get", "-q", "download", *PACKAGES),
        env=environment,
        cwd=state / "archives",
    )
    found = (state / "archives").glob
    return [max(found(f"{name}_*_arm64.deb"), key=_age) for name in PACKAGES]


def _download_wheels(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    run_tool(
        "fetch LiteRT's wheels with",
        *(sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)),
        *("--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.11"),
        *(part for platform in PLATFORMS for part in ("--platform", platform)),
        *WHEELS,
    )
    wheels = sorted(folder.glob("*.whl"), key=_age)
    return list({wheel.name.split("-")[0]: wheel for wheel in wheels}.values())


def _describe_cpu(folder: Path, cpu: Cpu) -> None:
    """Make the root that a process on this core sees."""
    for entry in (folder.parents[1] / "root").iterdir():
        link = folder / entry.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("..", "..", "root", entry.name))
    processor = {
        "Features": cpu.features,
        "CPU implementer": "0x41",
        "CPU architecture": "8",
        "CPU variant": cpu.variant,
        "CPU part": cpu.part,
        "CPU revision": cpu.revision,
    }
    lines = [f"{key}\t: {value}\n" for key, value in processor.items()]
    cores = (f"processor\t: {i}\n" + "".join(lines) for i in range(CORES))
    model = f"emulated {folder.name}, the core of a {cpu.board}"
    files = {"proc/cpuinfo": "\n".join(cores), "proc/device-tree/model": model}
    for name in ("possible", "present", "online"):
        files[f"sys/devices/system/cpu/{name}"] = f"0-{CORES - 1}\n"
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def _compile_plugin(board: Board, compiler: str) -> None:
    """Compile instructions.c for the first interface that this qemu takes, and try it."""
    count = board.folder / "work" / "count"
    refusals = []
    for interface in PLUGIN_INTERFACES:
        run_tool(
            "compile the instruction counter with",
            *(compiler, "-O2", "-shared", "-fPIC", f"-DINTERFACE={interface}"),
            *("-o", str(board.folder / PLUGIN), str(SOURCE)),
        )
        tried = subprocess.run(
            [*board.command(next(iter(CPUS)), count), "-c", TRIAL],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if tried.returncode == 0 and count.exists() and count.read_text().isdecimal():
            return
        refusals.append((tried.stderr.strip().splitlines() or ["no count came"])[-1])
    raise EdgenetsError(
        f"{board.about['qemu']} cannot load the instruction counter ({refusals[-1]}); it needs a "
        "qemu-user with plugins, as Debian 12's package qemu-user (qemu 7.2); a statically linked "
        "one, as Debian 13's, has none"
    )


def _age(path: Path) -> float:
    """Sort by time: an interrupted set-up that goes on after a release leaves two versions."""
    return path.stat().st_mtime
