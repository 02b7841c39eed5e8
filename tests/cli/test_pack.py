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


def test_a_bound_of_memory_holds_for_its_command_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    (tmp_path / "a.tflite").write_bytes(bytes(2**20))
    edgenets(capsys, "pack", tmp_path / "a.tflite", "--out", tmp_path / "a.epk")
    unpack = ("unpack", tmp_path / "a.epk", "--out", tmp_path / "b.tflite")
    with pytest.raises(EdgenetsError, match=r"unpacks to too much.* may take .*as was passed"):
        edgenets(capsys, *unpack, "--max-bytes", "1MiB")
    assert edgenets(capsys, *unpack)["out_bytes"] == 2**20


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (lambda package: package[:-1] + bytes([package[-1] ^ 1]), "is damaged .*; copy or pack"),
        (lambda package: package[:-1], "is damaged .*; copy or pack"),
        (lambda package: package + b"\0", "is damaged .*; copy or pack"),
        (lambda package: package[:4] + b"\xff" + package[5:], "has version 255.*install a newer"),
        (lambda package: package[:20], "is damaged .it is cut short.; copy or pack"),
        (lambda package: b"", "not a package"),
    ],
)
def test_damaged_package_leaves_the_file_as_it_was(
    damage, sentence, tmp_path: Path, capsys: pytest.CaptureFixture
):
    (tmp_path / "a.tflite").write_bytes(b"weights" * 1000)
    edgenets(capsys, "pack", tmp_path / "a.tflite", "--out", tmp_path / "a.epk")
    package = tmp_path / "a.epk"
    package.write_bytes(damage(package.read_bytes()))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(EdgenetsError, match=rf"a\.epk: .*{sentence}"):
        edgenets(capsys, "unpack", package, "--out", tmp_path / "b.tflite")
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(EdgenetsError):
        edgenets(capsys, "unpack", package, "--out", tmp_path / "a.tflite")
    assert (tmp_path / "a.tflite").read_bytes() == b"weights" * 1000


@pytest.mark.parametrize("name", ["pack", "unpack"])
def test_the_file_that_is_read_is_not_written_over(name: str, tmp_path: Path, capsys):
    path = tmp_path / "a"
    path.write_bytes(b"weights")
    with pytest.raises(EdgenetsError, match="is a file that is read"):
        edgenets(capsys, name, path, "--out", tmp_path / "b" / ".." / "a")
    assert path.read_bytes() == b"weights"


def test_huge_file_is_refused_before_it_is_read(tmp_path: Path, capsys: pytest.CaptureFixture):
    with (tmp_path / "a.tflite").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing
    with pytest.raises(EdgenetsError, match="at most 268,435,456 bytes, the file has 1,099"):
        edgenets(capsys, "pack", tmp_path / "a.tflite", "--out", tmp_path / "a.epk")
