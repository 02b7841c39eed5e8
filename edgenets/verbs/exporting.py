"""What `Model.export` and `export_model` do alike: a target, and perhaps its compiler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenets.errors import ArgumentError
from edgenets.results.models import ExportRecord
from edgenets.verbs.arguments import PathOrName, Size, bounded_memory, optional_path, whole_number
from edgenets.verbs.file import File

if TYPE_CHECKING:
    from edgenets.export.ends import Client
    from edgenets.export.targets import Target
    from edgenets.export.write.checked_file import Compile


def check_export(
    target: str,
    *,
    compile: bool,
    allow_cpu_ops: bool,
    system_config: str | None,
    memory_mode: str | None,
    vela_config: PathOrName | None,
    tables: bool,
) -> Target:
    """Return a target for which these arguments of an export are.

    Raises:
        ArgumentError: arguments do not go together.
        EdgenetsError: the target is unknown.
    """
    from edgenets.export.targets import TARGETS, compiled_targets, find_target

    row = find_target(target)
    if not tables and not row.micro:
        micro = ", ".join(row.name for row in TARGETS.values() if row.micro)
        raise ArgumentError(f"--no-tables is for --target {micro}, not {target}")
    if compile and row.accelerator is None:
        targets = ", ".join(compiled_targets())
        raise ArgumentError(f"--compile is for --target {targets}, not {target}")
    if allow_cpu_ops and not compile:
        raise ArgumentError("--allow-cpu-ops is for --compile")
    compiled_by_vela = compile and row.accelerator == "ethos_u"
    if (system_config or memory_mode or vela_config) and not compiled_by_vela:
        raise ArgumentError(
            "--system-config, --memory-mode and --vela-config are for --compile with --target "
            + ", ".join(compiled_targets("ethos_u"))
        )
    return row


def write_file(
    write: Callable[[Target, Compile | None], dict[str, Any]],
    path: Path,
    target: str,
    *,
    format: str | None,
    calibration_images: int,
    compile: bool,
    allow_cpu_ops: bool,
    system_config: str | None,
    memory_mode: str | None,
    vela_config: PathOrName | None,
    tables: bool,
    client: Client | None,
    max_bytes: Size | None,
) -> File:
    """Return the file that `write` writes for a target, compiled by what it is given, if asked for.

    Where that is a microcontroller, `path` is the folder that it is written in.

    Raises:
        EdgenetsError: the target is unknown, arguments do not go together, the compiler is not
            installed or fails; or what `write` raises.
    """
    from edgenets.export.formats import find_format
    from edgenets.export.targets import require_format

    row = check_export(
        target,
        compile=compile,
        allow_cpu_ops=allow_cpu_ops,
        system_config=system_config,
        memory_mode=memory_mode,
        vela_config=vela_config,
        tables=tables,
    )
    if client and row.micro:
        raise ArgumentError(
            f"--target {target} writes C++ sources, which {client.program} cannot run; leave "
            "--client out, or take another --target"
        )
    if row.micro and path.suffix == ".tflite":
        raise ArgumentError(
            f"for target {target} --out is a folder, which {path} is not named like; pass such as "
            f"{path.with_suffix('')}"
        )
    if format is not None:
        require_format(row, find_format(format).name)
    system = {
        "system_config": system_config,
        "memory_mode": memory_mode,
        "config": optional_path(vela_config),
    }
    calibration_images = whole_number("calibration_images", calibration_images, 1)
    compile_for = _compiler(row, allow_cpu_ops, system) if compile else None
    with bounded_memory(max_bytes):
        result = write(row, compile_for)
    if row.micro:
        from edgenets.export.write.checked_file import MODEL

        path = path / MODEL
    return File(path, ExportRecord.from_json(result))


def _compiler(row: Target, allow_cpu_ops: bool, system: dict[str, Any]) -> Compile:
    """Return what compiles a file for the target; it is found before the export, which takes time.

    Raises:
        EdgenetsError: it is not installed, or knows no such system.
    """
    if row.accelerator == "edge_tpu":
        from edgenets.export.inspect.edge_tpu import compiler as edge_tpu

        edge_tpu.find_compiler()
        return partial(edge_tpu.compile_content, allow_cpu_ops=allow_cpu_ops)
    from edgenets.export.inspect.ethos_u import compiler as ethos_u

    found = ethos_u.find_system(row, **system)
    return partial(ethos_u.compile_content, target=row, system=found, allow_cpu_ops=allow_cpu_ops)
