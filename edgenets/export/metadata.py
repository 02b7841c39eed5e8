"""What a `.tflite` says of itself: labels, how its images are prepared, where it comes from.

Three things are in a file, and the first two are those that TFLite's own tools read and write:

- labels.txt, one label a line, in a zip archive behind the model;
- the metadata entry TFLITE_METADATA: what the input takes, and which file names the outputs;
- the metadata entry `edgenets`, JSON: net, preparation, recipe, versions, seed, the SHA-256 of the
  weights, and the layer that each operator computes, because tensors may have no names any more.

Reading needs NumPy alone; `edgenets.export.associated` reads the first two, of any file.

Source: TFLite metadata schema (metadata_schema.fbs, M001), and the layout of TFLite Support, which
stores associated files uncompressed behind the flatbuffer.
"""

from __future__ import annotations

import io
import json
import zipfile
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.input_range import ENTRY
from edgenets.data.pixels import MIDDLE
from edgenets.errors import EdgenetsError
from edgenets.export import associated
from edgenets.flatbuffer import File

if TYPE_CHECKING:
    from edgenets.models.folder import Spec

IDENTIFIER = b"M001"
PARSER_VERSION = "1.0.0"  # that can read images and labels
LABELS = "labels.txt"
BOTH = "labels"  # of `initial_weights`: both classes, where the file gives one score alone
ARCHIVED, NAME_AT = b"PK\x03\x04", 30  # how a file in an archive begins, and where its name is
MISSING = "{} is missing behind the model; the file was cut short, export it again"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's first; a file carries no time of its making
# Numbers of the schema.
AXIS_LABELS = np.uint8(2)
RGB = np.uint8(1)
FEATURE, IMAGE, NORMALIZATION = np.uint8(1), np.uint8(2), np.uint8(1)


class Table(NamedTuple):
    """A table of a flatbuffer: its fields by number."""

    fields: dict[int, Any]  # NumPy scalars, text, float32 vectors, tables, lists of tables


def all_labels(spec: Spec) -> tuple[str, ...]:
    """Return the labels of all classes, also where the file gives one score alone."""
    return (*spec.initial_weights.get(BOTH, ()), *spec.labels)


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
    labels = all_labels(spec)
    if broken := [label for label in labels if label.splitlines() != [label]]:
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


def read_labels(content: bytes, model: flatbuffer.Model) -> tuple[str, ...] | None:
    """Return the labels in the archive behind a file, whose model is `model`; None without any.

    Raises:
        EdgenetsError: the metadata or the archive are damaged, or the file ends in its labels.
    """
    check_end(content)
    return associated.read_archive(content, _named_labels(model)).labels


def lost_labels(content: bytes, model: flatbuffer.Model) -> str | None:
    """Return the name of the labels that the metadata promise and no archive holds; else None.

    So are files that another tool rewrote: it kept the entry and lost what stood behind the model.
    """
    named = _named_labels(model)
    labels = associated.read_archive(content, named).labels
    return named[0] if named and labels is None else None


def _named_labels(model: flatbuffer.Model) -> tuple[str, ...]:
    described = associated.read_description(model)
    return described.label_files if described else ()


def check_end(content: bytes) -> None:
    """Refuse a file that ends in the middle of its labels; without any it is whole, too.

    Raises:
        EdgenetsError: it does.
    """
    start = content.rfind(ARCHIVED)
    begins = start >= 0 and content[start + NAME_AT :].startswith(LABELS.encode())
    if begins and not zipfile.is_zipfile(io.BytesIO(content)):
        raise EdgenetsError(MISSING.format(LABELS))


def read_entry(model: flatbuffer.Model) -> dict[str, Any]:
    """Return what a file says of itself as edgenets writes it; empty if it says nothing.

    Raises:
        EdgenetsError: it is not a JSON object.
    """

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no number")

    try:
        entry = json.loads(model.metadata.get(ENTRY, b"{}"), parse_constant=refuse)
        if not isinstance(entry, dict):
            raise ValueError(f"a {type(entry).__name__}")
    except (ValueError, RecursionError) as error:
        raise EdgenetsError(
            f"its metadata {ENTRY!r} are not a JSON object; export it again"
        ) from error
    return entry


def both_labels(entry: dict[str, Any], label: str) -> tuple[str, str]:
    """Return the labels of two classes, of which a file has a score of the second alone.

    Args:
        entry: as `read_entry` returns it.
        label: of the second.
    """
    match entry:
        case {"initial_weights": {"labels": [str(other), str(own)]}} if own == label:
            return other, own
    return f"not {label}", label


def layer_names(model: flatbuffer.Model) -> list[str]:
    """Return the layer that each operator computes, as the file says it or its tensors are named.

    Raises:
        EdgenetsError: what edgenets wrote into the file is not a JSON object.
    """
    names = read_entry(model).get("layers")
    if isinstance(names, list) and len(names) == len(model.operators):
        return [str(name) for name in names]
    return [_layer_computed(model, operator) for operator in model.operators]


def layer_name(tensor_name: str) -> str:
    """Return the layer in a tensor's name, which is a path, or the paths of all that was fused.

    >>> layer_name("net/stem_relu/Relu6;net/stem_conv/Conv2D")
    'stem_conv'
    >>> layer_name("net/stem_conv/BiasAdd/ReadVariableOp"), layer_name("logits")
    ('stem_conv', 'logits')
    """
    path = tensor_name.rpartition(";")[2]
    before, bias, _ = path.partition("/BiasAdd")
    layer = before.split("/")[1:] if bias else path.split("/")[1:-1]
    return "/".join(layer) or path


def _layer_computed(model: flatbuffer.Model, operator: flatbuffer.Operator) -> str:
    if not operator.outputs:
        return ""
    if operator.name in flatbuffer.COMPILED:  # many layers
        return operator.name
    name = model.tensors[operator.outputs[0]].name
    if "/" not in name and operator.name in flatbuffer.WEIGHTED:  # an output of the whole net
        kernel = operator.inputs[1]
        name = model.tensors[model.unpacked.get(kernel, kernel)].name
    return layer_name(name)


def standard_entry(name: str) -> bytes:
    """Return the entry TFLITE_METADATA: pixels less `MIDDLE` over it in, a score a label out.

    A quantized tensor takes and gives that in its own scale and zero point.
    """
    normalization = Table({0: _floats(MIDDLE), 1: _floats(MIDDLE)})
    inputs = Table(
        {
            0: "image",
            1: f"one RGB image; pixels less {MIDDLE}, divided by {MIDDLE}",
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
