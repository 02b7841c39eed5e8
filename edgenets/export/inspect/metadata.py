"""What a `.tflite` says of itself: labels, how its images are prepared, where it comes from.

Three things are in a file, and the first two are those that TFLite's own tools read and write:

- labels.txt, one label a line, in a zip archive behind the model;
- the metadata entry TFLITE_METADATA: what the input takes, and which file names the outputs;
- the metadata entry `edgenets`, JSON: net, preparation, recipe, versions, seed, the SHA-256 of the
  weights, and the layer that each operator computes, because tensors may have no names any more.

Reading needs NumPy alone; `associated.py` beside it reads the first two, of any file, and
`edgenets.export.write.metadata` writes all three.

Source: TFLite metadata schema (metadata_schema.fbs, M001), and the layout of TFLite Support, which
stores associated files uncompressed behind the flatbuffer.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any, NoReturn

from edgenets import flatbuffer
from edgenets.data.input_range import ENTRY
from edgenets.errors import EdgenetsError
from edgenets.export.inspect import associated

LABELS = "labels.txt"
ARCHIVED, NAME_AT = b"PK\x03\x04", 30  # how a file in an archive begins, and where its name is
MISSING = "{} is missing behind the model; the file was cut short, export it again"


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
    name = model.tensors[operator.outputs[0]].name
    if "/" not in name and operator.name in flatbuffer.WEIGHTED:  # an output of the whole net
        kernel = operator.inputs[1]
        name = model.tensors[model.unpacked.get(kernel, kernel)].name
    return layer_name(name)
