"""What one export does with its file: parsed and packed once, and read as it is written."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from edgenets.flatbuffer import edit, file
from edgenets.models import folder as model_folder
from edgenets.models.codes import Codes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.one_step import export
from edgenets.quantize.layers import assign_kernels
from edgenets.quantize.stages.int8 import quantize_kernels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compressed(tmp_path_factory) -> Path:
    """A model folder with the integers of its int8 file."""
    loaded = Model.load(PRETRAINED / "cifar10_mobilenet_v1")
    model, spec = loaded.net, loaded.spec
    folded = fold_batch_norm(model)
    kernels = quantize_kernels(folded)
    assign_kernels(folded, kernels)
    folder = tmp_path_factory.mktemp("compressed") / "model"
    Model(model, spec).after({"stage": "int8"}, folded, codes=Codes(kernels, {})).save(folder)
    return folder


@pytest.fixture
def counted(monkeypatch) -> Counter[str]:
    """How often a flatbuffer is parsed, in either way, and packed, and a spec.json is read."""
    counts: Counter[str] = Counter()

    def count(module, name, kind, matters=lambda *_: True):
        original = getattr(module, name)

        def counting(*args):
            counts[kind] += bool(matters(*args))
            return original(*args)

        monkeypatch.setattr(module, name, counting)

    count(sys.modules["edgenets.flatbuffer.read"], "_read_model", "parses")
    for module in (edit, file):
        count(module, "unpack", "parses")
        count(module, "pack", "packs")
    count(model_folder, "read_json", "specs", lambda path: path.name == "spec.json")
    return counts


@pytest.mark.parametrize("number_format", ["int8", "fp32"])
def test_an_export_parses_its_file_twice_and_packs_it_once(
    compressed, counted, tmp_path, number_format
):
    out = tmp_path / "net.tflite"
    export(Model.load(compressed), out, number_format, "digits", 20, 0)
    # The converter's file, then the bytes that are kept.
    assert counted == {"parses": 2, "packs": 1, "specs": 1}
