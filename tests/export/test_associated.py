"""TFLite's own metadata and the archive behind a model, good and bad."""

from __future__ import annotations

import io
import zipfile

import pytest

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export import associated
from edgenets.export.associated import (
    Archive,
    read_archive,
    read_description,
    with_archive_of,
)
from edgenets.export.metadata import with_labels

MODEL = b"\x1c\0\0\0TFL3" + bytes(100)


def with_archive(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO(MODEL)
    with zipfile.ZipFile(file, "a", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def test_labels_of_coral_s_file_are_those_that_its_metadata_names(shared_file):
    path = shared_file("coral/mobilenet_v1_0.25_128_quant.tflite")
    described = read_description(flatbuffer.read(path))
    assert described is not None and described.name == "ImageClassifier"
    assert described.label_files == ("imagenet_labels.txt",)
    archive = read_archive(path.read_bytes(), described.label_files)
    assert archive.sizes_bytes == {"imagenet_labels.txt": 21_686}
    assert archive.labels is not None and len(archive.labels) == 1001
    assert archive.labels[:2] == ("background", "tench, Tinca tinca")


def test_the_file_that_metadata_names_comes_before_one_that_looks_like_labels():
    content = with_archive({"my_labels.txt": b"no", "classes": b"ant\nbee\n"})
    assert read_archive(content, ("classes",)).labels == ("ant", "bee")
    assert read_archive(content).labels == ("no",)


def test_a_byte_order_mark_is_no_part_of_a_label():
    content = with_archive({"labels.txt": "\ufeffant\nbee\n".encode()})
    assert read_archive(content).labels == ("ant", "bee")


def test_without_an_archive_there_are_no_files():
    assert read_archive(MODEL) == Archive({}, None, None)
    assert read_archive(with_archive({"readme": b"x"})) == Archive({"readme": 1}, None, None)


def test_a_bomb_is_not_unpacked():
    content = with_archive({"labels.txt": b"\n" * (associated.MOST_LABEL_BYTES + 1)})
    assert len(content) < 10_000
    with pytest.raises(EdgenetsError, match=r"labels\.txt has over 4194304 bytes"):
        read_archive(content)


@pytest.mark.parametrize("damage", range(12))
def test_a_damaged_archive_is_one_sentence_or_still_read(damage: int):
    content = bytearray(with_archive({"labels.txt": b"ant\nbee\n" * 50}))
    start = len(MODEL) + damage * (len(content) - len(MODEL)) // 12
    content[start : start + 9] = b"\xff" * 9
    try:
        read_archive(bytes(content))
    except EdgenetsError as error:
        assert "archive behind the model is damaged" in str(error)


def test_labels_that_are_no_text_are_one_sentence():
    with pytest.raises(EdgenetsError, match="archive behind the model is damaged"):
        read_archive(with_archive({"labels.txt": b"\xff\xfe\x00"}))


@pytest.mark.parametrize("entry", [b"", b"abc", b"\xff" * 40])
def test_metadata_that_is_damaged_is_one_sentence(entry: bytes):
    model = flatbuffer.Model(0, 1, (), (), (), (), {associated.TFLITE_METADATA: entry})
    with pytest.raises(EdgenetsError, match="TFLITE_METADATA is damaged"):
        read_description(model)
    assert read_description(model._replace(metadata={})) is None


def test_archive_goes_behind_another_file_and_a_damaged_one_is_refused():
    source = with_labels(b"one model", ("ant", "bee"))
    moved = with_archive_of(source, b"a longer model than that")
    assert moved.startswith(b"a longer model than that")
    assert read_archive(moved).labels == ("ant", "bee")
    assert with_archive_of(b"no archive", b"model") == b"model"
    with pytest.raises(EdgenetsError, match="archive behind the model is damaged"):
        with_archive_of(source.replace(b"ant\nbee", b"ant\nbeb"), b"model")
