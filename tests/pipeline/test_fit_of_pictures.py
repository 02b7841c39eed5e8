"""How pictures become square goes from the training through spec and file to every answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edgenets as en
from edgenets.data.images import Fit, Preparation, load_prepared
from edgenets.data.sources import open_dataset
from edgenets.errors import EdgenetsError
from edgenets.export.measure.classifier import Classifier
from edgenets.models.logits import softmax
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.config import check_config
from edgenets.pipeline.stages.inputs import RunImages, load_initial, preparation_of


@pytest.fixture(scope="module")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of pictures, 96 x 48, told apart by their left and right quarters alone."""
    folder, random = tmp_path_factory.mktemp("wide"), np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        for label, brightness in (("dark", 0), ("light", 150)):
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 100, (48, 96, 3), dtype=np.uint8)
                pixels[:, :24] += brightness
                pixels[:, 72:] += brightness
                Image.fromarray(pixels).save(folder / split / label / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def stretched(wide_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> en.Model:
    """A classifier that was fitted to whole pictures, on the features of trained weights."""
    out = tmp_path_factory.mktemp("stretched") / "model"
    en.train("mobilenet_v1", wide_folder, out=out, weights="cifar10", epochs=0, fit="stretch")
    model = en.load(out)
    assert isinstance(model, en.Model)
    return model


@pytest.mark.slow
def test_fit_goes_from_the_training_to_the_answers_of_folder_and_file(
    stretched: en.Model, wide_folder: Path, tmp_path: Path
):
    assert stretched.folder is not None
    stored = json.loads((stretched.folder / "spec.json").read_text())["preparation"]
    assert stored["fit"] == "stretch" and "crop" not in stored
    file = stretched.export(tmp_path / "a.tflite", format="fp32", softmax=True, data=wide_folder)
    assert Classifier(file.path).preparation == stretched.spec.preparation

    paths = sorted((wide_folder / "test").rglob("*.png"))
    told = [prediction.top for prediction in file.predict(*paths)]
    scores = np.array([{each.label: each.score for each in top}["light"] for top in told])
    expected = {fit: light_scores(stretched, paths, fit) for fit in ("stretch", "crop")}
    np.testing.assert_allclose(scores, expected["stretch"], atol=1e-4)
    assert scores[6:].min() > 0.99 and expected["crop"][6:].max() < 0.01  # which shows no quarter
    of_folder, of_file = (each.evaluate(wide_folder).confusion for each in (stretched, file))
    assert of_folder == of_file == ((6, 0), (0, 6))


def light_scores(model: en.Model, paths: list[Path], fit: Fit) -> np.ndarray:
    """The probabilities of the class light, of images that are prepared here."""
    pixels = np.stack([load_prepared(path, Preparation(32, 32, fit)) for path in paths])
    return softmax(model.net(pixels / np.float32(127.5) - 1).numpy())[:, 1]


@pytest.mark.slow
def test_compression_and_a_client_keep_the_fit(
    stretched: en.Model, wide_folder: Path, tmp_path: Path
):
    small = stretched.compress(wide_folder, recipe="int8")
    assert small.spec.preparation == Preparation(32, 32, "stretch")
    plain = small.export(tmp_path / "plain.tflite", softmax=True)
    file = small.export(tmp_path / "client.tflite", client="mediapipe")
    assert file.record.client == "mediapipe" and plain.record.client is None
    assert not any("MediaPipe" in note for note in file.record.notes)  # it does the same

    images = open_dataset(str(wide_folder)).test.load(small.spec.preparation).take(range(12))
    codes = Classifier(file.path).outputs(images)
    np.testing.assert_array_equal(codes, Classifier(plain.path).outputs(images).astype(int) + 128)
    assert file.evaluate(wide_folder) == plain.evaluate(wide_folder)
    assert file.inspect().inputs[0]["dtype"] == "uint8"
    assert file.benchmark(min_runs=2, min_seconds=0).latency_ms.median > 0
    file.pack(tmp_path / "a.epk")
    assert en.unpack(tmp_path / "a.epk", tmp_path / "b.tflite").content == file.content


@pytest.mark.slow
def test_export_for_a_client_that_prepares_otherwise_says_what_to_do(tmp_path: Path):
    model = en.Model.load(PRETRAINED / "cifar10_mobilenet_v1")
    assert model.spec.preparation.fit == "crop"
    file = model.export(tmp_path / "a.tflite", format="fp32", client="mediapipe")
    assert [end["dtype"] for end in file.record.inputs] == ["float32"]
    (note,) = (note for note in file.record.notes if "MediaPipe" in note)
    assert "prepared with fit crop" in note and "--fit stretch" in note
    with pytest.raises(EdgenetsError, match="uint8 ends are of int8 files, not of fp32"):
        model.export(tmp_path / "b.tflite", format="fp32", ends="uint8")
    assert not (tmp_path / "b.tflite").exists()


def config_of(folder: Path, **data: Any):
    values = {
        "model": {"name": "mobilenet_v1", "width": 0.25, "resolution": 64},
        "data": {"source": str(folder), "flip": True, **data},
        "train": {"weights": "none"},
    }
    return check_config(values, lambda place: "a test")


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad", None])
def test_crops_are_cut_from_pictures_of_the_same_fit(fit: Fit | None, wide_folder: Path):
    config = config_of(wide_folder, fit=fit)
    images = RunImages(open_dataset(str(wide_folder)), preparation_of(config), config)
    assert images.preparation.fit == (fit or "crop")
    sources = images.training.sources
    assert sources is not None
    light = sources.take(np.flatnonzero(images.training.labels == 1))
    assert light.shape[1:] == (128, 128, 3)
    corner, middle = light[:, 63, 2].mean(), light[:, 63, 64].mean()
    if fit == "stretch":  # the light quarters are there
        assert corner > 150 and middle < 100
    elif fit == "pad":  # 128 x 64 pixels, and black above and below
        assert corner > 150 and not light[:, :32].any() and not light[:, 96:].any()
    else:
        assert corner < 100


@pytest.mark.slow
def test_weights_of_a_folder_bring_their_fit_unless_another_is_asked_for(
    stretched: en.Model, wide_folder: Path
):
    for asked, found in ((None, "stretch"), ("pad", "pad"), ("crop", "crop")):
        values = {
            "model": {"name": "mobilenet_v1"},
            "data": {"source": str(wide_folder), "fit": asked},
            "train": {"weights": str(stretched.folder)},
        }
        _, initial = load_initial(check_config(values, lambda place: "a test"))
        assert initial is not None and initial.spec.preparation == Preparation(32, 32, found)


def test_unknown_fit_of_a_config_is_one_sentence_with_the_near_name(wide_folder: Path):
    with pytest.raises(EdgenetsError, match=r"data\.fit: .*got 'strech'; did you mean stretch\?"):
        config_of(wide_folder, fit="strech")
