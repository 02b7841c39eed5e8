from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.flatbuffer import File, edit, file
from edgenets.flatbuffer.view import view


@pytest.fixture
def packs(monkeypatch) -> list[bytes]:
    """The results of every packing."""
    made: list[bytes] = []
    original = file.pack

    def pack(schema) -> bytes:
        made.append(original(schema))
        return made[-1]

    monkeypatch.setattr(file, "pack", pack)
    return made


def test_edits_are_seen_at_once_and_packed_once(packs, content):
    changed = File(content)
    changed.edit(flatbuffer.set_metadata, {"origin": b"here"})
    assert changed.model.metadata == {"origin": b"here"}
    changed.edit(flatbuffer.set_metadata, {"origin": b"there"})
    changed.edit(flatbuffer.slim)
    assert [tensor.name for tensor in changed.model.tensors] == ["in", "", "", "out"]
    assert not packs
    assert changed.content is changed.content
    assert len(packs) == 1
    one_by_one = flatbuffer.with_metadata(content, {"origin": b"there"})
    assert flatbuffer.rewrite(one_by_one, flatbuffer.slim) == changed.content


def test_a_file_that_nobody_edits_keeps_its_bytes(packs, content):
    untouched = File(content)
    assert untouched.model.holds(flatbuffer.read(content))
    assert untouched.content is content and not packs


def test_a_finished_file_is_read_from_all_its_bytes(content):
    changed = File(content)
    changed.edit(flatbuffer.slim)
    kept = changed.finish(lambda packed: packed + b"behind")
    assert kept.content == changed.content + b"behind"
    assert kept.model.size_bytes == len(kept.content)


@pytest.mark.parametrize("buffer", [1, 2])
def test_bytes_that_hold_other_numbers_than_the_session_are_refused(monkeypatch, content, buffer):
    original = file.pack

    def pack_wrongly(model) -> bytes:
        packed = bytearray(original(model))
        packed[flatbuffer.read(bytes(packed)).tensors[buffer].offset] ^= 1
        return bytes(packed)

    changed = File(content)
    changed.edit(flatbuffer.slim)
    monkeypatch.setattr(file, "pack", pack_wrongly)
    with pytest.raises(EdgenetsError, match="as packed differs from what was put into it"):
        changed.finish()


@pytest.mark.parametrize(
    "name",
    [
        "mlperf_tiny/vww_96_int8.tflite",
        "coral/mobilenet_v1_0.25_128_quant.tflite",
        "coral/mobilenet_v1_0.25_128_quant_edgetpu.tflite",
    ],
)
def test_a_session_shows_what_is_read_of_the_bytes(shared_data: Path, name: str):
    content = (shared_data / name).read_bytes()
    shown, read = view(edit.unpack(content)), flatbuffer.read(content)
    assert shown.holds(read)
    assert [operator.options for operator in shown.operators] == [
        operator.options for operator in read.operators
    ]


def test_models_that_differ_in_one_number_are_told_apart(content):
    model = flatbuffer.read(content)
    first = model.tensors[0]
    for other in (
        first._replace(scale=np.float32([0.25])),
        first._replace(name="other"),
        first._replace(shape=(4,)),
    ):
        assert not model.holds(model._replace(tensors=(other, *model.tensors[1:])))
    assert not model.holds(model._replace(tensors=model.tensors[:-1]))
    assert not model.holds(model._replace(operators=()))
    assert model.holds(model._replace(size_bytes=1))
