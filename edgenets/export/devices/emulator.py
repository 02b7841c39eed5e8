"""An ARM board that is emulated: the aarch64 Python and LiteRT under qemu.

The kernels that run are those of the named core: XNNPACK is told the core by /proc/cpuinfo, as on a
board. `emulator_setup.py` puts the board into the cache; docs/guide/emulated_board.md
lists what it is good for.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from edgenets.cache import board_folder
from edgenets.errors import EdgenetsError
from edgenets.export.targets import RPI3, RPI4, RPI5
from edgenets.files import read_json

PYTHON = "python3.11"
PLUGIN = "instructions.so"
SET_UP = "edgenets doctor --setup-emulator"
# Of libc6 the dynamic linker, of the others what Python, NumPy and LiteRT link to.
PACKAGES = (
    *("libc6", "libgcc-s1", "libstdc++6", "libgomp1", "zlib1g", "libexpat1", "libssl3", "libffi8"),
    *("liblzma5", "libbz2-1.0", "libpython3.11-minimal", "libpython3.11-stdlib"),
    "python3.11-minimal",
)
LITERT = "ai-edge-litert==2.1.6"
WHEELS = (LITERT, "numpy==1.26.4")
RECIPE = {
    "version": 3,  # of how emulator_setup.py makes it
    "source": "http://deb.debian.org/debian bookworm main",
    "packages": list(PACKAGES),
    "wheels": list(WHEELS),
}
"""What the board is made of; a board of another recipe is set up anew."""
DOWNLOAD_MB, DISK_MB = 46, 145
"""What the recipe takes: packages 9.7 MB, Debian's list of them 8.7 MB, wheels 27.8 MB."""
ABOUT = "about.json"


class Cpu(NamedTuple):
    """A core as Linux describes it in /proc/cpuinfo of the board that has it."""

    board: str
    variant: str
    part: str
    revision: int
    features: str


ARMV8 = "fp asimd evtstrm crc32 cpuid"
ARMV8_2 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp"
)
CPUS = {
    "cortex-a53": Cpu(RPI3.device, "0x0", "0xd03", 4, ARMV8),
    "cortex-a72": Cpu(RPI4.device, "0x0", "0xd08", 3, ARMV8),
    "cortex-a76": Cpu(RPI5.device, "0x4", "0xd0b", 1, ARMV8_2),
}
"""By the name that `emulated:` takes, which is also qemu's."""


class Board(NamedTuple):
    """An emulated board that is set up."""

    folder: Path
    qemu: str
    about: dict[str, Any]  # as emulator_setup.py writes it: recipe, packages, wheels, qemu

    def command(self, cpu: str, count: Path | None = None) -> list[str]:
        """Return the command that starts the board's Python on the core `cpu`.

        With `count`, a file, the instructions that it executes are counted (see instructions.c).
        """
        root = self.folder / "root"
        environment = {
            "PYTHONHOME": str(root / "usr"),
            "PYTHONPATH": str(self.folder / "site"),
            "PYTHONHASHSEED": "0",
            "OPENBLAS_NUM_THREADS": "1",
        }
        plugin = f"{self.folder / PLUGIN},count={count}" if count else None
        return [
            self.qemu,
            *("-cpu", cpu),
            *("-L", str(self.folder / "cpus" / cpu)),
            *(("-plugin", plugin) if plugin else ()),
            *(part for item in environment.items() for part in ("-E", "=".join(item))),
            str(root / "usr" / "bin" / PYTHON),
        ]


def find_qemu() -> str:
    """Return the path of the emulator.

    Raises:
        EdgenetsError: it is not installed.
    """
    qemu = shutil.which("qemu-aarch64")
    if qemu is None:
        raise EdgenetsError(
            "the emulated board needs qemu-aarch64, which is not installed; run: "
            "sudo apt-get install qemu-user"
        )
    return qemu


def find_board() -> Board:
    """Return the board in the cache.

    Raises:
        EdgenetsError: it is not set up, or was by another version of edgenets or of qemu.
    """
    folder = board_folder()
    if not (folder / ABOUT).exists():
        raise EdgenetsError(f"the emulated board is not set up; run: {SET_UP}")
    qemu, about = find_qemu(), read_json(folder / ABOUT)
    if (
        not isinstance(about, dict)
        or about.get("recipe") != RECIPE
        or about.get("qemu") != qemu_version(qemu)
    ):
        raise EdgenetsError(
            f"the emulated board in {folder} was set up for another version of edgenets or qemu; "
            f"run: {SET_UP}"
        )
    return Board(folder, qemu, about)


def qemu_version(qemu: str) -> str:
    """Return the emulator's first line about itself: its version and package."""
    return run_tool("ask the version of", qemu, "--version").splitlines()[0]


def run_tool(what: str, *command: str, again: str = SET_UP, **options: Any) -> str:
    """Run a command and return what it prints; its failure is one sentence.

    Args:
        what: is done with it, for the sentence.
        command: and its arguments.
        again: the command of edgenets that is repeated when it has failed.
        options: of `subprocess.run`.
    """
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        reasons = [line for line in lines if re.search("error|E:", line, re.IGNORECASE)] or lines
        raise EdgenetsError(
            f"cannot {what} {Path(command[0]).name}: {reasons[-1].strip()}; "
            f"see to it and repeat {again}, which goes on from there"
        )
    return done.stdout
