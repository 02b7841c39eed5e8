from __future__ import annotations

from pathlib import Path

import pytest

from edgenets.errors import EdgenetsError
from edgenets.files import read_json, replacing, sha256_json, write_bytes, write_json


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


def test_hash_of_json_ignores_the_order_of_keys():
    assert sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": 2})
