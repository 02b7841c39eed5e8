"""The interpreter of microcontrollers, TFLM, behind the calls of LiteRT's `Interpreter`.

Its wheel runs on a PC what a microcontroller runs: kernels in plain C++, compiled for this machine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ARENA_BYTES = 2**28
"""That is set aside beside ten times the file: pages that are not used take no memory."""


class MicroInterpreter:
    """A file that is open in TFLM.

    Args:
        litert: the class of LiteRT's interpreter, which says what the file takes and returns.
        model_path, model_content: of the file, one of them.
        settings: what LiteRT's interpreter takes besides; TFLM has no threads and no delegates.
    """

    def __init__(
        self,
        litert: Any,
        model_path: str | None = None,
        model_content: bytes | None = None,
        **settings: Any,
    ) -> None:
        content = Path(model_path).read_bytes() if model_path is not None else model_content
        assert content is not None
        about = litert(model_content=content)
        self._inputs, self._outputs = about.get_input_details(), about.get_output_details()
        self._content = content
        self._interpreter: Any = None

    def allocate_tensors(self) -> None:
        """Open the file; an operator that TFLM lacks is a `RuntimeError`."""
        from tflite_micro import runtime

        arena_bytes = ARENA_BYTES + 10 * len(self._content)
        with _saying_why():
            self._interpreter = runtime.Interpreter.from_bytes(
                self._content, arena_size=arena_bytes
            )

    def get_input_details(self) -> list[dict[str, Any]]:
        """Return the inputs as LiteRT does, `index` counting them."""
        return [{**one, "index": i} for i, one in enumerate(self._inputs)]

    def get_output_details(self) -> list[dict[str, Any]]:
        """Return the outputs as LiteRT does, `index` counting them."""
        return [{**one, "index": i} for i, one in enumerate(self._outputs)]

    def set_tensor(self, index: int, value: Any) -> None:
        """Fill the input `index`."""
        self._interpreter.set_input(value, index)

    def get_tensor(self, index: int) -> Any:
        """Return a copy of the output `index`."""
        return self._interpreter.get_output(index).copy()

    def invoke(self) -> None:
        """Run once."""
        self._interpreter.invoke()


@contextmanager
def _saying_why() -> Iterator[None]:
    """Add to an error what TFLM printed: its own words say only which step failed."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        try:
            yield
        except RuntimeError as error:
            printed.seek(0)
            reason = " ".join(printed.read().decode(errors="replace").split())
            raise RuntimeError(reason or str(error)) from error
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
