"""The folder that a command works in is its own while it works."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenets.errors import EdgenetsError
from edgenets.pipeline.output import locked_folder


def test_folder_is_locked_while_it_is_worked_in_and_not_after(tmp_path: Path):
    out = tmp_path / "out"
    with locked_folder(out):
        with (
            pytest.raises(EdgenetsError, match="is in use by another edgenets"),
            locked_folder(out),
        ):
            pass
        assert out.is_dir()
    assert not out.exists()  # made here, and still empty
    with locked_folder(out):
        (out / "file").touch()
    assert (out / "file").exists()
