"""Datasets of folders: splits, classes, fingerprints, and one sentence for what does not fit."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgenets.data.dataset import open_dataset, open_for_evaluation
from edgenets.data.loading import UNLABELLED
from edgenets.errors import EdgenetsError


def names(split):
    return [path.name for path in split.sources]


def test_folder_with_train_and_test_is_opened_as_it_is(make_folder):
    folder = make_folder({"train/a": 3, "train/b": 2, "test/a": 1, "test/b": 2})
    data = open_dataset(str(folder))
    assert data.name == "photos"
    assert data.classes == ("a", "b")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert data.test.labels.tolist() == [0, 1, 1]
    assert {path.parents[1].name for path in data.test.sources} == {"test"}
    assert data.skipped == ()
    assert data.flip is True


@pytest.mark.parametrize("below", ["", "train/"])
def test_folder_without_test_is_split_by_seed_and_class(make_folder, below):
    folder = make_folder({f"{below}a": 10, f"{below}b": 5})
    data = open_dataset(str(folder), seed=1)
    assert np.bincount(data.train.labels).tolist() == [8, 4]
    assert np.bincount(data.test.labels).tolist() == [2, 1]
    assert not set(data.train.sources) & set(data.test.sources)
    assert names(open_dataset(str(folder), seed=1).test) == names(data.test)
    assert names(open_dataset(str(folder), seed=2).test) != names(data.test)
    assert len(open_dataset(str(folder), test_fraction=0.4).test) == 4 + 2


def test_what_is_left_out_is_listed_for_every_level(make_folder):
    folder = make_folder({"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1, "val/a": 1})
    for name in ("README.md", "train/loose.png", "train/a/empty.png", "test/b/empty.png"):
        (folder / name).touch()
    data = open_dataset(str(folder))
    assert {skipped.path: skipped.reason for skipped in data.skipped} == {
        str(folder / "val"): "beside train and test",
        str(folder / "README.md"): "beside train and test",
        str(folder / "train/loose.png"): "not in a class folder",
        str(folder / "train/a/empty.png"): "empty file",
        str(folder / "test/b/empty.png"): "empty file",
    }
    assert (len(data.train), len(data.test)) == (4, 2)


def test_strict_names_the_first_files_and_counts_all(make_folder):
    folder = make_folder({"a": 4, "b": 4})
    for i in range(5):
        (folder / "a" / f"bad{i}.png").touch()
    with pytest.raises(EdgenetsError, match=r"\(5\): .*bad0.png \(empty file\), .* and 2 more;"):
        open_dataset(str(folder), strict=True)
    assert len(open_dataset(str(folder)).skipped) == 5


def test_strict_accepts_a_clean_folder(make_folder):
    assert open_dataset(str(make_folder({"a": 2, "b": 2})), strict=True).skipped == ()


# Fingerprint


def test_fingerprint_does_not_depend_on_where_the_folder_is(make_folder, tmp_path, monkeypatch):
    folder = make_folder({"a": 4, "b": 4})
    before = open_dataset(str(folder)).fingerprint
    moved = tmp_path / "other" / "place"
    shutil.copytree(folder, moved)
    assert open_dataset(str(moved)).fingerprint == before
    monkeypatch.chdir(tmp_path)
    assert open_dataset("photos").fingerprint == before


def test_fingerprint_changes_with_one_byte(make_folder):
    folder = make_folder({"a": 4, "b": 4})
    before = open_dataset(str(folder)).fingerprint
    with (folder / "a" / "0.png").open("ab") as file:
        file.write(b"\0")
    assert open_dataset(str(folder)).fingerprint != before


def test_fingerprint_changes_with_names_classes_and_split(make_folder):
    counts = {"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2}
    folder = make_folder(counts)
    seen = {open_dataset(str(folder)).fingerprint}
    (folder / "train/a/0.png").rename(folder / "train/a/zero.png")
    seen.add(open_dataset(str(folder)).fingerprint)
    (folder / "train/a/zero.png").rename(folder / "test/a/zero.png")
    seen.add(open_dataset(str(folder)).fingerprint)
    for split in ("train", "test"):
        (folder / split / "b").rename(folder / split / "c")
    seen.add(open_dataset(str(folder)).fingerprint)
    one_level = make_folder({"a": 5, "b": 5}, name="one_level")
    seen |= {open_dataset(str(one_level), seed=seed).fingerprint for seed in (0, 1)}
    assert len(seen) == 6


def test_fingerprint_does_not_change_with_files_that_are_left_out(make_folder):
    folder = make_folder({"a": 4, "b": 4})
    before = open_dataset(str(folder)).fingerprint
    (folder / "a" / "empty.png").touch()
    assert open_dataset(str(folder)).fingerprint == before


# What does not fit


@pytest.mark.parametrize(
    "counts, sentence",
    [
        ({}, "no class folders in .*photos; data is laid out as DATA/"),
        ({"train": 2, "test": 2}, "no class folders in .*train;"),
        ({"a": 3}, "photos holds a single class, 'a'; a classifier needs two"),
        ({"a": 3, "b": 0}, "no usable image in class folder .*b: it is empty; add images or"),
        ({"Train/a": 3, "Test/a": 3}, "no usable image in .*Test/a .folder inside a class folder"),
        ({"test/a": 3, "test/b": 3}, "holds test but no train; training needs .*train"),
        (
            {"train/cat": 3, "train/dog": 3, "test/cat": 1, "test/dogs": 1},
            r"class 'dogs' of .*test is not a class of .*train; did you mean dog\? \(known: cat",
        ),
        ({"train/a": 3, "train/b": 3, "test/a": 1}, "no usable image to test b with; each"),
        (
            {"train/a": 3, "train/b": 3, "test/a": 1, "test/b": 0},
            "no usable image to test b with; each",
        ),
        (
            {"train/a": 3, "train/b": 3, "train/c": 3, "test/a": 1},
            "no usable image to test b, c with",
        ),
        ({"a": 3, "b": 1}, "no usable image to test b with; .*at least two images"),
    ],
)
def test_folder_that_cannot_train_is_refused_in_one_sentence(
    make_folder, tmp_path, counts, sentence
):
    (tmp_path / "photos").mkdir()
    with pytest.raises(EdgenetsError, match=sentence):
        open_dataset(str(make_folder(counts)))


def test_class_whose_files_are_all_bad_is_refused_with_their_reasons(make_folder):
    folder = make_folder({"a": 3, "b": 0})
    (folder / "b" / "x.png").touch()
    with pytest.raises(EdgenetsError, match=r"class folder .*b: .*x\.png \(empty file\); add"):
        open_dataset(str(folder))


# Evaluation


@pytest.mark.parametrize("below", ["test/", ""])
def test_evaluation_reads_test_or_all_of_one_level(make_folder, below):
    folder = make_folder({f"{below}dog": 2, f"{below}cat": 1})
    (folder / f"{below}dog" / "empty.png").touch()
    split, skipped = open_for_evaluation(str(folder), ("bird", "dog", "cat"))
    assert split.labels.tolist() == [2, 1, 1]
    assert [file.reason for file in skipped] == ["empty file"]


def test_evaluation_ignores_train(make_folder):
    folder = make_folder({"train/a": 5, "train/b": 5, "test/b": 2})
    split, _ = open_for_evaluation(str(folder), ("a", "b"))
    assert split.labels.tolist() == [1, 1]


@pytest.mark.parametrize(
    "counts, sentence",
    [
        ({"dogs": 1}, r"class 'dogs' of .*photos is not a label of the model; did you mean dog\?"),
        ({"train/dog": 1}, "holds train but no test; make .*test, or name .*train"),
        ({"dog": 0}, "no usable image in .*photos: "),
        ({"test": 3}, "no class folders in .*test;"),
    ],
)
def test_folder_that_cannot_evaluate_is_refused_in_one_sentence(make_folder, counts, sentence):
    with pytest.raises(EdgenetsError, match=sentence):
        open_for_evaluation(str(make_folder(counts)), ("cat", "dog"))


def test_unlabelled_images_of_any_folders_stand_beside_the_others(make_folder):
    data = make_folder({"train/a": 3, "train/b": 3, "test/a": 1, "test/b": 1})
    more = make_folder({"u": 2, "v/w": 3}, name="more")
    (more / "v" / "note.txt").write_text("no image")
    alone = open_dataset(str(data))
    dataset = alone.with_unlabelled(str(more))
    assert (dataset.unlabelled.labels == UNLABELLED).all() and len(dataset.unlabelled) == 5
    assert len(dataset.train) == len(alone.train)
    assert dataset.fingerprint != alone.fingerprint
    assert [Path(file.path).name for file in dataset.skipped] == ["note.txt"]
    with pytest.raises(EdgenetsError, match=r"unusable files \(1\): .*note.txt"):
        alone.with_unlabelled(str(more), strict=True)
    with pytest.raises(EdgenetsError, match=r"no folder '.*nowhere' of unlabelled images"):
        alone.with_unlabelled(str(data / "nowhere"))
