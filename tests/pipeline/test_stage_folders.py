"""Which finished stages are kept: those that are as they were made, of the same and by the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenets.errors import EdgenetsError
from edgenets.pipeline import keys
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
