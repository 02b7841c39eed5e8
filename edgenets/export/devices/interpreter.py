"""This machine's interpreter of `.tflite` files: which one it is, and opening a file safely.

It is ai-edge-litert's if it can be imported, else tflite-runtime's; always their `Interpreter`,
because the newer `CompiledModel` crashes the process on a truncated file. Needs NumPy and one of
the two.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.board import interpreter, protocol
from edgenets.export.board.interpreter import Runtime
from edgenets.progress import quiet_stderr


def load_runtime() -> Runtime:
    """Import the preferred interpreter; `board/interpreter.py` has the rule.

    Raises:
        EdgenetsError: none can be imported, or NumPy does not fit it.
    """
    try:
        return interpreter.load_runtime()
    except protocol.RunnerError as error:
        raise EdgenetsError(str(error)) from error


def runtime_name_and_version() -> tuple[str, str]:
    """Return the interpreter's distribution name and version, as ("ai-edge-litert", "2.3.0")."""
    runtime = load_runtime()
    return runtime.name, runtime.version


def open_interpreter(source: Path | bytes, threads: int = 1, *, keep_tensors: bool = False) -> Any:
    """Return an interpreter of the file with its tensors allocated.

    Args:
        source: the file's path or its content.
        threads: that an operator may use.
        keep_tensors: let every tensor be read after a run, not only the outputs: each then has
            memory of its own. The operators compute what they do otherwise.

    Raises:
        EdgenetsError: no interpreter is installed, or it refuses the file.
    """
    runtime = load_runtime()
    options: dict[str, Any] = {"num_threads": threads}
    options |= (
        {"model_path": str(source)} if isinstance(source, Path) else {"model_content": source}
    )
    with interpreter_errors(source), quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the memory that kept tensors take
        interpreter = runtime.interpreter(**options, experimental_preserve_all_tensors=keep_tensors)
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def interpreter_errors(source: Path | bytes) -> Iterator[None]:
    """Turn what an interpreter raises inside the block into an `EdgenetsError`."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise EdgenetsError(interpreter.refusal(load_runtime(), name_of(source), error)) from error


def refuse_compiled(model: flatbuffer.Model, name: str) -> None:
    """Refuse a file that an accelerator's compiler made: no interpreter runs it by itself.

    Raises:
        EdgenetsError: it is one.
    """
    if model.compiled:
        raise EdgenetsError(
            f"{name} was compiled for {flatbuffer.COMPILED[model.compiled]} (its operator "
            f"{model.compiled}) and runs there alone; pass the file that it was compiled from"
        )


def name_of(source: Path | bytes) -> str:
    """Return what messages call the file: its path, if it has one."""
    return str(source) if isinstance(source, Path) else "the model"
