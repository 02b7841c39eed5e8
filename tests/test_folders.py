from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgenets import files, folders
from edgenets.errors import EdgenetsError


def test_folder_is_replaced_as_a_whole_or_stays(tmp_path: Path, monkeypatch):
    folder, names = tmp_path / "board", ("a", "b")
    with folders.replacing_folder(folder, names) as partial:
        (partial / "a").write_text("old")
        assert not folder.exists()
    with pytest.raises(KeyboardInterrupt), folders.replacing_folder(folder, names) as partial:
        (partial / "b").write_text("new")
        raise KeyboardInterrupt
    assert [path.name for path in folder.iterdir()] == ["a"]
    with folders.replacing_folder(folder, names) as partial:
        (partial / "b").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["b"]
    rename = folders.rename

    def fail(path: Path, name: Path) -> None:  # at the second one, which gives the name
        if name == folder and (path / "a").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(path, name)

    monkeypatch.setattr(folders, "rename", fail)
    with (
        pytest.raises(EdgenetsError, match=r"No space left .* free some space"),
        folders.replacing_folder(folder, names) as partial,
    ):
        (partial / "a").touch()
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "I/O error")])
def test_folder_comes_back_where_only_its_removal_was_done(
    tmp_path: Path, monkeypatch, error: BaseException
):
    folder, sync = tmp_path / "board", files.sync
    with folders.replacing_folder(folder, ("a",)) as partial:
        (partial / "a").write_text("old")

    def fail(path: Path) -> None:  # of the folder above, amid the first rename
        if not folder.exists():
            raise error
        sync(path)

    monkeypatch.setattr(files, "sync", fail)
    with (
        pytest.raises((KeyboardInterrupt, EdgenetsError)),
        folders.replacing_folder(folder, ("a",)) as partial,
    ):
        (partial / "a").write_text("new")
    assert (folder / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    "place, problem",
    [("holds", "holds mine, which would be lost"), ("file", "is not a folder")],
)
def test_folder_of_other_things_is_not_replaced(tmp_path: Path, place: str, problem: str):
    (tmp_path / "holds").mkdir()
    (tmp_path / "holds" / "mine").touch()
    (tmp_path / "file").touch()
    with (
        pytest.raises(EdgenetsError, match=f"{problem}.* with --out"),
        folders.replacing_folder(tmp_path / place, ("a",)),
    ):
        pytest.fail("the block must not begin")


def test_what_a_killed_process_left_of_a_folder_is_removed(tmp_path: Path):
    kill = f"""
import os, signal
from pathlib import Path
from edgenets.folders import replacing_folder
with replacing_folder(Path({str(tmp_path / "board")!r}), ("a",)) as partial:
    (partial / "a").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", kill], check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".edgenets-*/a"))) == 1
    with folders.replacing_folder(tmp_path / "other", ("a",)) as partial:
        (partial / "a").write_bytes(b"all")
        assert list(tmp_path.glob(".edgenets-*/a")) == [partial / "a"]
        files.write_bytes(tmp_path / "file", b"")  # which takes no living one for a leftover
    assert (tmp_path / "other" / "a").read_bytes() == b"all"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]


def test_an_old_folder_that_a_killed_process_had_no_new_one_for_is_kept(tmp_path: Path):
    kill = f"""
import os, signal
from pathlib import Path
from edgenets import folders
folder = Path({str(tmp_path / "board")!r})
with folders.replacing_folder(folder, ("a",)) as partial:
    (partial / "a").write_bytes(b"old")
rename = folders.rename
def die(path, name):
    rename(path, name)
    os.kill(os.getpid(), signal.SIGKILL)
folders.rename = die
with folders.replacing_folder(folder, ("a",)) as partial:
    (partial / "a").write_bytes(b"new")
"""
    assert subprocess.run([sys.executable, "-c", kill], check=False).returncode == -signal.SIGKILL
    files.write_bytes(tmp_path / "file", b"")
    (old,) = tmp_path.glob(".edgenets-*")
    assert (old / "a").read_bytes() == b"old"


def test_copy_is_whole_and_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch):
    folder, copy, synced = tmp_path / "stage", tmp_path / "try" / "stage", []
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / ".weights").write_bytes(b"weights")

    def note(descriptor: int) -> None:
        assert not copy.exists() or os.path.samestat(os.fstat(descriptor), copy.parent.stat())
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", note)
    folders.copy_folder(folder, copy)
    assert (copy / "deep" / ".weights").read_bytes() == b"weights"
    assert synced.count("deep") == synced.count(".weights") == 1
    assert list(copy.parent.iterdir()) == [copy]


def test_copy_to_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch):
    folder, copy = tmp_path / "stage", tmp_path / "try" / "stage"
    folder.mkdir()
    (folder / "weights").touch()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", fail)
    with pytest.raises(EdgenetsError, match=r"stage: No space left on device; .* free some space"):
        folders.copy_folder(folder, copy)
    assert list(copy.parent.iterdir()) == []
