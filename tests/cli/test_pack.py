"""`edgenets pack` and `unpack`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.files import sha256_bytes

TFLITE = b"\0\0\0\0TFL3" + b"weights" * 1000


def edgenets(capsys: pytest.CaptureFixture, *arguments: object) -> dict:
    edgenets_command.main([*map(str, arguments), "--json"], standalone_mode=False)
    return json.loads(capsys.readouterr().out)


def test_packed_file_is_unpacked_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "a.tflite").write_bytes(TFLITE)
    packed = edgenets(capsys, "pack", tmp_path / "a.tflite", "--out", tmp_path / "a.epk")
    out_bytes = (tmp_path / "a.epk").stat().st_size
    assert packed == {
        "in_bytes": len(TFLITE),
        "out_bytes": out_bytes,
        "sha256": sha256_bytes(TFLITE),
        "base_sha256": None,
    }
    result = edgenets(capsys, "unpack", tmp_path / "a.epk", "--out", tmp_path / "b.tflite")
    assert result == {
        "in_bytes": out_bytes,
        "out_bytes": len(TFLITE),
        "sha256": sha256_bytes(TFLITE),
        "base_sha256": None,
    }
    assert (tmp_path / "b.tflite").read_bytes() == TFLITE


def test_a_bound_of_memory_holds_for_its_command_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    (tmp_path / "a.tflite").write_bytes(TFLITE.ljust(2**20, b"\0"))
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
    (tmp_path / "a.tflite").write_bytes(TFLITE)
    edgenets(capsys, "pack", tmp_path / "a.tflite", "--out", tmp_path / "a.epk")
    package = tmp_path / "a.epk"
    package.write_bytes(damage(package.read_bytes()))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(EdgenetsError, match=rf"a\.epk: .*{sentence}"):
        edgenets(capsys, "unpack", package, "--out", tmp_path / "b.tflite")
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(EdgenetsError):
        edgenets(capsys, "unpack", package, "--out", tmp_path / "a.tflite")
    assert (tmp_path / "a.tflite").read_bytes() == TFLITE


@pytest.mark.parametrize("name", ["pack", "unpack"])
def test_the_file_that_is_read_is_not_written_over(name: str, tmp_path: Path, capsys):
    path = tmp_path / "a"
    path.write_bytes(b"weights")
    with pytest.raises(EdgenetsError, match="is a file that is read"):
        edgenets(capsys, name, path, "--out", tmp_path / "b" / ".." / "a")
    assert path.read_bytes() == b"weights"


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"\xff\xd8\xff\xe0 a photograph", r"photo\.jpg is not a \.tflite file"),
        (b"", r"photo\.jpg is not a \.tflite file"),
        (b"\x89EPK", r"photo\.jpg is a package; pass what `edgenets unpack` makes of it"),
    ],
)
def test_what_is_no_tflite_is_not_packed(content: bytes, sentence: str, tmp_path: Path, capsys):
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(EdgenetsError, match=sentence):
        edgenets(capsys, "pack", tmp_path / "photo.jpg", "--out", tmp_path / "a.epk")
    assert not (tmp_path / "a.epk").exists()


def test_huge_file_is_refused_before_it_is_read(tmp_path: Path, capsys: pytest.CaptureFixture):
    with (tmp_path / "a.tflite").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing
    with pytest.raises(EdgenetsError, match="at most 268,435,456 bytes, the file has 1,099"):
        edgenets(capsys, "pack", tmp_path / "a.tflite", "--out", tmp_path / "a.epk")


def changed(content: bytes) -> bytes:
    return content[:500] + b"another" + content[507:]


@pytest.fixture
def delta(tmp_path: Path, capsys: pytest.CaptureFixture) -> Path:
    """A package of changes, beside the files old.tflite and new.tflite."""
    random = np.random.default_rng(0).bytes(5000)
    (tmp_path / "old.tflite").write_bytes(TFLITE + random)
    (tmp_path / "new.tflite").write_bytes(changed(TFLITE) + random)
    packed = edgenets(
        capsys,
        *("pack", tmp_path / "new.tflite", "--base", tmp_path / "old.tflite"),
        *("--out", tmp_path / "delta.epk"),
    )
    assert packed["base_sha256"] == sha256_bytes(TFLITE + random)
    assert packed["out_bytes"] == (tmp_path / "delta.epk").stat().st_size < 200
    return tmp_path / "delta.epk"


def test_package_of_changes_is_unpacked_with_its_base(delta: Path, tmp_path: Path, capsys):
    result = edgenets(
        capsys,
        *("unpack", delta, "--base", tmp_path / "old.tflite", "--out", tmp_path / "b.tflite"),
    )
    new = (tmp_path / "new.tflite").read_bytes()
    assert (tmp_path / "b.tflite").read_bytes() == new
    old = sha256_bytes((tmp_path / "old.tflite").read_bytes())
    assert (result["sha256"], result["base_sha256"]) == (sha256_bytes(new), old)


def test_package_of_changes_says_which_base_it_needs(delta: Path, tmp_path: Path, capsys):
    needed = sha256_bytes((tmp_path / "old.tflite").read_bytes())
    full = tmp_path / "full.epk"
    edgenets(capsys, "pack", tmp_path / "new.tflite", "--out", full)
    before = sorted(tmp_path.iterdir())
    out = ("--out", tmp_path / "b.tflite")
    for arguments, sentence in (
        (
            (delta,),
            f"changes to another file; pass --base with the one whose SHA-256 is {needed}",
        ),
        (
            (delta, "--base", tmp_path / "new.tflite"),
            f"file whose SHA-256 is {needed}, the one",
        ),
        ((full, "--base", tmp_path / "old.tflite"), "holds a whole file; unpack it without --base"),
    ):
        with pytest.raises(EdgenetsError, match=sentence):
            edgenets(capsys, "unpack", *arguments, *out)
        assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(EdgenetsError, match=r"old\.tflite is a file that is read"):
        old = tmp_path / "old.tflite"
        edgenets(capsys, "unpack", delta, "--base", old, "--out", old)


def test_damaged_package_of_changes_is_refused(delta: Path, tmp_path: Path, capsys):
    package = delta.read_bytes()
    unpack = ("unpack", delta, "--base", tmp_path / "old.tflite", "--out", tmp_path / "b.tflite")
    for at in range(5, len(package), 7):
        for damaged in (package[:at], package[:at] + bytes([package[at] ^ 1]) + package[at + 1 :]):
            delta.write_bytes(damaged)
            with pytest.raises(EdgenetsError, match="damaged"):
                edgenets(capsys, *unpack)
            assert not (tmp_path / "b.tflite").exists()


def test_a_base_that_is_no_tflite_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "new.tflite").write_bytes(TFLITE)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    with pytest.raises(EdgenetsError, match=r"photo\.jpg is not a \.tflite file"):
        edgenets(
            capsys,
            *("pack", tmp_path / "new.tflite", "--base", tmp_path / "photo.jpg"),
            *("--out", tmp_path / "a.epk"),
        )
    assert not (tmp_path / "a.epk").exists()
