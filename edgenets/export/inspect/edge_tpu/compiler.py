"""Run Google's Edge TPU compiler, read its log, and hold its outcome against the prediction.

The compiler is a program that users install themselves; it is found on PATH. A file is kept only if
the compiler mapped all of it, unless operators on the CPU are allowed; the log is kept always.

Source: Coral, "Edge TPU Compiler"; logs of compilers 2.1 to 16.0 in public issues.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.devices.program import EDGETPU_COMPILER as PROGRAM
from edgenets.export.devices.program import INSTALL_EDGETPU_COMPILER as INSTALL
from edgenets.export.devices.program import run_program
from edgenets.export.inspect.edge_tpu.prediction import predict
from edgenets.export.inspect.placement import Prediction, differing, left_on_cpu
from edgenets.files import read_bytes, write_bytes
from edgenets.units import parse_bytes

MAX_SECONDS = 600.0
"""The compiler ends by itself after 180 s unless it hangs."""

MAPPED = "Mapped to Edge TPU"
# Status in the log -> what it means.
STATUSES = {
    MAPPED: "runs on the Edge TPU",
    "More than one subgraph is not supported": "follows an operator that stays on the CPU",
    "Operation is otherwise supported, but not mapped due to some unspecified limitation": (
        "meets a limit that is not stated"
    ),
    "Operation not supported": "is not an operator of the Edge TPU",
    "Operation version not supported": "has a version that the compiler does not know",
    "Operation is working on an unsupported data type": "has tensors that are not int8 or uint8",
    "Tensor has unsupported rank (up to 3 innermost dimensions mapped)": (
        "has a tensor with more than three dimensions over 1"
    ),
}


class Failure(NamedTuple):
    """A way in which the compiler fails."""

    pattern: str  # of the log
    reason: str
    change: str


FAILURES = (
    Failure(
        r"Didn't find op for builtin opcode '(?P<op>\w+)' version '(?P<version>\d+)'",
        "it does not know {op} of version {version}",
        "convert without that operator; a grouped CONV_2D has version 6",
    ),
    Failure(
        r"Model not quantized",
        "the model is not quantized",
        "export with --format int8",
    ),
    Failure(
        r"only supports static-sized tensors",
        "the model has tensors of changing size",
        "export with the batch fixed to 1",
    ),
    Failure(
        r"large activation tensors",
        "the activations are too large for the chip",
        "lower the resolution or width",
    ),
    Failure(
        r"Model could not be parsed",
        "it cannot read the model",
        "export it again for this target",
    ),
    Failure(
        r"Internal compiler error",
        "it broke with an internal error",
        "look at what `edgenets inspect --target coral` says, and export for that",
    ),
    Failure(r"Compilation failed|Invalid model|ERROR:", "it failed", "read the log"),
)
"""The first that matches counts, so the telling ones come first."""

FIGURES = {
    "input_bytes": "Input size",
    "output_bytes": "Output size",
    "on_chip_bytes": "On-chip memory used for caching model parameters",
    "on_chip_left_bytes": "On-chip memory remaining for caching model parameters",
    "off_chip_bytes": "Off-chip memory used for streaming uncached model parameters",
    "subgraphs": "Number of Edge TPU subgraphs",
    "total_ops": "Total number of operations",
}
"""Key of a compilation -> what its line in the log begins with."""


@dataclass(frozen=True)
class Row:
    """A line of the log's table; an operator may have several, of different status."""

    op: str
    count: int
    status: str

    @property
    def mapped(self) -> bool:
        """Whether these operators run on the Edge TPU."""
        return self.status == MAPPED

    @property
    def reason(self) -> str | None:
        """Why they do not, in words; None where they do."""
        return None if self.mapped else STATUSES.get(self.status, self.status)


class Compilation(NamedTuple):
    """What a log says."""

    version: str
    failure: str | None  # why there is no file and what to do; None: there is one
    figures: dict[str, int]  # those of `FIGURES` that the log has
    rows: tuple[Row, ...]

    @property
    def on_cpu(self) -> Counter[str]:
        """How many operators of each name stay on the CPU."""
        left: Counter[str] = Counter()
        for row in self.rows:
            if not row.mapped:
                left[row.op] += row.count
        return left

    @property
    def mapped_ops(self) -> int:
        """How many operators run on the Edge TPU."""
        return sum(row.count for row in self.rows if row.mapped)

    @property
    def cpu_ops(self) -> int:
        """How many operators stay on the CPU."""
        return self.on_cpu.total()

    def to_json(self) -> dict[str, Any]:
        """Return the compilation as JSON; a figure that the log has not is null."""
        return {
            "compiler": self.version,
            "failure": self.failure,
            **{key: self.figures.get(key) for key in FIGURES},
            "mapped_ops": self.mapped_ops,
            "cpu_ops": self.cpu_ops,
            "ops": [
                {**asdict(row), "mapped": row.mapped, "reason": row.reason} for row in self.rows
            ],
        }


class Outcome(NamedTuple):
    """A compiled file beside what was predicted of it."""

    path: Path
    content: bytes
    log: Path
    compilation: Compilation
    on_cpu: Counter[str]  # operators beside the mapped part in the compiled file
    predicted: Prediction

    @property
    def mapped_ops(self) -> int:
        """How many operators of the file that was compiled run on the Edge TPU."""
        return len(self.predicted.ops) - self.on_cpu.total()

    @property
    def table(self) -> list[dict[str, Any]]:
        """Of each kind of operator: how many were mapped, stayed, were predicted to stay, and why.

        The reasons are the log's.
        """
        reasons: dict[str, list[str]] = defaultdict(list)
        for row in self.compilation.rows:
            if row.reason:
                reasons[row.op].append(row.reason)
        return self.predicted.beside(self.on_cpu, reasons)

    @property
    def differences(self) -> list[str]:
        """Operators of which another number stayed on the CPU than predicted; none is best."""
        return differing(self.table)

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON."""
        return {
            "path": str(self.path),
            "log": str(self.log),
            **self.compilation.to_json(),
            "mapped_ops": self.mapped_ops,
            "cpu_ops": self.on_cpu.total(),
            "table": self.table,
            "differences": self.differences,
        }


def find_compiler() -> str:
    """Return where the compiler is.

    Raises:
        EdgenetsError: it is not on PATH; the message says how it is installed.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise EdgenetsError(f"{PROGRAM} is not on PATH; {INSTALL}")
    return program


def compile_file(
    path: Path, *, allow_cpu_ops: bool = False, max_seconds: float = MAX_SECONDS
) -> Outcome:
    """Compile `X.tflite`; write `X_edgetpu.tflite` and `X_edgetpu.log` beside it.

    Args:
        path: the file, which stays as it is.
        allow_cpu_ops: keep a file of which a part runs on the CPU.
        max_seconds: after which the compiler is stopped.

    Raises:
        EdgenetsError: there is no compiler, the file cannot be read, the compiler failed, or
            operators are left on the CPU and that is not allowed. The log is there nevertheless.
    """
    outcome = compile_content(
        read_bytes(path), path, allow_cpu_ops=allow_cpu_ops, max_seconds=max_seconds
    )
    write_bytes(outcome.path, outcome.content)
    return outcome


def compile_content(
    content: bytes,
    path: Path,
    *,
    allow_cpu_ops: bool = False,
    max_seconds: float = MAX_SECONDS,
) -> Outcome:
    """Compile a file that may not be written yet, and write nothing but the log.

    Args:
        content: the bytes of the file.
        path: where it is, or will be.

    The other arguments and errors are those of `compile_file`.
    """
    program = find_compiler()
    predicted = predict(flatbuffer.read(content))
    with tempfile.TemporaryDirectory(prefix="edgenets-") as name:
        source, made = (Path(name, f"{path.stem}{end}.tflite") for end in ("", "_edgetpu"))
        source.write_bytes(content)
        text = _run([program, "-s", "-o", name, f"./{source.name}"], Path(name), max_seconds)
        compiled = made.read_bytes() if made.exists() else b""
    log = path.with_name(f"{path.stem}_edgetpu.log")
    write_bytes(log, text.encode())
    compilation = parse_log(text)
    if compilation.failure:
        raise EdgenetsError(f"{PROGRAM} made nothing of {path}: {compilation.failure} ({log})")
    if not compiled:
        raise EdgenetsError(f"{PROGRAM} says that it compiled {path} and wrote no file; read {log}")
    out = path.with_name(f"{path.stem}_edgetpu.tflite")
    on_cpu = predict(flatbuffer.read(compiled)).on_cpu
    outcome = Outcome(out, compiled, log, compilation, on_cpu, predicted)
    if on_cpu and not allow_cpu_ops:
        raise EdgenetsError(
            f"{left_on_cpu(outcome, path, 'the log does not say why')}; {predicted.advice}, "
            "or pass --allow-cpu-ops to keep the compiled file"
        )
    return outcome


def parse_log(text: str) -> Compilation:
    """Read what the compiler prints with `-s`, or the log file that it writes.

    Raises:
        EdgenetsError: the text is none of these.
    """
    version = re.search(r"Edge TPU Compiler version (\S+)", text)
    if not version:
        last = text.strip().rpartition("\n")[2] or "nothing"
        raise EdgenetsError(
            f"this is not what {PROGRAM} prints, which begins with its version: {last!r}; "
            "run it by hand, and install it anew if it does not work"
        )
    # A search for a part that compiles (`-d`) fails some times before it succeeds.
    _, success, outcome = text.rpartition("Model compiled successfully")
    rows = _rows(outcome)
    failure = None if success or rows else _failure(text)
    return Compilation(version[1], failure, _figures(outcome), rows)


def _rows(text: str) -> tuple[Row, ...]:
    _, _, table = text.partition("Status")
    pattern = re.compile(r"^\s*(\S+)\s+(\d+)\s+(\S.*?)\s*$", re.MULTILINE)
    return tuple(Row(op, int(count), status) for op, count, status in pattern.findall(table))


def _figures(text: str) -> dict[str, int]:
    figures = {}
    for key, label in FIGURES.items():
        found = re.search(rf"^{label}: (\d+(?:\.\d+)?(?:[KMG]?i?B)?)\s*$", text, re.MULTILINE)
        if found:
            figures[key] = _number(found[1])
    return figures


def _number(text: str) -> int:
    """Return a size or a count.

    >>> _number("4.21MiB"), _number("0.00B"), _number("267")
    (4414504, 0, 267)
    """
    return 0 if re.match(r"0(\.0*)?[A-Za-z]*$", text) else parse_bytes(text)


def _failure(text: str) -> str:
    for row in FAILURES:
        found = re.search(row.pattern, text)
        if found:
            return f"{row.reason.format(**found.groupdict())}; {row.change}"
    return "it ended without a result; read the log"


def _run(command: list[str], folder: Path, max_seconds: float) -> str:
    """Return what the compiler prints."""
    try:
        return run_program(command, folder, max_seconds).text
    except OSError as error:
        raise EdgenetsError(
            f"{command[0]} cannot be run: {error.strerror or error}; {INSTALL}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise EdgenetsError(
            f"{PROGRAM} was stopped after {max_seconds:.0f} s; lower the resolution or "
            "width, or run it by hand with -t"
        ) from error
