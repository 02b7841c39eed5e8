"""An exported file, its report and what was compiled of it: all are new, or all are old."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.write.checked_file import _write
from edgenets.files import read_json


def test_files_of_an_export_are_replaced_together(tmp_path: Path):
    out, report = tmp_path / "net.tflite", tmp_path / "net.tflite.json"
    compiled = SimpleNamespace(path=tmp_path / "net_vela.tflite", content=b"new")
    for path in (out, compiled.path):
        path.write_bytes(b"old")
    report.mkdir()  # which no file can replace
    with pytest.raises(EdgenetsError, match=r"net\.tflite\.json is a folder"):
        _write(out, b"new", {"size_bytes": 3}, compiled)
    assert {*tmp_path.iterdir()} == {out, report, compiled.path}
    assert out.read_bytes() == compiled.path.read_bytes() == b"old"
    report.rmdir()
    _write(out, b"new", {"size_bytes": 3}, compiled)
    assert out.read_bytes() == compiled.path.read_bytes() == b"new"
    assert read_json(report) == {"size_bytes": 3}
