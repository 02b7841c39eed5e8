from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from edgenets.errors import EdgenetsError
from edgenets.files import (
    check_output,
    locked_folder,
    read_json,
    read_sealed,
    replacing,
    sha256_json,
    write_bytes,
    write_json,
    write_sealed,
)


def test_write_makes_the_folders_above(tmp_path: Path):
    write_bytes(tmp_path / "a" / "b.bin", b"content")
    assert (tmp_path / "a" / "b.bin").read_bytes() == b"content"


def test_failed_write_leaves_the_old_content_and_nothing_else(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_bytes(b"new")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(params=["fifo", "socket", "folder"])
def special(request, tmp_path: Path):
    """What is no file, where one is meant; short, since a socket's name must be."""
    with TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as listening:
        path = Path(name) / "special"
        match request.param:
            case "fifo":
                os.mkfifo(path)
            case "socket":
                listening.bind(str(path))
            case "folder":
                path.mkdir()
        yield path


def test_what_is_no_file_is_not_replaced(special: Path, tmp_path: Path):
    kind = special.stat().st_mode
    link = tmp_path / "link"
    link.symlink_to(special)
    for path in (special, link, special.parent / "missing" / ".." / "special"):
        for write in (partial(write_bytes, path, b"new"), partial(check_output, path)):
            with pytest.raises(
                EdgenetsError, match=r"is a (folder|device, a pipe or a socket); pass"
            ):
                write()
    assert special.stat().st_mode == kind and link.is_symlink()
    assert list(special.parent.iterdir()) == [special]


def test_output_that_is_an_input_is_refused_whatever_it_is_called(tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(b"mine")
    (tmp_path / "link").symlink_to(source)
    os.link(source, tmp_path / "hard")
    for path in ("source", "link", "hard", "new/../source"):
        with pytest.raises(
            EdgenetsError, match=r"is a file that is read.*; pass another one with --svg"
        ):
            check_output(tmp_path / path, [tmp_path / "absent", source], option="--svg")
    check_output(tmp_path / "other", [source])
    check_output(tmp_path / "absent", [tmp_path / "absent"])  # which cannot be read either


def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path: Path):
    (tmp_path / "there").mkdir()
    for name in ("there", "absent/folder"):
        link = tmp_path / "link"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(name) / "file")
        check_output(link)
        write_bytes(link, b"new")
        assert link.is_symlink() and (tmp_path / name / "file").read_bytes() == b"new"
        assert [path.name for path in (tmp_path / name).iterdir()] == ["file"]
    link.unlink()
    link.symlink_to("there/file/below")
    with pytest.raises(EdgenetsError, match=r"link cannot be written: .*there/file is not a fol"):
        check_output(link)


def test_link_loop_is_one_sentence(tmp_path: Path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for write in (partial(write_bytes, loop, b""), partial(check_output, loop)):
        with pytest.raises(EdgenetsError, match=r"cannot use .*loop: "):
            write()


def test_two_writers_do_not_meet(tmp_path: Path):
    path = tmp_path / "file"
    with replacing(path) as slow:
        slow.write_bytes(b"one")
        write_bytes(path, b"two")
        assert path.read_bytes() == b"two"
        assert slow.read_bytes() == b"one"  # not taken for what a killed process left
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed(tmp_path: Path):
    kill = f"""
import os, signal, sys
from pathlib import Path
from edgenets.files import replacing
with replacing(Path({str(tmp_path / "file")!r})) as partial:
    partial.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", kill], check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.read_bytes() == b"half"
    write_bytes(tmp_path / "another", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["another"]


def test_file_has_the_mode_of_a_new_one(tmp_path: Path):
    write_bytes(tmp_path / "file", b"")
    (tmp_path / "plain").touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_names_are_on_the_disk_before_a_write_ends(tmp_path: Path, monkeypatch):
    """A file, then the folder that has its name; and what holds the folders that were made."""
    synced = []

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", note)
    write_bytes(tmp_path / "a" / "b" / "file", b"")
    assert synced[:2] == [tmp_path / "a", tmp_path]
    assert [path.parent for path in synced[2:]] == [tmp_path / "a" / "b", tmp_path / "a"]


def test_unwritable_place_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgenetsError, match=r"cannot write .*below"):
        write_bytes(tmp_path / "file" / "below", b"")


def test_json_is_read_as_it_was_written(tmp_path: Path):
    value = {"numbers": [1, 2.5], "text": "é"}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value


def test_damaged_json_is_one_sentence(tmp_path: Path):
    (tmp_path / "v.json").write_text("{")
    with pytest.raises(EdgenetsError, match="is not valid JSON"):
        read_json(tmp_path / "v.json")


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999", '{"a": [1e999]}'])
def test_json_with_a_number_that_is_not_finite_is_one_sentence(text: str, tmp_path: Path):
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(EdgenetsError, match=r"is not valid JSON .*is not finite"):
        read_json(tmp_path / "v.json")


def test_every_flipped_bit_of_a_sealed_value_is_noticed(tmp_path: Path):
    path = tmp_path / "v.json"
    value = {"numbers": [1, 2.5], "text": "é"}
    write_sealed(path, value)
    content = path.read_bytes()
    assert read_sealed(path) == value
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            assert read_sealed(path) == value  # blank space, or a letter of an escape, is no value
        except EdgenetsError:
            continue
        assert json.loads(flipped) == json.loads(content)


def test_hash_of_json_ignores_the_order_of_keys():
    assert sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": 2})


def test_locked_folder_waits_for_the_process_that_has_it(tmp_path):
    """The other process makes the folder, holds it, leaves nothing in it, and so removes it."""
    folder = tmp_path / "a" / "b"
    script = (
        "import sys, time; from pathlib import Path; from edgenets.files import locked_folder\n"
        "with locked_folder(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(EdgenetsError, match="in use by another"), locked_folder(folder):
            pass
        assert folder.is_dir()  # whoever only asked removes nothing
        with locked_folder(folder, wait=other.stdin.close):
            assert other.wait() == 0
            assert folder.is_dir()
            (folder / "made").touch()
    assert (folder / "made").exists()


def test_lock_of_a_killed_process_is_free(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from edgenets.files import locked_folder\n"
        "with locked_folder(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run")]
    assert subprocess.run(command, check=False).returncode == -9
    with locked_folder(tmp_path / "run"):
        pass


def test_folders_that_were_made_and_hold_nothing_are_removed(tmp_path):
    with pytest.raises(KeyboardInterrupt), locked_folder(tmp_path / "a" / "b"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


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
