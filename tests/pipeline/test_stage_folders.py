"""Which finished stages are kept: those that are as they were made, of the same and by the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenets.errors import EdgenetsError
from edgenets.pipeline import keys
from edgenets.pipeline.compress import require_place
from edgenets.pipeline.run import RECORD, run_stages
from edgenets.pipeline.stages.places import Record, StageRecord
from edgenets.pipeline.stages.plan import Stage


class Made(list[str]):
    """The names of the stages that were worked on."""

    def stage(self, name: str) -> Stage:
        def work(folder: Path, previous: Path, key: str) -> Record:
            self.append(name)
            (folder / "file").write_text(name)
            return {"latency_ms": {"median": 1.25}}

        return Stage(name, {}, work)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Two stages that were made; what is made from now on is in the list."""
    monkeypatch.setattr(keys, "versions", lambda: {"tensorflow": "2.21.0"})
    monkeypatch.setattr(keys, "runtime_name_and_version", lambda: ("litert", "2.3.0"))
    made = Made()
    again(made, tmp_path)
    assert made == ["first", "second"]
    made.clear()
    return made


def again(made: Made, folder: Path, fingerprint: str = "images") -> list[StageRecord]:
    return run_stages(folder, [made.stage("first"), made.stage("second")], fingerprint)


def test_stages_of_another_command_are_left_as_they_are(made: Made, tmp_path: Path):
    with pytest.raises(EdgenetsError, match=r"01-first was made by another command.*pass another"):
        run_stages(tmp_path, [made.stage("other")], "images")
    assert again(made, tmp_path) and made == []


def test_a_training_that_is_begun_again_is_said_to_be(tmp_path: Path, capsys):
    partial = tmp_path / ".01-first.partial"
    partial.mkdir()
    (partial / "key").write_text("of other images")
    (partial / "checkpoint.safetensors").touch()
    again(Made(), tmp_path)
    assert "01-first is begun again: its training was of other images" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, searching",
    [("01-train", True), (".02-prune.partial", True), ("try-1", False), ("mine.txt", True)],
)
def test_a_compression_removes_only_what_it_made(tmp_path: Path, name: str, searching: bool):
    path = tmp_path / "stages" / name
    path.parent.mkdir()
    path.touch() if path.suffix == ".txt" else path.mkdir()
    with pytest.raises(EdgenetsError, match=rf"{name} was not made by this command; repeat"):
        require_place(tmp_path, searching=searching)
    if path.is_dir():
        require_place(tmp_path, searching=not searching)
        (tmp_path / "config.yaml").touch()
        with pytest.raises(EdgenetsError, match="was not made by this command"):
            require_place(tmp_path, searching=not searching)


def test_whole_stages_are_kept(made: Made, tmp_path: Path):
    records = again(made, tmp_path)
    assert made == []
    assert [record.measured["latency_ms"]["median"] for record in records] == [1.25, 1.25]


@pytest.mark.parametrize("name", ["file", RECORD])
def test_stage_with_a_flipped_bit_is_made_again_and_it_is_said(
    made: Made, tmp_path: Path, name: str, capsys
):
    """Of the record it is a digit of what was measured: 1.25 becomes 1.35."""
    path = tmp_path / "01-first" / name
    content = path.read_bytes()
    damaged = (
        content.replace(b"first", b"girst", 1)
        if name == "file"
        else content.replace(b"1.25", b"1.35")
    )
    assert damaged != content
    path.write_bytes(damaged)
    capsys.readouterr()
    records = again(made, tmp_path)
    assert made == ["first"]
    assert records[0].measured["latency_ms"]["median"] == 1.25
    assert path.with_name("file").read_bytes() == b"first"
    said = capsys.readouterr().err
    assert "[1/2] first is made again: " in said and f"{path} is damaged" in said


def test_stage_that_lacks_a_file_is_made_again(made: Made, tmp_path: Path):
    (tmp_path / "02-second" / "file").unlink()
    again(made, tmp_path)
    assert made == ["second"]


@pytest.mark.parametrize(
    "function, result",
    [
        ("versions", {"tensorflow": "2.22.0"}),
        ("runtime_name_and_version", ("litert", "2.4.0")),
    ],
)
def test_stages_of_other_versions_are_made_again(
    made: Made, tmp_path: Path, function: str, result: object, monkeypatch, capsys
):
    monkeypatch.setattr(keys, function, lambda: result)
    capsys.readouterr()
    again(made, tmp_path)
    assert made == ["first", "second"]
    assert "or by other versions of packages" in capsys.readouterr().err


def test_stages_of_other_images_are_made_again(made: Made, tmp_path: Path):
    again(made, tmp_path, "others")
    assert made == ["first", "second"]


@pytest.mark.parametrize("key", [b"", b"\xff\xfe", b"another"])
def test_work_of_another_key_is_begun_anew(made: Made, tmp_path: Path, key: bytes):
    (tmp_path / "02-second").rename(tmp_path / ".02-second.partial")
    (tmp_path / ".02-second.partial" / "key").write_bytes(key)
    (tmp_path / ".02-second.partial" / "left over").write_text("")
    again(made, tmp_path)
    assert made == ["second"]
    assert sorted(p.name for p in (tmp_path / "02-second").iterdir()) == ["file", RECORD]
