"""`benchmarks/pretrained.py` keeps a trained model folder in float16, within 2 MB."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.models.folder import Model, Spec, named_weights
from edgenets.models.registry import complete_arguments, create

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "pretrained.py"
SMALL = {"base_expand": 16, "expand_increment": 8, "resolution": 32, "classes": 2}


@pytest.fixture(scope="module")
def pretrained() -> ModuleType:
    specification = importlib.util.spec_from_file_location("pretrained", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arguments = complete_arguments("squeezenet", {**SMALL, "output_stride": 8})
    spec = Spec("squeezenet", arguments, ("cat", "dog"), Preparation(32, 32), seed=0)
    folder = tmp_path_factory.mktemp("run") / "01-train"
    Model(create("squeezenet", **arguments), spec).save(folder)
    return folder


def test_kept_folder_is_the_trained_one_in_float16(pretrained, trained, tmp_path):
    folder = pretrained.keep(trained, tmp_path)
    assert folder == tmp_path / "cifar10_squeezenet"
    model, kept = Model.load(trained), Model.load(folder)
    assert kept.spec == model.spec
    rounded = named_weights(kept.net)
    for name, weight in named_weights(model.net).items():
        np.testing.assert_array_equal(rounded[name], weight.astype(np.float16))


def test_equal_folders_are_kept_as_equal_files(pretrained, trained, tmp_path):
    first, second = (pretrained.keep(trained, tmp_path / name) for name in "ab")
    for name in ("spec.json", "weights.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_folder_that_is_too_large_is_refused(pretrained, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "LARGEST_BYTES", 1000)
    with pytest.raises(EdgenetsError, match=r"may take 1000 B; train a smaller net"):
        pretrained.keep(trained, tmp_path)
    assert not list(tmp_path.iterdir())
