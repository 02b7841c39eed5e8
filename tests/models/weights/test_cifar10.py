"""The trained nets in the package: one of each family, small, and as good as their table says."""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Mapping
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from edgenets.data.images import Preparation, load_rgb, prepare
from edgenets.data.pixels import to_network
from edgenets.export.formats import INT8
from edgenets.export.measure.classifier import Classifier
from edgenets.export.targets import TARGETS, Target
from edgenets.export.write.checked_file import export_checked
from edgenets.models.registry import NETS
from edgenets.models.weights.initial import load_weights
from edgenets.models.weights.sources import PRETRAINED

FOLDERS = sorted(PRETRAINED.glob("cifar10_*"))
TOP1 = {  # per cent of 5,000 test images: docs/evidence/results.md, column float16
    "mobilenet_v1": 82.78,
    "shufflenet_v2": 80.24,
    "squeezenet": 75.84,
    "xception": 84.32,
}
IMAGES_PER_CLASS = {"test": 100, "train": 20}
LEAST_AGREEMENT = 0.97  # of int8 files with their Keras models
LARGEST_BYTES = 2_000_000
MOST_PARAMS = 900_000
SIGMAS = 4
# Of the targets one for each way in which an int8 file is written.
WAYS = {
    (t.rewrites, t.integer_rewrites, t.int8_rewrites, t.accelerator, t.names): t
    for t in TARGETS.values()
}


@pytest.fixture(scope="module")
def folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first images of each class: of the test, which the table counts all, and of training."""
    archive = shared_data / "cifar10.tar.xz"
    if not archive.is_file():
        pytest.skip("the images of CIFAR-10 (shared/data/cifar10.tar.xz) are not there")
    folder = tmp_path_factory.mktemp("cifar10")
    counts = Counter[str]()
    with tarfile.open(archive, "r|xz") as stream:
        for member in stream:
            match = re.fullmatch(r"cifar10/((test|train)/[a-z]+)/(\w+\.jpg)", member.name)
            if match and counts[match[1]] < IMAGES_PER_CLASS[match[2]]:
                counts[match[1]] += 1
                (folder / match[1]).mkdir(parents=True, exist_ok=True)
                (folder / match[1] / match[3]).write_bytes(stream.extractfile(member).read())
    return folder


@pytest.fixture(scope="module")
def images(folder: Path) -> list[Path]:
    return sorted(folder.glob("test/*/*.jpg"))


def prepared(paths: list[Path], preparation: Preparation) -> NDArray[np.uint8]:
    return np.stack([prepare(load_rgb(path), preparation) for path in paths])


def test_every_family_has_a_net_with_a_stated_accuracy():
    names = [folder.name.removeprefix("cifar10_") for folder in FOLDERS]
    assert names == sorted(TOP1)
    assert {NETS[name].family for name in names} == {net.family for net in NETS.values()} - {
        "baseline"
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_folder_is_small_and_in_float16(folder: Path):
    assert {path.name for path in folder.iterdir()} == {"spec.json", "weights.safetensors"}
    assert sum(path.stat().st_size for path in folder.iterdir()) <= LARGEST_BYTES
    tensors = safetensors.numpy.load_file(folder / "weights.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float16)}
    assert sum(tensor.size for tensor in tensors.values()) <= MOST_PARAMS


@pytest.mark.slow
@pytest.mark.parametrize("name", TOP1)
def test_net_is_as_good_as_its_table_says(name: str, images: list[Path]):
    loaded = load_weights("cifar10", name, {}, seed=0)
    model, spec = loaded.net, loaded.spec
    assert spec.arguments["output_stride"] <= 8
    assert model.count_params() <= MOST_PARAMS
    labels = np.array([spec.labels.index(path.parent.name) for path in images])
    assert len(labels) == 10 * IMAGES_PER_CLASS["test"]
    pixels = prepared(images, spec.preparation)
    top1 = (model.predict(to_network(pixels), verbose=0).argmax(axis=1) == labels).mean()
    # A part of the images that the table counts, as many of each class, strays less than as many
    # independent draws would.
    expected = TOP1[name] / 100
    sigma = sqrt(expected * (1 - expected) / len(labels))
    assert top1 == pytest.approx(expected, abs=SIGMAS * sigma)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, targets",
    [(name, WAYS if name != "mobilenet_v1" else TARGETS) for name in TOP1],
    ids=list(TOP1),
)
def test_int8_files_answer_as_the_net_does(
    name: str, targets: Mapping[object, Target], folder: Path, images: list[Path]
):
    loaded = load_weights("cifar10", name, {}, seed=0)
    model, spec = loaded.net, loaded.spec
    pixels = prepared(images, spec.preparation)
    answers = model.predict(to_network(pixels), verbose=0).argmax(axis=1)
    calibration = prepared(sorted(folder.glob("train/*/*.jpg")), spec.preparation)
    agreement = dict[bytes, float]()  # by content: several targets have the same file
    for target in targets.values():
        content = export_checked(INT8, model, spec, calibration, None, target).content
        if content not in agreement:
            same = Classifier(content).logits(pixels).argmax(axis=1) == answers
            agreement[content] = same.mean()
        assert agreement[content] >= LEAST_AGREEMENT, target.name
