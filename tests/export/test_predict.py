import doctest
import json

import numpy as np
import pytest
from PIL import Image

from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.export import predict, remote
from edgenets.export.predict import predict_files, softmax
from edgenets.export.runtime import Classifier

LABELS = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")


@pytest.fixture
def images(tiny_net, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, pixels in zip(paths, tiny_net.pixels, strict=False):
        Image.fromarray(pixels).save(path)
    return paths


def test_softmax_is_exp_over_the_sum_of_exps():
    logits = np.float32([1, 2, 3])
    total = np.e + np.e**2 + np.e**3
    np.testing.assert_allclose(softmax(logits), [np.e / total, np.e**2 / total, np.e**3 / total])


def test_predictions_are_labels_with_probabilities_in_order(tiny_net, tiny_int8_file, images):
    predictions = predict_files(tiny_int8_file, images, top=3)
    assert [p["path"] for p in predictions] == [str(path) for path in images]
    logits = Classifier(tiny_net.int8).logits(tiny_net.pixels)
    for prediction, row in zip(predictions, logits, strict=False):
        expected = np.exp(row) / np.exp(row).sum()
        order = sorted(range(7), key=lambda i: -row[i])[:3]
        assert [best["label"] for best in prediction["top"]] == [LABELS[i] for i in order]
        assert [best["score"] for best in prediction["top"]] == pytest.approx(expected[order])
        assert [best["name"] for best in prediction["top"]] == [None] * 3


def test_top_is_at_most_the_number_of_classes(tiny_int8_file, images):
    (prediction,) = predict_files(tiny_int8_file, images[:1], top=100)
    assert len(prediction["top"]) == 7
    assert sum(best["score"] for best in prediction["top"]) == pytest.approx(1)


def test_an_unreadable_image_has_its_reason_and_the_others_their_classes(tiny_int8_file, images):
    images[1].write_bytes(b"")
    missing = images[0].with_name("missing.png")
    first, second, third, fourth = predict_files(tiny_int8_file, [*images, missing])
    assert first["top"] and third["top"]
    assert second == {"path": str(images[1]), "error": "empty file"}
    assert fourth == {"path": str(missing), "error": "no such file or directory"}


def test_a_folder_with_one_broken_file_names_it_and_classifies_the_others(
    tiny_int8_file, images, capsys
):
    folder = images[0].parent
    images[1].write_bytes(images[1].read_bytes()[: images[1].stat().st_size // 2])
    arguments = ["predict", str(tiny_int8_file), str(folder), "--json"]
    with pytest.raises(EdgenetsError, match="1 of 3 images could not be read"):
        edgenets_command.main(arguments, standalone_mode=False)
    said = capsys.readouterr()
    first, broken, third = json.loads(said.out)
    assert first["top"] and third["top"]
    assert broken["path"] == str(images[1]) and "truncated or damaged" in broken["error"]
    assert said.err.startswith(f"{images[1]}: truncated or damaged")


def test_many_images_are_run_in_parts(tiny_int8_file, images, monkeypatch):
    whole = predict_files(tiny_int8_file, images * 3)
    monkeypatch.setattr(remote, "SENT_HERE_BYTES", 2 * 8 * 8 * 3)
    assert predict_files(tiny_int8_file, images * 3) == whole


def test_a_file_without_metadata_numbers_its_classes(tiny_net, images, tmp_path):
    path = tmp_path / "bare.tflite"
    path.write_bytes(tiny_net.int8)
    (prediction,) = predict_files(path, images[:1], top=7)
    assert {best["label"] for best in prediction["top"]} == {f"class {i}" for i in range(7)}


def test_shared_files_predict_from_any_photo(shared_file, tmp_path):
    photo = tmp_path / "photo.jpg"
    Image.effect_noise((300, 200), 50).convert("RGB").save(photo)
    (person,) = predict_files(shared_file("mlperf_tiny/vww_96_int8.tflite"), [photo])
    assert sum(best["score"] for best in person["top"]) == pytest.approx(1)


def test_docstring_examples_are_right():
    assert doctest.testmod(predict).failed == 0
