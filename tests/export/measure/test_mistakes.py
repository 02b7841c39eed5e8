import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenets.data.dataset import Split
from edgenets.data.images import Preparation
from edgenets.export.measure.mistakes import describe_mistakes, worst_mistakes


def logits_for(answers, sureness, classes=3):
    logits = np.zeros((len(answers), classes), np.float32)
    logits[np.arange(len(answers)), answers] = sureness
    return logits


def test_the_surest_mistakes_of_each_class_come_first():
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    logits = logits_for([1, 2, 0, 1, 0, 1, 2], [1, 3, 9, 2, 5, 9, 9])
    mistakes = worst_mistakes(logits, labels, most_per_class=2)
    assert [(m.image, m.label, m.answer) for m in mistakes] == [(1, 0, 2), (3, 0, 1), (4, 1, 0)]
    assert mistakes[0].score == pytest.approx(np.exp(3) / (np.exp(3) + 2))


def test_classes_with_most_mistakes_are_taken_where_there_are_too_many():
    labels = np.array([0, 1, 1, 2, 2])
    mistakes = worst_mistakes(logits_for([1, 0, 0, 0, 0], 1), labels, most_classes=2)
    assert [m.label for m in mistakes] == [1, 1, 2, 2]


def test_no_mistake_is_an_empty_list():
    labels = np.array([0, 1])
    assert worst_mistakes(logits_for([0, 1], 1), labels) == []
    split = Split((np.zeros((8, 8, 3), np.uint8),) * 2, labels)
    images = split.load(Preparation(8, 8))
    assert describe_mistakes([], split, images, ("cat", "dog"), Path()) == []


def test_pictures_are_small_jpegs_of_the_prepared_pixels_with_paths_below_the_data(tmp_path):
    red = np.full((200, 200, 3), (250, 10, 10), np.uint8)
    path = tmp_path / "test" / "cat" / "1.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(red).save(path)
    split = Split((path, red[:50, :50]), np.array([0, 0]))
    images = split.load(Preparation(120, 120))
    mistakes = worst_mistakes(logits_for([1, 1], [2, 1], classes=2), split.labels)
    first, second = describe_mistakes(mistakes, split, images, ("cat", "dog"), tmp_path)
    assert (first["path"], second["path"]) == ("test/cat/1.png", None)
    assert (first["index"], first["label"], first["answer"]) == (0, "cat", "dog")
    picture = Image.open(io.BytesIO(base64.b64decode(first["jpeg"])))
    assert (picture.format, picture.size) == ("JPEG", (96, 96))
    np.testing.assert_allclose(np.array(picture)[48, 48], (250, 10, 10), atol=3)  # JPEG's loss
