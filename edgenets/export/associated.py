"""What a `.tflite` file says of itself in TFLite's own way: `TFLITE_METADATA` and files behind it.

The metadata entry is a flatbuffer that describes the model and names files, such as the labels; the
files are in a ZIP archive that is appended to the `.tflite`. Reading trusts neither: positions are
checked, and no more of an archive is unpacked than a list of labels can take.

Source: TFLite metadata schema (metadata_schema.fbs, identifier M001).
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from edgenets import flatbuffer
from edgenets.data.input_range import TFLITE_METADATA
from edgenets.errors import EdgenetsError
from edgenets.memory import require

LABELS = (2, 3)
"""TENSOR_AXIS_LABELS and TENSOR_VALUE_LABELS of the schema's AssociatedFileType."""
MOST_LABEL_BYTES = 2**22
MOST_FILES = 1000
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, struct.error),
    *(ValueError, RuntimeError, OverflowError),  # RuntimeError: encrypted, or packed otherwise
)
"""What `zipfile` raises of a damaged archive."""


class Description(NamedTuple):
    """What the standard metadata of a file says; "" where it does not."""

    name: str
    description: str
    version: str
    author: str
    license: str
    label_files: tuple[str, ...]  # their names in the archive


class Archive(NamedTuple):
    """The files that are appended to a `.tflite`."""

    sizes_bytes: dict[str, int]  # by name
    labels_file: str | None
    labels: tuple[str, ...] | None  # the lines of the labels file


def read_description(model: flatbuffer.Model) -> Description | None:
    """Return what the standard metadata says; None when the file has none.

    Raises:
        EdgenetsError: it is damaged.
    """
    entry = model.metadata.get(TFLITE_METADATA)
    if entry is None:
        return None
    try:
        root = flatbuffer.root_table(entry)
        name, description, version, author, license = map(root.string, (0, 1, 2, 4, 5))
        files = tuple(dict.fromkeys(_label_files(root)))
        return Description(name, description, version, author, license, files)
    except (ValueError, IndexError, struct.error) as error:
        raise EdgenetsError(
            f"its {TFLITE_METADATA} is damaged ({error}); write the metadata again"
        ) from error


def read_archive(content: bytes, label_files: tuple[str, ...] = ()) -> Archive:
    """Return what is in the ZIP archive that ends the content of a `.tflite`, if there is one.

    Args:
        content: of the file.
        label_files: what the metadata names; without, a file is taken whose name says labels.txt.

    Raises:
        EdgenetsError: the archive is damaged, or its labels are too long or no text.
    """
    file = io.BytesIO(content)
    if not zipfile.is_zipfile(file):
        return Archive({}, None, None)
    try:
        with zipfile.ZipFile(file) as archive:
            infos = {info.filename: info for info in archive.infolist()[:MOST_FILES]}
            sizes = {name: info.file_size for name, info in infos.items()}
            said = [name for name in sizes if name.lower().endswith("labels.txt")]
            found = next((name for name in (*label_files, *said) if name in sizes), None)
            if found is None:
                return Archive(sizes, None, None)
            with archive.open(infos[found]) as member:
                text = member.read(MOST_LABEL_BYTES + 1)
        if len(text) > MOST_LABEL_BYTES:
            raise ValueError(f"{found} has over {MOST_LABEL_BYTES} bytes")
        return Archive(sizes, found, tuple(text.decode("utf-8-sig").splitlines()))
    except UNREADABLE as error:
        raise _damaged(error) from error


def with_archive_of(source: bytes, content: bytes) -> bytes:
    """Return the content of a `.tflite` with the archive that ends `source`, where it has one.

    The archive is written anew, as positions in it count from the beginning of the file.

    Raises:
        EdgenetsError: the archive is damaged, or holds more than the memory for a file.
    """
    if not zipfile.is_zipfile(io.BytesIO(source)):
        return content
    file = io.BytesIO(content)
    try:
        with zipfile.ZipFile(io.BytesIO(source)) as kept, zipfile.ZipFile(file, "a") as archive:
            require(
                sum(info.file_size for info in kept.infolist()),
                "the archive behind the model is large",
            )
            for info in kept.infolist():
                archive.writestr(info, kept.read(info))
    except (*UNREADABLE, KeyError) as error:
        raise _damaged(error) from error
    return file.getvalue()


def _damaged(error: Exception) -> EdgenetsError:
    return EdgenetsError(
        f"the archive behind the model is damaged ({error}); write the metadata again"
    )


def _label_files(metadata: Any) -> Iterator[str]:
    """Yield the names of files of labels: of outputs, of subgraphs, of the model."""
    holders = [(metadata, 6)]
    for subgraph in metadata.tables(3):
        holders += [(output, 6) for output in subgraph.tables(3)] + [(subgraph, 4)]
    for holder, field in holders:
        for file in holder.tables(field):
            if file.scalar(2, "<b") in LABELS:
                yield file.string(0)
