"""`edgenets pack` and `unpack`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.files import sha256_bytes


def edgenets(capsys: pytest.CaptureFixture, *arguments: object) -> dict:
    edgenets_command.main([*map(str, arguments), "--json"], standalone_mode=False)
    return json.loads(capsys.readouterr().out)


def test_packed_file_is_unpacked_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture):
    content = b"weights" * 1000
    (tmp_path / "a.tflite").write_bytes(content)
    packed = edgenets(capsys, "pack", tmp_path / "a.tflite", "--out", tmp_path / "a.epk")
    out_bytes = (tmp_path / "a.epk").stat().st_size
    assert packed == {"in_bytes": 7000, "out_bytes": out_bytes, "sha256": sha256_bytes(content)}
    result = edgenets(capsys, "unpack", tmp_path / "a.epk", "--out", tmp_path / "b.tflite")
    assert result == {"in_bytes": out_bytes, "out_bytes": 7000, "sha256": sha256_bytes(content)}
    assert (tmp_path / "b.tflite").read_bytes() == content


def test_damaged_package_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "a.tflite").write_bytes(b"weights" * 1000)
    edgenets(capsys, "pack", tmp_path / "a.tflite", "--out", tmp_path / "a.epk")
    package = bytearray((tmp_path / "a.epk").read_bytes())
    package[-1] ^= 1
    (tmp_path / "a.epk").write_bytes(package)
    with pytest.raises(EdgenetsError, match=r"a\.epk: the package is damaged .*; copy or pack"):
        edgenets(capsys, "unpack", tmp_path / "a.epk", "--out", tmp_path / "b.tflite")
    assert not (tmp_path / "b.tflite").exists()
