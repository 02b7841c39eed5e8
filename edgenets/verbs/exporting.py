"""What `Model.export` and `export_model` do alike: a target, and perhaps its compiler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenets.errors import EdgenetsError
from edgenets.results import ExportRecord
from edgenets.verbs.arguments import Size, bounded_memory, require_in
from edgenets.verbs.file import File

if TYPE_CHECKING:
    from edgenets.export.targets import Target


def write_file(
    write: Callable[[Target], dict[str, Any]],
    path: Path,
    target: str,
    *,
    calibration_images: int,
    compile: bool,
    allow_cpu_ops: bool,
    tables: bool,
    max_bytes: Size | None,
) -> File:
    """Return the file that `write` writes for a target, compiled if that is asked for.

    Where that is a microcontroller, `path` is the folder that it is written in.

    Raises:
        EdgenetsError: the target is unknown, arguments do not go together, the compiler is not
            installed or fails; or what `write` raises.
    """
    from edgenets.export.inspect.edge_tpu.compiler import compile_file, find_compiler
    from edgenets.export.targets import find_target

    row = find_target(target)._replace(tables=tables)
    if not tables and not row.micro:
        raise EdgenetsError(f"tables=False is for a microcontroller, target mcu, not {target}")
    if compile and row.accelerator != "edge_tpu":
        raise EdgenetsError(f"compile is for a target with an Edge TPU, as coral, not {target}")
    if allow_cpu_ops and not compile:
        raise EdgenetsError("allow_cpu_ops is for compile")
    require_in("calibration_images", calibration_images, 1)
    if compile:
        find_compiler()  # before the export, which takes its time
    with bounded_memory(max_bytes):
        result = write(row)
        if compile:
            outcome = compile_file(path, allow_cpu_ops=allow_cpu_ops)
            result = {**result, "compiled": outcome.to_json()}
    if row.micro:
        from edgenets.export.write.checked_file import MODEL

        path = path / MODEL
    return File(path, ExportRecord.from_json(result))
