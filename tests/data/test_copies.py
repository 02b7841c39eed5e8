"""Copies of an image never stand on both sides of a split."""

import shutil

import pytest

from edgenets.data.images import Preparation
from edgenets.data.loading import UNLABELLED
from edgenets.data.sources import open_dataset, open_for_evaluation
from edgenets.errors import EdgenetsError
from edgenets.training.data import TrainingData


def names(split):
    return [path.name for path in split.sources]


@pytest.fixture
def with_copies(make_folder):
    """A folder in whose later parts copies of images of earlier ones stand."""
    parts = ("train/a", "train/b", "val/a", "val/b", "test/a", "test/b")
    folder = make_folder(dict.fromkeys(parts, 3))
    shutil.copy(folder / "train/a/0.png", folder / "train/a/again.png")
    shutil.copy(folder / "train/a/0.png", folder / "val/a/copy.png")
    shutil.copy(folder / "train/a/0.png", folder / "test/a/copy.png")
    shutil.copy(folder / "val/b/300.png", folder / "test/b/copy.png")
    return folder


def test_image_in_two_parts_is_named_and_left_out_of_the_later_one(with_copies):
    data = open_dataset(str(with_copies))
    assert {file.path: file.reason for file in data.skipped} == {
        str(with_copies / "val/a/copy.png"): (
            "the same image as train/a/0.png, left out of validation"
        ),
        str(with_copies / "test/a/copy.png"): "the same image as train/a/0.png, left out of test",
        str(with_copies / "test/b/copy.png"): "the same image as val/b/300.png, left out of test",
    }
    assert (len(data.train), len(data.validation), len(data.test)) == (7, 6, 6)
    with pytest.raises(EdgenetsError, match=r"unusable files \(3\): .*the same image as"):
        open_dataset(str(with_copies), strict=True)


def test_evaluation_leaves_out_the_same_copies(with_copies):
    images = open_for_evaluation(str(with_copies), ("a", "b"))
    data = open_dataset(str(with_copies))
    assert images.split.sources == data.test.sources
    assert set(images.skipped) == {
        file for file in data.skipped if "left out of test" in file.reason
    }


def test_class_all_of_whose_test_images_are_copies_is_refused_with_that_reason(make_folder):
    folder = make_folder({"train/a": 3, "train/b": 3, "test/a": 2, "test/b": 0})
    shutil.copy(folder / "train/b/100.png", folder / "test/b/copy.png")
    sentence = (
        r"no usable image to test b with: .*test/b/copy.png \(the same image as train/b/100.png, "
        r"left out of test\); each class needs one in .*test that is in no other part or"
    )
    with pytest.raises(EdgenetsError, match=sentence):
        open_dataset(str(folder))
    assert len(open_for_evaluation(str(folder), ("a", "b")).split) == 2


@pytest.mark.parametrize("seed", range(5))
def test_copies_in_a_class_come_to_one_side_of_a_split(make_folder, seed):
    folder = make_folder({"a": 10, "b": 10})
    for i in range(10):
        for copy in range(i % 3):
            shutil.copy(folder / "a" / f"{i}.png", folder / "a" / f"copy{copy}_{i}.png")
    data = open_dataset(str(folder), seed=seed)
    train, test = ({file.read_bytes() for file in part.sources} for part in (data.train, data.test))
    assert not train & test
    assert (len(train), len(test)) == (16, 4)
    assert len(data.train) + len(data.test) == 29
    assert data.skipped == ()


def test_copies_change_nothing_in_how_other_images_are_split(make_folder):
    folder = make_folder({"a": 10, "b": 10})
    before = names(open_dataset(str(folder)).test)
    shutil.copy(folder / "a" / "0.png", folder / "a" / "copy.png")
    assert set(names(open_dataset(str(folder)).test)) - {"copy.png"} == set(before)


@pytest.mark.parametrize("seed", range(5))
def test_image_under_two_classes_is_named_and_never_on_both_sides(make_folder, capsys, seed):
    folder = make_folder({"a": 20, "b": 20})
    for i in range(4):
        shutil.copy(folder / "a" / f"{i}.png", folder / "b" / f"copy{i}.png")
    data = open_dataset(str(folder), seed=seed)
    assert capsys.readouterr().err == (
        "the same image under two classes: a/0.png and b/copy0.png, a/1.png and b/copy1.png, "
        "a/2.png and b/copy2.png and 1 more; keep the one that is right\n"
    )
    train, test = ({file.read_bytes() for file in part.sources} for part in (data.train, data.test))
    assert not train & test
    assert len(data.train) + len(data.test) == 44
    assert data.skipped == ()


def test_class_of_copies_of_test_images_is_refused(make_folder):
    folder = make_folder({"a": 10, "b": 0})
    (folder / "b").mkdir(exist_ok=True)
    shutil.copy(folder / "a" / "3.png", folder / "b" / "copy.png")
    sentences = set()
    for seed in range(12):
        with pytest.raises(EdgenetsError) as refused:
            open_dataset(str(folder), seed=seed)
        sentences.add(str(refused.value).split(";")[0])
    assert any(each.startswith("all images of b are copies") for each in sentences)


@pytest.mark.parametrize("seed", range(5))
def test_copies_come_to_one_side_of_the_images_that_the_best_epoch_is_chosen_by(make_folder, seed):
    folder = make_folder({"a": 12, "b": 12})
    for name in ("a", "b"):
        for file in sorted((folder / name).iterdir()):
            shutil.copy(file, folder / name / f"copy_{file.name}")
    data = open_dataset(str(folder), seed=seed).with_unlabelled(str(folder))
    training = TrainingData.from_split(
        data.train,
        Preparation(8, 8),
        validation_fraction=0.2,
        flip=False,
        seed=seed,
        unlabelled=data.unlabelled,
    )
    learned, held = (
        {image.tobytes() for image in images.take(range(len(images)))}
        for images in (training.images, training.validation_images)
    )
    assert not learned & held
    assert len(training.validation_images) == 2 * len(held) == 8
    assert (training.labels == UNLABELLED).sum() == len(data.unlabelled) - 8
