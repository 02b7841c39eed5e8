"""What a file must hold: that interpreters run it."""

from __future__ import annotations

from typing import Any

import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.board.interpreter import Runtime
from edgenets.export.devices.interpreter import load_runtime
from edgenets.export.measure import promises


class Refusing:
    """An interpreter that knows no such operator, from its beginning or once it is to run it."""

    def __init__(self, model_content: bytes) -> None:
        if model_content == b"at once":
            raise ValueError("Didn't find op for builtin opcode")

    def allocate_tensors(self) -> None:
        raise RuntimeError("Didn't find op for builtin opcode")


@pytest.mark.parametrize("content", [b"at once", b"later"])
def test_why_an_interpreter_runs_no_file_is_a_sentence(content: bytes):
    old = load_runtime()._replace(name="tflite-runtime", version="2.14.0", interpreter=Refusing)
    with pytest.raises(EdgenetsError, match=r"^tflite-runtime 2\.14\.0 cannot run the file: Didn"):
        promises._run_once(old, content)


def test_another_interpreter_that_refuses_a_file_is_noted(
    tiny_int8_file: Any, monkeypatch: pytest.MonkeyPatch
):
    def others(preferred: str) -> list[Runtime]:
        return [load_runtime()._replace(name="old", interpreter=Refusing)]

    monkeypatch.setattr(promises.interpreter, "load_other_runtimes", others)
    first, other = promises.run_everywhere(tiny_int8_file.read_bytes())
    assert first["reason"] is None and other["name"] == "old"
    assert "cannot run the file" in str(other["reason"])
