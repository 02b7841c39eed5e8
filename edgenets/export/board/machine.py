"""The machine that the runner is on: what it is, how it fares, its memory and its clock."""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # not on this system: memory is then not limited
    resource = None  # type: ignore[assignment]
try:
    import numpy as np
except ImportError:  # a board that is not set up: `probe` says so
    np = None  # type: ignore[assignment]

# Bits of `vcgencmd get_throttled`: live ones; the same 16 higher say "since the board started".
THROTTLED = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")


def describe_device() -> dict[str, Any]:
    """Return the machine's architecture, processor or board, cores, memory; None: unknown."""
    return {
        "machine": platform.machine(),
        "bits": 8 * struct.calcsize("P"),  # of this process: a 64-bit kernel may have 32-bit ones
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": kilobytes("/proc/meminfo", "MemTotal"),
        "free_memory_bytes": kilobytes("/proc/meminfo", "MemAvailable"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__ if np is not None else None,
    }


def look(seconds: float) -> dict[str, Any]:
    """Return the machine's conditions at this moment; None or empty where it does not tell.

    `throttled` is what the firmware of a Raspberry Pi says: `now`, and `since_start` of the board.
    """
    policies = sorted(Path("/sys/devices/system/cpu/cpufreq").glob("policy*"))
    zones = sorted(Path("/sys/class/thermal").glob("thermal_zone*"))
    khz = [_text(policy / "scaling_cur_freq") for policy in policies]
    governors = {_text(policy / "scaling_governor") for policy in policies} - {None}
    return {
        "seconds": round(seconds, 3),
        "governor": ", ".join(sorted(map(str, governors))) or None,
        "frequency_mhz": [int(value) / 1000 for value in khz if value],
        "temperature_c": {
            str(_text(zone / "type")): int(value) / 1000
            for zone in zones
            if (value := _text(zone / "temp")) is not None
        },
        "throttled": _throttled(),
    }


def _throttled() -> dict[str, list[str]] | None:
    if not shutil.which("vcgencmd"):
        return None
    try:
        answer = subprocess.run(
            ["vcgencmd", "get_throttled"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=2,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.fullmatch(rb"throttled=(0x[0-9a-fA-F]+)\s*", answer)
    if not found:
        return None
    bits = int(found[1], 16)
    return {
        "now": [name for i, name in enumerate(THROTTLED) if bits >> i & 1],
        "since_start": [name for i, name in enumerate(THROTTLED, 16) if bits >> i & 1],
    }


def ms_since(start_ns: int) -> float:
    """Return the milliseconds since `time.perf_counter_ns()` was `start_ns`."""
    return (time.perf_counter_ns() - start_ns) / 1e6


def seconds_since(start: float) -> float:
    """Return the seconds since `time.perf_counter()` was `start`."""
    return time.perf_counter() - start


def forget_peak_memory() -> None:
    """Let the peak of this process's memory be what it has now."""
    with suppress(OSError):  # not on this system: the peak may then be of the imports
        Path("/proc/self/clear_refs").write_text("5")


def kilobytes(path: str, field: str) -> int | None:
    """Return the bytes that a field of a file in /proc gives in kB; None where it does not."""
    # Not getrusage: its peak is inherited from the process that started this one.
    found = re.search(rf"^{field}:\s+(\d+) kB", _text(Path(path)) or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _processor() -> str | None:
    for source, pattern in (
        ("/proc/device-tree/model", r"(.+?)\0?$"),  # "Raspberry Pi 4 Model B Rev 1.4"
        ("/proc/cpuinfo", r"model name\s*: (.+)"),
    ):
        if found := re.search(pattern, _text(Path(source)) or ""):
            return found[1]
    return platform.processor() or None


def limit_memory() -> None:
    """Take no more memory than is free: a damaged file may ask for any amount."""
    free = [kilobytes("/proc/meminfo", field) for field in ("MemAvailable", "SwapFree")]
    if resource is not None and free[0]:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = sum(size or 0 for size in free)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
