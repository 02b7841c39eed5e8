"""Run Arm's compiler Vela in a process of its own, read its tables, and check what it made.

Its exit status says little: it is 0 for a file that stays on the CPU altogether. So what was mapped
is read off the compiled file, and its cycles and times, which are estimates, off its CSV tables.

Source: ethos-u-vela 5.2, OPTIONS.md and PERFORMANCE.md.
"""

from __future__ import annotations

import configparser
import csv
import importlib.metadata
import importlib.util
import io
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError, unknown_name
from edgenets.export.associated import with_archive_of
from edgenets.export.devices.program import run_program
from edgenets.export.inspect.ethos_u.prediction import predict
from edgenets.export.inspect.placement import Prediction, differing, left_on_cpu
from edgenets.export.metadata import layer_name
from edgenets.export.targets import Target
from edgenets.files import read_bytes, write_bytes
from edgenets.flatbuffer import Model
from edgenets.packages import MODULES, missing_package

PACKAGE = "ethos-u-vela"
MODULE = MODULES[PACKAGE]
CONFIG = "Arm/vela.ini"
"""Of system configurations and memory modes; the package brings it."""
SECTIONS = {"system_config": "System_Config.", "memory_mode": "Memory_Mode."}
"""How the sections of such a file begin, by what they are of."""
MAX_SECONDS = 600.0
OF_A_SYSTEM = re.compile("Invalid configuration of|Incorrect argument to CLI option")
"""How Vela begins to say that a system and a memory mode do not go together."""
OTHER_VERSION = f"install another version: pip install '{PACKAGE}==5.2'"
"""What to do where Vela writes other files than this was written for."""
KIB = 1024
# Figure -> columns of the summary that it adds up, and what they count in.
ESTIMATES = {
    "cycles": (("cycles_total",), 1),
    "npu_cycles": (("cycles_npu",), 1),
    "weight_stream_bytes": (("total_npu_encoded_weights",), 1),
    "flash_bytes": (("on_chip_flash_memory_used", "off_chip_flash_memory_used"), KIB),
    "dram_bytes": (("dram_memory_used",), KIB),
    "sram_bytes": (("sram_memory_used",), KIB),
    "macs": (("nn_macs",), 1),
}
# Figure of a layer -> columns that it adds up.
OF_LAYER = {
    "cycles": ("Op Cycles",),
    "npu_cycles": ("NPU",),
    "sram_cycles": ("SRAM AC",),
    "dram_cycles": ("DRAM AC",),
    "flash_cycles": ("OnFlash AC", "OffFlash AC"),
    "macs": ("MAC Count",),
    "sram_bytes": ("Staging Usage",),
}


class System(NamedTuple):
    """What the estimates are of: clock, memories and where what is stored, by their names."""

    system_config: str
    memory_mode: str
    config: Path | None = None  # file that has them; None: Vela's own


class Outcome(NamedTuple):
    """A compiled file beside what was predicted of it."""

    path: Path
    content: bytes
    version: str  # of Vela
    accelerator: str
    system: System
    estimates: dict[str, Any]  # those of `ESTIMATES`, clock_hz and ms
    layers: tuple[dict[str, Any], ...]  # estimates of each step, as `_layers` has them
    on_cpu: Counter[str]  # operators beside the mapped parts in the compiled file
    reasons: dict[str, list[str]]  # by operator, Vela's
    predicted: Prediction

    @property
    def mapped_ops(self) -> int:
        """How many operators of the file that was compiled run on the NPU."""
        return len(self.predicted.ops) - self.on_cpu.total()

    @property
    def table(self) -> list[dict[str, Any]]:
        """Of each kind of operator: how many were mapped, stayed, were predicted to stay, and why.

        The reasons are Vela's.
        """
        return self.predicted.beside(self.on_cpu, self.reasons)

    @property
    def differences(self) -> list[str]:
        """Operators of which another number stayed on the CPU than predicted; none is best."""
        return differing(self.table)

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON."""
        return {
            "path": str(self.path),
            "compiler": f"{PACKAGE} {self.version}",
            "accelerator": self.accelerator,
            "system_config": self.system.system_config,
            "memory_mode": self.system.memory_mode,
            "vela_config": CONFIG if self.system.config is None else str(self.system.config),
            "estimates": self.estimates,
            "layers": list(self.layers),
            "mapped_ops": self.mapped_ops,
            "cpu_ops": self.on_cpu.total(),
            "table": self.table,
            "differences": self.differences,
        }


def find_system(
    target: Target,
    *,
    system_config: str | None = None,
    memory_mode: str | None = None,
    config: Path | None = None,
) -> System:
    """Return what Vela's estimates are to be of: the target's own, or what is given of it.

    Raises:
        EdgenetsError: Vela is not installed, the file of configurations cannot be read, it has none
            of that name, or that one of Vela's own is of another NPU.
    """
    asked = {
        "system_config": system_config or target.system_config,
        "memory_mode": memory_mode or target.memory_mode,
    }
    path = _own_config() if config is None else config
    parser = configparser.ConfigParser()
    try:
        parser.read_string(read_bytes(path).decode())
    except (configparser.Error, UnicodeDecodeError) as error:
        first = str(error).partition("\n")[0]
        raise EdgenetsError(f"{path} is no file of configurations for Vela: {first}") from error
    for kind, prefix in SECTIONS.items():
        known = [name.removeprefix(prefix) for name in parser.sections() if name.startswith(prefix)]
        if kind == "system_config" and config is None:
            fitting = [name for name in known if name.startswith(_family(target.system_config))]
            if asked[kind] in set(known) - set(fitting):
                raise EdgenetsError(
                    f"the system config {asked[kind]} is of another NPU than {target.name}; pass "
                    f"one of {', '.join(fitting)}"
                )
            known = fitting
        if asked[kind] not in known:
            raise unknown_name(kind.replace("_", " "), asked[kind], known)
    return System(**asked, config=config)


def compile_file(
    path: Path,
    target: Target,
    *,
    system: System | None = None,
    allow_cpu_ops: bool = False,
    max_seconds: float = MAX_SECONDS,
) -> Outcome:
    """Compile `X.tflite`; write `X_vela.tflite` beside it, with the same labels and metadata.

    ```python
    outcome = compile_file(Path("photos.tflite"), find_target("ethos-u55-128"))
    outcome.estimates["cycles"]
    ```

    Args:
        path: the file, which stays as it is.
        target: which Ethos-U.
        system: what the estimates are of; by default the target's own.
        allow_cpu_ops: keep a file of which a part runs on the CPU.
        max_seconds: after which Vela is stopped.

    Raises:
        EdgenetsError: Vela is not installed, the file cannot be read, Vela failed, or operators are
            left on the CPU and that is not allowed. Nothing is written then.
    """
    outcome = compile_content(
        read_bytes(path),
        path,
        target,
        system=system,
        allow_cpu_ops=allow_cpu_ops,
        max_seconds=max_seconds,
    )
    write_bytes(outcome.path, outcome.content)
    return outcome


def compile_content(
    content: bytes,
    path: Path,
    target: Target,
    *,
    system: System | None = None,
    allow_cpu_ops: bool = False,
    max_seconds: float = MAX_SECONDS,
) -> Outcome:
    """Compile a file that may not be written yet, and write nothing.

    Args:
        content: the bytes of the file.
        path: where it is, or will be.

    The other arguments and errors are those of `compile_file`.
    """
    system = system or find_system(target)
    source = flatbuffer.read(content, str(path))
    predicted = predict(source)
    with tempfile.TemporaryDirectory(prefix="edgenets-") as name:
        folder = Path(name)
        text = _run(path, content, target, system, folder, max_seconds)
        compiled = _made(folder, "*_vela.tflite", path)
        estimates, layers = _tables(folder, path)
    made = flatbuffer.read(compiled, f"what Vela made of {path}")
    on_cpu = predict(made).on_cpu if made.compiled else Counter(op.name for op in made.operators)
    outcome = Outcome(
        path.with_name(f"{path.stem}_vela.tflite"),
        with_archive_of(content, compiled),
        importlib.metadata.version(PACKAGE),
        target.name,
        system,
        estimates,
        layers,
        on_cpu,
        _reasons(text, source),
        predicted,
    )
    if on_cpu and not (allow_cpu_ops and made.compiled):
        way_out = f"; {predicted.advice}, or pass --allow-cpu-ops to keep the compiled file"
        left = left_on_cpu(outcome, path, "Vela does not say why")
        raise EdgenetsError(left + way_out * bool(made.compiled))
    return outcome


def _family(system_config: str) -> str:
    """Return how Vela's own names begin for an NPU: "Ethos_U55_" of "Ethos_U55_Deep_Embedded"."""
    return "_".join(system_config.split("_")[:2]) + "_"


def _own_config() -> Path:
    """Return Vela's file of configurations, without importing Vela."""
    try:
        found = importlib.util.find_spec(MODULE)
    except ModuleNotFoundError:
        found = None
    if found is None or found.origin is None:
        raise missing_package(MODULE)
    return Path(found.origin).parents[1] / "config_files" / CONFIG


def _run(
    path: Path, content: bytes, target: Target, system: System, folder: Path, max_seconds: float
) -> str:
    """Return what Vela prints, once it has ended well."""
    source = folder / "net.tflite"
    source.write_bytes(content)
    options = {
        "accelerator-config": target.name,
        "config": CONFIG if system.config is None else str(system.config.absolute()),
        "system-config": system.system_config,
        "memory-mode": system.memory_mode,
        "output-dir": ".",
    }
    command = [sys.executable, "-m", MODULE, "--verbose-performance", source.name]
    command += [f"--{option}={value}" for option, value in options.items()]
    try:
        ended = run_program(command, folder, max_seconds)
    except OSError as error:
        raise EdgenetsError(f"Vela cannot be run: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        raise EdgenetsError(
            f"Vela was stopped after {max_seconds:.0f} s at {path}; lower the resolution or width"
        ) from error
    if ended.status:
        how = f"signal {-ended.status}" if ended.status < 0 else f"status {ended.status}"
        words = _last_words(ended.text)
        way_out = (
            "pass another --memory-mode or --system-config"
            if OF_A_SYSTEM.match(words)
            else f"look at what `edgenets inspect --target {target.name}` says of the file as it "
            "is without --compile"
        )
        raise EdgenetsError(f"Vela ended with {how} at {path}: {words!r}; {way_out}")
    return ended.text


def _last_words(text: str) -> str:
    """Return what the last exception says, else the last line."""
    said = re.findall(r"^[\w.]*Error: (.+)$", text, re.MULTILINE)
    last = said[-1] if said else text.strip().rpartition("\n")[2] or "it printed nothing"
    return last.strip("'\"").removeprefix("Error: ")


def _made(folder: Path, pattern: str, path: Path) -> bytes:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        kind = pattern.strip("*")
        raise EdgenetsError(
            f"Vela says that it compiled {path} and wrote no {kind} file; {OTHER_VERSION}"
        )
    return found[0].read_bytes()


def _tables(folder: Path, path: Path) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    """Return what Vela estimates of a whole file, and of its steps."""
    summary = _rows(_made(folder, "*_summary_*.csv", path))
    steps = _rows(_made(folder, "*_per-layer.csv", path))
    try:
        (whole,) = summary
        return _estimates(whole), _layers(steps)
    except (KeyError, TypeError, ValueError) as error:  # columns of another version
        raise EdgenetsError(
            f"Vela's tables of {path} lack what those of version 5.2 have ({error}); "
            f"{OTHER_VERSION}"
        ) from error


def _rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def _estimates(summary: dict[str, str]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        key: round(unit * sum(float(summary[column]) for column in columns))
        for key, (columns, unit) in ESTIMATES.items()
    }
    clock_hz = round(float(summary["core_clock"]))
    return {**figures, "clock_hz": clock_hz, "ms": 1e3 * float(summary["inference_time"])}


def _layers(rows: list[dict[str, str]]) -> tuple[dict[str, Any], ...]:
    """Return the steps that take cycles, in order; what is fused into another takes none.

    Returns:
        of each `op`, `step` (what Vela made of it), `name` of its layer, `on_npu`, and the figures
        of `OF_LAYER`.
    """
    layers = (
        {
            "op": row["Original Operator"],
            "step": row["NNG Operator"],
            "name": layer_name(row["Name"]),
            "on_npu": row["Target"] == "NPU",
            **{key: sum(int(row[name]) for name in names) for key, names in OF_LAYER.items()},
        }
        for row in rows
    )
    return tuple(layer for layer in layers if layer["cycles"] or not layer["on_npu"])


def _reasons(text: str, source: Model) -> dict[str, list[str]]:
    """Return why operators stay on the CPU as Vela warns of it, by the operator's name.

    Vela takes fused activations apart and may warn of those; the tensor is still the operator's.
    """
    operators = {
        source.tensors[index].name: operator.name
        for operator in source.operators
        for index in operator.outputs
    }
    pattern = r"^Warning \(supported operators\) operator: (\w+), ofm: '(.*)'\nReason: (.+)$"
    reasons: dict[str, list[str]] = defaultdict(list)
    for op, made, reason in re.findall(pattern, text, re.MULTILINE):
        known = reasons[operators.get(made, op)]
        rule = re.sub(r" \([^()]*\)$", "", reason)  # without the names of tensors
        if rule not in known:
            known.append(rule)
    return dict(reasons)
