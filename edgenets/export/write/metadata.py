"""Write into a `.tflite` what it says of itself: labels, how its images are prepared, its origin.

`edgenets.export.inspect.metadata` says what is written, and reads it.

Source: TFLite metadata schema (metadata_schema.fbs, M001).
"""

from __future__ import annotations

import io
import json
import zipfile
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.input_range import ENTRY
from edgenets.errors import EdgenetsError
from edgenets.export.inspect import associated
from edgenets.flatbuffer import File

if TYPE_CHECKING:
    from edgenets.models.folder import Spec
from edgenets.export.inspect.metadata import LABELS, layer_names

IDENTIFIER = b"M001"
PARSER_VERSION = "1.0.0"  # that can read images and labels
EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's first; a file carries no time of its making
# Numbers of the schema.
AXIS_LABELS = np.uint8(2)
RGB = np.uint8(1)
FEATURE, IMAGE, NORMALIZATION = np.uint8(1), np.uint8(2), np.uint8(1)


class Table(NamedTuple):
    """A table of a flatbuffer: its fields by number."""

    fields: dict[int, Any]  # NumPy scalars, text, float32 vectors, tables, lists of tables


def with_description(
    converted: File, spec: Spec, source_sha256: str, *, names: bool = False
) -> File:
    """Return a converted file as it is kept: described, and without what only the converter needs.

    Args:
        converted: the file, its tensors named after the layers that compute them; it is changed.
        spec: of its model.
        source_sha256: of the weights that it was converted from.
        names: whether tensors keep theirs, for other tools: some stop without, some show nothing.

    Raises:
        EdgenetsError: a label takes more than one line.
    """
    if broken := [label for label in spec.labels if len(label.splitlines()) != 1]:
        raise EdgenetsError(f"a label must be one line of text, not {broken[0]!r}; rename it")
    told = spec.to_json()
    del told["history"], told["labels"]
    told |= {"source_sha256": source_sha256, "layers": layer_names(converted.model)}
    entries = {
        ENTRY: json.dumps(told).encode(),
        associated.TFLITE_METADATA: standard_entry(spec.name),
    }
    converted.edit(flatbuffer.set_metadata, entries)
    converted.edit(flatbuffer.slim, names=names)
    return converted.finish(partial(with_labels, labels=spec.labels))


def with_labels(content: bytes, labels: tuple[str, ...]) -> bytes:
    """Return a file with its labels in an archive behind it."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS, EPOCH), "\n".join(labels))
    return file.getvalue()


def standard_entry(name: str) -> bytes:
    """Return the entry TFLITE_METADATA: RGB pixels less 127.5 over 127.5 in, a score a label out.

    A quantized tensor takes and gives that in its own scale and zero point.
    """
    normalization = Table({0: _floats(127.5), 1: _floats(127.5)})
    inputs = Table(
        {
            0: "image",
            1: "one RGB image; pixels less 127.5, divided by 127.5",
            3: Table({0: IMAGE, 1: Table({0: RGB})}),
            4: [Table({0: NORMALIZATION, 1: normalization})],
            5: Table({0: _floats(1), 1: _floats(-1)}),
        }
    )
    outputs = Table(
        {
            0: "scores",
            1: "one score for each label",
            3: Table({0: FEATURE, 1: Table({})}),
            6: [Table({0: LABELS, 1: "what each score is of", 2: AXIS_LABELS})],
        }
    )
    graph = Table({2: [inputs], 3: [outputs]})
    return _encode(Table({0: name, 3: [graph], 7: PARSER_VERSION}))


def _floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def _encode(table: Table) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(_build(builder, table), IDENTIFIER)
    return bytes(builder.Output())


def _build(builder: Any, value: Any) -> int:
    """Write what a field refers to; return its offset."""
    match value:
        case str():
            return int(builder.CreateString(value))
        case list():
            offsets = [_build(builder, item) for item in value]
            builder.StartVector(4, len(offsets), 4)
            for offset in reversed(offsets):
                builder.PrependUOffsetTRelative(offset)
            return int(builder.EndVector())
        case Table(fields):
            referred = {
                number: _build(builder, field)
                for number, field in fields.items()
                if not isinstance(field, np.uint8)
            }
            builder.StartObject(max(fields, default=-1) + 1)
            for number, field in fields.items():
                if number in referred:
                    builder.PrependUOffsetTRelativeSlot(number, referred[number], 0)
                else:
                    builder.PrependUint8Slot(number, int(field), 0)
            return int(builder.EndObject())
        case _:
            vector: NDArray[np.float32] = value
            return int(builder.CreateNumpyVector(vector))
